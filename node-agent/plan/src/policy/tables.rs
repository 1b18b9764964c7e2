//! Wanted and actual state of the policy tables, and the transactions between them.
//!
//! In: View, Facts, what a kernel has. Out: transactions. Nearly always there is one per batch of changes, so no packet meets half of a
//! change. Where one would be too large (a whole load), the order is safe at each point: what ports sets hold, what profiles allow, which
//! profile a pod has, who is who, and last what nobody uses any more. Not here: what policies mean (weft-policy), sending (weft-kernel).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_model::{Family, NodeEgress, PodUid};
use weft_nft::{Batch, Element, Observed, SetChange, SetRef, Table, Value, limits, table_text};
use weft_policy::{Changes, Compiler, Tables};
use weft_view::View;

use super::{
    element::{Placed, placed},
    feed::{self, Fed},
    numbers::Numbers,
    rules,
};
use crate::{Facts, Scope, Sweep};

/// Where an element is.
pub(super) type Place = (Family, &'static str, Vec<Value>);

/// An element that isn't as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unit {
    there: Option<Element>,
    wanted: Option<Element>,
}

/// One transaction.
#[derive(Debug)]
pub struct PolicyTransaction {
    /// What to send.
    pub batch: Batch,
    made: Vec<Family>,
    removed: Vec<Family>,
    places: Vec<Place>,
}

/// The policy tables of a node.
#[derive(Debug, Default)]
pub struct Policies {
    compiler: Compiler,
    fed: Fed,
    numbers: Numbers,
    families: Vec<Family>,
    node: NodeEgress,
    /// Tables that the kernel has with our rules.
    there: BTreeSet<Family>,
    /// Tables that it has and the fabric doesn't want.
    strays: BTreeSet<Family>,
    pending: BTreeMap<Place, Unit>,
    /// What an older View than the kernel's maker had may know wrong: waits until the View is in sync.
    held: BTreeSet<Place>,
    /// What is still to be sent of a round.
    round: VecDeque<Place>,
}

impl Policies {
    /// Wants nothing and knows nothing of the kernel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Computes the desired state anew, for what the scope touches.
    pub fn want(&mut self, view: &View, facts: &Facts, scope: Scope<'_>) {
        let Some(fabric) = view.fabric() else { return };
        let families = fabric.families.list().to_vec();
        let changes = if matches!(scope, Scope::All) || families != self.families {
            self.want_all(view, facts, families)
        } else {
            self.fed.feed(&mut self.compiler, view, facts, scope);
            self.compiler.settle()
        };
        self.take(&changes);
        if self.node != fabric.policy.node_egress {
            self.node = fabric.policy.node_egress;
            self.make_anew();
        }
    }

    /// The rules are others: every table is made again, and filled.
    fn make_anew(&mut self) {
        self.there.clear();
        self.held.clear();
        self.round.clear();
        let all = self.wanted().into_iter();
        self.pending =
            all.map(|(place, wanted)| (place, Unit { there: None, wanted: Some(wanted) })).collect();
    }

    fn want_all(&mut self, view: &View, facts: &Facts, families: Vec<Family>) -> Changes {
        if families != self.families {
            // Elements of the others go with their tables.
            self.pending.clear();
            self.held.clear();
            self.numbers = Numbers::default();
            self.compiler = Compiler::new();
            self.families = families;
        }
        let (compiler, fed) = feed::all(view, facts);
        let old = std::mem::replace(&mut self.compiler, compiler);
        self.fed = fed;
        self.compiler.settle();
        difference(old.tables(), self.compiler.tables())
    }

    /// Notes what comes and what goes.
    fn take(&mut self, changes: &Changes) {
        let Self { numbers, families, pending, held, .. } = self;
        let mut note = |one: Placed, comes: bool| {
            let place = (one.family, one.set, one.element.key.clone());
            held.remove(&place);
            let fresh = || Unit { there: (!comes).then(|| one.element.clone()), wanted: None };
            let unit = pending.entry(place.clone()).or_insert_with(fresh);
            unit.wanted = comes.then_some(one.element);
            if unit.wanted == unit.there {
                pending.remove(&place);
            }
        };
        // An element that changes goes first and comes back as another.
        for (key, number) in &changes.delete {
            let gone = placed(key, *number, families, &mut |whole| numbers.leave(whole));
            gone.into_iter().for_each(|one| note(one, false));
        }
        for (key, number) in &changes.add {
            let new = placed(key, *number, families, &mut |whole| numbers.take(whole));
            new.into_iter().for_each(|one| note(one, true));
        }
        self.round.clear();
    }

