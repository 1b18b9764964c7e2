//! Indexes by label: from a pod to the selectors that could select it, and from a selector to the identities it could select,
//! so that an event costs what it concerns and not what there is.
//!
//! A selector hangs at one thing that it needs: a label with one of some values, or a key. Selectors that need none (only
//! NotIn, DoesNotExist, or empty) are looked at always; for peers the namespaces narrow them further.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_model::{Identity, IdentityId, LabelOperator, LabelSelector, Labels, NamespaceName};

use crate::peers::{Namespaces, PodsOf};

/// What a selector hangs at.
enum Anchor<'a> {
    Values(&'a str, Vec<&'a str>),
    Key(&'a str),
    Nothing,
}

fn anchor(selector: &LabelSelector) -> Anchor<'_> {
    if let Some((key, value)) = selector.labels.first_key_value() {
        return Anchor::Values(key, vec![value]);
    }
    let wanted =
        |operator| selector.expressions.iter().find(move |requirement| requirement.operator == operator);
    if let Some(requirement) = wanted(LabelOperator::In) {
        return Anchor::Values(&requirement.key, requirement.values.iter().map(String::as_str).collect());
    }
    wanted(LabelOperator::Exists).map_or(Anchor::Nothing, |requirement| Anchor::Key(&requirement.key))
}

/// Things by what labels their selector needs.
#[derive(Clone, Debug)]
pub(crate) struct LabelIndex<T> {
    values: BTreeMap<String, BTreeMap<String, BTreeSet<T>>>,
    keys: BTreeMap<String, BTreeSet<T>>,
    rest: BTreeSet<T>,
}

impl<T> Default for LabelIndex<T> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), keys: BTreeMap::new(), rest: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> LabelIndex<T> {
    pub(crate) fn insert(&mut self, selector: &LabelSelector, thing: &T) {
        match anchor(selector) {
            Anchor::Values(key, values) => {
                let by_value = self.values.entry(key.to_owned()).or_default();
                for value in values {
                    by_value.entry(value.to_owned()).or_default().insert(thing.clone());
                }
            }
            Anchor::Key(key) => {
                self.keys.entry(key.to_owned()).or_default().insert(thing.clone());
            }
            Anchor::Nothing => {
                self.rest.insert(thing.clone());
            }
        }
    }

    pub(crate) fn remove(&mut self, selector: &LabelSelector, thing: &T) {
        match anchor(selector) {
            Anchor::Values(key, values) => {
                let Some(by_value) = self.values.get_mut(key) else { return };
                for value in values {
                    forget(by_value, value, thing);
                }
                if by_value.is_empty() {
                    self.values.remove(key);
                }
            }
            Anchor::Key(key) => forget(&mut self.keys, key, thing),
            Anchor::Nothing => {
                self.rest.remove(thing);
            }
        }
    }

    /// Calls for each thing whose selector could select these labels; none twice.
    pub(crate) fn candidates(&self, labels: &Labels, mut found: impl FnMut(&T)) {
        for (key, value) in labels {
            let things = self.values.get(key).and_then(|by_value| by_value.get(value));
            things.into_iter().chain(self.keys.get(key)).flatten().for_each(&mut found);
        }
        self.rest.iter().for_each(found);
    }

    fn hangs(selector: &LabelSelector) -> bool {
        !matches!(anchor(selector), Anchor::Nothing)
    }
}

fn forget<T: Ord>(sets: &mut BTreeMap<String, BTreeSet<T>>, key: &str, thing: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(thing);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// Number of a selector of peers while it is in use.
pub(crate) type SelectorId = u32;

/// Selectors of peers by what they need.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectorIndex {
    /// Of one namespace, by pod labels.
    own: BTreeMap<NamespaceName, LabelIndex<SelectorId>>,
    /// Of several, by pod labels.
    by_pod: LabelIndex<SelectorId>,
    /// Of several, of which the pods' labels say nothing that is needed: by labels of the namespace.
    by_namespace: LabelIndex<SelectorId>,
}

impl SelectorIndex {
    pub(crate) fn insert(&mut self, pods: &PodsOf, id: SelectorId) {
        match &pods.namespaces {
            Namespaces::Is(name) => self.own.entry(name.clone()).or_default().insert(&pods.pods, &id),
            Namespaces::Like(selector) => match LabelIndex::<SelectorId>::hangs(&pods.pods) {
                true => self.by_pod.insert(&pods.pods, &id),
                false => self.by_namespace.insert(selector, &id),
            },
        }
    }

    pub(crate) fn remove(&mut self, pods: &PodsOf, id: SelectorId) {
        match &pods.namespaces {
            Namespaces::Is(name) => {
                if let Some(index) = self.own.get_mut(name) {
                    index.remove(&pods.pods, &id);
                    if index.values.is_empty() && index.keys.is_empty() && index.rest.is_empty() {
                        self.own.remove(name);
                    }
                }
            }
            Namespaces::Like(selector) => match LabelIndex::<SelectorId>::hangs(&pods.pods) {
                true => self.by_pod.remove(&pods.pods, &id),
                false => self.by_namespace.remove(selector, &id),
            },
        }
    }

