//! Who can reach whom: every pair of groups of a world, and the same by namespace or label.
//!
//! Pods alike are judged once ([`crate::Group`]): a profile is held against each group it could meet, and a cell is what the
//! source's egress and the destination's ingress have in common. Not here: processes of a pod's own node, which always come
//! in, and pods to themselves; both need no policy.

mod make;

use std::{collections::BTreeMap, fmt};

use weft_model::Family;

use self::make::Cell;
use crate::{
    decision::{Decision, Reason},
    flow::{Flow, Transport},
    groups::{Group, Members, family_index, groups},
    ports::{PROTOCOLS, PortSet},
    world::World,
};

/// Who can reach whom.
#[derive(Clone, Debug)]
pub struct Matrix {
    groups: Vec<Group>,
    sets: Vec<PortSet>,
    /// Row by row, per family; none where a pair has no family in common, or is one pod with itself.
    cells: Vec<Cell>,
}

impl Matrix {
    /// Compiles the matrix of a world.
    pub fn of(world: &World) -> Self {
        let all = groups(&[world]);
        Self::among(world, all)
    }

    /// The matrix of a world among groups that are alike in it.
    pub(crate) fn among(world: &World, groups: Vec<Group>) -> Self {
        let (sets, cells) = make::make(world, &groups);
        Self { groups, sets, cells }
    }

    /// Its groups, which are both its rows (sources) and its columns (destinations).
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What the members of one group may send those of another, by a family; `None`: they have no such addresses, or there is
    /// only one pod.
    pub fn cell(&self, from: usize, to: usize, family: Family) -> Option<&PortSet> {
        let cell = self.cells.get(from * self.groups.len() + to)?;
        cell[family_index(family)].map(|at| &self.sets[at as usize])
    }

    /// Rules that let something of a cell pass: one decision for each range of ports, with its first port.
    pub fn deciding(
        &self,
        world: &World,
        from: usize,
        to: usize,
        family: Family,
    ) -> Vec<(Transport, Decision)> {
        let Some(set) = self.cell(from, to, family) else { return Vec::new() };
        let ends = [from, to].map(|group| self.groups.get(group)?.sample(family));
        let [Some(source), Some(mut destination)] = ends else { return Vec::new() };
        if from == to {
            // Two members of one group: the other end is another pod.
            let other = self.groups[to].pods().iter().rev().find_map(|name| {
                let addresses = &world.pod(name)?.addresses;
                addresses.iter().copied().find(|one| Family::of(*one) == family && *one != source)
            });
            destination = other.unwrap_or(destination);
        }
        let ranges = PROTOCOLS.iter().flat_map(|protocol| {
            set.of(*protocol).iter().map(|(first, _)| Transport::Port(*protocol, (*first).max(1)))
        });
        let others = set.has(Transport::echo(family)).then(|| Transport::echo(family));
        let decide = |transport| (transport, world.decide(&Flow::new(source, destination, transport)));
        ranges.chain(others).map(decide).collect()
    }

    /// Policies that let something of a cell pass, in order of name.
    pub fn policies(
        &self,
        world: &World,
        from: usize,
        to: usize,
        family: Family,
    ) -> Vec<weft_model::PolicyName> {
        let decisions = self.deciding(world, from, to, family).into_iter();
        let reasons = decisions.flat_map(|(_, decision)| [decision.egress, decision.ingress]);
        let mut policies: Vec<_> = reasons
            .filter_map(|reason| match reason {
                Reason::Allowed { policy, .. } => Some(policy),
                Reason::NoPod
                | Reason::SamePod
                | Reason::OwnNode
                | Reason::NotIsolated
                | Reason::Denied(_) => None,
            })
            .collect();
        policies.sort_unstable();
        policies.dedup();
        policies
    }

    /// The matrix of wider groups: of all groups with the same name. Groups without a name are left out.
    pub fn folded(&self, name: impl Fn(&Group) -> Option<String>) -> Folded {
        let names: Vec<Option<String>> = self.groups.iter().map(name).collect();
        let mut places: BTreeMap<&str, usize> =
            names.iter().flatten().map(|name| (name.as_str(), 0)).collect();
        places.values_mut().enumerate().for_each(|(index, place)| *place = index);
        let width = places.len();
        let mut cells: Vec<Option<Share>> = vec![None; width * width];
        // Sets that a wide cell has had already: mostly few.
        let mut seen: Vec<Vec<u32>> = vec![Vec::new(); width * width];
        for (from, source) in names.iter().enumerate() {
            let Some(row) = source.as_ref().and_then(|name| places.get(name.as_str())) else { continue };
            for (to, destination) in names.iter().enumerate() {
                let Some(column) = destination.as_ref().and_then(|name| places.get(name.as_str())) else {
                    continue;
                };
                let place = row * width + column;
                for set in self.cells[from * self.groups.len() + to].into_iter().flatten() {
                    if !seen[place].contains(&set) {
                        seen[place].push(set);
                        let set = &self.sets[set as usize];
                        cells[place].get_or_insert_with(|| Share::of(set)).add(set);
                    }
                }
            }
        }
        Folded { names: places.into_keys().map(str::to_owned).collect(), cells }
    }

    /// By namespace; the resolver and the outside have their own names.
    pub fn by_namespace(&self) -> Folded {
        self.folded(|group| {
            Some(match (&group.members, &group.namespace) {
                (Members::Pods(_), Some(namespace)) => namespace.to_string(),
                (Members::Resolver, _) => "(resolver)".to_owned(),
                (Members::Outside(_) | Members::Pods(_), _) => "(outside)".to_owned(),
            })
        })
    }

    /// Pods of one namespace by the value of a label, everybody else in few names.
    pub fn by_label(&self, namespace: &weft_model::NamespaceName, key: &str) -> Folded {
        self.folded(|group| {
            Some(match (&group.members, &group.namespace) {
                (Members::Pods(_), Some(own)) if own == namespace => {
                    group.label(key).map_or_else(|| format!("(no {key})"), str::to_owned)
                }
                (Members::Pods(_), _) => "(other namespaces)".to_owned(),
                (Members::Resolver, _) => "(resolver)".to_owned(),
                (Members::Outside(_), _) => "(outside)".to_owned(),
            })
        })
    }
}

/// What all pairs of a wider cell may, and what some may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Every pair may this.
    pub always: PortSet,
    /// Some pair may this.
    pub sometimes: PortSet,
}

impl Share {
    fn of(set: &PortSet) -> Self {
        Self { always: set.clone(), sometimes: set.clone() }
    }

    fn add(&mut self, set: &PortSet) {
        self.always = self.always.common(set);
        self.sometimes.unite(set);
    }

    /// The same for one port alone.
    pub fn at(&self, transport: Transport) -> &'static str {
        match (self.always.has(transport), self.sometimes.has(transport)) {
            (true, _) => "A",
            (false, true) => "p",
            (false, false) => "-",
        }
    }
}

impl fmt::Display for Share {
    /// `A` all, `-` none, `p` something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.always.is_all(), self.sometimes.is_empty()) {
            (true, _) => "A",
            (false, true) => "-",
            (false, false) => "p",
        })
    }
}

/// A matrix of wider groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Names of rows (sources) and columns (destinations), in order.
    pub names: Vec<String>,
    cells: Vec<Option<Share>>,
}

impl Folded {
    /// A cell; `None` where no pair is in it.
    pub fn cell(&self, from: usize, to: usize) -> Option<&Share> {
        self.cells.get(from * self.names.len() + to)?.as_ref()
    }
}

#[cfg(test)]
#[path = "matrix_tests.rs"]
mod tests;
