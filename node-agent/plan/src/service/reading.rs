//! Entries out of a dump, element by element.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_model::Family;
use weft_nft::Element;

use super::{
    compile::{Key, Value},
    element::{self, Seen},
};
use crate::Tracker;

/// What was read so far.
#[derive(Default)]
pub(super) struct Reading {
    entries: BTreeMap<Key, Value>,
    groups: BTreeMap<(Family, u32), BTreeSet<(&'static str, Element)>>,
}

impl Reading {
    /// Takes one element.
    pub(super) fn take(&mut self, family: Family, seen: Seen, element: Element) {
        match seen {
            Seen::Entry(key, value) => drop(self.entries.insert(key, value)),
            Seen::Part(group, set) => {
                self.groups.entry((family, group)).or_default().insert((set, element));
            }
        }
    }

    /// Groups that are as wanted share the wanted value: mostly all of them.
    pub(super) fn finish(self, tracker: &Tracker<Key, Value>) -> BTreeMap<Key, Value> {
        let mut entries = self.entries;
        for ((family, number), seen) in self.groups {
            let key = Key::Group(family, number);
            let value = match tracker.desired(&key) {
                Some(Value::Group(group)) if element::group(number, group) == seen => {
                    Value::Group(Arc::clone(group))
                }
                _ => Value::Seen(Arc::new(seen)),
            };
            entries.insert(key, value);
        }
        entries
    }
}
