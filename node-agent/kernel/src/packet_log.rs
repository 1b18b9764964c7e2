//! Copies of packets that rules send to a group of the kernel's packet log (`net/netfilter/nfnetlink_log.c`).
//!
//! One socket binds the group in its network namespace; while none does, rules that log cost a look at a table. Each copy is sent at
//! once. Not here: what the bytes say (weft-plan), which rules log.

use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use crate::{
    error::{Area, Error, Refusal},
    netlink::{Attributes, Messages},
    raw::{ANSWER_LIMIT, RawSocket},
};

const SUBSYSTEM: u16 = 4; // NFNL_SUBSYS_ULOG
const PACKET: u16 = SUBSYSTEM << 8; // NFULNL_MSG_PACKET
const CONFIG: u16 = (SUBSYSTEM << 8) | 1; // NFULNL_MSG_CONFIG
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const GENERAL: usize = 4;
/// Octets of a packet that are copied: headers with all their options, and not much of what is in it.
const COPIED: u32 = 192;
/// Datagrams that are read before what they said is returned.
const BURST: usize = 256;

/// `enum nfulnl_attr_config`.
mod config {
    pub(super) const COMMAND: u16 = 1;
    pub(super) const MODE: u16 = 2;
    pub(super) const THRESHOLD: u16 = 5;
    /// `NFULNL_CFG_CMD_BIND`.
    pub(super) const BIND: u8 = 1;
    /// `NFULNL_COPY_PACKET`.
    pub(super) const COPY_PACKET: u8 = 2;
}

/// `enum nfulnl_attr_type`.
mod packet {
    pub(super) const HEADER: u16 = 1;
    pub(super) const IN_DEVICE: u16 = 4;
    pub(super) const IN_PORT: u16 = 6;
    pub(super) const PAYLOAD: u16 = 9;
    pub(super) const PREFIX: u16 = 10;
}

/// A copy of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedPacket {
    /// What the rule says.
    pub prefix: String,
    /// EtherType of what is in the payload.
    pub ethertype: u16,
    /// Index of the device that it came in by; of a bridge's frame the port. 0: none.
    pub device: u32,
    /// The packet from its network header on, perhaps cut.
    pub payload: Vec<u8>,
}

/// A socket that hears a group of the log.
#[derive(Debug)]
pub struct PacketLog {
    raw: RawSocket,
}

impl PacketLog {
    /// Binds a group in the calling thread's network namespace. Fails while somebody else has it.
    pub fn open(group: u16) -> Result<Self, Error> {
        let failed = Error::of(Area::Connection);
        let mut raw = RawSocket::open(NETLINK_NETFILTER).map_err(&failed)?;
        let sequence = raw.next_sequence(1);
        raw.send(&bind(group, sequence)).map_err(&failed)?;
        loop {
            let Some(datagram) = raw.read(0).map_err(&failed)? else {
                let what = "binding a group of the packet log".to_owned();
                return Err(Error::Deadline { what, seconds: ANSWER_LIMIT.as_secs() });
            };
            let answers = |message: &crate::netlink::RawMessage<'_>| {
                message.kind == NLMSG_ERROR && message.sequence == sequence
            };
            let Some(answer) = Messages::new(datagram).find(answers) else { continue };
            let number = answer.payload().first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
            if number == 0 {
                return Ok(Self { raw });
            }
            let what = format!("bind group {group} of the packet log");
            let errno = Errno::from_raw(number.saturating_abs());
            return Err(Refusal { what, area: Area::Connection, errno, message: None }.into());
        }
    }

    /// Waits for copies, at most `limit`; empty when none came. Of more than fit into the socket's buffer some are missing: rules'
    /// counters know of them.
    pub fn wait(&mut self, limit: Duration) -> Result<Vec<LoggedPacket>, Error> {
        let failed = Error::of(Area::Connection);
        self.raw.set_wait(limit).map_err(&failed)?;
        let (mut logged, mut flags) = (Vec::new(), 0);
        for _ in 0..BURST {
            match self.raw.read(flags) {
                Ok(Some(datagram)) => {
                    let messages = Messages::new(datagram).filter(|message| message.kind == PACKET);
                    logged.extend(messages.map(|message| read(message.payload())));
                }
                Ok(None) => break,
                Err(error) if error.is_overrun() => {}
                Err(error) => return Err(failed(error)),
            }
            // Whatever else has come already is taken along, but not waited for.
            flags = libc::MSG_DONTWAIT;
        }
        Ok(logged)
    }
}

/// The message that binds a group, copies what stands in front of packets, and sends each copy at once.
fn bind(group: u16, sequence: u32) -> Vec<u8> {
    let mut body = vec![0, 0]; // any family, version 0
    body.extend(group.to_be_bytes());
    attribute(&mut body, config::COMMAND, &[config::BIND]);
    let mode = [&COPIED.to_be_bytes()[..], &[config::COPY_PACKET, 0]].concat();
    attribute(&mut body, config::MODE, &mode);
    attribute(&mut body, config::THRESHOLD, &1_u32.to_be_bytes());
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(CONFIG.to_ne_bytes());
    out.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]); // port: the kernel knows who we are
    out.extend(body);
    out
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// What is missing stays empty.
fn read(message: &[u8]) -> LoggedPacket {
    let mut found = LoggedPacket::default();
    let number = |value: &[u8]| value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    for (kind, value) in Attributes::new(message.get(GENERAL..).unwrap_or_default()) {
        match kind {
            packet::HEADER => {
                found.ethertype = value.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
            }
            packet::IN_DEVICE if found.device == 0 => found.device = number(value),
            packet::IN_PORT => found.device = number(value),
            packet::PAYLOAD => found.payload = value.to_vec(),
            packet::PREFIX => {
                found.prefix = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_and_a_cut_or_empty_one_is_survived() {
        let mut bytes = vec![2, 0, 0, 0];
        attribute(&mut bytes, packet::HEADER, &[0x08, 0x00, 2, 0]);
        attribute(&mut bytes, packet::IN_PORT, &7_u32.to_be_bytes());
        attribute(&mut bytes, packet::IN_DEVICE, &3_u32.to_be_bytes());
        attribute(&mut bytes, packet::PREFIX, b"spoofed\0");
        attribute(&mut bytes, packet::PAYLOAD, &[0x45, 0]);
        let whole = LoggedPacket {
            prefix: "spoofed".to_owned(),
            ethertype: 0x0800,
            device: 7,
            payload: vec![0x45, 0],
        };
        assert_eq!(read(&bytes), whole);
        (0..bytes.len()).for_each(|end| drop(read(&bytes[..end])));
        assert_eq!(read(&[]), LoggedPacket::default());
    }
}
