//! The backends of a port, for one view of its endpoints, and which slot leads to which. There are as many as ports of services, and
//! some have a thousand backends: what they say is kept in as few bytes as it needs.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{maglev, rules::Stick};

/// Backends and slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Where each slot leads, by places in `backends`; `None`: each backend has one, in their order.
    slots: Option<Box<[u16]>>,
    backends: Backends,
    /// Of client affinity.
    pub(super) stick: Option<Stick>,
}

/// Backends of one family; a `SocketAddr` needs 32 bytes for what are 6 or 18.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Backends {
    V4(Box<[(Ipv4Addr, u16)]>),
    V6(Box<[(Ipv6Addr, u16)]>),
}

impl Group {
    /// Each backend has one slot. All are of the family of the first one.
    pub(super) fn one_each(backends: &[SocketAddr], stick: Option<Stick>) -> Self {
        Self { slots: None, backends: Backends::of(backends), stick }
    }

    /// Slots lead to these places in `backends`.
    pub(super) fn new(slots: Vec<u16>, backends: &[SocketAddr], stick: Option<Stick>) -> Self {
        Self { slots: Some(slots.into()), backends: Backends::of(backends), stick }
    }

    /// Number of slots.
    pub(super) const fn slots(&self) -> usize {
        match &self.slots {
            Some(slots) => slots.len(),
            None => self.backends.len(),
        }
    }

    /// Place of the backend that a slot leads to.
    pub(super) fn place(&self, slot: usize) -> Option<usize> {
        match &self.slots {
            Some(slots) => slots.get(slot).map(|place| usize::from(*place)),
            None => Some(slot).filter(|slot| *slot < self.backends.len()),
        }
    }

    /// Where a slot leads.
    pub(super) fn at(&self, slot: usize) -> Option<SocketAddr> {
        self.backends.get(self.place(slot)?)
    }

    /// All backends.
    pub(super) fn backends(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        (0..self.backends.len()).filter_map(|place| self.backends.get(place))
    }

    /// Elements that it takes.
    pub(super) const fn size(&self) -> usize {
        self.slots() + if self.stick.is_some() { self.backends.len() + 1 } else { 0 }
    }

    /// Numbers of the backends that clients stick to, unlike each other; the same for the same backend as long as no other one
    /// has the same hash.
    pub(super) fn handles(&self) -> Vec<u32> {
        let mut places: Vec<(SocketAddr, usize)> = self.backends().zip(0..).collect();
        places.sort_unstable();
        let (mut taken, mut handles) = (BTreeSet::new(), vec![0; places.len()]);
        for (backend, place) in places {
            let mut handle = match backend.ip() {
                IpAddr::V4(address) => u32::from(address),
                IpAddr::V6(address) => u32::try_from(maglev::hash(0, &address.octets()) >> 32).unwrap_or(0),
            };
            while !taken.insert(handle) {
                handle = handle.wrapping_add(1);
            }
            handles[place] = handle;
        }
        handles
    }
}

impl Backends {
    fn of(all: &[SocketAddr]) -> Self {
        let v4 = |backend: &SocketAddr| match backend {
            SocketAddr::V4(v4) => Some((*v4.ip(), v4.port())),
            SocketAddr::V6(_) => None,
        };
        let v6 = |backend: &SocketAddr| match backend {
            SocketAddr::V6(v6) => Some((*v6.ip(), v6.port())),
            SocketAddr::V4(_) => None,
        };
        match all.first() {
            Some(SocketAddr::V6(_)) => Self::V6(all.iter().filter_map(v6).collect()),
            Some(SocketAddr::V4(_)) | None => Self::V4(all.iter().filter_map(v4).collect()),
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::V4(all) => all.len(),
            Self::V6(all) => all.len(),
        }
    }

    fn get(&self, place: usize) -> Option<SocketAddr> {
        match self {
            Self::V4(all) => all.get(place).map(|to| SocketAddr::from(*to)),
            Self::V6(all) => all.get(place).map(|to| SocketAddr::from(*to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lead_to_the_backends_that_were_given() {
        let v4: Vec<SocketAddr> =
            ["10.1.0.7:80", "10.1.0.3:81", "10.1.0.3:82"].map(|b| b.parse().unwrap()).into();
        let v6: Vec<SocketAddr> = ["[fd00::7]:80", "[fd00::3]:81"].map(|b| b.parse().unwrap()).into();
        for all in [&v4, &v6] {
            let group = Group::one_each(all, None);
            assert_eq!(group.backends().collect::<Vec<_>>(), *all);
            assert_eq!((0..group.slots()).filter_map(|slot| group.at(slot)).collect::<Vec<_>>(), *all);
            assert_eq!((group.at(all.len()), group.size()), (None, all.len()));
            let stick = Some(Stick { timeout: 60, size: 0 });
            let group = Group::new(vec![1, 0, 1, 0], all, stick);
            assert_eq!([0, 1, 2, 3].map(|slot| group.at(slot).unwrap()), [all[1], all[0], all[1], all[0]]);
            assert_eq!((group.slots(), group.size()), (4, 4 + all.len() + 1));
        }
        // Twins of one address get handles unlike each other, in order of their ports.
        assert_eq!(Group::one_each(&v4, None).handles(), [0x0a01_0007, 0x0a01_0003, 0x0a01_0004]);
    }
}
