//! What the headers of a packet say of who sent it to whom. Any bytes are survived; what isn't there is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherTypes (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;
/// Extension headers of IPv6 that are looked through: a packet with more is told without ports.
const EXTENSIONS: usize = 8;

/// Who, whom and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketHead {
    /// The sender; of an ARP message the one who speaks.
    pub source: IpAddr,
    /// The receiver; of an ARP message the one who is asked for.
    pub destination: IpAddr,
    /// IP protocol number; 0 for ARP.
    pub protocol: u8,
    /// Ports of both, where the protocol has any and they are in this packet.
    pub ports: Option<(u16, u16)>,
    /// Flags of TCP, or type of an ICMP message.
    pub flags: Option<u8>,
}

impl PacketHead {
    /// Reads a packet from its network header on; `None`: it isn't IP or ARP, or is cut.
    pub fn read(ethertype: u16, packet: &[u8]) -> Option<Self> {
        match ethertype {
            IPV4 => ipv4(packet),
            IPV6 => ipv6(packet),
            ARP => arp(packet),
            _ => None,
        }
    }

    /// Name of the protocol, as people write it: `tcp`, `icmp`, or its number.
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            0 => "arp".to_owned(),
            ICMP => "icmp".to_owned(),
            ICMP6 => "icmpv6".to_owned(),
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            SCTP => "sctp".to_owned(),
            other => other.to_string(),
        }
    }

    /// Flags as people write them: `SYN`, `ACK,PSH`, `echo-request`; empty where there are none worth telling.
    pub fn flags_text(&self) -> String {
        const FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
        match (self.protocol, self.flags) {
            (TCP, Some(flags)) => {
                let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
                set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
            }
            (ICMP, Some(8)) | (ICMP6, Some(128)) => "echo-request".to_owned(),
            (ICMP, Some(0)) | (ICMP6, Some(129)) => "echo-reply".to_owned(),
            (ICMP | ICMP6, Some(kind)) => format!("type {kind}"),
            _ => String::new(),
        }
    }
}

fn ipv4(packet: &[u8]) -> Option<PacketHead> {
    let head: &[u8; 20] = packet.first_chunk()?;
    if head[0] >> 4 != 4 {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
    // Only the first fragment bears what follows the header.
    let is_first = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
    let rest = packet.get(usize::from(head[0] & 15) * 4..).filter(|_| is_first).unwrap_or_default();
    Some(transport(address(12).into(), address(16).into(), head[9], rest))
}

fn ipv6(packet: &[u8]) -> Option<PacketHead> {
    let head: &[u8; 40] = packet.first_chunk()?;
    if head[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| head.get(at..at + 16)?.first_chunk::<16>().copied().map(Ipv6Addr::from);
    let (source, destination) = (address(8)?, address(24)?);
    let (mut next, mut rest) = (head[6], packet.get(40..).unwrap_or_default());
    for _ in 0..EXTENSIONS {
        // Hop-by-hop, routing, destination options (RFC 8200); fragment; authentication (RFC 4302).
        let length = match (next, rest) {
            (0 | 43 | 60, [_, length, ..]) => (usize::from(*length) + 1) * 8,
            (44, [after, _, high, low, ..]) => {
                if u16::from_be_bytes([*high, *low]) >> 3 != 0 {
                    // Ports stand in the first fragment alone.
                    (next, rest) = (*after, &[]);
                    break;
                }
                8
            }
            (51, [_, length, ..]) => (usize::from(*length) + 2) * 4,
            _ => break,
        };
        next = rest.first().copied().unwrap_or(next);
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(transport(source.into(), destination.into(), next, rest))
}

fn transport(source: IpAddr, destination: IpAddr, protocol: u8, rest: &[u8]) -> PacketHead {
    let has_ports = matches!(protocol, TCP | UDP | SCTP);
    let ports = match rest {
        [a, b, c, d, ..] if has_ports => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    };
    let flags = match protocol {
        TCP => rest.get(13).copied(),
        ICMP | ICMP6 => rest.first().copied(),
        _ => None,
    };
    PacketHead { source, destination, protocol, ports, flags }
}

/// A message about IPv4 on Ethernet (RFC 826).
fn arp(packet: &[u8]) -> Option<PacketHead> {
    let message: &[u8; 28] = packet.first_chunk()?;
    if message[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let address =
        |at: usize| Ipv4Addr::new(message[at], message[at + 1], message[at + 2], message[at + 3]).into();
    let (source, destination) = (address(14), address(24));
    Some(PacketHead { source, destination, protocol: 0, ports: None, flags: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(protocol: u8, offset: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, offset, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend(rest);
        packet
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(rest);
        packet
    }

    fn check(ethertype: u16, packet: &[u8], expected: &str) {
        let head = PacketHead::read(ethertype, packet);
        let shown = head.map(|head| {
            let ports = head.ports.map_or(String::new(), |(from, to)| format!(" {from}>{to}"));
            let PacketHead { source, destination, .. } = head;
            format!("{source} {destination} {}{ports} {}", head.protocol_name(), head.flags_text())
        });
        assert_eq!(shown.as_deref().unwrap_or("none").trim_end(), expected);
    }

    #[test]
    fn headers_say_who_sent_what_to_whom() {
        let syn = [0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2];
        check(IPV4, &v4(6, 0, &syn), "10.0.0.1 10.0.0.2 tcp 40000>80 SYN");
        check(IPV4, &v4(17, 0, &[0, 53, 0, 99]), "10.0.0.1 10.0.0.2 udp 53>99");
        check(IPV4, &v4(17, 9, &[0, 53, 0, 99]), "10.0.0.1 10.0.0.2 udp");
        check(IPV4, &v4(1, 0, &[8, 0]), "10.0.0.1 10.0.0.2 icmp echo-request");
        check(IPV4, &v4(47, 0, &[1, 2, 3, 4]), "10.0.0.1 10.0.0.2 47");
        check(IPV6, &v6(6, &syn), "fd00::1 fd00::2 tcp 40000>80 SYN");
        let options = [&[6, 0, 0, 0, 0, 0, 0, 0][..], &syn].concat();
        check(IPV6, &v6(60, &options), "fd00::1 fd00::2 tcp 40000>80 SYN");
        check(IPV6, &v6(44, &[17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]), "fd00::1 fd00::2 udp 1>2");
        check(IPV6, &v6(44, &[17, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 2]), "fd00::1 fd00::2 udp");
        let behind = [&[44, 0, 0, 0, 0, 0, 0, 0][..], &[17, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 2]].concat();
        check(IPV6, &v6(60, &behind), "fd00::1 fd00::2 udp");
        check(IPV6, &v6(58, &[135]), "fd00::1 fd00::2 icmpv6 type 135");
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1][..], &[10, 0, 0, 9], &[0; 6], &[10, 0, 0, 1]];
        check(ARP, &arp.concat(), "10.0.0.9 10.0.0.1 arp");
        check(IPV4, &v6(6, &syn), "none");
        check(0x88cc, &[0; 40], "none");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(kind in prop::sample::select(vec![IPV4, IPV6, ARP, 0]), mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let (Some(first), IPV4 | IPV6) = (bytes.first_mut(), kind) {
                *first = if kind == IPV4 { 0x40 | *first & 15 } else { 0x60 };
            }
            let _ = PacketHead::read(kind, &bytes).map(|head| (head.flags_text(), head.protocol_name()));
        }
    }
}
