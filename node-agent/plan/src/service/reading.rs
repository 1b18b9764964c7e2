//! Entries out of a dump, element by element.
//!
//! Mostly a kernel has what is wanted: then only counts are kept, and the entries share the wanted groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use weft_model::Family;
use weft_nft::{Data, Element, Value as Field};

use super::{
    compile::{Key, Value},
    element::{self, Seen},
    group::Group,
};
use crate::Tracker;

/// Elements by set.
type Parts = BTreeSet<(&'static str, Element)>;

/// What was read so far.
pub(super) struct Reading<'a> {
    tracker: &'a Tracker<Key, Value>,
    entries: BTreeMap<Key, Value>,
    /// Elements seen of each group that are wanted; `None`: one that isn't.
    groups: BTreeMap<(Family, u32), Option<usize>>,
    /// All elements of groups with affinity, whose elements aren't seen from the group at once.
    affine: BTreeMap<(Family, u32), Parts>,
}

impl<'a> Reading<'a> {
    /// Reads against what is wanted.
    pub(super) const fn new(tracker: &'a Tracker<Key, Value>) -> Self {
        Self { tracker, entries: BTreeMap::new(), groups: BTreeMap::new(), affine: BTreeMap::new() }
    }

    /// Takes one element.
    pub(super) fn take(&mut self, family: Family, seen: Seen, element: &Element) {
        match seen {
            Seen::Entry(key, value) => drop(self.entries.insert(key, value)),
            Seen::Part(number, set) => {
                let is_wanted = self.is_wanted(family, number, set, element);
                let count = self.groups.entry((family, number)).or_insert(Some(0));
                *count = count.filter(|_| is_wanted).map(|count| count + 1);
            }
        }
    }

    /// All entries; `again` goes through the dump once more, for groups that aren't as wanted.
    pub(super) fn finish(
        self,
        again: impl Fn(&mut dyn FnMut(Family, &str, Element)),
    ) -> BTreeMap<Key, Value> {
        let mut entries = self.entries;
        let mut odd: BTreeMap<(Family, u32), Parts> = BTreeMap::new();
        for ((family, number), count) in self.groups {
            match wanted(self.tracker, family, number) {
                Some(group) if count == Some(group.size()) => {
                    entries.insert(Key::Group(family, number), Value::Group(Arc::clone(group)));
                }
                Some(_) | None => drop(odd.insert((family, number), Parts::new())),
            }
        }
        if !odd.is_empty() {
            again(&mut |family, set, element| {
                if let Some(Seen::Part(number, set)) = element::read(family, set, &element)
                    && let Some(parts) = odd.get_mut(&(family, number))
                {
                    parts.insert((set, element));
                }
            });
        }
        let seen = odd.into_iter();
        entries.extend(
            seen.map(|((family, number), parts)| (Key::Group(family, number), Value::Seen(Arc::new(parts)))),
        );
        entries
    }

    fn is_wanted(&mut self, family: Family, number: u32, set: &'static str, element: &Element) -> bool {
        let Some(group) = wanted(self.tracker, family, number) else { return false };
        if group.stick.is_some() {
            let parts = self.affine.entry((family, number)).or_insert_with(|| element::group(number, group));
            return parts.contains(&(set, element.clone()));
        }
        let ([_, Field::U32(slot)], Some(Data::Values(to))) = (element.key.as_slice(), &element.data) else {
            return false;
        };
        let [to, Field::U16(port)] = to.as_slice() else { return false };
        let to = to.address().map(|address| SocketAddr::new(address, *port));
        let at = usize::try_from(*slot).ok().and_then(|slot| group.at(slot));
        set == "backends" && to.is_some() && to == at
    }
}

fn wanted(tracker: &Tracker<Key, Value>, family: Family, number: u32) -> Option<&Arc<Group>> {
    match tracker.desired(&Key::Group(family, number))? {
        Value::Group(group) => Some(group),
        Value::Present | Value::Target(_) | Value::Seen(_) => None,
    }
}
