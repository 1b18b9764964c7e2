//! One command's changes: made at once, remembered, and either kept or undone whole.

use std::collections::BTreeMap;

use weft_model::{Item, ItemKey, Key, Meta, Object, Record, RecordKey, Revision, Stamp, WallTime, Written};

use crate::{Change, ItemChange, State, chance::Chance, derive, state::Before};

/// Writes to the state on behalf of one command.
pub(crate) struct Edit<'a> {
    state: &'a mut State,
    revision: Revision,
    stamp: Stamp,
    meta: Meta,
    rows: BTreeMap<RecordKey, Option<Record>>,
    items: BTreeMap<ItemKey, Option<Item>>,
}

impl<'a> Edit<'a> {
    /// Begins a command: `revision` is its log index, `stamp` its time and chance.
    pub(crate) fn new(state: &'a mut State, revision: Revision, stamp: Stamp) -> Self {
        let meta = state.meta;
        Self { state, revision, stamp, meta, rows: BTreeMap::new(), items: BTreeMap::new() }
    }

    pub(crate) const fn state(&self) -> &State {
        self.state
    }

    /// Counters, to count on; undone with the rest.
    pub(crate) const fn meta(&mut self) -> &mut Meta {
        &mut self.state.meta
    }

    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) const fn time(&self) -> WallTime {
        self.stamp.time
    }

    /// The command's chance for one object.
    pub(crate) fn chance(&self, object: &str) -> Chance {
        Chance::new(self.stamp.random, object)
    }

    /// Puts a row as it is.
    pub(crate) fn put(&mut self, record: Record) {
        let key = record.key();
        self.remember(&key);
        self.remember_items(&record);
        let before = self.state.insert(record);
        self.note(before);
    }

    /// Takes a row out.
    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.remember(key);
        let before = self.state.remove(key);
        self.note(before);
    }

    /// Keeps what nodes were told of items that a row changed without naming them.
    fn note(&mut self, before: Before) {
        for (key, item) in before {
            self.items.entry(key).or_insert(item);
        }
    }

    /// Puts an object at this command's revision, or leaves everything if it is the same as what is there.
    pub(crate) fn put_object(&mut self, mut object: Object) -> Written {
        let old = self.state.object(&object.key());
        if let Some(old) = &old
            && same(old, &object)
        {
            return Written::Unchanged;
        }
        *revision_of(&mut object) = self.revision;
        self.put(Record::Object(object));
        if old.is_some() { Written::Changed } else { Written::Created }
    }

    pub(crate) fn delete_object(&mut self, key: Key) {
        self.delete(&RecordKey::Object(key));
    }

    fn remember(&mut self, key: &RecordKey) {
        if self.rows.contains_key(key) {
            return;
        }
        let old = self.state.record(key);
        if let Some(old) = &old {
            self.remember_items(old);
        }
        self.rows.insert(key.clone(), old);
    }

    /// Keeps what nodes were told, for every item that follows from the row.
    fn remember_items(&mut self, record: &Record) {
        for key in derive::touched(self.state, record) {
            if !self.items.contains_key(&key) {
                let item = derive::item(self.state, &key);
                self.items.insert(key, item);
            }
        }
    }

    /// Ends the command: what changed, and what nodes need because of it. The edit can still be undone.
    pub(crate) fn finish(&mut self) -> (Vec<Change>, Vec<ItemChange>) {
        let mut changes = Vec::new();
        let mut written = false;
        for (key, old) in &self.rows {
            let mut new = self.state.record(key);
            if let (Some(Record::Object(was)), Some(Record::Object(is))) = (old, &new)
                && was != is
                && same(was, is)
            {
                // There and back within the command: nothing happened to this object.
                self.state.insert(Record::Object(was.clone()));
                new = self.state.record(key);
            }
            if new == *old {
                continue;
            }
            written |= matches!(key, RecordKey::Object(_) | RecordKey::Token(_));
            changes.push(new.map_or_else(|| Change::Delete(key.clone()), Change::Put));
        }
        if written {
            self.state.meta.revision = self.revision;
        }
        let mut items = Vec::new();
        for (key, old) in &self.items {
            let new = derive::item(self.state, key);
            if new != *old {
                items.push(new.map_or_else(|| ItemChange::Delete(key.clone()), ItemChange::Upsert));
            }
        }
        (changes, items)
    }

    /// Undoes the command: the state is as it was before.
    pub(crate) fn undo(self) {
        for (key, old) in self.rows {
            match old {
                Some(record) => self.state.insert(record),
                None => self.state.remove(&key),
            };
        }
        self.state.meta = self.meta;
    }
}

/// The revision inside an object.
const fn revision_of(object: &mut Object) -> &mut Revision {
    match object {
        Object::Fabric(o) => &mut o.revision,
        Object::Node(o) => &mut o.revision,
        Object::Pod(o) => &mut o.revision,
        Object::Lease(o) => &mut o.revision,
        Object::Member(o) => &mut o.revision,
        Object::Namespace(o) => &mut o.revision,
        Object::Service(o) => &mut o.revision,
        Object::Slice(o) => &mut o.revision,
        Object::PodSpec(o) => &mut o.revision,
        Object::Pool(o) => &mut o.revision,
        Object::Owner(o) => &mut o.revision,
        Object::NetworkPolicy(o) => &mut o.revision,
    }
}

/// Whether two objects differ at most in their revisions.
fn same(a: &Object, b: &Object) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    (*revision_of(&mut a), *revision_of(&mut b)) = (Revision(0), Revision(0));
    a == b
}
