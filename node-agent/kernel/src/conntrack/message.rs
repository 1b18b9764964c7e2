//! Bytes of ctnetlink messages (`linux/netfilter/nfnetlink_conntrack.h`): attributes in network byte order.

use std::net::IpAddr;

use weft_model::Family;

use super::{ConnFilter, Connection, Way, number_of};
use crate::netlink::Attributes;

const SUBSYSTEM: u16 = 1; // NFNL_SUBSYS_CTNETLINK
const GET: u16 = 1; // IPCTNL_MSG_CT_GET
const DELETE: u16 = 2; // IPCTNL_MSG_CT_DELETE
const NESTED: u16 = 1 << 15; // NLA_F_NESTED
const KIND: u16 = 0x3fff; // NLA_TYPE_MASK
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const GENERAL: usize = 4;

/// `enum ctattr_type`.
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const MARK: u16 = 8;
    pub(super) const ID: u16 = 12;
    pub(super) const ZONE: u16 = 18;
    pub(super) const MARK_MASK: u16 = 21;
    pub(super) const FILTER: u16 = 25;
    pub(super) const STATUS_MASK: u16 = 26;
}

/// `enum ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`, `ctattr_filter`.
mod tuple {
    pub(super) const IP: u16 = 1;
    pub(super) const PROTO: u16 = 2;
    pub(super) const V4_SRC: u16 = 1;
    pub(super) const V4_DST: u16 = 2;
    pub(super) const V6_SRC: u16 = 3;
    pub(super) const V6_DST: u16 = 4;
    pub(super) const NUM: u16 = 1;
    pub(super) const SRC_PORT: u16 = 2;
    pub(super) const DST_PORT: u16 = 3;
    pub(super) const FILTER_ORIG: u16 = 1;
    pub(super) const FILTER_REPLY: u16 = 2;
}

/// `enum ctattr_protoinfo`, `ctattr_protoinfo_tcp`.
mod info {
    pub(super) const TCP: u16 = 1;
    pub(super) const TCP_STATE: u16 = 1;
}

/// Which parts of a tuple count (`net/netfilter/nf_internals.h`, CTA_FILTER_F_*).
mod part {
    pub(super) const SRC: u32 = 1;
    pub(super) const DST: u32 = 1 << 1;
    pub(super) const NUM: u32 = 1 << 3;
    pub(super) const DST_PORT: u32 = 1 << 5;
}

/// Asks for the entries that a filter wants.
pub(super) fn list(filter: &ConnFilter, sequence: u32, flags: u16) -> Vec<u8> {
    let mut message = Message::new(GET, filter.family, sequence, flags);
    let (original, orig_parts) = wanted_tuple(
        filter.family,
        filter.original_source,
        filter.original_destination,
        filter.protocol.map(|protocol| (number_of(protocol), filter.original_port)),
    );
    let (reply, reply_parts) =
        wanted_tuple(filter.family, filter.reply_source, filter.reply_destination, None);
    for (kind, bytes, parts) in
        [(cta::TUPLE_ORIG, original, orig_parts), (cta::TUPLE_REPLY, reply, reply_parts)]
    {
        if parts != 0 {
            message.attribute(kind | NESTED, &bytes);
        }
    }
    if orig_parts | reply_parts != 0 {
        let mut parts = Vec::new();
        // Numbers of the filter itself are in the machine's order (`ctnetlink_parse_filter`, nla_get_u32).
        append(&mut parts, tuple::FILTER_ORIG, &orig_parts.to_ne_bytes());
        append(&mut parts, tuple::FILTER_REPLY, &reply_parts.to_ne_bytes());
        message.attribute(cta::FILTER | NESTED, &parts);
    }
    let masked = [(filter.status, cta::STATUS, cta::STATUS_MASK), (filter.mark, cta::MARK, cta::MARK_MASK)];
    for (wanted, kind, mask_kind) in masked {
        if let Some((value, mask)) = wanted {
            message.attribute(kind, &value.to_be_bytes());
            message.attribute(mask_kind, &mask.to_be_bytes());
        }
    }
    if let Some(zone) = filter.zone {
        message.attribute(cta::ZONE, &zone.to_be_bytes());
    }
    message.finish()
}

/// Removes one entry, by its key and id. There is always a key: without one the kernel would remove everything.
pub(super) fn remove(connection: &Connection, sequence: u32, flags: u16) -> Vec<u8> {
    let mut message = Message::new(DELETE, connection.family(), sequence, flags);
    message.attribute(cta::TUPLE_ORIG | NESTED, &connection.key);
    message.attribute(cta::ID, &connection.id.to_be_bytes());
    if connection.zone != 0 {
        message.attribute(cta::ZONE, &connection.zone.to_be_bytes());
    }
    message.finish()
}

