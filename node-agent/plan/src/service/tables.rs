//! Wanted and actual state of the service tables, and the transactions between them.
//!
//! In: View, Facts, what a kernel has. Out: transactions in an order that is safe at each point: backends before the fronts that
//! lead to them, old backends last; what refuses the unknown comes last of a whole load. Not here: sending (weft-kernel).
//! Work is proportional to what was touched; only elements that differ are sent.

mod limit;
mod look;

pub use limit::Limits;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{FabricItem, Family, ItemKey, ServiceName};
use weft_nft::{Data, Elements, Mend, SetRef, Verdict, table_text};
use weft_view::View;

use super::{
    base::{self, NODE_ADDRESSES},
    choose::Here,
    cleanup::{Cleanup, Places, Targets},
    compile::{Compiler, Entries, Key, Value, ports},
    element,
    ids::{Ids, PortName},
    local::{self, Local},
    round::{self, Round, Transaction},
    rules::{self, Stick},
};
use crate::{Facts, Scope, Source, Sweep, Tracker, Wanted};

/// Services whose entries are taken at a time: all of them at once would need all the memory twice.
const CHUNK: usize = 256;

/// What every service depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Around {
    families: Vec<Family>,
    zone: String,
    own: Vec<IpAddr>,
    timeouts: BTreeSet<u32>,
    closed: BTreeSet<ServiceName>,
}

/// The service tables of a node.
#[derive(Debug, Default)]
pub struct Services {
    tracker: Tracker<Key, Value>,
    ids: Ids,
    around: Around,
    /// What somebody else knows of all services; `None`: these are all.
    fixed: Option<Limits>,
    targets: Targets,
    /// What this node knows of its own addresses, and which services have endpoints there.
    local: Local,
    here: local::Here,
    /// Affinity time-outs asked for, per service that has one.
    timeouts: BTreeMap<ServiceName, u32>,
    sizes: BTreeMap<ServiceName, usize>,
    total: usize,
    /// Chains of time-outs that must be there.
    sticks: BTreeMap<ServiceName, BTreeSet<Stick>>,
    base: Arc<Elements>,
    node_addresses: BTreeSet<IpAddr>,
    /// What the kernel has beside the entries; `None`: it wasn't looked at.
    actual: Option<Actual>,
    /// Tables whose rules aren't as wanted, and how many faults they have.
    mends: Vec<(Family, Mend)>,
    faults: usize,
    /// The round mends something; the kernel refused the last that did.
    mending: bool,
    unmendable: bool,
    round: Option<Round>,
}

/// The kernel's side of what isn't an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Actual {
    /// Those whose tables are there.
    pub(super) families: BTreeSet<Family>,
    pub(super) base: Arc<Elements>,
    pub(super) sticks: BTreeSet<Stick>,
}

impl Services {
    /// Wants nothing and knows nothing of the kernel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Computes the desired state anew, for what the scope touches.
    pub fn want(&mut self, view: &View, facts: &Facts, scope: Scope<'_>) {
        let Some(fabric) = view.fabric() else { return };
        let mut touched: Option<BTreeSet<ServiceName>> = match scope {
            Scope::All => None,
            Scope::Items(keys) => keys
                .iter()
                .all(|key| *key != ItemKey::Fabric && *key != ItemKey::Peer(facts.node.clone()))
                .then(|| keys.iter().filter_map(service_of).collect()),
            Scope::Pods(_) => Some(BTreeSet::new()),
        };
        if let Some(addresses) = self.look_here(view, facts, scope) {
            if let Some(names) = &mut touched {
                names.extend(self.here.at(&addresses).cloned());
            }
        } else {
            touched = None;
        }
        self.note(view, touched.as_ref());
        let around = self.around(view, facts);
        if around != self.around {
            touched = None;
            self.around = around;
        }
        match touched {
            None => self.compile(view, facts, view.services().keys().cloned().collect(), true),
            Some(names) => {
                let moved = self.renumber(view, &names);
                self.compile(view, facts, names.into_iter().chain(moved).collect(), false);
            }
        }
        self.limit(view, facts);
        self.targets.begin();
        let is_about_nodes = match scope {
            Scope::All | Scope::Pods(_) => true,
            Scope::Items(keys) => keys.iter().any(|key| matches!(key, ItemKey::Fabric | ItemKey::Peer(_))),
        };
        if is_about_nodes || self.base.is_empty() {
            let base = base::elements(view, facts, fabric);
            if base != *self.base {
                self.node_addresses = base::node_addresses(&base);
                self.base = Arc::new(base);
            }
        }
    }

