//! Changes of one fold, gathered before any of them is seen.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    claim::{self, Claim, address_key},
    table::{Change, Kind, Record, Table},
};

/// Changes under way.
pub(crate) struct Stage<'a> {
    table: &'a Table,
    /// Everything is built anew: what the table has doesn't count.
    whole: bool,
    changes: Vec<Change>,
    /// Where nodes' names lie within each other, a later change has to see an earlier one.
    staged_nodes: BTreeMap<Vec<u8>, Option<Record>>,
    claims: Vec<(IpAddr, Claim, bool)>,
}

impl<'a> Stage<'a> {
    pub(crate) const fn new(table: &'a Table, whole: bool) -> Self {
        Self { table, whole, changes: Vec::new(), staged_nodes: BTreeMap::new(), claims: Vec::new() }
    }

    /// The record as it is now, with what is staged.
    pub(crate) fn record(&self, kind: Kind, key: &[u8]) -> Option<Record> {
        if kind == Kind::Node
            && let Some(staged) = self.staged_nodes.get(key)
        {
            return staged.clone();
        }
        if self.whole { None } else { self.table.get(kind, key) }
    }

    /// A key gets this record, or loses its own.
    pub(crate) fn change(&mut self, kind: Kind, key: &[u8], record: Option<Vec<u8>>) {
        if kind == Kind::Node {
            self.staged_nodes.insert(key.to_vec(), record.clone().map(Record::from));
        }
        self.changes.push(self.table.change(kind, key, record));
    }

    /// What somebody claimed before and claims now.
    pub(crate) fn claims(&mut self, old: Vec<(IpAddr, Claim)>, new: Vec<(IpAddr, Claim)>) {
        if old == new {
            return;
        }
        self.claims.extend(old.into_iter().map(|(address, claim)| (address, claim, false)));
        self.claims.extend(new.into_iter().map(|(address, claim)| (address, claim, true)));
    }

    /// Lets readers see it.
    pub(crate) fn commit(mut self) {
        let mut claims = std::mem::take(&mut self.claims);
        claims.sort_by_key(|(address, ..)| *address);
        for group in claims.chunk_by(|a, b| a.0 == b.0) {
            self.claimed(group);
        }
        if self.whole {
            self.table.replace(self.changes);
        } else {
            self.table.apply(self.changes);
        }
    }

    /// The claims of one address.
    fn claimed(&mut self, group: &[(IpAddr, Claim, bool)]) {
        let Some((address, ..)) = group.first() else { return };
        let key = address_key(*address);
        let old = self.record(Kind::Address, &key);
        let before = old.as_deref().into_iter().flat_map(claim::read);
        let mut claims: Vec<Claim> = before.map(|(by, name)| Claim { by, name: name.to_vec() }).collect();
        for (_, claim, _) in group.iter().filter(|(.., comes)| !comes) {
            if let Some(at) = claims.iter().position(|there| there == claim) {
                claims.swap_remove(at);
            }
        }
        claims.extend(group.iter().filter(|(.., comes)| *comes).map(|(_, claim, _)| claim.clone()));
        let new = claim::encode(*address, &mut claims);
        if old.as_deref() != new.as_deref() {
            self.changes.push(self.table.change(Kind::Address, &key, new));
        }
    }
}
