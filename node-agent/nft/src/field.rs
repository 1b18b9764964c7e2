//! The fields of packets and connections that rules look at: where each stands, and what must hold before it means anything.

use crate::{
    DataType, TableFamily, Value,
    expr::{CmpOp, Expr, PayloadBase},
};

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Name of the device (in `bridge`: the port) it came in by.
    InName,
    /// Name of the device it leaves by.
    OutName,
    /// Number of the transport protocol.
    L4Proto,
    /// Family in `inet` tables: 2 or 10.
    NfProto,
    /// EtherType of the frame as it stands in the frame, VLAN tags included (`meta protocol` would not see a stripped tag).
    EtherType,
    /// Source MAC.
    EtherSource,
    /// Destination MAC.
    EtherDestination,
    /// Source MAC of a frame on a device that may not be Ethernet by its kind: the loopback device has the same header.
    LinkSource,
    /// ARP: the protocol whose addresses it is about.
    ArpProtocol,
    /// ARP: the sender's MAC.
    ArpSenderMac,
    /// ARP about IPv4: the sender's address.
    ArpSenderAddress,
    /// IPv4 source.
    Ip4Source,
    /// IPv4 destination.
    Ip4Destination,
    /// IPv4 flags and fragment offset (RFC 791 section 3.1): 0, or 0x4000 for "don't fragment", in a packet that is whole.
    Ip4Fragment,
    /// IPv6 source.
    Ip6Source,
    /// IPv6 destination.
    Ip6Destination,
    /// IPv6 payload length.
    Ip6Length,
    /// IPv6: what comes behind the first header; a fragment's is 44 (RFC 8200 section 4.5).
    Ip6Next,
    /// ICMP type.
    IcmpType,
    /// ICMPv6 type.
    Icmp6Type,
    /// Neighbour solicitation or advertisement: its target (RFC 4861 sections 4.3, 4.4).
    NdTarget,
    /// Type and length of the first option of a neighbour solicitation or advertisement.
    NdOption,
    /// The MAC in that option.
    NdOptionMac,
    /// TCP destination port.
    TcpDestination,
    /// UDP destination port.
    UdpDestination,
    /// UDP length: header and payload.
    UdpLength,
    /// Source port of whatever transport the rule matched before.
    TransportSource,
    /// Destination port of whatever transport the rule matched before.
    TransportDestination,
}

/// What must be matched before a field of a packet is what it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depends {
    /// Always there.
    Nothing,
    /// The device carries Ethernet frames (in `bridge` all do).
    Ethernet,
    /// An ARP message.
    Arp,
    /// An IPv4 packet.
    Ip4,
    /// An IPv6 packet.
    Ip6,
    /// A transport protocol over either family.
    Transport(u8),
    /// A transport protocol over IPv6.
    Transport6(u8),
}

const LINK: PayloadBase = PayloadBase::Link;
const NETWORK: PayloadBase = PayloadBase::Network;
const TRANSPORT: PayloadBase = PayloadBase::Transport;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