/// An entry of a list; `None` when something that every entry has is missing.
pub(super) fn connection(payload: &[u8]) -> Option<Connection> {
    let (mut original, mut reply, mut key) = (None, None, Vec::new());
    let (mut status, mut mark, mut zone, mut id, mut tcp_state) = (0, 0, 0, None, None);
    for (kind, value) in Attributes::new(payload.get(GENERAL..)?) {
        match kind & KIND {
            cta::TUPLE_ORIG => {
                original = way(value);
                key = value.to_vec();
            }
            cta::TUPLE_REPLY => reply = way(value),
            cta::STATUS => status = u32_of(value)?,
            cta::PROTOINFO => tcp_state = state_of(value),
            cta::MARK => mark = u32_of(value)?,
            cta::ID => id = Some(u32_of(value)?),
            cta::ZONE => zone = u16_of(value)?,
            _ => {}
        }
    }
    let ((protocol, original), (_, reply)) = (original?, reply?);
    Some(Connection { protocol, original, reply, status, mark, zone, tcp_state, id: id?, key })
}

/// What `struct nlmsgerr`, or the end of a dump, begins with: 0, or an error number without its sign.
pub(super) fn error_number(payload: &[u8]) -> i32 {
    let bytes = payload.get(..4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i32::from_ne_bytes).min(0).saturating_neg()
}

/// Attributes of a tuple that is looked for, and which parts of it count.
fn wanted_tuple(
    family: Family,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<(u8, Option<u16>)>,
) -> (Vec<u8>, u32) {
    let (mut bytes, mut ip, mut proto, mut parts) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let ways = [(source, tuple::V4_SRC, part::SRC), (destination, tuple::V4_DST, part::DST)];
    for (address, kind, part) in ways {
        // IPv6 addresses are filtered by us alone: asked for one, the kernel leaves out the very entries that have it
        // (seen with Linux 6.18).
        if let (Family::V4, Some(IpAddr::V4(address))) = (family, address) {
            append(&mut ip, kind, &address.octets());
            parts |= part;
        }
    }
    if !ip.is_empty() {
        append(&mut bytes, tuple::IP | NESTED, &ip);
    }
    if let Some((number, port)) = protocol {
        append(&mut proto, tuple::NUM, &[number]);
        parts |= part::NUM;
        if let Some(port) = port {
            append(&mut proto, tuple::DST_PORT, &port.to_be_bytes());
            parts |= part::DST_PORT;
        }
        append(&mut bytes, tuple::PROTO | NESTED, &proto);
    }
    (bytes, parts)
}

/// One direction and its protocol.
fn way(bytes: &[u8]) -> Option<(u8, Way)> {
    let (mut source, mut destination, mut protocol, mut ports) = (None, None, None, (0, 0));
    for (kind, value) in Attributes::new(bytes) {
        match kind & KIND {
            tuple::IP => {
                for (kind, value) in Attributes::new(value) {
                    match kind & KIND {
                        tuple::V4_SRC | tuple::V6_SRC => source = address_of(value),
                        tuple::V4_DST | tuple::V6_DST => destination = address_of(value),
                        _ => {}
                    }
                }
            }
            tuple::PROTO => {
                for (kind, value) in Attributes::new(value) {
                    match kind & KIND {
                        tuple::NUM => protocol = value.first().copied(),
                        tuple::SRC_PORT => ports.0 = u16_of(value)?,
                        tuple::DST_PORT => ports.1 = u16_of(value)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (source_port, destination_port) = ports;
    let way = Way { source: source?, destination: destination?, source_port, destination_port };
    Some((protocol?, way))
}

/// The state of a TCP connection.
fn state_of(bytes: &[u8]) -> Option<u8> {
    let (_, tcp) = Attributes::new(bytes).find(|(kind, _)| kind & KIND == info::TCP)?;
    let (_, state) = Attributes::new(tcp).find(|(kind, _)| kind & KIND == info::TCP_STATE)?;
    state.first().copied()
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// One message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(verb: u16, family: Family, sequence: u32, flags: u16) -> Self {
        let family = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let mut bytes = vec![0; 4]; // the length, known at the end
        bytes.extend(((SUBSYSTEM << 8) | verb).to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([u8::try_from(family).unwrap_or_default(), 0, 0, 0]);
        debug_assert_eq!(bytes.len(), HEADER + GENERAL);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        append(&mut self.0, kind, value);
    }

    fn finish(mut self) -> Vec<u8> {
        // A message is far below 64 KiB: two tuples and a few numbers.
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Appends an attribute, padded to four bytes.
fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
