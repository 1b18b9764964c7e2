//! One round of changes, cut into transactions.
//!
//! Order: tables where there are none; chains that will be led to; what doesn't grow with services; backends; fronts; backends that
//! nothing leads to any more; last the ranges in which the unknown is refused, so that a whole load never refuses what is still to
//! come: a sender tries again, and finds it.
//!
//! A table whose rules aren't as wanted is mended where it stands. Mostly that comes first. Where the new rules ask sets that aren't
//! there yet (a version that brings some), these are made and filled before, and the rules then change at once; so whoever changes what
//! the elements of a set mean gives it another name, and nobody meets the change.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use weft_model::Family;
use weft_nft::{Batch, Chain, Element, Mend, SetChange, SetRef, Table, limits};

use super::{
    compile::{Key, Value},
    element::{self, Unit},
    rules::{self, Stick},
    tables::Actual,
};

/// Units taken at a time.
const CHUNK: usize = 256;
/// The set that comes last.
pub(super) const LAST: &str = "ranges";

/// An entry that changes: key, what it was, what it will be.
pub(super) type Change = (Key, Option<Value>, Option<Value>);

/// One transaction of a round.
#[derive(Debug)]
pub struct Transaction {
    /// What to send.
    pub batch: Batch,
    /// Nothing of its round follows.
    pub(super) is_last: bool,
    /// What it changes.
    #[cfg(test)]
    pub(super) units: Vec<Unit>,
}

/// A step that isn't split.
#[derive(Debug)]
enum Step {
    /// Make the table anew, empty; remove it if the fabric lacks the family.
    Table(Family, bool),
    /// Part of a mending.
    Mend(Batch),
    /// A chain that isn't there yet.
    Chain(Family, Chain),
    /// Chains that nothing leads to.
    Unused(Family, Vec<String>),
    /// Elements of sets that don't grow with services.
    Base(SetChange),
    /// Elements of services.
    Units(Vec<Unit>),
    /// What follows goes into a transaction of its own.
    Apart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Backends,
    Fronts,
    Rules,
    Leftovers,
    Last,
    Done,
}

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    target: Actual,
    tables: Vec<Table>,
    changes: Vec<Change>,
    /// What went with the table of a family that the fabric lacks.
    gone: Vec<Key>,
    steps: VecDeque<Step>,
    /// Rules that change when what they ask is filled.
    rules: Vec<Step>,
    last: Vec<SetChange>,
    phase: Phase,
    at: usize,
    /// Leftovers have begun.
    is_apart: bool,
}

