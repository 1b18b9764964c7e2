//! Data types of keys and the values that stand in matches and elements.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Length of an interface name in the kernel, terminating zero included (`IFNAMSIZ`).
const NAME_BYTES: usize = 16;

/// The type of one field of a key, by the names of the `nft` program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// Interface name, 16 bytes.
    Ifname,
    /// MAC, 6 bytes.
    EtherAddr,
    /// IPv4 address.
    Ipv4Addr,
    /// IPv6 address.
    Ipv6Addr,
    /// EtherType, 2 bytes, network order.
    EtherType,
    /// Number of a transport protocol, 1 byte.
    InetProto,
    /// Port, 2 bytes, network order.
    InetService,
    /// Packet or connection mark, 4 bytes, host order.
    Mark,
    /// Priority of a packet, as traffic control numbers classes: 4 bytes, host order.
    ClassId,
}

impl DataType {
    /// Number by which the `nft` program knows the type (its `include/datatype.h`); the kernel only keeps it.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::EtherType => 10,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::ClassId => 23,
            Self::Ifname => 41,
        }
    }

    /// Length in bytes, unpadded.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Ifname => NAME_BYTES,
            Self::EtherAddr => 6,
            Self::Ipv4Addr | Self::Mark | Self::ClassId => 4,
            Self::Ipv6Addr => 16,
            Self::InetProto => 1,
            Self::EtherType | Self::InetService => 2,
        }
    }

    /// Whether the `nft` program must swap bytes to print it.
    pub(crate) const fn is_host_order(self) -> bool {
        matches!(self, Self::Ifname | Self::Mark | Self::ClassId)
    }

    /// Value of exactly this type from the bytes of a register or key field; `None` when there are too few.
    pub(crate) fn value(self, bytes: &[u8]) -> Option<Value> {
        Some(match self {
            Self::Ifname => {
                let name = bytes.get(..NAME_BYTES)?;
                let end = name.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
                Value::Name(String::from_utf8_lossy(&name[..end]).into_owned())
            }
            Self::EtherAddr => Value::Mac(*bytes.first_chunk()?),
            Self::Ipv4Addr => Value::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            Self::Ipv6Addr => Value::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
            Self::EtherType => Value::EtherType(u16::from_be_bytes(*bytes.first_chunk()?)),
            Self::InetProto => Value::Protocol(*bytes.first()?),
            Self::InetService => Value::U16(u16::from_be_bytes(*bytes.first_chunk()?)),
            Self::Mark => Value::U32(u32::from_ne_bytes(*bytes.first_chunk()?)),
            Self::ClassId => Value::ClassId(u32::from_ne_bytes(*bytes.first_chunk()?)),
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ifname => "ifname",
            Self::EtherAddr => "ether_addr",
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::EtherType => "ether_type",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Mark => "mark",
            Self::ClassId => "classid",
        })
    }
}

/// One value of a match, or one field of an element's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Interface name of up to 15 bytes.
    Name(String),
    /// Beginning of an interface name: `"wv*"`. Only in matches.
    NamePrefix(String),
    /// MAC.
    Mac([u8; 6]),
    /// IPv4 address.
    V4(Ipv4Addr),
    /// IPv6 address.
    V6(Ipv6Addr),
    /// IPv4 addresses from the first to the second, both included. Only in interval sets.
    V4Range(Ipv4Addr, Ipv4Addr),
    /// IPv6 addresses from the first to the second, both included. Only in interval sets.
    V6Range(Ipv6Addr, Ipv6Addr),
    /// EtherType.
    EtherType(u16),
    /// Number of a transport protocol.
    Protocol(u8),
    /// One byte.
    U8(u8),
    /// Two bytes, network order in packets.
    U16(u16),
    /// Numbers of two bytes from the first to the second, both included. Only in interval sets.
    U16Range(u16, u16),
    /// Four bytes, host order in registers.
    U32(u32),
    /// The same as a class: `1:2a`.
    ClassId(u32),
}

impl Value {
    /// The bytes as they stand in a register; of a range its first address.
    pub(crate) fn first_bytes(&self) -> Vec<u8> {
        match self {
            Self::Name(name) => {
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(NAME_BYTES, 0);
                bytes
            }
            Self::NamePrefix(prefix) => prefix.as_bytes().to_vec(),
            Self::Mac(mac) => mac.to_vec(),
            Self::V4(a) | Self::V4Range(a, _) => a.octets().to_vec(),
            Self::V6(a) | Self::V6Range(a, _) => a.octets().to_vec(),
            Self::U8(n) | Self::Protocol(n) => vec![*n],
            Self::U16(n) | Self::EtherType(n) | Self::U16Range(n, _) => n.to_be_bytes().to_vec(),
            Self::U32(n) | Self::ClassId(n) => n.to_ne_bytes().to_vec(),
        }
    }

    /// The bytes of the last address of a range; of any other value its only bytes.
    pub(crate) fn last_bytes(&self) -> Vec<u8> {
        match self {
            Self::V4Range(_, last) => last.octets().to_vec(),
            Self::V6Range(_, last) => last.octets().to_vec(),
            Self::U16Range(_, last) => last.to_be_bytes().to_vec(),
            Self::Name(_)
            | Self::NamePrefix(_)
            | Self::Mac(_)
            | Self::V4(_)
            | Self::V6(_)
            | Self::EtherType(_)
            | Self::Protocol(_)
            | Self::U8(_)
            | Self::U16(_)
            | Self::U32(_)
            | Self::ClassId(_) => self.first_bytes(),
        }
    }

