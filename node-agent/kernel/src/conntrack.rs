//! The connection-tracking table: what is in it, filtered by the kernel, and removal of exactly what was chosen.
//!
//! In: [`ConnFilter`]s and a choice. Out: [`Connection`]s, or the number that was removed. An entry is removed by the very
//! key and the id it was listed with, so a younger connection of the same addresses stays, and nothing is ever flushed.
//! Source: `net/netfilter/nf_conntrack_netlink.c`. Not here: which entries are wrong (weft-plan).

mod message;
#[cfg(test)]
#[path = "conntrack/message_tests.rs"]
mod message_tests;

use std::{collections::BTreeSet, net::IpAddr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use weft_model::{Family, Protocol};

use crate::{
    error::{Area, Error, Refusal},
    netlink::Messages,
    raw::{ANSWER_LIMIT, RawSocket},
};

/// Requests in one system call: their acknowledgements fit into the smallest receive buffer.
const CHUNK: usize = 64;

/// One direction of a connection, as its packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port; 0 for protocols without ports.
    pub source_port: u16,
    /// Destination port; 0 for protocols without ports.
    pub destination_port: u16,
}

/// One entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IP protocol number (IANA, Protocol Numbers): 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// From whoever began, before any translation.
    pub original: Way,
    /// What answers look like: their source is the endpoint after translation.
    pub reply: Way,
    /// Bits `IPS_*` (`linux/netfilter/nf_conntrack_common.h`).
    pub status: u32,
    /// The connection's mark.
    pub mark: u32,
    /// Zone; 0 unless somebody uses zones.
    pub zone: u16,
    /// `enum tcp_conntrack` (`linux/netfilter/nf_conntrack_tcp.h`); `None` for other protocols.
    pub tcp_state: Option<u8>,
    id: u32,
    /// CTA_TUPLE_ORIG as the kernel wrote it: the key, whatever the protocol.
    key: Vec<u8>,
}

impl Connection {
    /// The destination was translated (`IPS_DST_NAT`).
    pub const fn is_translated(&self) -> bool {
        const IPS_DST_NAT: u32 = 1 << 5;
        self.status & IPS_DST_NAT != 0
    }

    /// Both sides have spoken and neither has ended it: of TCP from the answer to the first packet until the last side closes.
    pub const fn is_live(&self) -> bool {
        const IPS_SEEN_REPLY: u32 = 1 << 1;
        // TCP_CONNTRACK_SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT.
        const OPEN: std::ops::RangeInclusive<u8> = 2..=5;
        match self.tcp_state {
            Some(state) => *OPEN.start() <= state && state <= *OPEN.end(),
            None => self.status & IPS_SEEN_REPLY != 0,
        }
    }

    fn family(&self) -> Family {
        Family::of(self.original.source)
    }
}

/// Which entries are wanted: all conditions hold. The kernel filters (since Linux 5.8), and older ones are filtered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnFilter {
    /// Family of the addresses.
    pub family: Family,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Source of the original direction: who began.
    pub original_source: Option<IpAddr>,
    /// Destination of the original direction.
    pub original_destination: Option<IpAddr>,
    /// Port of the original destination; counts only together with `protocol`.
    pub original_port: Option<u16>,
    /// Source of answers: the endpoint after translation.
    pub reply_source: Option<IpAddr>,
    /// Destination of answers: who began, after source translation.
    pub reply_destination: Option<IpAddr>,
    /// Value and mask of the status bits.
    pub status: Option<(u32, u32)>,
    /// Value and mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// Zone.
    pub zone: Option<u16>,
}

impl ConnFilter {
    /// Every entry of a family.
    pub const fn all(family: Family) -> Self {
        Self {
            family,
            protocol: None,
            original_source: None,
            original_destination: None,
            original_port: None,
            reply_source: None,
            reply_destination: None,
            status: None,
            mark: None,
            zone: None,
        }
    }

    /// Every entry of a protocol.
    pub const fn of_protocol(family: Family, protocol: Protocol) -> Self {
        Self { protocol: Some(protocol), ..Self::all(family) }
    }

    /// Everything in which an address takes part, in either direction, before or after translation.
    pub fn of_address(address: IpAddr) -> [Self; 4] {
        let all = Self::all(Family::of(address));
        [
            Self { original_source: Some(address), ..all },
            Self { original_destination: Some(address), ..all },
            Self { reply_source: Some(address), ..all },
            Self { reply_destination: Some(address), ..all },
        ]
    }

    /// Whether an entry is wanted.
    pub fn matches(&self, connection: &Connection) -> bool {
        let Connection { protocol, original, reply, status, mark, zone, .. } = connection;
        let is = |wanted: Option<IpAddr>, found: IpAddr| wanted.is_none_or(|wanted| wanted == found);
        let bits = |wanted: Option<(u32, u32)>, found: u32| wanted.is_none_or(|(v, m)| found & m == v & m);
        self.family == connection.family()
            && self.protocol.is_none_or(|wanted| number_of(wanted) == *protocol)
            && is(self.original_source, original.source)
            && is(self.original_destination, original.destination)
            && self.original_port.is_none_or(|port| port == original.destination_port)
            && is(self.reply_source, reply.source)
            && is(self.reply_destination, reply.destination)
            && bits(self.status, *status)
            && bits(self.mark, *mark)
            && self.zone.is_none_or(|wanted| wanted == *zone)
    }
}

