//! Ends that policies can't tell apart, in one group each: pods with the same identity in the same blocks, and addresses
//! outside that lie in the same blocks.
//!
//! In: one world, or two of which a question is about the difference. Answers about groups are answers about all their
//! members, so that two thousand pods cost what their few kinds cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use weft_model::{
    Direction, Family, Identity, IdentityId, Labels, NamedPort, NamespaceName, PodName, PolicyName,
    PolicyPeer,
};

use crate::{
    compile::{address, number, ranges},
    identity::Relevance,
    peers::Block,
    split::{Piece, split},
    world::{Party, World},
};

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Pods; at least one.
    Pods(Vec<PodName>),
    /// The resolver of every node.
    Resolver,
    /// Addresses that no pod has, as ranges from first to last, of one family.
    Outside(Vec<(IpAddr, IpAddr)>),
}

/// Ends alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Who is in it.
    pub members: Members,
    /// Namespace of its pods.
    pub namespace: Option<NamespaceName>,
    /// Labels of its pods that policies ask for.
    pub labels: Labels,
    /// An address of a member, per family; for a group of several pods all of one.
    pub samples: [Option<IpAddr>; 2],
    /// All labels of one of its pods.
    pub(crate) whole: Labels,
}

impl Group {
    /// How many pods are in it.
    pub fn pods(&self) -> &[PodName] {
        match &self.members {
            Members::Pods(pods) => pods,
            Members::Resolver | Members::Outside(_) => &[],
        }
    }

    /// An address of a member.
    pub const fn sample(&self, family: Family) -> Option<IpAddr> {
        self.samples[family_index(family)]
    }

    /// The value of one of its pods' labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.whole.get(key).map(String::as_str)
    }
}

impl fmt::Display for Group {
    /// `shop app=web (3 pods)`, a pod's name where there is one, `resolver`, `outside 10.0.0.0-10.0.0.255`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.members {
            Members::Pods(pods) if pods.len() == 1 => write!(f, "{}", pods[0]),
            Members::Pods(pods) => {
                let namespace = self.namespace.as_ref().map(NamespaceName::as_str).unwrap_or_default();
                write!(f, "{namespace}")?;
                for (index, (key, value)) in self.labels.iter().enumerate() {
                    write!(f, "{}{key}={value}", if index == 0 { " " } else { "," })?;
                }
                write!(f, " ({} pods)", pods.len())
            }
            Members::Resolver => f.write_str("resolver"),
            Members::Outside(ranges) => {
                f.write_str("outside")?;
                for (index, (first, last)) in ranges.iter().take(3).enumerate() {
                    write!(f, "{}{first}", if index == 0 { " " } else { ", " })?;
                    if first != last {
                        write!(f, "-{last}")?;
                    }
                }
                if ranges.len() > 3 { write!(f, " and {} more", ranges.len() - 3) } else { Ok(()) }
            }
        }
    }
}