    /// An address.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses().filter(|(first, last)| first == last).map(|(first, _)| first)
    }

    /// First and last of a range of addresses; of one address itself, twice.
    pub const fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self {
            Self::V4(a) => Some((IpAddr::V4(*a), IpAddr::V4(*a))),
            Self::V6(a) => Some((IpAddr::V6(*a), IpAddr::V6(*a))),
            Self::V4Range(a, b) => Some((IpAddr::V4(*a), IpAddr::V4(*b))),
            Self::V6Range(a, b) => Some((IpAddr::V6(*a), IpAddr::V6(*b))),
            Self::Name(_)
            | Self::NamePrefix(_)
            | Self::Mac(_)
            | Self::EtherType(_)
            | Self::Protocol(_)
            | Self::U8(_)
            | Self::U16(_)
            | Self::U16Range(..)
            | Self::U32(_)
            | Self::ClassId(_) => None,
        }
    }

    /// The range from one value to another, or the one value when they are equal; `None` unless of one kind that has ranges.
    pub fn between(first: Self, last: Self) -> Option<Self> {
        Some(match (first, last) {
            (first, last) if first == last => first,
            (Self::V4(first), Self::V4(last)) => Self::V4Range(first, last),
            (Self::V6(first), Self::V6(last)) => Self::V6Range(first, last),
            (Self::U16(first), Self::U16(last)) => Self::U16Range(first, last),
            _ => return None,
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::NamePrefix(prefix) => write!(f, "\"{prefix}*\""),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::V4(a) => a.fmt(f),
            Self::V6(a) => a.fmt(f),
            Self::V4Range(a, b) => {
                let size = u32::from(*b) ^ u32::from(*a);
                write_range(f, a, b, prefix_of(u128::from(u32::from(*a)), u128::from(size), 32))
            }
            Self::V6Range(a, b) => {
                write_range(f, a, b, prefix_of(u128::from(*a), u128::from(*b) ^ u128::from(*a), 128))
            }
            Self::Protocol(n) => match n {
                1 => f.write_str("icmp"),
                6 => f.write_str("tcp"),
                17 => f.write_str("udp"),
                58 => f.write_str("ipv6-icmp"),
                132 => f.write_str("sctp"),
                other => other.fmt(f),
            },
            Self::EtherType(n) => match n {
                0x0800 => f.write_str("ip"),
                0x0806 => f.write_str("arp"),
                0x86dd => f.write_str("ip6"),
                other => write!(f, "{other:#06x}"),
            },
            Self::U8(n) => n.fmt(f),
            Self::U16(n) => n.fmt(f),
            Self::U16Range(a, b) => write!(f, "{a}-{b}"),
            Self::U32(n) => write!(f, "{n:#010x}"),
            Self::ClassId(0) => f.write_str("none"),
            Self::ClassId(n) => write!(f, "{:x}:{:x}", n >> 16, n & 0xffff),
        }
    }
}

/// The prefix length of a range whose first address is `first` and differs from its last in `differing` bits.
fn prefix_of(first: u128, differing: u128, bits: u32) -> Option<u32> {
    let host_bits = 128 - differing.leading_zeros();
    let all_ones = differing.count_ones() == host_bits;
    (all_ones && first & differing == 0).then_some(bits - host_bits)
}

fn write_range(
    f: &mut fmt::Formatter<'_>,
    first: &impl fmt::Display,
    last: &impl fmt::Display,
    prefix: Option<u32>,
) -> fmt::Result {
    match prefix {
        Some(prefix) => write!(f, "{first}/{prefix}"),
        None => write!(f, "{first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_print_as_prefixes_where_they_are_one() {
        let r = |a: &str, b: &str| Value::V4Range(a.parse().unwrap(), b.parse().unwrap()).to_string();
        assert_eq!(r("10.1.0.0", "10.1.255.255"), "10.1.0.0/16");
        assert_eq!(r("10.1.0.0", "10.2.255.255"), "10.1.0.0-10.2.255.255");
        assert_eq!(r("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        let v6 =
            Value::V6Range("fd00::".parse().unwrap(), "fd00:0:0:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
        assert_eq!(v6.to_string(), "fd00::/48");
    }

    #[test]
    fn bytes_become_the_same_value_again() {
        let cases = [
            (DataType::Ifname, Value::Name("wv0a1b2c3d".into())),
            (DataType::EtherAddr, Value::Mac([2, 0, 0, 0, 1, 9])),
            (DataType::Ipv4Addr, Value::V4("10.1.2.3".parse().unwrap())),
            (DataType::Ipv6Addr, Value::V6("fd00::9".parse().unwrap())),
            (DataType::EtherType, Value::EtherType(0x0800)),
            (DataType::InetProto, Value::Protocol(6)),
            (DataType::InetService, Value::U16(8080)),
            (DataType::Mark, Value::U32(0x0100_0000)),
            (DataType::ClassId, Value::ClassId(0x0100_002a)),
        ];
        for (kind, value) in cases {
            let bytes = value.first_bytes();
            assert_eq!(bytes.len(), kind.bytes(), "{kind}");
            assert_eq!(kind.value(&bytes), Some(value));
            assert_eq!(kind.value(&bytes[1..]), None);
        }
    }
}
