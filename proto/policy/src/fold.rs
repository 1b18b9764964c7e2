//! What changes in few lines: pairs of groups that change alike are one line, and its ends are told by namespace where a whole
//! namespace is meant.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{Family, NamespaceName};

use crate::{
    difference::Difference,
    groups::{Group, Members},
    ports::PortSet,
};

/// Ends that one side of a line names; of more there is only a number.
const TERMS: usize = 6;
/// Ends that a side may leave out where that is shorter to say.
const EXCEPTIONS: usize = 2;

/// A change that is the same from each of some groups to each of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Sources, as places in [`Difference::groups`], in order.
    pub from: Vec<usize>,
    /// Destinations.
    pub to: Vec<usize>,
    /// The family, where both ends have both and it is so in one alone.
    pub family: Option<Family>,
    /// What was denied and is allowed now.
    pub opens: PortSet,
    /// What was allowed and is denied now.
    pub closes: PortSet,
}

/// A line while it is made.
struct Line {
    from: BTreeSet<usize>,
    to: Vec<usize>,
    /// Sources that make no difference: no destination of the line can be their flow's.
    idle: BTreeSet<usize>,
}

impl Difference {
    /// All changes in few lines, in order of their first destination: each pair that changes is in exactly one for each thing
    /// that changes, and a pair of a line that doesn't change can have no flow.
    pub fn folds(&self) -> Vec<Fold> {
        type Change = (PortSet, PortSet, Option<Family>);
        let mut changes: BTreeMap<Change, BTreeMap<usize, BTreeSet<usize>>> = BTreeMap::new();
        for shift in &self.shifts {
            let family = match shift.families[..] {
                [one] if self.meets(shift.from, shift.to, one.other()) => Some(one),
                _ => None,
            };
            let change = (shift.opens.clone(), shift.closes.clone(), family);
            changes.entry(change).or_default().entry(shift.to).or_default().insert(shift.from);
        }
        let mut folds = Vec::new();
        for ((opens, closes, family), sources) in changes {
            for Line { from, to, .. } in self.lines(sources, family) {
                let from = from.into_iter().collect();
                folds.push(Fold { from, to, family, opens: opens.clone(), closes: closes.clone() });
            }
        }
        folds.sort_by_key(|fold| fold.to.first().copied());
        folds
    }

    /// Destinations with the same sources together; what can't be a flow doesn't keep them apart.
    fn lines(&self, sources: BTreeMap<usize, BTreeSet<usize>>, family: Option<Family>) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (to, from) in sources {
            let idle: BTreeSet<usize> = (0..self.groups.len())
                .filter(|source| !match family {
                    Some(family) => self.meets(*source, to, family),
                    None => self.meet(*source, to),
                })
                .collect();
            let fits = |line: &&mut Line| {
                line.from.difference(&from).all(|source| idle.contains(source))
                    && from.difference(&line.from).all(|source| line.idle.contains(source))
            };
            match lines.iter_mut().find(fits) {
                Some(line) => {
                    line.from.extend(from);
                    line.to.push(to);
                    line.idle.retain(|source| idle.contains(source));
                }
                None => lines.push(Line { from, to: vec![to], idle }),
            }
        }
        lines
    }

    /// Whether there can be flows of a family between members of two groups that policies judge.
    fn meets(&self, from: usize, to: usize, family: Family) -> bool {
        let (source, destination) = (&self.groups[from], &self.groups[to]);
        let alone = from == to && source.pods().len() <= 1;
        let strangers = source.pods().is_empty() && destination.pods().is_empty();
        !alone && !strangers && source.sample(family).is_some() && destination.sample(family).is_some()
    }

    fn meet(&self, from: usize, to: usize) -> bool {
        [Family::V4, Family::V6].into_iter().any(|family| self.meets(from, to, family))
    }

    /// Words for some groups that are one side of a line, in view of the other side: `everybody`, `namespace shop (3 pods)`,
    /// `shop/web-0`, `outside`. At most so many that a line can hold.
    pub fn words(&self, these: &[usize], others: &[usize]) -> Vec<String> {
        let meets_some =
            |group: &usize| others.iter().any(|other| self.meet(*group, *other) || self.meet(*other, *group));
        let all: BTreeSet<usize> = (0..self.groups.len()).filter(meets_some).collect();
        let these: BTreeSet<usize> = these.iter().copied().collect();
        let missing: BTreeSet<usize> = all.difference(&these).copied().collect();
        if missing.is_empty() && all.len() > 1 {
            return vec!["everybody".to_owned()];
        }
        let mut terms = self.terms(&these, &all);
        let exceptions = self.terms(&missing, &all);
        if exceptions.len() <= EXCEPTIONS && exceptions.len() + 1 < terms.len() {
            return vec![format!("everybody but {}", exceptions.join(" and "))];
        }
        if terms.len() > TERMS {
            let more = terms.len() - TERMS;
            terms.truncate(TERMS);
            terms.push(format!("{more} more"));
        }
        terms
    }

    /// How many pods some groups have.
    pub fn pods(&self, groups: &[usize]) -> usize {
        groups.iter().map(|group| self.groups[*group].pods().len()).sum()
    }

    /// Groups in words, whole namespaces and the whole outside at once.
    fn terms(&self, these: &BTreeSet<usize>, all: &BTreeSet<usize>) -> Vec<String> {
        let of = |set: &BTreeSet<usize>, which: &dyn Fn(&Group) -> bool| -> Vec<usize> {
            set.iter().copied().filter(|group| which(&self.groups[*group])).collect()
        };
        let single = |groups: &[usize]| groups.iter().map(|group| self.groups[*group].to_string()).collect();
        let mut terms: Vec<String> = Vec::new();
        let spaces: BTreeSet<&NamespaceName> =
            these.iter().filter_map(|group| space(&self.groups[*group])).collect();
        for name in spaces {
            let own = |group: &Group| space(group) == Some(name);
            let (meant, known) = (of(these, &own), of(all, &own));
            let pods = self.pods(&meant);
            match meant == known && pods > 1 {
                true => terms.push(format!("namespace {name} ({pods} pods)")),
                false => terms.extend::<Vec<String>>(single(&meant)),
            }
        }
        terms.extend(
            of(these, &|group| group.members == Members::Resolver).iter().map(|_| "resolver".to_owned()),
        );
        let outside = |group: &Group| matches!(group.members, Members::Outside(_));
        if !of(these, &outside).is_empty() && of(these, &outside) == of(all, &outside) {
            terms.push("outside".to_owned());
            return terms;
        }
        for family in [Family::V4, Family::V6] {
            let own = |group: &Group| outside(group) && group.sample(family).is_some();
            let (meant, known) = (of(these, &own), of(all, &own));
            match meant == known && !meant.is_empty() {
                true => terms.push(format!("outside by {family}")),
                false => terms.extend::<Vec<String>>(single(&meant)),
            }
        }
        terms
    }
}

