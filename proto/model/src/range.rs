//! Address ranges without host bits, and what each is for.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::Family;

/// What a range of a fabric is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Addresses of pods, leased to nodes in blocks.
    Pods,
    /// Virtual addresses of services.
    Services,
    /// Mesh addresses of nodes.
    Nodes,
    /// External addresses of LoadBalancer services.
    LoadBalancers,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "pod",
            Self::Services => "service",
            Self::Nodes => "node",
            Self::LoadBalancers => "load-balancer",
        })
    }
}

/// Why a text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not `ADDRESS/LENGTH`.
    #[error("{text:?} is not a range such as 10.128.0.0/14 or fd5a:7e00::/48")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// Bits beyond the prefix are set.
    #[error("{given} has host bits set; the range that holds it is {meant}")]
    HostBits {
        /// What was given.
        given: IpNet,
        /// The same without host bits.
        meant: IpNet,
    },
    /// An IPv4-mapped IPv6 range (RFC 4291 section 2.5.5.2).
    #[error("{given} is an IPv4-mapped range; write it as IPv4")]
    Mapped {
        /// What was given.
        given: IpNet,
    },
}

/// A CIDR range without host bits and not IPv4-mapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Checks and wraps a network.
    pub fn new(net: IpNet) -> Result<Self, RangeError> {
        if net.addr() != net.network() {
            return Err(RangeError::HostBits { given: net, meant: net.trunc() });
        }
        if let IpAddr::V6(address) = net.addr()
            && address.to_ipv4_mapped().is_some()
        {
            return Err(RangeError::Mapped { given: net });
        }
        Ok(Self(net))
    }

    /// The range of exactly one address: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// The network.
    pub const fn net(&self) -> IpNet {
        self.0
    }

    /// First address: the network address.
    pub fn first(&self) -> IpAddr {
        self.0.network()
    }

    /// Last address: of all ones behind the prefix.
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Family of the range.
    pub const fn family(&self) -> Family {
        match self.0 {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// Whether the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether the other range lies wholly inside.
    pub fn covers(&self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(&self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// The `index`-th address of the range, counted from the network address; `None` beyond its end.
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        let host_bits = self.family().bits() - self.prefix();
        if host_bits < 128 && index >> host_bits != 0 {
            return None;
        }
        match self.0 {
            IpNet::V4(net) => {
                let value = u32::from(net.network()).checked_add(u32::try_from(index).ok()?)?;
                Some(IpAddr::V4(value.into()))
            }
            IpNet::V6(net) => Some(IpAddr::V6(u128::from(net.network()).checked_add(index)?.into())),
        }
    }

    /// Position of an address within the range, from 0; `None` outside.
    pub fn index_of(&self, address: IpAddr) -> Option<u128> {
        if !self.contains(address) {
            return None;
        }
        match (self.0, address) {
            (IpNet::V4(net), IpAddr::V4(a)) => Some(u128::from(u32::from(a) - u32::from(net.network()))),
            (IpNet::V6(net), IpAddr::V6(a)) => Some(u128::from(a) - u128::from(net.network())),
            (IpNet::V4(_), IpAddr::V6(_)) | (IpNet::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// Number of addresses; saturates at `u128::MAX` for ::/0.
    pub fn size(&self) -> u128 {
        let host_bits = self.family().bits() - self.prefix();
        if host_bits == 128 { u128::MAX } else { 1 << host_bits }
    }

    /// The `index`-th sub-range of the given prefix length; `None` beyond the end or when `prefix` is shorter.
    pub fn subrange(&self, prefix: u8, index: u128) -> Option<Self> {
        let bits = self.family().bits();
        if prefix < self.prefix() || prefix > bits {
            return None;
        }
        let shift = u32::from(bits - prefix);
        let offset = if shift >= 128 {
            (index == 0).then_some(0)?
        } else {
            index.checked_shl(shift).filter(|o| o >> shift == index)?
        };
        let net = IpNet::new(self.nth(offset)?, prefix).ok()?;
        Some(Self(net))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let net = text.parse::<IpNet>().map_err(|_| RangeError::Syntax { text: text.to_owned() })?;
        Self::new(net)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_and_mapped_ranges_are_refused() {
        assert!(matches!("10.1.2.3/8".parse::<AddressRange>(), Err(RangeError::HostBits { .. })));
        assert!(matches!("::ffff:10.0.0.0/104".parse::<AddressRange>(), Err(RangeError::Mapped { .. })));
        assert!(matches!("10.1.2".parse::<AddressRange>(), Err(RangeError::Syntax { .. })));
        assert_eq!(r("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn positions_and_subranges() {
        let pods = r("10.128.0.0/14");
        assert_eq!(pods.size(), 1 << 18);
        assert_eq!(pods.subrange(24, 7), Some(r("10.128.7.0/24")));
        assert_eq!(pods.subrange(24, 1024), None);
        assert_eq!(pods.nth(258), Some("10.128.1.2".parse().unwrap()));
        assert_eq!(pods.index_of("10.128.1.2".parse().unwrap()), Some(258));
        assert_eq!(pods.index_of("10.127.1.2".parse().unwrap()), None);
        let v6 = r("fd5a:7e00::/48");
        assert_eq!(v6.subrange(64, 7), Some(r("fd5a:7e00:0:7::/64")));
        assert_eq!(v6.subrange(64, 65536), None);
        assert!(v6.covers(r("fd5a:7e00:0:7::/64")) && !r("fd5a:7e00:0:7::/64").covers(v6));
        assert!(r("10.0.0.0/8").overlaps(r("10.1.0.0/16")) && !r("10.0.0.0/9").overlaps(r("10.128.0.0/9")));
    }
}
