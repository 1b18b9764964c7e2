//! The guard: port security, marks, masquerade and the closing drops of a node (design, section 6), as nf_tables objects.
//!
//! In: the overlay mode, which alone decides the rules, and `GuardInput`, which decides the elements of their sets.
//! Out: transactions. Rules are constant; everything that grows lives in sets, so a pod more is a few elements more.
//! Not here: services and policy, which bring chains of their own; sending (weft-kernel).
//! Invariants: no packet bears *routable* unless its source was checked; an empty set closes, it never opens, but for those of
//! what pods are kept from (`replicas`, `metadata`) and of the resolver (`resolver`: an address without it is a node's like any other).

mod bridge;
mod elements;
mod inet;
mod rule;

use std::net::{IpAddr, SocketAddr};

use weft_model::{AddressRange, FabricRanges, Families, Overlay};
use weft_nft::{Batch, Difference, Elements, Mend, Observed, SetChange, SetRef, Table, limits, table_text};

use crate::LocalPod;

/// Elements put into one message list at a time when a large load is split into transactions.
const SPLIT: usize = 256;

/// A pod of this node, as port security knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardPod {
    /// Name of the node's end of its veth: begins with `wv`.
    pub link: String,
    /// Hardware address of the pod's end.
    pub mac: [u8; 6],
    /// Its leased addresses.
    pub addresses: Vec<IpAddr>,
}

impl From<&LocalPod> for GuardPod {
    fn from(pod: &LocalPod) -> Self {
        Self { link: pod.link.clone(), mac: pod.mac, addresses: pod.addresses.clone() }
    }
}

/// The table of port security, to be dumped for [`lets_out`].
pub fn port_security() -> Table {
    bridge::table()
}

/// Whether a kernel lets packets with this source out of a pod's port, by a dump of [`port_security`].
pub fn lets_out(observed: &Observed, pod: &LocalPod, source: IpAddr) -> bool {
    let table = bridge::table();
    let (set, key) = elements::leased(&pod.link, pod.mac, source);
    let id = SetRef { table: table.id.clone(), name: set.to_owned() };
    let intact = observed.rule_differences(std::slice::from_ref(&table)).is_empty();
    let mut held = table.set(set).into_iter().flat_map(|set| observed.elements_of(&id, set));
    intact && held.any(|element| element.key == key)
}

/// What decides the elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardInput {
    /// Families of the fabric; addresses of others are left out, so those stay closed.
    pub families: Families,
    /// Ranges of the fabric.
    pub ranges: FabricRanges,
    /// Destinations outside that see the pod's own address.
    pub masquerade_exceptions: Vec<AddressRange>,
    /// Where the control plane serves: pods are kept from it.
    pub replicas: Vec<SocketAddr>,
    /// Addresses at which this node answers questions about names, for its pods and itself; empty: it answers none.
    pub resolver: Vec<IpAddr>,
    /// Pods of this node.
    pub pods: Vec<GuardPod>,
    /// Underlay addresses of all other nodes (mode `wireguard`: they may come out of the mesh).
    pub peers_underlay: Vec<IpAddr>,
    /// Devices of the underlay (mode `routed`: packets of other nodes' blocks may come in by them).
    pub uplinks: Vec<String>,
    /// Blocks and mesh addresses of all other nodes, each with the MAC of its owner's uplink (mode `routed`).
    pub owners: Vec<(AddressRange, [u8; 6])>,
}

/// The constant part for one overlay mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    overlay: Overlay,
    tables: Vec<Table>,
}

impl Ruleset {
    /// The rules of a mode.
    pub fn new(overlay: Overlay) -> Self {
        Self { overlay, tables: vec![bridge::table(), inet::table(overlay)] }
    }

    /// `bridge weft` and `inet weft`, without elements.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What the sets hold.
    pub fn elements(&self, input: &GuardInput) -> Elements {
        elements::wanted(self.overlay, input)
    }

    /// Puts everything in place, whatever was there under our names; counters begin anew.
    ///
    /// The first transaction swaps the rules at once, no packet sees half of them, and holds all elements that fit; the others only
    /// add elements. Until the last is done some packets are refused that will be let through, never the other way round.
    pub fn full(&self, wanted: &Elements) -> Vec<Batch> {
        let mut batch = Batch::new();
        self.tables.iter().for_each(|t| batch.replace_table(t));
        self.split(batch, wanted.changes_from(&Elements::default()))
    }

    /// Puts the rules in place anew, and mends the elements: sets that are declared as wanted keep what they hold, so no packet of a pod
    /// is refused meanwhile. A table that isn't there is made. What the kernel refuses, `full` mends.
    pub fn mend(&self, wanted: &Elements, observed: &Observed) -> Vec<Batch> {
        let (mut batch, mut left) = (Batch::new(), Elements::default());
        for table in &self.tables {
            if !observed.has_table(&table.id) {
                batch.replace_table(table);
                continue;
            }
            let mend = Mend::new(table, observed);
            batch.mend_table(table, &mend);
            for set in table.sets.iter().filter(|set| !set.dynamic) {
                let id = SetRef { table: table.id.clone(), name: set.name.clone() };
                mend.elements(observed, &id, set).for_each(|element| left.insert(id.clone(), element));
            }
        }
        self.split(batch, wanted.changes_from(&left))
    }

    /// Changes only the elements that differ; nothing for no difference. Mostly one transaction.
    pub fn update(&self, wanted: &Elements, actual: &Elements) -> Vec<Batch> {
        self.split(Batch::new(), wanted.changes_from(actual))
    }

    /// Removes our tables if they are there.
    pub fn remove(&self) -> Batch {
        let mut batch = Batch::new();
        self.tables.iter().for_each(|t| batch.remove_table(&t.id));
        batch
    }

    /// Where the kernel differs. Only elements differ: `update` from `observed.elements` mends it; anything else: `mend`.
    pub fn verify(&self, wanted: &Elements, observed: &Observed) -> Vec<Difference> {
        observed.differences(&self.tables, wanted)
    }

    /// Rules and elements as `nft list ruleset` shows them.
    pub fn text(&self, wanted: &Elements) -> String {
        let of = |t: &Table| {
            let id = t.id.clone();
            table_text(t, |set| {
                wanted.of(&SetRef { table: id.clone(), name: set.to_owned() }).collect::<Vec<_>>()
            })
        };
        self.tables.iter().map(of).collect()
    }

    /// Adds the changes, beginning a new transaction wherever the next part would make one too large.
    fn split(&self, first: Batch, changes: Vec<SetChange>) -> Vec<Batch> {
        let mut batches = vec![first];
        for change in changes {
            let SetChange { set, remove, add } = change;
            let removals = remove.chunks(SPLIT).map(|c| (c.to_vec(), Vec::new()));
            for (remove, add) in removals.chain(add.chunks(SPLIT).map(|c| (Vec::new(), c.to_vec()))) {
                let part = [SetChange { set: set.clone(), remove, add }];
                let mut alone = Batch::new();
                alone.change_elements(&self.tables, &part);
                match batches.last_mut() {
                    Some(last) if last.size() + alone.size() <= limits::TRANSACTION_BYTES => {
                        last.change_elements(&self.tables, &part);
                    }
                    _ => batches.push(alone),
                }
            }
        }
        batches.retain(|b| !b.is_empty());
        batches
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
