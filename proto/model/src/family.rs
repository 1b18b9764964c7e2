//! Address families and values that exist once per family.

use std::{fmt, net::IpAddr, str::FromStr};

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 (RFC 791).
    V4,
    /// IPv6 (RFC 8200).
    V6,
}

impl Family {
    /// The family of an address. An IPv4-mapped IPv6 address counts as IPv6: it is never accepted as a pod's.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Length of an address in bits: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The other family.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Which families a fabric has and which comes first (design, M6): `v4`, `v6`, `dual` (IPv4 first), `dual6` (IPv6 first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    Dual,
    /// Both, IPv6 first.
    Dual6,
}

impl Families {
    /// All four kinds, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Dual, Self::Dual6];

    /// The primary family: the first address of each pod and the one components must agree on.
    pub const fn primary(self) -> Family {
        match self {
            Self::V4 | Self::Dual => Family::V4,
            Self::V6 | Self::Dual6 => Family::V6,
        }
    }

    /// The families in order, primary first.
    pub const fn list(self) -> &'static [Family] {
        match self {
            Self::V4 => &[Family::V4],
            Self::V6 => &[Family::V6],
            Self::Dual => &[Family::V4, Family::V6],
            Self::Dual6 => &[Family::V6, Family::V4],
        }
    }

    /// Whether the fabric has this family.
    pub const fn has(self, family: Family) -> bool {
        match (self, family) {
            (Self::V4, Family::V6) | (Self::V6, Family::V4) => false,
            (Self::V4 | Self::V6 | Self::Dual | Self::Dual6, _) => true,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Dual => "dual",
            Self::Dual6 => "dual6",
        })
    }
}

impl FromStr for Families {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|f| f.to_string() == text)
            .ok_or_else(|| format!("unknown family kind {text:?}: use v4, v6, dual or dual6"))
    }
}

/// Whether an address means another machine on each link (169.254.0.0/16, RFC 3927; fe80::/10, RFC 4291 section 2.5.6).
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// One value for each family of a fabric: at least one is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dual<T> {
    v4: Option<T>,
    v6: Option<T>,
}

impl<T> Dual<T> {
    /// Builds from optional parts; `None` when both are absent.
    pub fn new(v4: Option<T>, v6: Option<T>) -> Option<Self> {
        (v4.is_some() || v6.is_some()).then_some(Self { v4, v6 })
    }

    /// The IPv4 value.
    pub const fn v4(&self) -> Option<&T> {
        self.v4.as_ref()
    }

    /// The IPv6 value.
    pub const fn v6(&self) -> Option<&T> {
        self.v6.as_ref()
    }

    /// The value of one family.
    pub const fn of(&self, family: Family) -> Option<&T> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// The values that are present, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &T)> {
        self.v4.iter().map(|v| (Family::V4, v)).chain(self.v6.iter().map(|v| (Family::V6, v)))
    }
}
