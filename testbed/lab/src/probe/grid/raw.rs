//! Raw packets between pods, and what comes of them.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::probe::now_us;

/// Kernel buffer of a sniffer, in bytes; the kernel caps it.
const BUFFER: usize = 8 << 20;
/// `PACKET_OUTGOING` of `linux/if_packet.h`.
const OUTGOING: u8 = 4;
/// Before the moment in which a datagram was sent.
const MARK: &[u8; 8] = b"weftrace";
/// Flags of TCP that are tried in turn: SYN, ACK, SYN ACK, FIN, RST, none, all.
const FLAGS: [u8; 7] = [0x02, 0x10, 0x12, 0x01, 0x04, 0x00, 0x3f];
/// `IPPROTO_RAW`, `IPPROTO_ROUTING`.
const RAW: i32 = 255;
const ROUTING: i32 = 43;
/// Port that raw packets seem to come from.
const OWN_PORT: u16 = 34_567;

/// Sends what a pod may not, from its own addresses.
pub(super) struct Attacker {
    sides: Vec<Side>,
}

/// One family.
struct Side {
    own: IpAddr,
    /// Headers above IP are made by hand.
    tcp: Socket,
    udp: Socket,
    datagrams: UdpSocket,
    /// Sends by way of another pod: the whole packet by hand, or what follows the header of IPv6.
    routed: Socket,
    by: Option<IpAddr>,
}

impl Attacker {
    /// With sockets in the calling thread's namespace; what is source-routed goes by one of these addresses.
    pub(super) fn open(own: &[IpAddr], by: &[IpAddr]) -> Result<Self> {
        let side = |own: &IpAddr| -> Result<Side> {
            let domain = Domain::for_address(SocketAddr::new(*own, 0));
            let raw = |protocol| -> Result<Socket> {
                let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("open a raw socket")?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            let datagrams = UdpSocket::bind((*own, 0))?;
            datagrams.set_nonblocking(true)?;
            let routed = raw(Protocol::from(if own.is_ipv4() { RAW } else { ROUTING }))?;
            if own.is_ipv4() {
                routed.set_header_included_v4(true)?;
            }
            let by = by.iter().find(|by| by.is_ipv4() == own.is_ipv4()).copied();
            Ok(Side { own: *own, tcp: raw(Protocol::TCP)?, udp: raw(Protocol::UDP)?, datagrams, routed, by })
        };
        Ok(Self { sides: own.iter().map(side).collect::<Result<_>>()? })
    }

    /// Sends a few packets of several kinds; how many.
    pub(super) fn send(&self, to: IpAddr, port: u16, turn: usize) -> u64 {
        let Some(side) = self.side(to) else { return 0 };
        // Raw sockets of IPv6 take no port.
        let target = SocketAddr::new(to, 0).into();
        let flags = FLAGS[turn % FLAGS.len()];
        let sent = [
            side.tcp.send_to(&tcp(side.own, to, port, flags), &target).is_ok(),
            side.udp.send_to(&udp(side.own, to, port), &target).is_ok(),
            side.datagrams.send_to(b"stranger", (to, port)).is_ok(),
        ];
        let routed = side.by.is_some_and(|by| {
            let datagram = udp(side.own, to, port);
            side.routed.send_to(&routed(side.own, by, to, &datagram), &SocketAddr::new(by, 0).into()).is_ok()
        });
        sent.into_iter().chain([routed]).map(u64::from).sum()
    }

    /// Sends a datagram that says when it was sent.
    pub(super) fn send_now(&self, to: IpAddr, port: u16) {
        if let Some(side) = self.side(to) {
            let message = [&MARK[..], &now_us().to_be_bytes()].concat();
            // Whether it comes is what is looked for.
            let _ = side.datagrams.send_to(&message, (to, port));
        }
    }

    fn side(&self, to: IpAddr) -> Option<&Side> {
        self.sides.iter().find(|side| side.own.is_ipv4() == to.is_ipv4())
    }
}

fn tcp(from: IpAddr, to: IpAddr, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = [&OWN_PORT.to_be_bytes()[..], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    segment.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    let sum = checksum(from, to, 6, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn udp(from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
    let mut datagram =
        [&OWN_PORT.to_be_bytes()[..], &port.to_be_bytes(), &16_u16.to_be_bytes(), &[0, 0]].concat();
    datagram.extend(b"stranger");
    let sum = checksum(from, to, 17, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A packet that asks to be sent on from `by` to `to`: a loose source route (RFC 791), or a routing header of type 2 (RFC 6275 section
/// 6.4) behind a header that the kernel makes.
fn routed(from: IpAddr, by: IpAddr, to: IpAddr, datagram: &[u8]) -> Vec<u8> {
    match (from, by, to) {
        (IpAddr::V4(from), IpAddr::V4(by), IpAddr::V4(to)) => {
            let length = u16::try_from(28 + datagram.len()).unwrap_or(0).to_be_bytes();
            // The kernel fills in identification and checksum.
            let mut packet = vec![0x47, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
            packet.extend([from.octets(), by.octets()].concat());
            packet.extend([0x83, 7, 4]);
            packet.extend(to.octets());
            packet.push(0);
            packet.extend(datagram);
            packet
        }
        (_, _, IpAddr::V6(to)) => [&[17, 2, 2, 1, 0, 0, 0, 0], &to.octets()[..], datagram].concat(),
        _ => Vec::new(),
    }
}

/// Of the pseudo header and what follows it (RFC 1071, RFC 8200 section 8.1).
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, rest: &[u8]) -> u16 {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u32::try_from(rest.len()).unwrap_or(0).to_be_bytes();
    let mut all = [bytes(from), bytes(to), length.to_vec(), vec![0, 0, 0, protocol], rest.to_vec()].concat();
    all.resize(all.len().next_multiple_of(2), 0);
    let mut sum: u32 =
        all.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Hears every packet that comes into a network namespace, on devices that come later too.
pub(super) struct Sniffer(OwnedFd);

/// A packet that came.
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// When it was sent, if it says so.
    pub(super) sent_us: Option<u64>,
}

impl Sniffer {
    /// Opens one in a namespace, and stays there with the calling thread.
    pub(super) fn open(netns: &Path) -> Result<Self> {
        let file = File::open(netns).with_context(|| format!("open {}", netns.display()))?;
        setns(&file, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)
            .context("open a packet socket")?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        Ok(Self(socket))
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.0
    }

    /// The next packet of IP that came, if there is one.
    pub(super) fn next(&self) -> Option<Packet> {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut buffer).ok()?;
            let outgoing = from.is_some_and(|from| from.pkttype() == OUTGOING);
            if let Some(packet) = read(buffer.get(..length)?).filter(|_| !outgoing) {
                return Some(packet);
            }
        }
    }
}

fn read(bytes: &[u8]) -> Option<Packet> {
    let address4 = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?)));
    let address6 = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?)));
    let (source, destination, rest) = match bytes.first()? >> 4 {
        4 => (address4(12)?, address4(16)?, 28),
        6 => (address6(8)?, address6(24)?, 48),
        _ => return None,
    };
    let sent_us =
        bytes.get(rest..).and_then(|rest| rest.strip_prefix(MARK)).and_then(|rest| rest.first_chunk());
    Some(Packet { source, destination, sent_us: sent_us.map(|us| u64::from_be_bytes(*us)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_that_receivers_compute() {
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            // Over what bears its own sum the sum is zero.
            assert_eq!(checksum(from, to, 6, &tcp(from, to, 80, 2)), 0);
            assert_eq!(checksum(from, to, 17, &udp(from, to, 80)), 0);
        }
    }
}
