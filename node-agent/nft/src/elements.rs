//! The elements of sets: what is wanted, what is there, and the difference.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Batch, Element, SetChange, SetRef, Table};

/// Elements by set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements(BTreeMap<SetRef, BTreeSet<Element>>);

impl Elements {
    /// Adds an element; twice is once.
    pub fn insert(&mut self, set: SetRef, element: Element) {
        self.0.entry(set).or_default().insert(element);
    }

    /// The elements of a set, in order.
    pub fn of(&self, set: &SetRef) -> impl Iterator<Item = &Element> {
        self.0.get(set).into_iter().flatten()
    }

    /// All sets that have elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&SetRef, &BTreeSet<Element>)> {
        self.0.iter().filter(|(_, elements)| !elements.is_empty())
    }

    /// Number of elements in all sets.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether no set has an element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What turns `actual` into these: only elements that differ, only sets that differ.
    pub fn changes_from(&self, actual: &Self) -> Vec<SetChange> {
        let sets: BTreeSet<&SetRef> = self.0.keys().chain(actual.0.keys()).collect();
        let none = BTreeSet::new();
        let change = |set: &SetRef| {
            let (wanted, there) = (self.0.get(set).unwrap_or(&none), actual.0.get(set).unwrap_or(&none));
            SetChange {
                set: set.clone(),
                remove: there.difference(wanted).cloned().collect(),
                add: wanted.difference(there).cloned().collect(),
            }
        };
        let changes = sets.into_iter().map(change);
        changes.filter(|c| !c.remove.is_empty() || !c.add.is_empty()).collect()
    }
}

impl Batch {
    /// Adds the changes of sets of these tables; changes of sets that no table has are left out.
    pub fn change_elements(&mut self, tables: &[Table], changes: &[SetChange]) {
        for change in changes {
            let table = tables.iter().find(|t| t.id == change.set.table);
            let Some((table, set)) = table.and_then(|t| Some((t, t.set(&change.set.name)?))) else {
                continue;
            };
            self.remove_elements(&table.id, set, &change.remove);
            self.add_elements(&table.id, set, &change.add);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn only_what_differs_is_changed() {
        let all = fixture::elements(4);
        let set = SetRef { table: fixture::table().id, name: "ports4".into() };
        let of = |elements: &[Element]| {
            let mut e = Elements::default();
            elements.iter().for_each(|x| e.insert(set.clone(), x.clone()));
            e
        };
        let changes = of(&all[1..]).changes_from(&of(&all[..3]));
        let expected = SetChange { set: set.clone(), remove: all[..1].to_vec(), add: all[3..].to_vec() };
        assert_eq!(changes, [expected]);
        assert_eq!(of(&all).changes_from(&of(&all)), []);
        let mut batch = Batch::new();
        batch.change_elements(&[fixture::table()], &changes);
        assert_eq!(batch.len(), 2);
    }
}
