//! Who can reach whom: every pair of groups of a world, and the same by namespace or label.
//!
//! Pods alike are judged once ([`crate::Group`]): a profile is held against each group it could meet, and a cell is what the
//! source's egress and the destination's ingress have in common. Not here: processes of a pod's own node, which always come
//! in, and pods to themselves; both need no policy.

use std::{collections::BTreeMap, fmt};

use weft_model::{Direction, Family};

use crate::{
    decision::{Decision, Reason},
    flow::{Flow, Transport},
    groups::{Group, Members, family_index, groups, identity},
    peers::Source,
    ports::{PROTOCOLS, PortSet},
    profile::{Profile, ProfileId},
    world::World,
};

/// Place of a set of ports in [`Matrix`].
type SetAt = u32;

/// Who can reach whom.
#[derive(Clone, Debug)]
pub struct Matrix {
    groups: Vec<Group>,
    sets: Vec<PortSet>,
    /// Row by row, per family; none where a pair has no family in common, or is one pod with itself.
    cells: Vec<[Option<SetAt>; 2]>,
}

impl Matrix {
    /// Compiles the matrix of a world.
    pub fn of(world: &World) -> Self {
        let all = groups(&[world]);
        Self::among(world, all)
    }

    /// The matrix of a world among groups that are alike in it.
    pub(crate) fn among(world: &World, groups: Vec<Group>) -> Self {
        let mut maker = Maker { world, sets: Sets::default(), profiles: BTreeMap::new(), rows: Vec::new() };
        let sides = [Direction::Egress, Direction::Ingress]
            .map(|direction| groups.iter().map(|group| maker.profile(direction, group)).collect::<Vec<_>>());
        let profiles = std::mem::take(&mut maker.profiles);
        let mut rows: Vec<(usize, Profile)> = profiles.into_values().collect();
        rows.sort_unstable_by_key(|(row, _)| *row);
        let parties: Vec<_> = groups.iter().map(|group| Party::of(world, group)).collect();
        for (_, profile) in &rows {
            let row = parties.iter().map(|party| party.allowed(world, profile, &mut maker.sets)).collect();
            maker.rows.push(row);
        }
        let cells = maker.cells(&groups, &sides);
        Self { groups, sets: maker.sets.list, cells }
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
        for (from, source) in names.iter().enumerate() {
            let Some(row) = source.as_ref().and_then(|name| places.get(name.as_str())) else { continue };
            for (to, destination) in names.iter().enumerate() {
                let Some(column) = destination.as_ref().and_then(|name| places.get(name.as_str())) else {
                    continue;
                };
                for family in [Family::V4, Family::V6] {
                    if let Some(set) = self.cell(from, to, family) {
                        cells[row * width + column].get_or_insert_with(|| Share::of(set)).add(set);
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
        if self.always != *set || self.sometimes != *set {
            self.always = self.always.common(set);
            self.sometimes.unite(set);
        }
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

#[derive(Default)]
struct Sets {
    list: Vec<PortSet>,
    places: BTreeMap<PortSet, SetAt>,
    common: BTreeMap<(SetAt, SetAt), SetAt>,
}

impl Sets {
    fn place(&mut self, set: PortSet) -> SetAt {
        if let Some(at) = self.places.get(&set) {
            return *at;
        }
        let at = SetAt::try_from(self.list.len()).unwrap_or(SetAt::MAX);
        self.list.push(set.clone());
        self.places.insert(set, at);
        at
    }

    fn common(&mut self, a: SetAt, b: SetAt) -> SetAt {
        if a == b {
            return a;
        }
        let pair = (a.min(b), a.max(b));
        if let Some(at) = self.common.get(&pair) {
            return *at;
        }
        let set = self.list[a as usize].common(&self.list[b as usize]);
        let at = self.place(set);
        self.common.insert(pair, at);
        at
    }
}

struct Maker<'a> {
    world: &'a World,
    sets: Sets,
    /// Profiles by number, each with its row.
    profiles: BTreeMap<ProfileId, (usize, Profile)>,
    /// What each profile allows each group, per family.
    rows: Vec<Vec<[Option<SetAt>; 2]>>,
}

impl Maker<'_> {
    /// The row of the profile of a group; `None`: nothing isolates it.
    fn profile(&mut self, direction: Direction, group: &Group) -> Option<usize> {
        let name = group.pods().first()?;
        let pod = self.world.pod(name)?;
        let isolating: Vec<_> = self.world.isolating(direction, name, pod).collect();
        if isolating.is_empty() && !self.world.default_of(&name.namespace).isolates(direction) {
            return None;
        }
        let rules = isolating.iter().flat_map(|(_, rules)| rules.iter()).map(|rule| (&name.namespace, rule));
        let profile = Profile::of(direction, rules, &pod.ports);
        let row = self.profiles.len();
        Some(self.profiles.entry(profile.id()).or_insert((row, profile)).0)
    }

    fn cells(&mut self, groups: &[Group], sides: &[Vec<Option<usize>>; 2]) -> Vec<[Option<SetAt>; 2]> {
        let all = self.sets.place(PortSet::all());
        let [out, into] = sides;
        let mut cells = Vec::with_capacity(groups.len() * groups.len());
        for (from, source) in groups.iter().enumerate() {
            for (to, destination) in groups.iter().enumerate() {
                let mut cell = [None; 2];
                let alone = from == to && source.pods().len() <= 1;
                let strangers = source.pods().is_empty() && destination.pods().is_empty();
                for family in 0..2 {
                    let both = source.samples[family].is_some() && destination.samples[family].is_some();
                    if alone || strangers || !both {
                        continue;
                    }
                    let side = |row: Option<usize>, other: usize| match row {
                        Some(row) => self.rows[row][other][family],
                        None => Some(all),
                    };
                    if let (Some(a), Some(b)) = (side(out[from], to), side(into[to], from)) {
                        cell[family] = Some(self.sets.common(a, b));
                    }
                }
                cells.push(cell);
            }
        }
        cells
    }
}

/// A group as the peer of profiles.
struct Party<'a> {
    group: &'a Group,
    identity: Option<weft_model::Identity>,
}

impl<'a> Party<'a> {
    fn of(world: &World, group: &'a Group) -> Self {
        let sample = group.samples.iter().flatten().next();
        let party = match &group.members {
            Members::Pods(_) | Members::Resolver => sample.and_then(|address| world.party(*address)),
            Members::Outside(_) => None,
        };
        Self { group, identity: party.map(identity) }
    }

    /// What a profile allows it, per family.
    fn allowed(&self, world: &World, profile: &Profile, sets: &mut Sets) -> [Option<SetAt>; 2] {
        self.group.samples.map(|sample| {
            let sample = sample?;
            let mut set = PortSet::default();
            let ports = self.identity.as_ref().map(|identity| &identity.ports[..]).unwrap_or_default();
            for (source, grant) in &profile.grants {
                let fits = match source {
                    Source::Anyone => true,
                    Source::Pods(pods) => self.identity.as_ref().is_some_and(|identity| {
                        pods.include(identity, world.namespaces.get(&identity.namespace))
                    }),
                    Source::Block(block) => {
                        block.range.contains(sample) && !block.except.iter().any(|hole| hole.contains(sample))
                    }
                };
                if fits {
                    grant.towards(ports, &mut set);
                }
            }
            Some(sets.place(set))
        })
    }
}

#[cfg(test)]
#[path = "matrix_tests.rs"]
mod tests;
