//! Numbers of services' ports in the kernel's maps: a function of the names that exist, whatever the order in which they came.
//!
//! A port wants the numbers of a walk that its name gives. Where two want the same, the smaller name has it and the other walks
//! on; when the smaller one goes, the other moves back. So a node that starts anew numbers as before, and so does every node.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{Protocol, ServiceName};

use super::maglev;
use crate::few::Few;

/// Bits of a number: 4,194,304 ports of services.
const BITS: u32 = 22;

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortName {
    /// The service.
    pub(super) service: ServiceName,
    /// Its protocol.
    pub(super) protocol: Protocol,
    /// Its number.
    pub(super) port: u16,
}

impl PortName {
    /// Hash of the name: salt of its tables.
    pub(super) fn hash(&self, salt: u64) -> u64 {
        let (namespace, name) = (self.service.namespace.as_str(), self.service.name.as_str());
        let bytes =
            [namespace.as_bytes(), b"/", name.as_bytes(), &[self.protocol as u8], &self.port.to_be_bytes()];
        maglev::hash(salt, &bytes.concat())
    }

    fn wish(&self, attempt: u32) -> u32 {
        let first = u32::try_from(self.hash(0) >> (64 - BITS)).unwrap_or(0);
        first.wrapping_add(attempt) & ((1 << BITS) - 1)
    }
}

/// The numbers that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// Per number those who want it, each with its attempt; the first has it.
    wished: BTreeMap<u32, Few<PortName, u32>>,
    held: BTreeMap<PortName, u32>,
}

impl Ids {
    /// The number of a port; `None` when it was never added.
    pub(super) fn of(&self, port: &PortName) -> Option<u32> {
        self.held.get(port).copied()
    }

    /// Ports of a service that have numbers.
    pub(super) fn ports_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a PortName> {
        let first = PortName { service: service.clone(), protocol: Protocol::Tcp, port: 0 };
        self.held.range(first..).map(|(port, _)| port).take_while(move |port| port.service == *service)
    }

    /// Adds a port; returns the others whose numbers changed.
    pub(super) fn add(&mut self, port: PortName) -> BTreeSet<PortName> {
        let mut changed = BTreeSet::new();
        if self.held.contains_key(&port) {
            return changed;
        }
        let mut walking = Some((port.clone(), 0));
        while let Some((walker, attempt)) = walking.take() {
            let number = walker.wish(attempt);
            let wishes = self.wished.entry(number).or_default();
            let holder = wishes.first().map(|(holder, _)| holder.clone());
            wishes.insert(walker.clone(), attempt);
            match holder {
                Some(holder) if holder < walker => walking = Some((walker, attempt + 1)),
                other => {
                    self.held.insert(walker.clone(), number);
                    changed.insert(walker);
                    // Who had the number goes on behind the attempt by which it had it.
                    walking = other.and_then(|holder| {
                        let attempt = self.wished.get(&number)?.get(&holder)?;
                        Some((holder, attempt + 1))
                    });
                }
            }
        }
        changed.remove(&port);
        changed
    }

    /// Removes a port; returns the others whose numbers changed.
    pub(super) fn remove(&mut self, port: &PortName) -> BTreeSet<PortName> {
        let mut changed = BTreeSet::new();
        let Some(mut number) = self.held.remove(port) else { return changed };
        self.withdraw(port, 0);
        // The next of those who walked past the freed number moves back to it, and frees its own.
        while let Some((next, attempt)) = self.wished.get(&number).and_then(Few::first) {
            let (next, attempt) = (next.clone(), *attempt);
            let Some(freed) = self.held.insert(next.clone(), number) else { break };
            if freed == number {
                break;
            }
            self.withdraw(&next, attempt + 1);
            changed.insert(next);
            number = freed;
        }
        changed
    }

    /// Takes back the wishes of a port from an attempt on.
    fn withdraw(&mut self, port: &PortName, from: u32) {
        for attempt in from.. {
            let number = port.wish(attempt);
            let Some(wishes) = self.wished.get_mut(&number) else { return };
            if wishes.remove(port).is_none() {
                return;
            }
            if wishes.is_empty() {
                self.wished.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(n: u16) -> PortName {
        PortName { service: "shop/web".parse().unwrap(), protocol: Protocol::Tcp, port: n }
    }

    /// Ports that all want to begin within a few numbers of each other.
    fn crowd() -> &'static [PortName] {
        static CROWD: std::sync::LazyLock<Vec<PortName>> = std::sync::LazyLock::new(find_crowd);
        &CROWD
    }

    fn find_crowd() -> Vec<PortName> {
        let mut all: Vec<PortName> = (1..u16::MAX).map(port).collect();
        all.sort_by_key(|port| port.wish(0));
        let close = all.windows(3).filter(|w| w[2].wish(0) - w[0].wish(0) <= 1).take(8);
        let close: BTreeSet<PortName> = close.flatten().cloned().collect();
        assert!(close.len() >= 12, "a crowd");
        close.into_iter().collect()
    }

    #[test]
    fn twins_get_numbers_of_their_own_and_the_smaller_name_the_first() {
        let all: Vec<PortName> = (1..u16::MAX).map(port).collect();
        let mut sorted = all.clone();
        sorted.sort_by_key(|port| (port.wish(0), port.clone()));
        let twins = sorted.windows(2).find(|w| w[0].wish(0) == w[1].wish(0)).unwrap();
        let mut ids = Ids::default();
        assert!(ids.add(twins[1].clone()).is_empty());
        assert_eq!(ids.add(twins[0].clone()), [twins[1].clone()].into(), "the other moved");
        assert_eq!(ids.of(&twins[0]), Some(twins[0].wish(0)));
        assert_ne!(ids.of(&twins[1]), ids.of(&twins[0]));
        assert_eq!(ids.remove(&twins[0]), [twins[1].clone()].into(), "and moves back");
        assert_eq!(ids.of(&twins[1]), Some(twins[1].wish(0)));
        ids.remove(&twins[1]);
        assert_eq!(ids, Ids::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn numbers_depend_on_who_is_there_not_on_how_it_came_to_be(
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let crowd = crowd();
            let (mut ids, mut there) = (Ids::default(), BTreeSet::new());
            for (which, comes) in steps {
                let port = which.get(crowd).clone();
                let before: BTreeMap<_, _> = there.iter().map(|p| (p, ids.of(p))).collect();
                let changed = if comes { ids.clone().add(port.clone()) } else { ids.clone().remove(&port) };
                let mut after = ids.clone();
                let _ = if comes { after.add(port.clone()) } else { after.remove(&port) };
                for (other, number) in before {
                    prop_assert_eq!(*other != port && after.of(other) != number, changed.contains(other));
                }
                ids = after;
                let _ = if comes { there.insert(port) } else { there.remove(&port) };
                let mut anew = Ids::default();
                there.iter().rev().for_each(|p| drop(anew.add(p.clone())));
                prop_assert_eq!(&anew, &ids);
                let numbers: BTreeSet<_> = there.iter().map(|p| ids.of(p).unwrap()).collect();
                prop_assert_eq!(numbers.len(), there.len());
            }
        }
    }
}