    /// The tables whose dump [`Policies::observed`] takes: also those of a family that the fabric lacks.
    pub fn tables(&self) -> Vec<Table> {
        [Family::V4, Family::V6].map(|family| rules::table(family, self.node)).to_vec()
    }

    /// Takes what the kernel has; whatever differs from what is wanted is pending from now on. A table whose rules are others is made
    /// anew. Gives the number of differences.
    pub fn observed(&mut self, observed: &Observed, sweep: Sweep) -> usize {
        let mut differences = 0;
        let mut actual: BTreeMap<Place, Element> = BTreeMap::new();
        self.there.clear();
        self.strays.clear();
        for family in [Family::V4, Family::V6] {
            let table = rules::table(family, self.node);
            if !observed.has_table(&table.id) {
                continue;
            }
            if !self.families.contains(&family) {
                self.strays.insert(family);
            } else if observed.rule_differences(std::slice::from_ref(&table)).is_empty() {
                self.there.insert(family);
                actual.extend(elements(family, &table, observed));
            } else {
                differences += 1;
            }
        }
        self.pending.clear();
        self.round.clear();
        self.held.clear();
        let mut wanted = self.wanted();
        let known: BTreeSet<(Family, Value)> = actual.keys().filter_map(pod_of).collect();
        for (place, there) in actual {
            let wanted = wanted.remove(&place);
            if wanted.as_ref() != Some(&there) {
                self.pending.insert(place, Unit { there: Some(there), wanted });
            }
        }
        for (place, element) in wanted {
            self.pending.insert(place, Unit { there: None, wanted: Some(element) });
        }
        if sweep == Sweep::Forbidden {
            let is_older = |(place, unit): &(&Place, &Unit)| {
                unit.there.is_some() || pod_of(place).is_some_and(|pod| known.contains(&pod))
            };
            let older = self.pending.iter().filter(is_older).map(|(place, _)| place.clone());
            self.held = older.collect();
        }
        differences + self.pending.len()
    }

    /// All elements that are wanted.
    fn wanted(&self) -> BTreeMap<Place, Element> {
        let tables = self.compiler.tables();
        let all = tables.iter().flat_map(|(key, number)| {
            placed(key, number, &self.families, &mut |whole| self.numbers.of(whole))
        });
        all.map(|one| ((one.family, one.set, one.element.key.clone()), one.element)).collect()
    }

    /// The next transaction; `None`: the kernel is as wanted, as far as `sweep` allows.
    ///
    /// Give it back with [`Policies::committed`] when the kernel took it; otherwise call [`Policies::observed`] before the next.
    pub fn next(&mut self, sweep: Sweep) -> Option<PolicyTransaction> {
        if sweep == Sweep::Allowed && !self.held.is_empty() {
            self.held.clear();
            self.round.clear();
        }
        if self.round.is_empty() {
            let mut places: Vec<(u8, &Place)> = self
                .pending
                .iter()
                .filter(|(place, _)| !self.held.contains(*place))
                .map(|(place, unit)| (phase(place.1, unit), place))
                .collect();
            // A pod's elements side by side: whole in one transaction.
            places.sort_by(|(a, (f, s, x)), (b, (g, t, y))| (a, f, x.first(), s).cmp(&(b, g, y.first(), t)));
            self.round = places.into_iter().map(|(_, place)| place.clone()).collect();
        }
        let missing: Vec<Family> =
            self.families.iter().filter(|family| !self.there.contains(family)).copied().collect();
        if self.round.is_empty() && missing.is_empty() && self.strays.is_empty() {
            if self.pending.is_empty() {
                self.numbers.settled();
            }
            return None;
        }
        let mut batch = Batch::new();
        let removed: Vec<Family> = self.strays.iter().copied().collect();
        removed.iter().for_each(|family| batch.remove_table(&rules::table_ref(*family)));
        missing.iter().for_each(|family| batch.replace_table(&rules::table(*family, self.node)));
        let places = self.cut(&mut batch);
        Some(PolicyTransaction { batch, made: missing, removed, places })
    }

