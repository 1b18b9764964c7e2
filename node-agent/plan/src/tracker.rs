//! Desired and actual state of one subject, and the keys where they differ.
//!
//! Invariant: `pending` holds exactly the keys whose desired and actual values differ, with the actual ones, so work is proportional
//! to the change, and what is as desired is kept once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{Executor, Failure, Pending, Scope, Source, Subject, Sweep, Wanted, few::Few};

/// Desired | actual | pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker<K, V> {
    /// Per key what each source wants; the first source in order wins.
    desired: BTreeMap<K, Few<Arc<Source>, V>>,
    /// Keys of each source, in order.
    by_source: BTreeMap<Arc<Source>, Box<[K]>>,
    /// What is actual where it isn't as desired; `None`: nothing.
    pending: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Tracker<K, V> {
    fn default() -> Self {
        Self { desired: BTreeMap::new(), by_source: BTreeMap::new(), pending: BTreeMap::new() }
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
            let silent: Vec<Source> = self
                .by_source
                .keys()
                .filter(|source| !listed.contains(source.as_ref()))
                .map(|source| Source::clone(source))
                .collect();
            silent.into_iter().for_each(|source| self.replace(source, Vec::new()));
        }
        wanted.into_iter().for_each(|(source, wishes)| self.replace(source, wishes));
    }

    /// Takes a full observation; of a key that comes twice the last value counts.
    pub fn observed(&mut self, all: impl IntoIterator<Item = (K, V)>) {
        self.pending = self.desired.keys().map(|key| (key.clone(), None)).collect();
        for (key, value) in all {
            self.noticed(key, Some(value));
        }
    }

    /// Takes what is known of one key: a step was done, an event came.
    pub fn noticed(&mut self, key: K, value: Option<V>) {
        if self.desired(&key) == value.as_ref() {
            self.pending.remove(&key);
        } else {
            self.pending.insert(key, value);
        }
    }

    /// Keys that somebody wants.
    pub fn wanted(&self) -> impl Iterator<Item = &K> {
        self.desired.keys()
    }

    /// What is known to exist, in no order.
    pub fn existing(&self) -> impl Iterator<Item = (&K, &V)> {
        let as_desired = self.desired.keys().filter(|key| !self.pending.contains_key(key));
        let as_desired = as_desired.filter_map(|key| Some((key, self.desired(key)?)));
        as_desired.chain(self.pending.iter().filter_map(|(key, was)| Some((key, was.as_ref()?))))
    }

    /// What is known to exist, as a copy.
    pub fn actual(&self) -> BTreeMap<K, V> {
        self.existing().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What a key should be.
    pub fn desired(&self, key: &K) -> Option<&V> {
        self.desired.get(key).and_then(Few::first).map(|(_, value)| value)
    }

    /// The differences, in order of their keys.
    pub fn pending(&self) -> Vec<Pending<'_, K, V>> {
        self.differences().collect()
    }

    /// As [`Self::pending`], one by one.
    pub fn differences(&self) -> impl ExactSizeIterator<Item = Pending<'_, K, V>> {
        self.pending.iter().map(|(key, was)| Pending {
            key,
            desired: self.desired(key),
            actual: was.as_ref(),
        })
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

    /// What stays as it was stays the same value: whoever shares it goes on sharing it.
    fn replace(&mut self, source: Source, wishes: Vec<(K, V)>) {
        let known = self.by_source.get_key_value(&source);
        let source = known.map_or_else(|| Arc::new(source), |(source, _)| Arc::clone(source));
        let old = self.by_source.remove(&source).unwrap_or_default();
        let mut keys: Vec<K> = wishes.iter().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in old.iter().filter(|key| keys.binary_search(key).is_err()) {
            self.change(key, |wishes| drop(wishes.remove(&source)));
        }
        for (key, value) in wishes {
            let same = self.desired.get(&key).and_then(|wishes| wishes.get(&source)) == Some(&value);
            if !same {
                self.change(&key, |wishes| wishes.insert(Arc::clone(&source), value));
            }
        }
        if keys.is_empty() {
            return;
        }
        let keys = if *keys == *old { old } else { keys.into() };
        self.by_source.insert(source, keys);
    }

    /// Changes who wants a key; what it is stays what it was.
    fn change(&mut self, key: &K, change: impl FnOnce(&mut Few<Arc<Source>, V>)) {
        let was = self.pending.remove(key).unwrap_or_else(|| self.desired(key).cloned());
        let wishes = match self.desired.get_mut(key) {
            Some(wishes) => wishes,
            None => self.desired.entry(key.clone()).or_default(),
        };
        change(wishes);
        if wishes.is_empty() {
            self.desired.remove(key);
        }
        self.noticed(key.clone(), was);
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
