//! Mending a table in place: what of it stays, what goes, and the one transaction after which all of it is as wanted but elements.
//!
//! In: a table as it should be, and what the kernel has under its name. Sets that are declared as wanted stay with all their
//! elements, so no packet meets a table that is half there; all rules are written anew, since changes may stand anywhere.
//! Not here: elements (what is left of them says [`Mend::elements`]), and a table that isn't there.

use std::collections::BTreeSet;

use crate::{Batch, Data, Element, Elements, MapData, Observed, Set, SetRef, Table, TableRef, observed};

/// How one table is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    table: TableRef,
    /// Sets that stay, or were made since.
    sets: BTreeSet<String>,
    /// Sets that go, then those of them that come back with another declaration.
    gone_sets: Vec<String>,
    replaced: BTreeSet<String>,
    /// Chains that stay where they are, without rules for the moment, or were made since.
    chains: BTreeSet<String>,
    gone_chains: Vec<String>,
    /// Elements of maps that stay which lead to chains that go.
    leading: Elements,
    /// Sets that stay and are emptied.
    emptied: Vec<String>,
}

impl Mend {
    /// What is to be done about a table that is there.
    pub fn new(table: &Table, observed: &Observed) -> Self {
        let (mut sets, mut gone_sets, mut replaced) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for there in observed.sets_of(&table.id) {
            let name = there.id.name.clone();
            match table.set(&name) {
                Some(set) if observed.stands(set, there) => drop(sets.insert(name)),
                Some(_) => {
                    replaced.insert(name.clone());
                    gone_sets.push(name);
                }
                // What belongs to a rule goes with it.
                None if there.is_anonymous() => {}
                None => gone_sets.push(name),
            }
        }
        let (mut chains, mut gone_chains) = (BTreeSet::new(), Vec::new());
        for there in observed.all_chains().filter(|chain| chain.table == table.id) {
            let wanted = table.chains.iter().find(|chain| chain.name == there.name);
            match wanted {
                Some(chain) if observed::same_chain(table, chain, there) => {
                    chains.insert(there.name.clone());
                }
                None if there.bound => {}
                Some(_) | None => gone_chains.push(there.name.clone()),
            }
        }
        let leading = leading(table, observed, &sets, &gone_chains);
        let (table, emptied) = (table.id.clone(), Vec::new());
        Self { table, sets, gone_sets, replaced, chains, gone_chains, leading, emptied }
    }

    /// Whether sets that rules use lose their elements: they come back empty.
    pub fn replaces_sets(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// Whether this is about a table.
    pub fn is_of(&self, table: &TableRef) -> bool {
        self.table == *table
    }

    /// Whether a set is there with what it has, or was made since.
    pub fn has_set(&self, name: &str) -> bool {
        self.sets.contains(name)
    }

    /// Empties a set too, if it stays.
    pub fn empty(&mut self, set: &str) {
        if self.sets.contains(set) {
            self.emptied.push(set.to_owned());
        }
    }

    /// What a set will hold after the mending.
    pub fn elements<'a>(
        &'a self,
        observed: &'a Observed,
        id: &'a SetRef,
        set: &'a Set,
    ) -> impl Iterator<Item = Element> + 'a {
        let stays = self.sets.contains(&id.name) && !self.emptied.contains(&id.name);
        let leads = move |element: &Element| self.leading.of(id).any(|gone| gone == element);
        let there = stays.then(|| observed.elements_of(id, set));
        there.into_iter().flatten().filter(move |element| !leads(element))
    }

    /// Makes the sets that aren't there under any declaration, so that they can be filled before rules ask them.
    pub fn make_sets(&mut self, table: &Table, batch: &mut Batch) {
        for set in table.sets.iter().filter(|set| !self.replaced.contains(&set.name)) {
            if self.sets.insert(set.name.clone()) {
                batch.make_set(&table.id, set);
            }
        }
    }

    /// Notes that a chain was made meanwhile.
    pub fn made_chain(&mut self, name: &str) {
        self.chains.insert(name.to_owned());
    }
}

/// Elements of verdict maps that stay and lead to chains that go.
fn leading(table: &Table, observed: &Observed, sets: &BTreeSet<String>, gone: &[String]) -> Elements {
    let mut found = Elements::default();
    let verdicts = table.sets.iter().filter(|set| set.data == Some(MapData::Verdict));
    for set in verdicts.filter(|set| !gone.is_empty() && sets.contains(&set.name)) {
        let id = SetRef { table: table.id.clone(), name: set.name.clone() };
        for element in observed.elements_of(&id, set) {
            let Some(Data::Verdict(verdict)) = &element.data else { continue };
            if verdict.chain().is_some_and(|chain| gone.iter().any(|name| name == chain)) {
                found.insert(id.clone(), element);
            }
        }
    }
    found
}

impl Batch {
    /// Mends a table.
    ///
    /// The kernel may refuse: what others made may be used in a way that can't be seen here. Then [`Self::replace_table`] is left.
    pub fn mend_table(&mut self, table: &Table, mend: &Mend) {
        let id = &mend.table;
        // A table that was put to sleep wakes up.
        self.make_table(id);
        self.flush_rules(id);
        for (name, elements) in mend.leading.iter() {
            let set = table.set(&name.name);
            set.into_iter().for_each(|set| self.remove_elements(id, set, elements));
        }
        for name in &mend.emptied {
            table.set(name).into_iter().for_each(|set| self.flush_set(id, set));
        }
        mend.gone_sets.iter().for_each(|set| self.remove_set(id, set));
        mend.gone_chains.iter().for_each(|chain| self.remove_empty_chain(id, chain));
        for set in table.sets.iter().filter(|set| !mend.sets.contains(&set.name)) {
            self.make_set(id, set);
        }
        for chain in table.chains.iter().filter(|chain| !mend.chains.contains(&chain.name)) {
            self.make_chain(id, chain);
        }
        self.fill_chains(id, &table.chains);
    }
}

#[cfg(test)]
#[path = "mend_tests.rs"]
mod tests;