    /// Fills a transaction from the front of the round.
    fn cut(&mut self, batch: &mut Batch) -> Vec<Place> {
        let mut changes: BTreeMap<(Family, &'static str), SetChange> = BTreeMap::new();
        let (mut places, mut size) = (Vec::new(), batch.size());
        while let Some(place) = self.round.pop_front() {
            let Some(unit) = self.pending.get(&place) else { continue };
            let (family, set, key) = &place;
            // Pieces of the ranges of one set only fit together.
            let may_be_cut = !matches!(*set, "blocks" | "port_classes");
            if size > limits::TRANSACTION_BYTES && may_be_cut {
                self.round.push_front(place);
                break;
            }
            let change = changes.entry((*family, *set)).or_insert_with(|| SetChange {
                set: SetRef { table: rules::table_ref(*family), name: (*set).to_owned() },
                remove: Vec::new(),
                add: Vec::new(),
            });
            change.remove.extend(unit.there.clone());
            change.add.extend(unit.wanted.clone());
            size += 64 + 32 * key.len();
            places.push(place);
        }
        let tables: Vec<Table> =
            self.families.iter().map(|family| rules::table(*family, self.node)).collect();
        batch.change_elements(&tables, &changes.into_values().collect::<Vec<_>>());
        places
    }

    /// The kernel took the transaction.
    pub fn committed(&mut self, transaction: PolicyTransaction) {
        self.there.extend(transaction.made);
        transaction.removed.iter().for_each(|family| {
            self.strays.remove(family);
        });
        transaction.places.iter().for_each(|place| drop(self.pending.remove(place)));
    }

    /// Pods of this node that are closed since nobody knows yet what they are.
    pub fn unknown_pods(&self) -> BTreeSet<PodUid> {
        self.fed.unknown()
    }

    /// Policies that are too large to be in force; their pods are closed.
    pub fn problems(&self) -> Vec<weft_policy::Error> {
        self.compiler.problems()
    }

    /// How many elements each of the compiler's maps has, and how many profiles there are.
    pub fn sizes(&self) -> (BTreeMap<&'static str, usize>, usize) {
        (self.compiler.tables().sizes(), self.compiler.profiles())
    }

    /// The tables with everything that is wanted in them, as `nft list table` shows them.
    pub fn text(&self) -> String {
        let all = self.wanted();
        let of = |family: &Family| {
            let table = rules::table(*family, self.node);
            table_text(&table, |set| {
                let here = all.iter().filter(|((of, name, _), _)| of == family && *name == set);
                here.map(|(_, element)| element).collect::<Vec<_>>()
            })
        };
        self.families.iter().map(of).collect()
    }
}

/// Order of changes where one transaction isn't enough.
fn phase(set: &str, unit: &Unit) -> u8 {
    match (set, unit.wanted.is_some()) {
        ("ports" | "protocols" | "port_classes" | "range_ports", true) => 0,
        ("peers" | "pod_defaults" | "block_peers" | "defaults", true) => 1,
        ("identities" | "blocks", _) => 3,
        ("peers" | "pod_defaults" | "block_peers" | "defaults", false) => 4,
        ("ports" | "protocols" | "port_classes" | "range_ports", false) => 5,
        _ => 2,
    }
}

/// The local pod that an element says something of.
fn pod_of((family, set, key): &Place) -> Option<(Family, Value)> {
    let is_of_pod = matches!(
        *set,
        "open_in" | "open_out" | "profiles_in" | "profiles_out" | "denied_in" | "denied_out" | "itself"
    );
    is_of_pod.then(|| key.first().map(|pod| (*family, pod.clone()))).flatten()
}

/// The elements that the kernel has in a table.
pub(super) fn elements(family: Family, table: &Table, observed: &Observed) -> Vec<(Place, Element)> {
    let of_set = |set: &weft_nft::Set| {
        let id = SetRef { table: table.id.clone(), name: set.name.clone() };
        let name = rules::name_of(&set.name);
        let all: Vec<_> = observed.elements_of(&id, set).collect();
        all.into_iter().filter_map(move |element| Some(((family, name?, element.key.clone()), element)))
    };
    table.sets.iter().flat_map(of_set).collect()
}

/// What makes `new` of `old`.
fn difference(old: &Tables, new: &Tables) -> Changes {
    let gone = old.iter().filter(|(key, number)| new.get(key) != Some(*number));
    let come = new.iter().filter(|(key, number)| old.get(key) != Some(*number));
    Changes {
        delete: gone.map(|(key, number)| (*key, number)).collect(),
        add: come.map(|(key, number)| (*key, number)).collect(),
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