impl Round {
    /// The way from `actual` to `target`; `None` when there is nothing to do.
    ///
    /// `mends`: tables whose rules aren't as wanted. `led_to`: those of the kernel's chains that its elements lead to.
    pub(super) fn new(
        actual: Option<&Actual>,
        target: Actual,
        mends: Vec<(Family, Mend)>,
        changes: Vec<Change>,
        led_to: &BTreeSet<Stick>,
    ) -> Option<Self> {
        let nothing = Actual::default();
        let from = actual.unwrap_or(&nothing);
        let (mut changes, gone): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|(key, ..)| target.families.contains(&key.family()));
        let mut steps = tables_first(actual, &target);
        // A chain goes in the round after the one that took the last way to it.
        let is_idle = |stick: &&Stick| !target.sticks.contains(stick) && !led_to.contains(stick);
        let idle = || from.sticks.iter().filter(is_idle).copied().collect();
        let unused: BTreeSet<Stick> = if mends.is_empty() { idle() } else { BTreeSet::new() };
        let sticks: BTreeSet<Stick> =
            from.sticks.difference(&unused).chain(&target.sticks).copied().collect();
        let mut rules = Vec::new();
        let mut filled = Vec::new();
        for family in &target.families {
            let is_there = from.families.contains(family);
            let mend = mends.iter().find(|(of, _)| of == family).map(|(_, mend)| mend);
            if is_there && !unused.is_empty() {
                let names = unused.iter().map(|stick| stick.chain()).collect();
                steps.push_back(Step::Unused(*family, names));
            }
            let there = if is_there { &from.sticks } else { &nothing.sticks };
            let new = sticks.difference(there).map(|stick| rules::stick_chain(*family, *stick));
            match mend {
                Some(mend) => {
                    let table = rules::table(*family, &sticks);
                    filled.extend(mending(&table, *family, mend, new, (&mut steps, &mut rules)));
                }
                None => steps.extend(new.map(|chain| Step::Chain(*family, chain))),
            }
        }
        let tables: Vec<Table> =
            target.families.iter().map(|family| rules::table(*family, &BTreeSet::new())).collect();
        let is_same = Arc::ptr_eq(&target.base, &from.base);
        let mut base = if is_same { Vec::new() } else { target.base.changes_from(&from.base) };
        base.retain(|change| tables.iter().any(|table| table.id == change.set.table));
        let (last, base): (Vec<_>, Vec<_>) = base.into_iter().partition(|change| change.set.name == LAST);
        // Elements of a set that stays may lead to chains that come with the rules.
        let waits =
            |set: &SetRef| filled.iter().any(|mend: &Mend| mend.is_of(&set.table) && mend.has_set(&set.name));
        let (after, before): (Vec<_>, Vec<_>) = base.into_iter().partition(|change| waits(&change.set));
        steps.extend(before.into_iter().flat_map(split).map(Step::Base));
        rules.extend(after.into_iter().flat_map(split).map(Step::Base));
        // Ranges that go make room for those that come.
        changes.sort_by_key(|(key, _, new)| (matches!(key, Key::Allowed(..)) && new.is_some(), key.clone()));
        if [steps.len(), rules.len(), last.len(), changes.len(), gone.len()].iter().all(|count| *count == 0) {
            return None;
        }
        let gone = gone.into_iter().map(|(key, ..)| key).collect();
        let target = Actual { sticks, ..target };
        Some(Self {
            target,
            tables,
            changes,
            gone,
            steps,
            rules,
            last,
            phase: Phase::Backends,
            at: 0,
            is_apart: false,
        })
    }

    /// The next transaction; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Transaction> {
        let mut batch = Batch::new();
        #[cfg(test)]
        let mut taken = Vec::new();
        while let Some(step) = self.step() {
            if matches!(step, Step::Apart) && !batch.is_empty() {
                break;
            }
            let mut alone = Batch::new();
            self.put(&mut alone, &step);
            if !batch.is_empty() && batch.size() + alone.size() > limits::TRANSACTION_BYTES {
                self.steps.push_front(step);
                break;
            }
            batch.append(alone);
            #[cfg(test)]
            if let Step::Units(units) = step {
                taken.extend(units);
            }
        }
        if batch.is_empty() {
            return None;
        }
        self.fill();
        Some(Transaction {
            batch,
            is_last: self.steps.is_empty(),
            #[cfg(test)]
            units: taken,
        })
    }

    /// What is true after the last transaction.
    pub(super) fn finish(self) -> (Actual, Vec<(Key, Option<Value>)>) {
        let changed = self.changes.into_iter().map(|(key, _, new)| (key, new));
        (self.target, changed.chain(self.gone.into_iter().map(|key| (key, None))).collect())
    }

    fn step(&mut self) -> Option<Step> {
        self.fill();
        self.steps.pop_front()
    }

    /// Looks ahead until there is a step, or nothing more.
    fn fill(&mut self) {
        while self.steps.is_empty() && self.phase != Phase::Done {
            match self.phase {
                Phase::Backends | Phase::Fronts | Phase::Leftovers => {
                    self.fill_units();
                    if self.at < self.changes.len() {
                        continue;
                    }
                }
                Phase::Rules => self.steps.extend(std::mem::take(&mut self.rules)),
                Phase::Last => {
                    self.steps.extend(std::mem::take(&mut self.last).into_iter().map(Step::Base));
                }
                Phase::Done => {}
            }
            (self.phase, self.at) = (self.phase.after(), 0);
        }
    }

    fn fill_units(&mut self) {
        let mut units = Vec::new();
        while units.len() < CHUNK && self.at < self.changes.len() {
            units.extend(units_of(&self.changes[self.at], self.phase));
            self.at += 1;
        }
        // A packet that got its target just before the commit still finds the slot: the kernel changes over between two lookups too.
        if self.phase == Phase::Leftovers && !units.is_empty() && !self.is_apart {
            self.is_apart = true;
            self.steps.push_back(Step::Apart);
        }
        let mut rest = units.as_slice();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(rest.len().min(CHUNK));
            self.steps.push_back(Step::Units(chunk.to_vec()));
            rest = behind;
        }
    }

    fn put(&self, batch: &mut Batch, step: &Step) {
        match step {
            Step::Table(family, true) => batch.replace_table(&rules::table(*family, &BTreeSet::new())),
            Step::Table(family, false) => batch.remove_table(&rules::table_ref(*family)),
            Step::Mend(part) => batch.append(part.clone()),
            Step::Chain(family, chain) => batch.add_chains(&rules::table_ref(*family), [chain]),
            Step::Unused(family, names) => batch.remove_chains(&rules::table_ref(*family), names),
            Step::Base(change) => batch.change_elements(&self.tables, std::slice::from_ref(change)),
            Step::Units(units) => self.put_units(batch, units),
            Step::Apart => {}
        }
    }

    /// Neighbours of one set go together: a key is removed before it is added anew.
    fn put_units(&self, batch: &mut Batch, units: &[Unit]) {
        let mut rest = units;
        while let Some(first) = rest.first() {
            let same = |unit: &Unit| (unit.family, unit.set) == (first.family, first.set);
            let count = rest.iter().take_while(|unit| same(unit)).count();
            let (run, behind) = rest.split_at(count);
            rest = behind;
            let set = SetRef { table: rules::table_ref(first.family), name: first.set.to_owned() };
            let of = |side: fn(&Unit) -> Option<&Element>| run.iter().filter_map(side).cloned().collect();
            let change = SetChange { set, remove: of(|u| u.remove.as_ref()), add: of(|u| u.add.as_ref()) };
            batch.change_elements(&self.tables, &[change]);
        }
    }
}

