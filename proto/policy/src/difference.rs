//! What other policies change: what opens and what closes, and which live connections would be cut.
//!
//! Two worlds with the same pods are compared group by group; pods that one of them lacks are left out.

use std::{collections::BTreeSet, fmt};

use weft_model::{Family, PolicyName};

use crate::{
    decision::Decision,
    flow::Flow,
    groups::{Group, groups, groups_by},
    matrix::Matrix,
    ports::PortSet,
    world::World,
};

/// What changes between two groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The source, as a place in [`Difference::groups`].
    pub from: usize,
    /// The destination.
    pub to: usize,
    /// Families in which it changes so.
    pub families: Vec<Family>,
    /// What was denied and is allowed now.
    pub opens: PortSet,
    /// What was allowed and is denied now.
    pub closes: PortSet,
}

/// All that changes from one world to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Ends that are alike in both worlds.
    pub groups: Vec<Group>,
    /// What changes between them, in order of source and destination.
    pub shifts: Vec<Shift>,
}

impl Difference {
    /// Compares two worlds.
    pub fn between(before: &World, after: &World) -> Self {
        Self::among(before, after, groups_of(before, after))
    }

    /// The same, unless there are more groups than that: how many there are. The work grows with their square.
    pub fn bounded(before: &World, after: &World, limit: usize) -> Result<Self, usize> {
        let groups = groups_of(before, after);
        if groups.len() > limit { Err(groups.len()) } else { Ok(Self::among(before, after, groups)) }
    }

    fn among(before: &World, after: &World, groups: Vec<Group>) -> Self {
        let old = Matrix::among(before, groups.clone());
        let new = Matrix::among(after, groups.clone());
        let mut shifts: Vec<Shift> = Vec::new();
        for from in 0..groups.len() {
            for to in 0..groups.len() {
                let begin = shifts.len();
                for family in [Family::V4, Family::V6] {
                    let (Some(old), Some(new)) = (old.cell(from, to, family), new.cell(from, to, family))
                    else {
                        continue;
                    };
                    if old == new {
                        continue;
                    }
                    let (opens, closes) = (new.without(old), old.without(new));
                    let same = shifts[begin..].iter_mut();
                    match same.last().filter(|last| last.opens == opens && last.closes == closes) {
                        Some(last) => last.families.push(family),
                        None => shifts.push(Shift { from, to, families: vec![family], opens, closes }),
                    }
                }
            }
        }
        Self { groups, shifts }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.shifts.is_empty()
    }
}

/// Groups that tell apart what a change could tell apart: of blocks those alone that pods with other policies, labels or
/// defaults than before have. Whoever is judged as before is judged so at each address.
fn groups_of(before: &World, after: &World) -> Vec<Group> {
    if before.settings != after.settings {
        return groups(&[before, after]);
    }
    let changed: BTreeSet<&PolicyName> = before
        .policies
        .keys()
        .chain(after.policies.keys())
        .filter(|name| before.policies.get(*name) != after.policies.get(*name))
        .collect();
    let mut counts: BTreeSet<&PolicyName> = BTreeSet::new();
    for (name, pod) in before.pods() {
        let Some(now) = after.pod(name) else { continue };
        let own = || {
            let both = before.policies.iter().chain(&after.policies);
            let of_space = both.filter(|(policy, _)| policy.namespace == name.namespace);
            of_space.filter(|(_, spec)| spec.pods.selects(&pod.labels) || spec.pods.selects(&now.labels))
        };
        let differs = pod != now
            || before.default_of(&name.namespace) != after.default_of(&name.namespace)
            || (!changed.is_empty() && own().any(|(policy, _)| changed.contains(policy)));
        if differs {
            counts.extend(own().map(|(policy, _)| policy));
        }
    }
    groups_by(&[before, after], &|name| counts.contains(name))
}

impl fmt::Display for Difference {
    /// One line each: `opens dev/one -> shop/db: 5432/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in &self.shifts {
            for (word, ports) in [("opens", &shift.opens), ("closes", &shift.closes)] {
                if !ports.is_empty() {
                    let (from, to) = (&self.groups[shift.from], &self.groups[shift.to]);
                    write!(f, "{word} {from} -> {to}: {ports}")?;
                    match shift.families[..] {
                        [one] if both_families(from, to) => writeln!(f, " ({one} alone)")?,
                        _ => writeln!(f)?,
                    }
                }
            }
        }
        Ok(())
    }
}

fn both_families(from: &Group, to: &Group) -> bool {
    [Family::V4, Family::V6]
        .into_iter()
        .all(|family| from.sample(family).is_some() && to.sample(family).is_some())
}