    /// The next transaction; `None`: the kernel is as wanted, as far as `sweep` allows.
    ///
    /// Give it back with [`Services::committed`] when the kernel took it; otherwise call [`Services::observed`] before the next.
    pub fn next(&mut self, sweep: Sweep) -> Option<Transaction> {
        if self.around.families.is_empty() {
            return None;
        }
        if self.round.is_none() {
            let changes =
                self.tracker.differences().filter(|p| p.desired.is_some() || sweep == Sweep::Allowed);
            let changes = changes.map(|p| (p.key.clone(), p.actual.cloned(), p.desired.cloned())).collect();
            let families = self.families();
            let target = Actual { families, base: self.base_for(sweep), sticks: self.wanted_sticks() };
            let mends = std::mem::take(&mut self.mends);
            self.mending = !mends.is_empty();
            self.round = Round::new(self.actual.as_ref(), target, mends, changes, &self.led_to());
        }
        let transaction = self.round.as_mut()?.next();
        if transaction.is_none() {
            self.finish_round();
        }
        transaction
    }

    /// Before the View is complete, what it doesn't know of other nodes stays.
    fn base_for(&self, sweep: Sweep) -> Arc<Elements> {
        match &self.actual {
            Some(actual) if sweep == Sweep::Forbidden && !Arc::ptr_eq(&actual.base, &self.base) => {
                let mut base = (*self.base).clone();
                for (set, elements) in actual.base.iter().filter(|(set, _)| set.name == NODE_ADDRESSES) {
                    elements.iter().for_each(|element| base.insert(set.clone(), element.clone()));
                }
                Arc::new(base)
            }
            Some(_) | None => Arc::clone(&self.base),
        }
    }

    /// The kernel refused the last transaction: whether another way is left, after [`Services::observed`]. A table that can't be
    /// mended is made anew.
    pub fn refused(&mut self) -> bool {
        self.unmendable |= self.mending;
        std::mem::take(&mut self.mending)
    }

    /// The kernel took the transaction.
    pub fn committed(&mut self, transaction: Transaction) {
        if transaction.is_last {
            self.finish_round();
        }
    }

