//! Echo requests (RFC 792, RFC 4443) in the calling thread's namespace: for path MTU probes and for `weft ping`.
//!
//! In: destination, source, size, time limit. Out: the round-trip time, or why there was none. Not fragmented unless that is
//! allowed: a packet that is too large is an answer. Uses a ping socket where the kernel permits it (`net.ipv4.ping_group_range`), else a raw one.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};
use weft_model::Family;
use weft_plan::mtu::ip_header;

use crate::error::{Area, Error};

/// Header of an echo message: type, code, checksum, identifier, sequence.
const ECHO_HEADER: usize = 8;
/// What follows it in ours: these letters, process, number of the pinger, number of the request, four bytes each.
const MAGIC: [u8; 4] = *b"weft";
const MARKS: usize = 16;
/// Least packet: IPv6 header, echo header and the marks of a probe.
pub const LEAST_PROBE: u32 = 40 + 8 + 16;

/// Number of the next pinger of this process: raw sockets hear the replies to everybody.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// What came of one echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It came back.
    Replied {
        /// Round-trip time.
        after: Duration,
    },
    /// It is larger than this host's route or a router on the path takes; nothing was lost in silence.
    TooLarge {
        /// MTU of the path as the kernel knows it now, bytes, if it says so.
        mtu: Option<u32>,
    },
    /// A host or router said that it can't be delivered, or no route exists.
    Unreachable,
    /// Nothing came within the time limit.
    Silent,
}

/// A socket for echo requests between two addresses.
#[derive(Debug)]
pub struct Pinger {
    socket: Socket,
    family: Family,
    destination: IpAddr,
    number: u32,
    sequence: u32,
    /// An IPv4 header precedes what is heard.
    with_header: bool,
}

impl Pinger {
    /// Opens a socket from `source` (or the route's choice) to `destination`, in the calling thread's namespace.
    ///
    /// Fails when neither ping nor raw sockets are permitted, or when the source isn't an address of this host.
    pub fn open(destination: IpAddr, source: Option<IpAddr>) -> Result<Self, Error> {
        let family = Family::of(destination);
        let failed = |what| move |e: io::Error| Error::socket(what, Area::Route, e);
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (socket, false),
            Err(_) => {
                let raw = Socket::new(domain, Type::RAW, Some(protocol));
                (raw.map_err(failed("opening a raw socket for echo requests"))?, true)
            }
        };
        never_fragment(&socket, family).map_err(failed("forbidding fragments"))?;
        if let Some(source) = source {
            let source = SocketAddr::new(source, 0);
            socket.bind(&source.into()).map_err(failed("binding to the source of echo requests"))?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            socket,
            family,
            destination,
            number,
            sequence: 0,
            with_header: raw && family == Family::V4,
        })
    }

    /// From now on packets that are too large for the path travel in parts, as those of most programs do.
    pub fn allow_fragments(self) -> Result<Self, Error> {
        let set = match self.family {
            Family::V4 => set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::DONT),
            Family::V6 => set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::DONT),
        };
        set.map_err(|e| Error::socket("allowing fragments", Area::Route, e.into()))?;
        Ok(self)
    }

    /// Sends one request whose IP packet has `size` bytes and waits for its reply until `limit` has passed.
    ///
    /// `size` is at least [`LEAST_PROBE`]; smaller ones are enlarged. Fails only when a socket call does so unexpectedly.
    pub fn echo(&mut self, size: u32, limit: Duration) -> Result<Echo, Error> {
        let begin = Instant::now();
        self.sequence = self.sequence.wrapping_add(1);
        let packet = self.packet(size);
        let to = SocketAddr::new(self.destination, 0);
        // Connected sockets hear this destination only, and errors about it.
        if let Err(error) = self.socket.connect(&to.into()).and_then(|()| self.socket.send(&packet)) {
            return self.outcome_of(error);
        }
        let mut room = vec![0_u8; packet.len() + 128];
        loop {
            let Some(left) = limit.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(Echo::Silent);
            };
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .map_err(|e| Error::socket("setting a time limit", Area::Route, e))?;
            match (&self.socket).read(&mut room) {
                Ok(length) if self.is_reply(&room[..length]) => {
                    return Ok(Echo::Replied { after: begin.elapsed() });
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Echo::Silent),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.outcome_of(error),
            }
        }
    }

    fn outcome_of(&self, error: io::Error) -> Result<Echo, Error> {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMSGSIZE) => Ok(Echo::TooLarge { mtu: self.known_mtu() }),
            Some(
                Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ECONNREFUSED | Errno::EACCES | Errno::EPERM,
            ) => Ok(Echo::Unreachable),
            _ => Err(Error::socket("sending an echo request", Area::Route, error)),
        }
    }

    /// What the kernel knows of the path.
    fn known_mtu(&self) -> Option<u32> {
        match self.family {
            Family::V4 => ip_mtu(&self.socket).ok(),
            Family::V6 => ipv6_mtu(&self.socket).ok(),
        }
    }

    fn packet(&self, size: u32) -> Vec<u8> {
        let (kind, _) = kinds(self.family);
        let size = usize::try_from(size.max(LEAST_PROBE)).unwrap_or(usize::MAX);
        let length = size.min(65_535) - ip_header(self.family) as usize;
        let mut packet = vec![0; length];
        packet[0] = kind;
        // Identifier and sequence are for others to look at; a ping socket writes an identifier of its own.
        let [_, _, a, b] = self.number.to_be_bytes();
        let [_, _, c, d] = self.sequence.to_be_bytes();
        packet[4..8].copy_from_slice(&[a, b, c, d]);
        packet[ECHO_HEADER..ECHO_HEADER + MARKS].copy_from_slice(&self.marks());
        if self.family == Family::V4 {
            // ICMPv6's checksum covers a pseudo header: the kernel fills it in (RFC 3542 section 3.1).
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    fn marks(&self) -> [u8; MARKS] {
        let mut marks = [0; MARKS];
        let parts =
            [MAGIC, std::process::id().to_be_bytes(), self.number.to_be_bytes(), self.sequence.to_be_bytes()];
        marks.copy_from_slice(parts.as_flattened());
        marks
    }

    /// Whether it answers the request under way.
    fn is_reply(&self, heard: &[u8]) -> bool {
        let skip = match heard.first() {
            Some(first) if self.with_header => usize::from(first & 0x0f) * 4,
            Some(_) | None => 0,
        };
        let Some(message) = heard.get(skip..) else { return false };
        let (_, reply) = kinds(self.family);
        message.first() == Some(&reply)
            && message.get(ECHO_HEADER..ECHO_HEADER + MARKS) == Some(&self.marks()[..])
    }
}

/// A packet is sent whole or not at all, whatever the kernel believes of the path: only the device's own MTU bounds it.
fn never_fragment(socket: &Socket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
        Family::V6 => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(())
}

/// Types of request and reply.
const fn kinds(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