/// The decision that would cut a live connection which passes now; `None`: it goes on, or doesn't pass now either.
pub fn cut_by(before: &World, after: &World, flow: &Flow) -> Option<Decision> {
    let decision = after.decide(flow);
    (!decision.verdict.allows() && before.decide(flow).verdict.allows()).then_some(decision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Chance, policy, random, world};

    fn check(before: &[&str], after: &[&str], expected: &str) {
        let world = |policies: &[&str]| {
            let mut world = world(
                "ns shop team=a
                 ns dev team=b
                 pod shop/web-0 app=web n1 10.0.0.1,fd00::1
                 pod shop/web-1 app=web n1 10.0.0.2,fd00::2
                 pod shop/db app=db n1 10.0.0.4,fd00::4
                 pod dev/one app=web n1 10.0.1.1,fd00::1:1",
            );
            policies.iter().map(|text| policy(text)).for_each(|(name, spec)| world.put_policy(name, spec));
            world
        };
        let difference = Difference::between(&world(before), &world(after));
        let lines: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let found = difference.to_string();
        assert_eq!(found.lines().collect::<Vec<_>>(), lines, "{before:?} {after:?}");
        assert_eq!(difference.is_empty(), lines.is_empty());
    }

    #[test]
    fn what_opens_and_what_closes_is_told() {
        let web = "shop/db app=db: in from pods app=web ports tcp/5432";
        check(&[web], &[web], "");
        check(&[web], &["shop/other app=db: in from pods app=web ports tcp/5432"], "");
        check(
            &[web],
            &["shop/db app=db: in from ns team=b ports tcp/5432", "shop/x app=db: in from block 10.0.0.1/32"],
            "opens dev/one -> shop/db: 5432/tcp
             opens shop/web-0 -> shop/db: 0-5431/tcp, 5433-65535/tcp, every udp, every sctp, other protocols (IPv4 alone)
             closes shop/web-0 -> shop/db: 5432/tcp (IPv6 alone)
             closes shop/web-1 -> shop/db: 5432/tcp",
        );
        check(
            &[],
            &["shop/db app=db: eg to ns *"],
            "closes shop/db -> outside 0.0.0.0-255.255.255.255: all
             closes shop/db -> outside ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff: all",
        );
    }

    #[test]
    fn blocks_of_policies_that_no_changed_pod_has_tell_nothing_apart() {
        let mut before = world(
            "ns shop team=a
             pod shop/web app=web n1 10.0.0.1
             pod shop/db app=db n1 10.0.0.4",
        );
        let put = |world: &mut World, text: &str| {
            let (name, spec) = policy(text);
            world.put_policy(name, spec);
        };
        put(&mut before, "shop/db app=db: in from block 192.0.2.0/24 or block 198.51.100.0/24");
        let mut after = before.clone();
        put(&mut after, "shop/web app=web: in none");
        // Each pod, and one outside per family.
        assert_eq!(Difference::between(&before, &after).groups.len(), 4);
        assert_eq!(Difference::bounded(&before, &after, 3), Err(4));
        put(&mut after, "shop/more app=db: in none");
        assert_eq!(Difference::between(&before, &after).groups.len(), 6);
    }

    #[test]
    fn differences_are_those_of_decisions() {
        for seed in 0..20 {
            let mut chance = Chance::new(seed);
            let before = random::world(&mut chance);
            let mut after = before.clone();
            for _ in 0..3 {
                random::step_of_policies(&mut after, &mut chance);
            }
            let difference = Difference::between(&before, &after);
            let of = |address: std::net::IpAddr| {
                let (name, _) = before.pod_at(address)?;
                difference.groups.iter().position(|group| group.pods().contains(name))
            };
            for flow in random::flows(&before, &mut chance) {
                let (Some(from), Some(to)) = (of(flow.source), of(flow.destination)) else { continue };
                let (old, new) = (before.decide(&flow).verdict, after.decide(&flow).verdict);
                let family = Family::of(flow.source);
                let shift = difference
                    .shifts
                    .iter()
                    .find(|one| one.from == from && one.to == to && one.families.contains(&family));
                let opens = shift.is_some_and(|shift| shift.opens.has(flow.transport));
                let closes = shift.is_some_and(|shift| shift.closes.has(flow.transport));
                let same_pod =
                    before.pod_at(flow.source).unwrap().0 == before.pod_at(flow.destination).unwrap().0;
                if !same_pod {
                    let expected = (!old.allows() && new.allows(), old.allows() && !new.allows());
                    assert_eq!((opens, closes), expected, "seed {seed}: {flow}");
                    assert_eq!(cut_by(&before, &after, &flow).is_some(), closes, "seed {seed}: {flow}");
                }
            }
        }
    }
}
