//! The tables of a node: one map of elements, key to number, every element of one of ten kinds.
//!
//! Every number is the content's of what it stands for, so tables of equal content are equal, whoever made them in whatever
//! order, and an agent that starts anew can compare them with the kernel's.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use weft_model::{Direction, IdentityId, Protocol};

use crate::{ports::PortsId, profile::ProfileId};

/// Number of a class of addresses: all that lie in the same blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockClass(pub u64);

/// Number of a class of ports: all that lie in the same wide ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortClass(pub u64);

/// Key of an element. Where an address is in it, each family has a map of its own in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `identity4/6`: address of a pod anywhere, or of the resolver → [`IdentityId`].
    Identity(IpAddr),
    /// `profile_in4/6`, `profile_out4/6`: address of a local pod → [`ProfileId`].
    Profile(Direction, IpAddr),
    /// `defaults_any` → [`PortsId`]: what anybody may.
    DefaultAny(ProfileId),
    /// `defaults_pod` → [`PortsId`]: what every pod may that `peers` doesn't list.
    DefaultPod(ProfileId),
    /// `peers` → [`PortsId`]: all that pods of an identity may; only where that is more than every pod may.
    Peer(ProfileId, IdentityId),
    /// `blocks4/6`: first and last address → [`BlockClass`]; they don't overlap.
    Block(IpAddr, IpAddr),
    /// `block_peers` → [`PortsId`]: what addresses of a class may; only where that is more than anybody may.
    BlockPeer(ProfileId, BlockClass),
    /// `ports`: a port of a set; 0 stands for every port of the protocol → 0.
    Port(PortsId, Protocol, u16),
    /// `port_class`: first and last port → [`PortClass`]; they don't overlap.
    PortClass(Protocol, u16, u16),
    /// `range_ports`: a class of ports of a set → 0.
    RangePort(PortsId, PortClass),
}

impl Key {
    /// All keys of a profile's `peers`.
    pub(crate) const fn peers(profile: ProfileId) -> RangeInclusive<Self> {
        Self::Peer(profile, IdentityId(0))..=Self::Peer(profile, IdentityId(u64::MAX))
    }

    /// All keys of a profile's `block_peers`.
    pub(crate) const fn block_peers(profile: ProfileId) -> RangeInclusive<Self> {
        Self::BlockPeer(profile, BlockClass(0))..=Self::BlockPeer(profile, BlockClass(u64::MAX))
    }

    /// All keys of a set's `ports`.
    pub(crate) const fn ports(ports: PortsId) -> RangeInclusive<Self> {
        Self::Port(ports, Protocol::Tcp, 0)..=Self::Port(ports, Protocol::Sctp, u16::MAX)
    }

    /// All keys of `port_class`.
    pub(crate) const fn port_classes() -> RangeInclusive<Self> {
        Self::PortClass(Protocol::Tcp, 0, 0)..=Self::PortClass(Protocol::Sctp, u16::MAX, u16::MAX)
    }

    /// All keys of `range_ports`.
    pub(crate) const fn range_ports() -> RangeInclusive<Self> {
        Self::RangePort(PortsId(0), PortClass(0))..=Self::RangePort(PortsId(u64::MAX), PortClass(u64::MAX))
    }

    /// All keys of `blocks` up to an address, of its family.
    pub(crate) const fn blocks_to(address: IpAddr) -> RangeInclusive<Self> {
        let (low, high) = match address {
            IpAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST)),
            IpAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))),
        };
        Self::Block(low, low)..=Self::Block(address, high)
    }

    /// Name of the map, without its family.
    pub const fn map(&self) -> &'static str {
        match self {
            Self::Identity(_) => "identity",
            Self::Profile(Direction::Ingress, _) => "profile_in",
            Self::Profile(Direction::Egress, _) => "profile_out",
            Self::DefaultAny(_) => "defaults_any",
            Self::DefaultPod(_) => "defaults_pod",
            Self::Peer(..) => "peers",
            Self::Block(..) => "blocks",
            Self::BlockPeer(..) => "block_peers",
            Self::Port(..) => "ports",
            Self::PortClass(..) => "port_class",
            Self::RangePort(..) => "range_ports",
        }
    }
}

/// The tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    elements: BTreeMap<Key, u64>,
}

impl Tables {
    /// The number of a key.
    pub fn get(&self, key: &Key) -> Option<u64> {
        self.elements.get(key).copied()
    }

    /// All elements in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, u64)> {
        self.elements.iter().map(|(key, number)| (key, *number))
    }

    /// Elements of a range of keys.
    pub fn range(&self, keys: RangeInclusive<Key>) -> impl DoubleEndedIterator<Item = (&Key, u64)> {
        self.elements.range(keys).map(|(key, number)| (key, *number))
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// How many elements each map has.
    pub fn sizes(&self) -> BTreeMap<&'static str, usize> {
        let mut sizes = BTreeMap::new();
        for key in self.elements.keys() {
            *sizes.entry(key.map()).or_default() += 1;
        }
        sizes
    }

    /// Does what changes say; for whoever keeps a copy.
    pub fn apply(&mut self, changes: &Changes) {
        for (key, _) in &changes.delete {
            self.elements.remove(key);
        }
        self.elements.extend(changes.add.iter().copied());
    }
}

/// What makes other tables of some: in one transaction, deletions first. A number that changes is both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Elements that go, with the numbers they had.
    pub delete: Vec<(Key, u64)>,
    /// Elements that come.
    pub add: Vec<(Key, u64)>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.add.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements go, {} come", self.delete.len(), self.add.len())
    }
}

/// Tables that remember what they were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) tables: Tables,
    before: BTreeMap<Key, Option<u64>>,
}

impl Recorder {
    /// Puts or removes an element; gives the number it had.
    pub(crate) fn set(&mut self, key: Key, number: Option<u64>) -> Option<u64> {
        let old = match number {
            Some(number) => self.tables.elements.insert(key, number),
            None => self.tables.elements.remove(&key),
        };
        if old != number
            && let Entry::Vacant(entry) = self.before.entry(key)
        {
            entry.insert(old);
        }
        old
    }

    /// Makes the elements of a range of keys exactly these.
    pub(crate) fn replace(&mut self, keys: RangeInclusive<Key>, wanted: &BTreeMap<Key, u64>) {
        let gone: Vec<Key> =
            self.tables.range(keys).map(|(key, _)| *key).filter(|key| !wanted.contains_key(key)).collect();
        for key in gone {
            self.set(key, None);
        }
        for (key, number) in wanted {
            self.set(*key, Some(*number));
        }
    }

    /// What has changed since the last call.
    pub(crate) fn take(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (key, old) in std::mem::take(&mut self.before) {
            let new = self.tables.get(&key);
            if old != new {
                changes.delete.extend(old.map(|number| (key, number)));
                changes.add.extend(new.map(|number| (key, number)));
            }
        }
        changes
    }
}