    /// Selectors that could include an identity; none twice.
    pub(crate) fn candidates(&self, identity: &Identity, namespace: Option<&Labels>) -> Vec<SelectorId> {
        let mut found = Vec::new();
        if let Some(own) = self.own.get(&identity.namespace) {
            own.candidates(&identity.labels, |id| found.push(*id));
        }
        self.by_pod.candidates(&identity.labels, |id| found.push(*id));
        let nothing = Labels::new();
        self.by_namespace.candidates(namespace.unwrap_or(&nothing), |id| found.push(*id));
        found
    }
}

/// An identity that is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Arc<Identity>,
    /// Whether the control plane says there is such a pod.
    pub(crate) given: bool,
    /// How many at this node hold it by themselves.
    pub(crate) held: u32,
    /// Selectors that include it.
    pub(crate) selectors: BTreeSet<SelectorId>,
}

/// All known identities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identities {
    all: BTreeMap<IdentityId, Known>,
    by_namespace: BTreeMap<NamespaceName, BTreeSet<IdentityId>>,
    by_label: BTreeMap<String, BTreeMap<String, BTreeSet<IdentityId>>>,
}

impl Identities {
    pub(crate) fn get(&self, id: IdentityId) -> Option<&Known> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: IdentityId) -> Option<&mut Known> {
        self.all.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IdentityId, &Known)> {
        self.all.iter().map(|(id, known)| (*id, known))
    }

    /// Finds or makes an entry; says whether it is new.
    pub(crate) fn entry(
        &mut self,
        id: IdentityId,
        identity: impl FnOnce() -> Arc<Identity>,
    ) -> (&mut Known, bool) {
        let new = !self.all.contains_key(&id);
        if new {
            let identity = identity();
            self.by_namespace.entry(identity.namespace.clone()).or_default().insert(id);
            for (key, value) in &identity.labels {
                let by_value = self.by_label.entry(key.clone()).or_default();
                by_value.entry(value.clone()).or_default().insert(id);
            }
            let selectors = BTreeSet::new();
            self.all.insert(id, Known { identity, given: false, held: 0, selectors });
        }
        (self.all.get_mut(&id).expect("it was there or has just been put"), new)
    }

    pub(crate) fn remove(&mut self, id: IdentityId) -> Option<Known> {
        let known = self.all.remove(&id)?;
        if let Some(set) = self.by_namespace.get_mut(&known.identity.namespace) {
            set.remove(&id);
            if set.is_empty() {
                self.by_namespace.remove(&known.identity.namespace);
            }
        }
        for (key, value) in &known.identity.labels {
            let Some(by_value) = self.by_label.get_mut(key) else { continue };
            forget(by_value, value, &id);
            if by_value.is_empty() {
                self.by_label.remove(key);
            }
        }
        Some(known)
    }

    /// Identities of a namespace.
    pub(crate) fn of_namespace(&self, name: &NamespaceName) -> impl Iterator<Item = IdentityId> {
        self.by_namespace.get(name).into_iter().flatten().copied()
    }

    /// Identities that a selector includes.
    pub(crate) fn included(
        &self,
        pods: &PodsOf,
        namespaces: &BTreeMap<NamespaceName, Labels>,
    ) -> BTreeSet<IdentityId> {
        let mut found = BTreeSet::new();
        let mut look = |id: IdentityId| {
            let Some(known) = self.all.get(&id) else { return };
            if pods.include(&known.identity, namespaces.get(&known.identity.namespace)) {
                found.insert(id);
            }
        };
        match (&pods.namespaces, anchor(&pods.pods)) {
            (Namespaces::Is(name), _) => self.of_namespace(name).for_each(&mut look),
            (Namespaces::Like(_), Anchor::Values(key, values)) => {
                let by_value = self.by_label.get(key);
                let sets = values.iter().filter_map(|value| by_value?.get(*value));
                sets.flatten().copied().for_each(&mut look);
            }
            (Namespaces::Like(_), Anchor::Key(key)) => {
                let by_value = self.by_label.get(key);
                by_value.into_iter().flat_map(BTreeMap::values).flatten().copied().for_each(&mut look);
            }
            (Namespaces::Like(selector), Anchor::Nothing) if selector.is_empty() => {
                self.all.keys().copied().for_each(&mut look);
            }
            (Namespaces::Like(selector), Anchor::Nothing) => {
                let fitting = namespaces.iter().filter(|(_, labels)| selector.selects(labels));
                fitting.flat_map(|(name, _)| self.of_namespace(name)).for_each(&mut look);
            }
        }
        found
    }
}