/// IP protocol number (IANA, Protocol Numbers).
pub const fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// A socket to the connection-tracking table of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    raw: RawSocket,
}

impl Conntrack {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { raw: RawSocket::open(NETLINK_NETFILTER).map_err(Error::of(Area::Connection))? })
    }

    /// Shows every entry that a filter wants. The table goes on changing meanwhile: an entry may come twice or be missed.
    pub fn each(&mut self, filter: &ConnFilter, mut show: impl FnMut(Connection)) -> Result<(), Error> {
        let sequence = self.raw.next_sequence(1);
        self.send(&message::list(filter, sequence, NLM_F_REQUEST | NLM_F_DUMP))?;
        loop {
            for found in self.receive("listing connections")?.filter(|m| m.sequence == sequence) {
                match found.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let number = message::error_number(found.payload());
                        return if number == 0 { Ok(()) } else { Err(refused("list connections", number)) };
                    }
                    NLMSG_NOOP | NLMSG_OVERRUN => {}
                    _ => message::connection(found.payload())
                        .filter(|connection| filter.matches(connection))
                        .into_iter()
                        .for_each(&mut show),
                }
            }
        }
    }

    /// Everything that a filter wants.
    pub fn list(&mut self, filter: &ConnFilter) -> Result<Vec<Connection>, Error> {
        let mut found = Vec::new();
        self.each(filter, |connection| found.push(connection))?;
        Ok(found)
    }

    /// Removes exactly these entries; the number that was there. One that ended meanwhile isn't an error.
    pub fn remove(&mut self, connections: &[Connection]) -> Result<usize, Error> {
        let mut removed = 0;
        for chunk in connections.chunks(CHUNK) {
            removed += self.remove_chunk(chunk)?;
        }
        Ok(removed)
    }

    /// Removes what a filter wants and a choice confirms; the number that was there.
    pub fn remove_where(
        &mut self,
        filter: &ConnFilter,
        mut choose: impl FnMut(&Connection) -> bool,
    ) -> Result<usize, Error> {
        let mut chosen = Vec::new();
        self.each(filter, |connection| {
            if choose(&connection) {
                chosen.push(connection);
            }
        })?;
        self.remove(&chosen)
    }

    /// Removes everything in which one of the addresses takes part: they are about to belong to other pods.
    pub fn forget_addresses(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<usize, Error> {
        let mut removed = 0;
        if let [address] = addresses.iter().copied().collect::<Vec<_>>()[..] {
            for filter in ConnFilter::of_address(address) {
                removed += self.remove_where(&filter, |_| true)?;
            }
            return Ok(removed);
        }
        let families: BTreeSet<Family> = addresses.iter().map(|address| Family::of(*address)).collect();
        for family in families {
            removed += self.remove_where(&ConnFilter::all(family), |c| {
                let Connection { original, reply, .. } = c;
                let ends = [original.source, original.destination, reply.source, reply.destination];
                ends.iter().any(|end| addresses.contains(end))
            })?;
        }
        Ok(removed)
    }

    fn remove_chunk(&mut self, chunk: &[Connection]) -> Result<usize, Error> {
        let first = self.raw.next_sequence(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        let mut bytes = Vec::new();
        for (connection, place) in chunk.iter().zip(0..) {
            let sequence = first.wrapping_add(place);
            bytes.extend(message::remove(connection, sequence, NLM_F_REQUEST | NLM_F_ACK));
        }
        self.send(&bytes)?;
        let (mut open, mut removed, mut failure) = (chunk.len(), 0, None);
        while open > 0 {
            for answer in self.receive("removing connections")?.filter(|m| m.kind == NLMSG_ERROR) {
                if answer.sequence.wrapping_sub(first) as usize >= chunk.len() {
                    continue; // an answer to something else
                }
                open = open.saturating_sub(1);
                match message::error_number(answer.payload()) {
                    0 => removed += 1,
                    number if Errno::from_raw(number) == Errno::ENOENT => {}
                    number => failure = Some(refused("remove a connection", number)),
                }
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        self.raw.send(bytes).map_err(Error::of(Area::Connection))
    }

    fn receive(&mut self, what: &str) -> Result<Messages<'_>, Error> {
        match self.raw.read(0).map_err(Error::of(Area::Connection))? {
            Some(datagram) => Ok(Messages::new(datagram)),
            None => Err(Error::Deadline { what: what.to_owned(), seconds: ANSWER_LIMIT.as_secs() }),
        }
    }
}

fn refused(what: &str, number: i32) -> Error {
    let errno = Errno::from_raw(number);
    Refusal { what: what.to_owned(), area: Area::Connection, errno, message: None }.into()
}
