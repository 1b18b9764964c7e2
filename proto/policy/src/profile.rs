//! Profiles: what the policies that isolate a pod in one direction allow together, freed of names, order and repetition.
//!
//! Pods with the same profile are judged alike, so the number of a profile is its content's: direction, and whom it lets do
//! what. Ports by name are numbers already where the pod itself is the destination; where its peers are, the names stay, and
//! become numbers peer by peer. Peers are selectors, not pods: who comes and goes changes no profile.
//!
//! Ordered tiers (ClusterNetworkPolicy) will be more maps of grants, each with its action, before and after this one.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{Direction, Family, NamedPort, NamespaceName, PolicyPort, PolicyRule, PortMatch, Protocol};

use crate::{
    compile::{ranges, wide},
    error::Part,
    hash::Content,
    identity::protocol_number,
    limits::{PROFILE_OVERLAPS, PROFILE_PARTS},
    peers::{PodsOf, Source},
    ports::{PROTOCOLS, PortSet},
    split::weight,
};

/// Number of a profile in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId(pub u64);

impl ProfileId {
    /// Not isolated: everything passes.
    pub const OPEN: Self = Self(u64::MAX);
}

/// What is allowed to somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Numbers.
    pub(crate) fixed: PortSet,
    /// Ports by name, to be looked up on the peer.
    pub(crate) names: BTreeSet<(Protocol, String)>,
}

impl Grant {
    /// All of it, towards a pod with these named ports.
    pub(crate) fn towards(&self, ports: &[NamedPort], into: &mut PortSet) {
        into.unite(&self.fixed);
        for (protocol, name) in &self.names {
            for port in ports.iter().filter(|port| port.protocol == *protocol && port.name == *name) {
                into.add(*protocol, port.port, port.port);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.names.is_empty()
    }

    /// Whether it has all of another one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.fixed.is_all() || (self.fixed.covers(&other.fixed) && self.names.is_superset(&other.names))
    }
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    direction: Direction,
    /// Whom it lets do what; nobody twice, nothing that others imply.
    pub(crate) grants: BTreeMap<Source, Grant>,
}

impl Profile {
    /// The profile of a pod with named ports `own` and these rules, each with the namespace of its policy.
    pub(crate) fn of<'a>(
        direction: Direction,
        rules: impl Iterator<Item = (&'a NamespaceName, &'a PolicyRule)>,
        own: &[NamedPort],
    ) -> Self {
        let mut grants: BTreeMap<Source, Grant> = BTreeMap::new();
        let mut add = |source: Source, grant: &Grant| {
            let known = grants.entry(source).or_default();
            known.fixed.unite(&grant.fixed);
            known.names.extend(grant.names.iter().cloned());
        };
        for (namespace, rule) in rules {
            let grant = granted(direction, &rule.ports, own);
            if rule.peers.is_empty() {
                add(Source::Anyone, &grant);
            }
            for peer in &rule.peers {
                match Source::of(peer, namespace) {
                    // No address has a name.
                    source @ Source::Block(_) => {
                        add(source, &Grant { names: BTreeSet::new(), ..grant.clone() });
                    }
                    source @ (Source::Pods(_) | Source::Anyone) => add(source, &grant),
                }
            }
        }
        grants.retain(|_, grant| !grant.is_empty());
        for wide in [Source::Anyone, Source::Pods(PodsOf::everywhere())] {
            let Some(implied) = grants.get(&wide).cloned() else { continue };
            let within = |source: &Source| wide == Source::Anyone || matches!(source, Source::Pods(_));
            grants.retain(|source, grant| *source == wide || !within(source) || !implied.covers(grant));
        }
        Self { direction, grants }
    }

    /// Its number.
    pub(crate) fn id(&self) -> ProfileId {
        let mut content = Content::of("weft profile 1");
        content.text(match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        });
        content.length(self.grants.len());
        for (source, grant) in &self.grants {
            source.feed(&mut content);
            grant.fixed.feed(&mut content);
            content.length(grant.names.len());
            for (protocol, name) in &grant.names {
                content.number(protocol_number(*protocol).into());
                content.text(name);
            }
        }
        ProfileId(content.finish())
    }

    /// What anybody may, pod or not.
    pub(crate) fn any(&self) -> PortSet {
        self.fixed(&Source::Anyone)
    }

    /// What any pod may.
    pub(crate) fn pods(&self) -> PortSet {
        let mut set = self.fixed(&Source::Pods(PodsOf::everywhere()));
        set.unite(&self.any());
        set
    }

    fn fixed(&self, source: &Source) -> PortSet {
        self.grants.get(source).map(|grant| grant.fixed.clone()).unwrap_or_default()
    }

    /// What of it is too large, and how large that is: counted, not built.
    pub(crate) fn too_large(&self) -> Option<(Part, usize)> {
        let parts = self.grants.iter().map(|(source, grant)| {
            let holes = match source {
                Source::Block(block) => block.except.len(),
                Source::Anyone | Source::Pods(_) => 0,
            };
            let ranges = PROTOCOLS.iter().map(|protocol| grant.fixed.of(*protocol).len());
            let ranges: usize = if grant.fixed.is_all() { 0 } else { ranges.sum() };
            1 + holes + ranges + grant.names.len()
        });
        let parts = parts.sum();
        if parts > PROFILE_PARTS {
            return Some((Part::Parts, parts));
        }
        let blocks = |family| {
            self.grants.keys().filter_map(move |source| match source {
                Source::Block(block) => Some(block).filter(|block| block.range.family() == family),
                Source::Anyone | Source::Pods(_) => None,
            })
        };
        let addresses = [Family::V4, Family::V6].map(|family| weight(&ranges(blocks(family))));
        let ports = PROTOCOLS.map(|protocol| {
            let all = self.grants.values().flat_map(|grant| wide(&grant.fixed, protocol));
            let distinct: BTreeSet<_> = all.collect();
            weight(&distinct.into_iter().map(|(a, b)| (a.into(), b.into(), 0)).collect::<Vec<_>>())
        });
        let overlaps = addresses.into_iter().chain(ports).sum();
        (overlaps > PROFILE_OVERLAPS).then_some((Part::Overlaps, overlaps))
    }
}

/// What a rule's ports allow.
fn granted(direction: Direction, ports: &[PolicyPort], own: &[NamedPort]) -> Grant {
    if ports.is_empty() {
        #[cfg(test)]
        if crate::mutant::is(crate::mutant::Mutant::AllIsPorts) {
            let mut fixed = PortSet::default();
            PROTOCOLS.into_iter().for_each(|protocol| fixed.add_every(protocol));
            return Grant { fixed, names: BTreeSet::new() };
        }
        return Grant { fixed: PortSet::all(), names: BTreeSet::new() };
    }
    let here = direction == Direction::Ingress;
    #[cfg(test)]
    let here = here != crate::mutant::is(crate::mutant::Mutant::NameOfTheSource);
    let mut grant = Grant::default();
    for port in ports {
        match &port.port {
            PortMatch::Any => grant.fixed.add_every(port.protocol),
            PortMatch::Numbers(first, last) => {
                #[cfg(test)]
                let last = if crate::mutant::is(crate::mutant::Mutant::EndPortIsOutside) && first < last {
                    &(last - 1)
                } else {
                    last
                };
                grant.fixed.add(port.protocol, *first, *last);
            }
            PortMatch::Name(name) => {
                grant.names.insert((port.protocol, name.clone()));
            }
        }
    }
    if here {
        let names = Grant { fixed: PortSet::default(), names: std::mem::take(&mut grant.names) };
        names.towards(own, &mut grant.fixed);
    }
    grant
}