/// The namespace of a group of pods.
fn space(group: &Group) -> Option<&NamespaceName> {
    group.namespace.as_ref().filter(|_| !group.pods().is_empty())
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
                 pod shop/job app=job n1 10.0.0.3,fd00::3
                 pod shop/db app=db n1 10.0.0.4,fd00::4
                 pod dev/one app=web n1 10.0.1.1,fd00::1:1
                 pod dev/two app=job n1 10.0.1.2,fd00::1:2",
            );
            policies.iter().map(|text| policy(text)).for_each(|(name, spec)| world.put_policy(name, spec));
            world
        };
        let difference = Difference::between(&world(before), &world(after));
        let line = |fold: &Fold| {
            let side = |these: &[usize], others: &[usize]| difference.words(these, others).join(", ");
            let (from, to) = (side(&fold.from, &fold.to), side(&fold.to, &fold.from));
            let family = fold.family.map_or(String::new(), |family| format!(" ({family} alone)"));
            let changes = [("opens", &fold.opens), ("closes", &fold.closes)];
            let changes = changes.into_iter().filter(|(_, ports)| !ports.is_empty());
            changes
                .map(|(word, ports)| format!("{word} {from} -> {to}: {}{family}", ports.words()))
                .collect::<Vec<_>>()
        };
        let mut found: Vec<String> = difference.folds().iter().flat_map(line).collect();
        found.sort_unstable();
        let lines: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(found, lines, "{before:?} {after:?}");
    }

    #[test]
    fn a_change_is_told_in_few_lines() {
        let db = "shop/db app=db: in from pods app=web ports tcp/5432";
        check(&[db], &[db], "");
        check(
            &[],
            &[db],
            "closes everybody but shop app=web (2 pods) -> shop/db: all
             closes shop app=web (2 pods) -> shop/db: all but 5432/tcp",
        );
        check(
            &[db],
            &[],
            "opens everybody but shop app=web (2 pods) -> shop/db: all
             opens shop app=web (2 pods) -> shop/db: all but 5432/tcp",
        );
        // Each pod of a namespace: one pod's way to itself keeps no line apart.
        check(&[], &["shop/closed *: in none"], "closes everybody -> namespace shop (4 pods): all");
        check(
            &[],
            &["shop/closed *: in from pods *"],
            "closes namespace dev (2 pods), outside -> namespace shop (4 pods): all",
        );
        check(&[], &["shop/out app=db: eg none"], "closes shop/db -> everybody: all");
        check(
            &[],
            &["shop/db app=db: in from block 0.0.0.0/0"],
            "closes namespace dev (2 pods), namespace shop (3 pods) -> shop/db: all (IPv6 alone)
             closes outside by IPv6 -> shop/db: all",
        );
    }

    #[test]
    fn lines_say_exactly_what_changes() {
        for seed in 0..40 {
            let mut chance = Chance::new(seed);
            let before = random::world(&mut chance);
            let mut after = before.clone();
            for _ in 0..3 {
                random::step_of_policies(&mut after, &mut chance);
            }
            let difference = Difference::between(&before, &after);
            let folds = difference.folds();
            for from in 0..difference.groups.len() {
                for to in 0..difference.groups.len() {
                    for family in [Family::V4, Family::V6] {
                        if !difference.meets(from, to, family) {
                            continue;
                        }
                        let told: Vec<_> = folds
                            .iter()
                            .filter(|fold| fold.family.is_none_or(|only| only == family))
                            .filter(|fold| fold.from.contains(&from) && fold.to.contains(&to))
                            .map(|fold| (&fold.opens, &fold.closes))
                            .collect();
                        let shift = difference
                            .shifts
                            .iter()
                            .find(|one| one.from == from && one.to == to && one.families.contains(&family));
                        let wanted: Vec<_> =
                            shift.map(|shift| (&shift.opens, &shift.closes)).into_iter().collect();
                        assert_eq!(told, wanted, "seed {seed}: {from} -> {to} {family}");
                    }
                }
            }
        }
    }
}
