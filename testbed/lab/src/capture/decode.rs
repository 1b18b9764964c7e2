//! One Ethernet frame taken apart as far as captures need it. Pure; every length is checked, nothing panics on rubbish.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// EtherType of the payload.
    pub ethertype: u16,
    /// The network packet, if it is IP and well-formed.
    pub packet: Option<Packet<'a>>,
    /// What follows the Ethernet header.
    pub body: &'a [u8],
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Protocol above IP and its extension headers.
    pub protocol: u8,
    /// Set for parts of a fragmented packet.
    pub fragment: Option<Fragment>,
    /// What follows the IP headers.
    pub payload: &'a [u8],
}

/// Place of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification, the same in all parts.
    pub id: u32,
    /// Offset in bytes; 0 is the part with the upper header.
    pub offset: u32,
}

/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Protocol numbers.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;

/// Takes an Ethernet frame apart; `None` if it is shorter than its header.
pub fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let ethertype = u16::from_be_bytes([*bytes.get(12)?, *bytes.get(13)?]);
    let body = &bytes[14..];
    let packet = match ethertype {
        IPV4 | IPV6 => packet(body),
        _ => None,
    };
    Some(Frame { ethertype, packet, body })
}

/// Takes an IP packet apart. The payload may be cut short (as in ICMP errors), headers may not.
pub fn packet(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => v4(bytes),
        6 => v6(bytes),
        _ => None,
    }
}

fn v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; 20] = bytes.first_chunk()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let payload = bytes.get(length.max(20)..)?;
    let payload = &payload[..payload.len().min(total.saturating_sub(length))];
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let offset = u32::from(flags & 0x1fff) * 8;
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    Some(Packet {
        source: address(12),
        destination: address(16),
        protocol: header[9],
        fragment: (flags & 0x3fff != 0).then_some(Fragment { id, offset }),
        payload,
    })
}

fn v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; 40] = bytes.first_chunk()?;
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut payload = &bytes[40..];
    payload = &payload[..payload.len().min(length)];
    let (mut protocol, mut fragment) = (header[6], None);
    // Hop-by-hop, routing, fragment, destination options: each names the next.
    while matches!(protocol, 0 | 43 | 44 | 60) {
        let extension: &[u8; 8] = payload.first_chunk()?;
        let size = if protocol == 44 {
            let field = u16::from_be_bytes([extension[2], extension[3]]);
            let id = u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
            fragment = Some(Fragment { id, offset: u32::from(field & 0xfff8) });
            8
        } else {
            usize::from(extension[1]) * 8 + 8
        };
        protocol = extension[0];
        payload = payload.get(size..)?;
        if fragment.is_some_and(|f| f.offset > 0) {
            break;
        }
    }
    Some(Packet { source: address(8), destination: address(24), protocol, fragment, payload })
}

impl Packet<'_> {
    /// Source and destination port of TCP and UDP, in the first fragment only.
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.protocol, TCP | UDP) || self.fragment.is_some_and(|f| f.offset > 0) {
            return None;
        }
        let head: &[u8; 4] = self.payload.first_chunk()?;
        Some((u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]])))
    }

    /// Type and code of ICMP and ICMPv6.
    pub fn icmp(&self) -> Option<(u8, u8)> {
        if !matches!(self.protocol, ICMP | ICMPV6) || self.fragment.is_some_and(|f| f.offset > 0) {
            return None;
        }
        Some((*self.payload.first()?, *self.payload.get(1)?))
    }

    /// The packet that an ICMP error is about.
    pub fn quoted(&self) -> Option<Packet<'_>> {
        let (kind, _) = self.icmp()?;
        let is_error = match self.protocol {
            ICMP => matches!(kind, 3 | 11 | 12),
            _ => matches!(kind, 1..=4),
        };
        is_error.then(|| packet(self.payload.get(8..)?)).flatten()
    }

    /// TCP flags, sequence number and payload.
    pub fn tcp(&self) -> Option<(u8, u32, &[u8])> {
        if self.protocol != TCP || self.fragment.is_some_and(|f| f.offset > 0) {
            return None;
        }
        let head: &[u8; 20] = self.payload.first_chunk()?;
        let sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        Some((head[13], sequence, self.payload.get(usize::from(head[12] >> 4) * 4..)?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A hand-made Ethernet frame around an IP packet.
    pub(crate) fn build(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                bytes.extend(IPV4.to_be_bytes());
                bytes.extend([0x45, 0]);
                bytes.extend(u16::try_from(payload.len() + 20).unwrap().to_be_bytes());
                bytes.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
                bytes.extend(s.octets());
                bytes.extend(d.octets());
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                bytes.extend(IPV6.to_be_bytes());
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
                bytes.extend([protocol, 64]);
                bytes.extend(s.octets());
                bytes.extend(d.octets());
            }
            _ => panic!("one family"),
        }
        bytes.extend(payload);
        bytes
    }

    /// A UDP datagram.
    pub(crate) fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
        bytes.extend(u16::try_from(data.len() + 8).unwrap().to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(data);
        bytes
    }

    /// A TCP segment.
    pub(crate) fn tcp(from: u16, to: u16, flags: u8, sequence: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, flags, 255, 255, 0, 0, 0, 0]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn headers_are_read_in_both_families() {
        for (a, b) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let bytes = build(a, b, UDP, &udp(5, 51820, b"data"));
            let packet = frame(&bytes).unwrap().packet.unwrap();
            assert_eq!((packet.source, packet.ports()), (a.parse().unwrap(), Some((5, 51820))));
        }
    }

    #[test]
    fn an_extension_header_does_not_hide_the_protocol() {
        let mut hop = vec![ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        hop.extend([143, 0, 0, 0]);
        let bytes = build("fe80::1", "ff02::16", 0, &hop);
        assert_eq!(frame(&bytes).unwrap().packet.unwrap().icmp(), Some((143, 0)));
    }

    #[test]
    fn rubbish_is_no_packet_and_no_panic() {
        let whole = build("10.0.0.1", "10.0.0.2", TCP, &tcp(1, 2, 2, 9, b"x"));
        for length in 0..whole.len() {
            let _ = frame(&whole[..length]).and_then(|f| f.packet.map(|p| (p.ports(), p.tcp().map(|t| t.1))));
        }
    }
}
