//! Desired and actual state of one subject, and the keys where they differ.
//!
//! Invariant: `pending` holds exactly the keys whose desired and actual values differ, so work is proportional to the change.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Executor, Failure, Pending, Scope, Source, Subject, Sweep, Wanted};

/// Desired | actual | pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker<K, V> {
    /// Per key what each source wants; the first source in order wins.
    desired: BTreeMap<K, Vec<(Source, V)>>,
    /// Keys of each source, in order: lists, since a service more is three keys more.
    by_source: BTreeMap<Source, Vec<K>>,
    actual: BTreeMap<K, V>,
    pending: BTreeSet<K>,
}

impl<K, V> Default for Tracker<K, V> {
    fn default() -> Self {
        Self {
            desired: BTreeMap::new(),
            by_source: BTreeMap::new(),
            actual: BTreeMap::new(),
            pending: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone, V: Eq + Clone> Tracker<K, V> {
    /// A tracker that wants nothing and knows of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a subject computed for a scope. With [`Scope::All`] sources that are not listed want nothing any more.
    pub fn want(&mut self, scope: Scope<'_>, wanted: Wanted<K, V>) {
        if matches!(scope, Scope::All) {
            let listed: BTreeSet<&Source> = wanted.iter().map(|(source, _)| source).collect();
            let silent: Vec<Source> =
                self.by_source.keys().filter(|s| !listed.contains(s)).cloned().collect();
            silent.into_iter().for_each(|source| self.replace(source, Vec::new()));
        }
        wanted.into_iter().for_each(|(source, wishes)| self.replace(source, wishes));
    }

    /// Takes a full observation.
    pub fn observed(&mut self, all: impl IntoIterator<Item = (K, V)>) {
        self.actual = all.into_iter().collect();
        self.pending =
            self.desired.keys().chain(self.actual.keys()).filter(|k| self.differs(k)).cloned().collect();
    }

    /// Takes what is known of one key: a step was done, an event came.
    pub fn noticed(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.actual.insert(key.clone(), value),
            None => self.actual.remove(&key),
        };
        self.judge(&key);
    }

    /// Keys that somebody wants.
    pub fn wanted(&self) -> impl Iterator<Item = &K> {
        self.desired.keys()
    }

    /// What is known to exist.
    pub const fn actual(&self) -> &BTreeMap<K, V> {
        &self.actual
    }

    /// What a key should be.
    pub fn desired(&self, key: &K) -> Option<&V> {
        self.desired.get(key).and_then(|wishes| wishes.first()).map(|(_, value)| value)
    }

    /// The differences, in order of their keys.
    pub fn pending(&self) -> Vec<Pending<'_, K, V>> {
        self.pending
            .iter()
            .map(|key| Pending { key, desired: self.desired(key), actual: self.actual.get(key) })
            .collect()
    }

    /// The steps that a subject would take now.
    pub fn steps<S: Subject<Key = K, Value = V>>(&self, sweep: Sweep) -> Vec<S::Step> {
        S::steps(&self.pending(), sweep)
    }

    /// Reads the kernel and compares.
    pub fn observe<S, E>(&mut self, executor: &mut E) -> Result<(), E::Error>
    where
        S: Subject<Key = K, Value = V>,
        E: Executor<S>,
    {
        let seen = executor.observe(&self.wanted().collect::<Vec<_>>())?;
        self.observed(seen);
        Ok(())
    }

    /// Takes all steps once; returns them with those that failed. What succeeded is no longer pending.
    pub fn converge<S, E>(&mut self, executor: &mut E, sweep: Sweep) -> (Vec<S::Step>, Vec<Failure<E::Error>>)
    where
        S: Subject<Key = K, Value = V>,
        E: Executor<S>,
    {
        let steps = self.steps::<S>(sweep);
        if steps.is_empty() {
            return (steps, Vec::new());
        }
        let failures = executor.execute(&steps).err().unwrap_or_default();
        let failed: BTreeSet<usize> = failures.iter().map(|f| f.step).collect();
        for (_, step) in steps.iter().enumerate().filter(|(place, _)| !failed.contains(place)) {
            S::effects(step).into_iter().for_each(|(key, value)| self.noticed(key, value));
        }
        (steps, failures)
    }

    fn replace(&mut self, source: Source, wishes: Vec<(K, V)>) {
        for key in self.by_source.remove(&source).unwrap_or_default() {
            if let Some(list) = self.desired.get_mut(&key) {
                list.retain(|(s, _)| *s != source);
                if list.is_empty() {
                    self.desired.remove(&key);
                }
            }
            self.judge(&key);
        }
        if wishes.is_empty() {
            return;
        }
        let mut keys = Vec::with_capacity(wishes.len());
        for (key, value) in wishes {
            // Mostly one source wants a key.
            let list = self.desired.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
            match list.binary_search_by(|(s, _)| s.cmp(&source)) {
                Ok(place) => list[place].1 = value,
                Err(place) => list.insert(place, (source.clone(), value)),
            }
            self.judge(&key);
            keys.push(key);
        }
        keys.sort_unstable();
        keys.dedup();
        self.by_source.insert(source, keys);
    }

    fn differs(&self, key: &K) -> bool {
        self.desired(key) != self.actual.get(key)
    }

    fn judge(&mut self, key: &K) {
        if self.differs(key) {
            self.pending.insert(key.clone());
        } else {
            self.pending.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