impl Phase {
    const fn after(self) -> Self {
        match self {
            Self::Backends => Self::Fronts,
            Self::Fronts => Self::Rules,
            Self::Rules => Self::Leftovers,
            Self::Leftovers => Self::Last,
            Self::Last | Self::Done => Self::Done,
        }
    }
}

/// Tables that aren't there are made, and those of families that the fabric lacks go; what isn't known counts as neither.
fn tables_first(actual: Option<&Actual>, target: &Actual) -> VecDeque<Step> {
    let step = |family: Family| {
        let is_wanted = target.families.contains(&family);
        let is_known = actual.is_some_and(|actual| actual.families.contains(&family) == is_wanted);
        (!is_known).then_some(Step::Table(family, is_wanted))
    };
    [Family::V4, Family::V6].into_iter().filter_map(step).collect()
}

/// Steps of a mending: at once, or with sets that are filled before; then the mending is given back.
fn mending(
    table: &Table,
    family: Family,
    mend: &Mend,
    new: impl Iterator<Item = Chain>,
    (steps, rules): (&mut VecDeque<Step>, &mut Vec<Step>),
) -> Option<Mend> {
    let mut sets = Batch::new();
    let mut after = mend.clone();
    after.make_sets(table, &mut sets);
    let mut batch = Batch::new();
    if sets.is_empty() || mend.replaces_sets() {
        batch.mend_table(table, mend);
        steps.push_back(Step::Mend(batch));
        return None;
    }
    steps.push_back(Step::Mend(sets));
    for chain in new {
        after.made_chain(&chain.name);
        steps.push_back(Step::Chain(family, chain));
    }
    batch.mend_table(table, &after);
    rules.push(Step::Mend(batch));
    Some(mend.clone())
}

/// All units of a change.
pub(super) fn units(change: &Change) -> Vec<Unit> {
    [Phase::Backends, Phase::Fronts, Phase::Leftovers]
        .into_iter()
        .flat_map(|phase| units_of(change, phase))
        .collect()
}

fn units_of((key, old, new): &Change, phase: Phase) -> Vec<Unit> {
    match (key, phase) {
        (Key::Group(family, number), Phase::Backends | Phase::Leftovers) => {
            let (before, after) = element::group_units(
                *family,
                &elements(*number, old.as_ref()),
                &elements(*number, new.as_ref()),
            );
            if phase == Phase::Backends { before } else { after }
        }
        (
            Key::Front(..)
            | Key::Port(..)
            | Key::Pingable(_)
            | Key::Balanced(_)
            | Key::Restricted(..)
            | Key::Allowed(..),
            Phase::Fronts,
        ) => element::unit(key, old.as_ref(), new.as_ref()).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// All elements of a group.
fn elements(number: u32, value: Option<&Value>) -> BTreeSet<(&'static str, Element)> {
    match value {
        Some(Value::Group(group)) => element::group(number, group),
        Some(Value::Seen(seen)) => (**seen).clone(),
        Some(Value::Present | Value::Target(_)) | None => BTreeSet::new(),
    }
}

/// A long list in parts.
fn split(change: SetChange) -> Vec<SetChange> {
    if change.remove.len() + change.add.len() <= CHUNK {
        return vec![change];
    }
    let SetChange { set, remove, add } = change;
    let part = |remove: &[Element], add: &[Element]| SetChange {
        set: set.clone(),
        remove: remove.to_vec(),
        add: add.to_vec(),
    };
    let removals: Vec<_> = remove.chunks(CHUNK).map(|chunk| part(chunk, &[])).collect();
    removals.into_iter().chain(add.chunks(CHUNK).map(|chunk| part(&[], chunk))).collect()
}

/// Removes our tables, of both families.
pub fn remove_service_tables() -> Batch {
    let mut batch = Batch::new();
    [Family::V4, Family::V6].iter().for_each(|family| batch.remove_table(&rules::table_ref(*family)));
    batch
}