    fn finish_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        let (actual, entries) = round.finish();
        self.actual = Some(actual);
        (self.faults, self.mending, self.unmendable) = (0, false, false);
        entries.into_iter().for_each(|(key, value)| self.tracker.noticed(key, value));
    }

    /// Entries that the kernel is known to have otherwise than wanted, and faults of its rules, as far as they have been looked at.
    pub fn differences(&self) -> usize {
        let base = self.actual.as_ref().is_some_and(|actual| actual.base != self.base);
        self.tracker.differences().len() + usize::from(base) + self.faults
    }

    /// Whether nothing is left to do.
    pub fn is_settled(&self) -> bool {
        let is_same = |actual: &Actual| actual.base == self.base && actual.families == self.families();
        self.round.is_none()
            && self.mends.is_empty()
            && self.tracker.differences().len() == 0
            && self.actual.as_ref().is_some_and(is_same)
    }

    /// Flows that the changes since last asked left without an endpoint: to be asked for when `next` has nothing more.
    pub fn take_cleanup(&mut self) -> Cleanup {
        self.targets.changed(self.node_addresses.clone())
    }

    /// The same for all services, also those that are no more: once after a start, when the tables are in place and the View in sync.
    pub fn whole_cleanup(&self, fabric: &FabricItem) -> Cleanup {
        self.targets.all(self.node_addresses.clone(), Places::of(fabric))
    }

    /// What a key is wanted to be.
    pub(super) fn entry(&self, key: &Key) -> Option<&Value> {
        self.tracker.desired(key)
    }

    /// The tables with everything that is wanted in them, as `nft list table` shows them.
    pub fn text(&self) -> String {
        let mut all = (*self.base).clone();
        for key in self.tracker.wanted() {
            let value = self.tracker.desired(key).cloned();
            for unit in round::units(&(key.clone(), None, value)) {
                let set = SetRef { table: rules::table_ref(unit.family), name: unit.set.to_owned() };
                unit.add.into_iter().for_each(|element| all.insert(set.clone(), element));
            }
        }
        let sticks = self.wanted_sticks();
        let of = |family: &Family| {
            let table = rules::table(*family, &sticks);
            let id = table.id.clone();
            table_text(&table, |set| {
                all.of(&SetRef { table: id.clone(), name: set.to_owned() }).collect::<Vec<_>>()
            })
        };
        self.around.families.iter().map(of).collect()
    }

    /// What is wanted beside entries, and the entries: for comparison.
    #[cfg(test)]
    pub(super) fn wanted(&self) -> (BTreeMap<Key, Value>, Elements) {
        let of = |key: &Key| self.tracker.desired(key).cloned().map(|value| (key.clone(), value));
        (self.tracker.wanted().filter_map(of).collect(), (*self.base).clone())
    }

    /// What this node knows of its own pods; addresses that came or went, `None`: it may be any.
    fn look_here(&mut self, view: &View, facts: &Facts, scope: Scope<'_>) -> Option<BTreeSet<IpAddr>> {
        let same_blocks = match scope {
            Scope::All => false,
            Scope::Pods(_) => true,
            Scope::Items(keys) => !keys.iter().any(|key| matches!(key, ItemKey::Route(_))),
        };
        let now = if same_blocks { self.local.with_pods(facts) } else { Local::new(view, facts) };
        let before = std::mem::replace(&mut self.local, now);
        self.local.changes_from(&before)
    }

    /// What must be known of services before any is compiled.
    fn note(&mut self, view: &View, touched: Option<&BTreeSet<ServiceName>>) {
        let gone = |names: &mut dyn Iterator<Item = &ServiceName>| -> Vec<ServiceName> {
            names.filter(|name| view.service(name).is_none()).cloned().collect()
        };
        let names: Vec<ServiceName> = match touched {
            Some(names) => names.iter().cloned().collect(),
            None => {
                self.here.clear();
                let mut names = gone(&mut self.timeouts.keys());
                names.extend(gone(&mut self.targets.names()));
                names.extend(view.services().keys().cloned());
                names
            }
        };
        for name in names {
            let item = view.service(&name);
            self.targets.take(&name, item, &self.local);
            if touched.is_some() {
                self.here.remove(&name);
            }
            item.into_iter().for_each(|item| self.here.add(&name, item, &self.local));
            match item.and_then(|item| item.affinity) {
                Some(affinity) => self.timeouts.insert(name, affinity.timeout_seconds),
                None => self.timeouts.remove(&name),
            };
        }
    }

    fn around(&self, view: &View, facts: &Facts) -> Around {
        let mut own: Vec<IpAddr> =
            facts.host.addresses.iter().filter(|a| a.global).map(|a| a.address).collect();
        own.extend(facts.underlay.iter().flat_map(|underlay| underlay.addresses.iter().copied()));
        own.sort_unstable();
        own.dedup();
        Around {
            families: view.fabric().map(|fabric| fabric.families.list().to_vec()).unwrap_or_default(),
            zone: view.peer(&facts.node).map(|peer| peer.zone.clone()).unwrap_or_default(),
            own,
            timeouts: self.allowed_timeouts(),
            closed: self.around.closed.clone(),
        }
    }

    /// Numbers for the ports of touched services; returns other services whose numbers changed by it.
    fn renumber(&mut self, view: &View, touched: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let mut moved = BTreeSet::new();
        for name in touched {
            let new: BTreeSet<PortName> = view.service(name).into_iter().flat_map(ports).collect();
            let old: BTreeSet<PortName> = self.ids.ports_of(name).cloned().collect();
            for port in old.difference(&new) {
                moved.extend(self.ids.remove(port));
            }
            for port in new.difference(&old) {
                moved.extend(self.ids.add(port.clone()));
            }
        }
        moved.into_iter().map(|port| port.service).filter(|name| !touched.contains(name)).collect()
    }

    fn compile(&mut self, view: &View, facts: &Facts, mut names: BTreeSet<ServiceName>, all: bool) {
        if all {
            let gone: BTreeSet<ServiceName> =
                self.sizes.keys().filter(|name| !names.contains(*name)).cloned().collect();
            let both: BTreeSet<ServiceName> = names.union(&gone).cloned().collect();
            self.renumber(view, &both);
            names = both;
        }
        let mut wanted = Vec::new();
        for name in names {
            let source = Source::Item(ItemKey::Service(name.clone()));
            let entries = match view.service(&name) {
                Some(item) => {
                    let compiler = self.compiler(facts);
                    let entries = compiler.service(item);
                    let closed = self.around.closed.contains(&name).then(|| compiler.closed(item));
                    self.measure(&name, &entries);
                    closed.unwrap_or(entries)
                }
                None => {
                    self.forget(&name);
                    Entries::new()
                }
            };
            wanted.push((source, entries.into_iter().collect()));
            if wanted.len() == CHUNK {
                self.take(&mut wanted);
            }
        }
        self.take(&mut wanted);
    }

    fn take(&mut self, wanted: &mut Wanted<Key, Value>) {
        self.tracker.want(Scope::Items(&BTreeSet::new()), std::mem::take(wanted));
    }

    fn compiler<'a>(&'a self, facts: &'a Facts) -> Compiler<'a> {
        Compiler {
            here: Here { node: &facts.node, zone: &self.around.zone, local: &self.local },
            ids: &self.ids,
            own: &self.around.own,
            timeouts: &self.around.timeouts,
            families: &self.around.families,
        }
    }

    fn measure(&mut self, name: &ServiceName, entries: &Entries) {
        let groups = || entries.values().filter_map(Value::group);
        let size = entries.len() + groups().map(|group| group.size()).sum::<usize>();
        let old = self.sizes.insert(name.clone(), size).unwrap_or(0);
        self.total = self.total + size - old;
        let sticks: BTreeSet<Stick> = groups().filter_map(|group| group.stick).collect();
        if sticks.is_empty() {
            self.sticks.remove(name);
        } else {
            self.sticks.insert(name.clone(), sticks);
        }
    }

    fn forget(&mut self, name: &ServiceName) {
        self.total -= self.sizes.remove(name).unwrap_or(0);
        self.sticks.remove(name);
    }

    /// Chains of time-outs that elements in the kernel lead to; not looked for while there is none that could go.
    fn led_to(&self) -> BTreeSet<Stick> {
        let of = |value: &Value| -> Option<Stick> {
            match value {
                Value::Group(group) => group.stick,
                Value::Seen(seen) => {
                    let way = seen.iter().find(|(set, _)| *set == element::STICKY)?;
                    match &way.1.data {
                        Some(Data::Verdict(Verdict::Goto(chain))) => Stick::from_chain(chain),
                        _ => None,
                    }
                }
                Value::Present | Value::Target(_) => None,
            }
        };
        let wanted = self.wanted_sticks();
        let is_old = |actual: &Actual| actual.sticks.iter().any(|stick| !wanted.contains(stick));
        if !self.actual.as_ref().is_some_and(is_old) {
            return BTreeSet::new();
        }
        self.tracker.existing().filter_map(|(_, value)| of(value)).collect()
    }

    fn families(&self) -> BTreeSet<Family> {
        self.around.families.iter().copied().collect()
    }

    fn wanted_sticks(&self) -> BTreeSet<Stick> {
        self.sticks.values().flatten().copied().collect()
    }
}

fn service_of(key: &ItemKey) -> Option<ServiceName> {
    match key {
        ItemKey::Service(name) => Some(name.clone()),
        ItemKey::Fabric
        | ItemKey::Peer(_)
        | ItemKey::Route(_)
        | ItemKey::Probe(_)
        | ItemKey::Owner(_)
        | ItemKey::Pod(_)
        | ItemKey::Setup(_)
        | ItemKey::Policy(_)
        | ItemKey::Namespace(_)
        | ItemKey::Identity(_) => None,
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