impl Field {
    /// Bytes that the field takes in a register, without padding.
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Self::InName | Self::OutName | Self::Ip6Source | Self::Ip6Destination | Self::NdTarget => 16,
            Self::EtherSource
            | Self::EtherDestination
            | Self::LinkSource
            | Self::ArpSenderMac
            | Self::NdOptionMac => 6,
            Self::ArpSenderAddress | Self::Ip4Source | Self::Ip4Destination => 4,
            Self::EtherType
            | Self::ArpProtocol
            | Self::Ip4Fragment
            | Self::Ip6Length
            | Self::NdOption
            | Self::TcpDestination
            | Self::UdpDestination
            | Self::UdpLength
            | Self::TransportSource
            | Self::TransportDestination => 2,
            Self::L4Proto | Self::NfProto | Self::Ip6Next | Self::IcmpType | Self::Icmp6Type => 1,
        }
    }

    /// What must be matched first.
    pub(crate) const fn depends(self) -> Depends {
        match self {
            Self::InName
            | Self::OutName
            | Self::L4Proto
            | Self::NfProto
            | Self::EtherType
            | Self::LinkSource
            | Self::TransportSource
            | Self::TransportDestination => Depends::Nothing,
            Self::EtherSource | Self::EtherDestination => Depends::Ethernet,
            Self::ArpProtocol | Self::ArpSenderMac | Self::ArpSenderAddress => Depends::Arp,
            Self::Ip4Source | Self::Ip4Destination | Self::Ip4Fragment => Depends::Ip4,
            Self::Ip6Source | Self::Ip6Destination | Self::Ip6Length | Self::Ip6Next => Depends::Ip6,
            Self::IcmpType => Depends::Transport(ICMP),
            Self::Icmp6Type | Self::NdTarget | Self::NdOption | Self::NdOptionMac => {
                Depends::Transport6(ICMP6)
            }
            Self::TcpDestination => Depends::Transport(TCP),
            Self::UdpDestination | Self::UdpLength => Depends::Transport(UDP),
        }
    }

    /// The expression that loads the field into registers from word `to` on.
    pub(crate) const fn load(self, to: u32) -> Expr {
        let (base, offset) = match self {
            Self::InName => return Expr::Meta { key: meta::IIFNAME, to },
            Self::OutName => return Expr::Meta { key: meta::OIFNAME, to },
            Self::L4Proto => return Expr::Meta { key: meta::L4PROTO, to },
            Self::NfProto => return Expr::Meta { key: meta::NFPROTO, to },
            Self::EtherDestination => (LINK, 0),
            Self::EtherSource | Self::LinkSource => (LINK, 6),
            Self::EtherType => (LINK, 12),
            Self::ArpProtocol => (NETWORK, 2),
            Self::ArpSenderMac => (NETWORK, 8),
            Self::ArpSenderAddress => (NETWORK, 14),
            Self::Ip4Source => (NETWORK, 12),
            Self::Ip4Destination => (NETWORK, 16),
            Self::Ip4Fragment => (NETWORK, 6),
            Self::Ip6Length => (NETWORK, 4),
            Self::Ip6Next => (NETWORK, 6),
            Self::Ip6Source => (NETWORK, 8),
            Self::Ip6Destination => (NETWORK, 24),
            Self::IcmpType | Self::Icmp6Type | Self::TransportSource => (TRANSPORT, 0),
            Self::TcpDestination | Self::UdpDestination | Self::TransportDestination => (TRANSPORT, 2),
            Self::UdpLength => (TRANSPORT, 4),
            Self::NdTarget => (TRANSPORT, 8),
            Self::NdOption => (TRANSPORT, 24),
            Self::NdOptionMac => (TRANSPORT, 26),
        };
        Expr::Payload { base, offset, len: self.bytes(), to }
    }

    /// The field as the `nft` program writes it. What it has no name for it writes as `@base,bit,bits`.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::InName => "iifname",
            Self::OutName => "oifname",
            Self::L4Proto => "meta l4proto",
            Self::NfProto => "meta nfproto",
            Self::EtherType => "ether type",
            Self::EtherSource => "ether saddr",
            Self::EtherDestination => "ether daddr",
            Self::LinkSource => "@ll,48,48",
            Self::ArpProtocol => "arp ptype",
            Self::ArpSenderMac => "arp saddr ether",
            Self::ArpSenderAddress => "arp saddr ip",
            Self::Ip4Source => "ip saddr",
            Self::Ip4Destination => "ip daddr",
            Self::Ip4Fragment => "ip frag-off",
            Self::Ip6Next => "ip6 nexthdr",
            Self::Ip6Source => "ip6 saddr",
            Self::Ip6Destination => "ip6 daddr",
            Self::Ip6Length => "ip6 length",
            Self::IcmpType => "icmp type",
            Self::Icmp6Type => "icmpv6 type",
            Self::NdTarget => "@th,64,128",
            Self::NdOption => "@th,192,16",
            Self::NdOptionMac => "@th,208,48",
            Self::TcpDestination => "tcp dport",
            Self::UdpDestination => "udp dport",
            Self::UdpLength => "udp length",
            Self::TransportSource => "th sport",
            Self::TransportDestination => "th dport",
        }
    }

    /// The value as the `nft` program writes it beside this field: numbers that have names get them.
    pub(crate) fn value_text(self, value: &Value) -> String {
        let name = match (self, value) {
            (Self::EtherType, Value::U16(0x0800)) => "ip",
            (Self::EtherType, Value::U16(0x0806)) => "arp",
            (Self::EtherType, Value::U16(0x86dd)) => "ip6",
            (Self::L4Proto, Value::U8(ICMP)) => "icmp",
            (Self::L4Proto, Value::U8(TCP)) => "tcp",
            (Self::L4Proto, Value::U8(UDP)) => "udp",
            (Self::L4Proto, Value::U8(ICMP6)) => "ipv6-icmp",
            (Self::Ip6Next, Value::U8(44)) => "ipv6-frag",
            (Self::NfProto, Value::U8(2)) => "ipv4",
            (Self::NfProto, Value::U8(10)) => "ipv6",
            (Self::IcmpType, Value::U8(8)) | (Self::Icmp6Type, Value::U8(128)) => "echo-request",
            (Self::IcmpType, Value::U8(3)) | (Self::Icmp6Type, Value::U8(1)) => "destination-unreachable",
            (Self::Icmp6Type, Value::U8(2)) => "packet-too-big",
            (Self::IcmpType, Value::U8(11)) | (Self::Icmp6Type, Value::U8(3)) => "time-exceeded",
            (Self::IcmpType, Value::U8(12)) | (Self::Icmp6Type, Value::U8(4)) => "parameter-problem",
            (Self::Icmp6Type, Value::U8(130)) => "mld-listener-query",
            (Self::Icmp6Type, Value::U8(131)) => "mld-listener-report",
            (Self::Icmp6Type, Value::U8(132)) => "mld-listener-done",
            (Self::Icmp6Type, Value::U8(133)) => "nd-router-solicit",
            (Self::Icmp6Type, Value::U8(134)) => "nd-router-advert",
            (Self::Icmp6Type, Value::U8(135)) => "nd-neighbor-solicit",
            (Self::Icmp6Type, Value::U8(136)) => "nd-neighbor-advert",
            (Self::Icmp6Type, Value::U8(137)) => "nd-redirect",
            (Self::Icmp6Type, Value::U8(143)) => "mld2-listener-report",
            (Self::NdOption, Value::U16(n)) => return format!("{n:#x}"),
            (Self::LinkSource, Value::Mac([a, b, c, d, e, g])) => {
                return format!("{:#x}", u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *g]));
            }
            _ => return value.to_string(),
        };
        name.to_owned()
    }

    /// The type that a set must have for this field.
    pub fn data_type(self) -> Option<DataType> {
        Some(match self {
            Self::InName | Self::OutName => DataType::Ifname,
            Self::EtherSource
            | Self::EtherDestination
            | Self::LinkSource
            | Self::ArpSenderMac
            | Self::NdOptionMac => DataType::EtherAddr,
            Self::ArpProtocol => DataType::EtherType,
            Self::ArpSenderAddress | Self::Ip4Source | Self::Ip4Destination => DataType::Ipv4Addr,
            Self::Ip6Source | Self::Ip6Destination | Self::NdTarget => DataType::Ipv6Addr,
            Self::L4Proto => DataType::InetProto,
            Self::TcpDestination
            | Self::UdpDestination
            | Self::TransportSource
            | Self::TransportDestination => DataType::InetService,
            Self::EtherType
            | Self::NfProto
            | Self::Ip4Fragment
            | Self::Ip6Length
            | Self::Ip6Next
            | Self::UdpLength
            | Self::IcmpType
            | Self::Icmp6Type
            | Self::NdOption => return None,
        })
    }
}

