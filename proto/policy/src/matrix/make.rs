//! How a matrix is made: each profile is held against each group once.

use std::collections::BTreeMap;

use weft_model::{Direction, Identity};

use crate::{
    groups::{Group, Members, identity},
    peers::Source,
    ports::PortSet,
    profile::{Profile, ProfileId},
    world::World,
};

/// Place of a set of ports in the list of a matrix.
type SetAt = u32;

/// A pair of groups, per family; none where it has no addresses of that family, or is one pod with itself.
pub(super) type Cell = [Option<SetAt>; 2];

/// All sets of ports and all cells, row by row.
pub(super) fn make(world: &World, groups: &[Group]) -> (Vec<PortSet>, Vec<Cell>) {
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
    let cells = maker.cells(groups, &sides);
    (maker.sets.list, cells)
}

#[derive(Default)]
struct Sets {
    list: Vec<PortSet>,
    places: BTreeMap<PortSet, SetAt>,
    common: BTreeMap<(SetAt, SetAt), SetAt>,
}

impl Sets {
    fn place(&mut self, set: &PortSet) -> SetAt {
        if let Some(at) = self.places.get(set) {
            return *at;
        }
        let at = SetAt::try_from(self.list.len()).expect("so many sets fit no memory");
        self.list.push(set.clone());
        self.places.insert(set.clone(), at);
        at
    }

    fn common(&mut self, a: SetAt, b: SetAt) -> SetAt {
        // Most pairs are all or nothing on one side.
        match (self.list[a as usize].is_all(), self.list[b as usize].is_all()) {
            (true, _) => return b,
            (_, true) => return a,
            (false, false) if a == b || self.list[a as usize].is_empty() => return a,
            (false, false) if self.list[b as usize].is_empty() => return b,
            (false, false) => {}
        }
        let pair = (a.min(b), a.max(b));
        if let Some(at) = self.common.get(&pair) {
            return *at;
        }
        let set = self.list[a as usize].common(&self.list[b as usize]);
        let at = self.place(&set);
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
    rows: Vec<Vec<Cell>>,
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

    fn cells(&mut self, groups: &[Group], sides: &[Vec<Option<usize>>; 2]) -> Vec<Cell> {
        let all = self.sets.place(&PortSet::all());
        let [out, into] = sides;
        let mut cells = Vec::with_capacity(groups.len() * groups.len());
        for (from, source) in groups.iter().enumerate() {
            for (to, destination) in groups.iter().enumerate() {
                let alone = from == to && source.pods().len() <= 1;
                let strangers = source.pods().is_empty() && destination.pods().is_empty();
                if alone || strangers {
                    cells.push([None; 2]);
                    continue;
                }
                cells.push([0, 1].map(|family| {
                    if source.samples[family].is_none() || destination.samples[family].is_none() {
                        return None;
                    }
                    let side = |row: Option<usize>, other: usize| match row {
                        Some(row) => self.rows[row][other][family],
                        None => Some(all),
                    };
                    Some(self.sets.common(side(out[from], to)?, side(into[to], from)?))
                }));
            }
        }
        cells
    }
}

/// A group as the peer of profiles.
struct Party<'a> {
    group: &'a Group,
    identity: Option<Identity>,
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

    /// What a profile allows it, per family: only blocks make a difference.
    fn allowed(&self, world: &World, profile: &Profile, sets: &mut Sets) -> Cell {
        let identity = self.identity.as_ref();
        let namespace = identity.and_then(|identity| world.namespaces.get(&identity.namespace));
        let ports = identity.map(|identity| &identity.ports[..]).unwrap_or_default();
        let mut set = PortSet::default();
        let mut blocks = Vec::new();
        for (source, grant) in &profile.grants {
            let fits = match source {
                Source::Anyone => true,
                Source::Pods(pods) => identity.is_some_and(|identity| pods.include(identity, namespace)),
                Source::Block(block) => {
                    blocks.push((block, grant));
                    false
                }
            };
            if fits {
                grant.towards(ports, &mut set);
            }
        }
        let common = sets.place(&set);
        self.group.samples.map(|sample| {
            let sample = sample?;
            let mut fitting = blocks.iter().filter(|(block, _)| block.contains(sample)).peekable();
            if fitting.peek().is_none() {
                return Some(common);
            }
            let mut set = set.clone();
            fitting.for_each(|(_, grant)| grant.towards(ports, &mut set));
            Some(sets.place(&set))
        })
    }
}