pub(crate) const fn family_index(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// What makes pods alike: their identity in each world, and in which blocks their address of each family lies.
type Kind = (Vec<IdentityId>, [Option<Vec<u32>>; 2]);

/// All groups of worlds that have the same pods; pods that one of them lacks are left out. Groups of pods come first, in order
/// of the first pod's name.
pub(crate) fn groups(worlds: &[&World]) -> Vec<Group> {
    groups_by(worlds, &|_| true)
}

/// The same, where the blocks of some policies alone tell addresses apart.
pub(crate) fn groups_by(worlds: &[&World], counts: &dyn Fn(&PolicyName) -> bool) -> Vec<Group> {
    let Some(first) = worlds.first() else { return Vec::new() };
    let blocks: Vec<Block> = blocks(worlds, counts).into_iter().collect();
    let pieces = [Family::V4, Family::V6].map(|family| {
        let of_family = blocks.iter().filter(|block| block.range.family() == family);
        split(&ranges(of_family))
    });
    let lies_in = |address: IpAddr| -> Vec<u32> {
        let pieces = &pieces[family_index(Family::of(address))];
        let at = pieces.partition_point(|(_, last, _)| *last < number(address));
        let piece = pieces.get(at).filter(|(first, ..)| *first <= number(address));
        piece.map(|(_, _, marks)| marks.clone()).unwrap_or_default()
    };
    let relevant = worlds.iter().map(|world| relevance(world)).collect::<Vec<_>>();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (name, pod) in first.pods() {
        let in_all = worlds.iter().zip(&relevant).map(|(world, relevance)| {
            let pod = world.pod(name)?;
            Some(relevance.identity_of(&name.namespace, &pod.labels, &pod.ports))
        });
        let Some(identities) = in_all.collect::<Option<Vec<_>>>() else { continue };
        let samples = [Family::V4, Family::V6]
            .map(|family| pod.addresses.iter().copied().find(|address| Family::of(*address) == family));
        let ids = identities.iter().map(|(id, _)| *id).collect();
        let at = *kinds.entry((ids, samples.map(|address| address.map(lies_in)))).or_insert(groups.len());
        match groups.get_mut(at).map(|group| &mut group.members) {
            Some(Members::Pods(pods)) => pods.push(name.clone()),
            Some(Members::Resolver | Members::Outside(_)) | None => groups.push(Group {
                members: Members::Pods(vec![name.clone()]),
                namespace: Some(name.namespace.clone()),
                labels: identities.into_iter().flat_map(|(_, identity)| identity.labels).collect(),
                samples,
                whole: pod.labels.clone(),
            }),
        }
    }
    groups.extend(resolver(first));
    for (family, pieces) in [Family::V4, Family::V6].into_iter().zip(&pieces) {
        groups.extend(outside(family, pieces, first));
    }
    groups
}

fn resolver(world: &World) -> Option<Group> {
    let resolver = world.resolver.as_ref()?;
    let sample = |family| resolver.addresses.iter().copied().find(|address| Family::of(*address) == family);
    Some(Group {
        members: Members::Resolver,
        namespace: Some(resolver.namespace.clone()),
        labels: resolver.labels.clone(),
        samples: [sample(Family::V4), sample(Family::V6)],
        whole: resolver.labels.clone(),
    })
}

/// Addresses outside by the blocks they lie in: those in none are one group, even where no pod's family is.
fn outside(family: Family, pieces: &[Piece], world: &World) -> Vec<Group> {
    let end = match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    };
    let mut classes: BTreeMap<Vec<u32>, Vec<(u128, u128)>> = BTreeMap::new();
    let mut from = Some(0);
    for (first, last, marks) in pieces {
        if let (Some(start), Some(before)) = (from, first.checked_sub(1))
            && start <= before
        {
            classes.entry(Vec::new()).or_default().push((start, before));
        }
        classes.entry(marks.clone()).or_default().push((*first, *last));
        from = last.checked_add(1);
    }
    if let Some(start) = from.filter(|start| *start <= end) {
        classes.entry(Vec::new()).or_default().push((start, end));
    }
    let mut groups = Vec::new();
    for ranges in classes.into_values() {
        let sample = ranges.iter().find_map(|(first, last)| stranger(world, family, *first, *last));
        // Where pods have every address there is no outside.
        let Some(sample) = sample else { continue };
        let both = |(first, last)| Some((address(family, first)?, address(family, last)?));
        let mut samples = [None, None];
        samples[family_index(family)] = Some(sample);
        groups.push(Group {
            members: Members::Outside(ranges.into_iter().filter_map(both).collect()),
            namespace: None,
            labels: Labels::new(),
            samples,
            whole: Labels::new(),
        });
    }
    groups
}

/// An address of a range that nobody has: the first one; as many are looked at as the world has addresses, and one more.
fn stranger(world: &World, family: Family, first: u128, last: u128) -> Option<IpAddr> {
    let mut at = first;
    loop {
        let candidate = address(family, at)?;
        if world.party(candidate).is_none() {
            return Some(candidate);
        }
        at = at.checked_add(1).filter(|next| *next <= last)?;
    }
}

/// All blocks that policies which count name in rules that count.
fn blocks(worlds: &[&World], counts: &dyn Fn(&PolicyName) -> bool) -> BTreeSet<Block> {
    let mut blocks = BTreeSet::new();
    let policies = worlds.iter().flat_map(|world| world.policies()).filter(|(name, _)| counts(name));
    for (_, spec) in policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            let rules = spec.rules(direction).unwrap_or_default();
            blocks.extend(rules.iter().flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
                PolicyPeer::Block { range, except } => Some(Block::new(*range, except)),
                PolicyPeer::Pods { .. } => None,
            }));
        }
    }
    blocks
}

/// Words that count in a world.
pub(crate) fn relevance(world: &World) -> Relevance {
    let mut relevance = Relevance::default();
    for (name, spec) in world.policies() {
        relevance.replace(name, None, Some(spec));
    }
    relevance
}

/// A party as an identity.
pub(crate) fn identity(party: Party<'_>) -> Identity {
    let ports: Vec<NamedPort> = party.ports.to_vec();
    Identity { namespace: party.namespace.clone(), labels: party.labels.clone(), ports }
}