impl Depends {
    /// The matches that establish it in a table of a family, each as load and compare.
    pub(crate) fn matches(self, family: TableFamily) -> Vec<[Expr; 2]> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Ethernet if family == TableFamily::Bridge => Vec::new(),
            Self::Ethernet => vec![equal(Expr::Meta { key: meta::IIFTYPE, to: 0 }, &1_u16.to_ne_bytes())],
            Self::Arp if family == TableFamily::Arp => Vec::new(),
            Self::Arp => vec![ether_type(0x0806)],
            Self::Ip4 if family == TableFamily::Ip => Vec::new(),
            Self::Ip4 => vec![network(family, 0x0800, 2)],
            Self::Ip6 if family == TableFamily::Ip6 => Vec::new(),
            Self::Ip6 => vec![network(family, 0x86dd, 10)],
            Self::Transport(protocol) => vec![transport(protocol)],
            Self::Transport6(protocol) if family == TableFamily::Ip6 => vec![transport(protocol)],
            Self::Transport6(protocol) => vec![network(family, 0x86dd, 10), transport(protocol)],
        }
    }
}

fn network(family: TableFamily, ether: u16, nfproto: u8) -> [Expr; 2] {
    match family {
        TableFamily::Bridge | TableFamily::Arp => ether_type(ether),
        TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6 => {
            equal(Expr::Meta { key: meta::NFPROTO, to: 0 }, &[nfproto])
        }
    }
}

fn ether_type(number: u16) -> [Expr; 2] {
    equal(Field::EtherType.load(0), &number.to_be_bytes())
}

fn transport(protocol: u8) -> [Expr; 2] {
    equal(Expr::Meta { key: meta::L4PROTO, to: 0 }, &[protocol])
}

fn equal(load: Expr, data: &[u8]) -> [Expr; 2] {
    [load, Expr::Cmp { from: 0, op: CmpOp::Eq, data: data.to_vec() }]
}

/// `enum nft_meta_keys`.
pub(crate) mod meta {
    pub(crate) const PRIORITY: u32 = 2;
    pub(crate) const MARK: u32 = 3;
    pub(crate) const IIFNAME: u32 = 6;
    pub(crate) const OIFNAME: u32 = 7;
    pub(crate) const IIFTYPE: u32 = 8;
    pub(crate) const NFPROTO: u32 = 15;
    pub(crate) const L4PROTO: u32 = 16;
}
