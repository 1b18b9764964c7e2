//! Reverse indexes of policies: which labels and port names count where, which pods have them, and the identities that
//! follow.
//!
//! A pod's event costs its own labels and ports. A policy's event costs its own words; pods are looked at only where a word
//! begins or ceases to count, and only those that have it.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{Identity, IdentityId, Labels, NamedPort, NamespaceName, PodName, PolicyName, PolicySpec};
use weft_policy::{Relevance, Turned};

use super::{join, part};

/// A living pod, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What policies can tell it apart by.
    pub(crate) identity: Identity,
    /// Number of it.
    pub(crate) id: IdentityId,
    /// Names of its ports.
    names: BTreeSet<String>,
}

/// Identities that came or went by one step, as they were before it: `None` for one that came.
pub(crate) type Turns = Vec<(IdentityId, Option<Identity>)>;

/// What policies look at, and whom they see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyIndex {
    words: Relevance,
    /// Identities that living pods have, and how many have each.
    identities: BTreeMap<IdentityId, (Identity, u32)>,
    /// Living pods that own their name: their identity and the names of their ports.
    pods: BTreeMap<PodName, (IdentityId, BTreeSet<String>)>,
    /// Those pods by namespace and the name of a port.
    named: BTreeMap<(NamespaceName, String), BTreeSet<PodName>>,
    /// How many of them a namespace has.
    populated: BTreeMap<NamespaceName, u32>,
}

/// Reading.
impl PolicyIndex {
    /// The identity of a living pod.
    pub(crate) fn identity_of(&self, pod: &PodName) -> Option<IdentityId> {
        self.pods.get(pod).map(|(id, _)| *id)
    }

    /// An identity that some living pod has.
    pub(crate) fn identity(&self, id: IdentityId) -> Option<&Identity> {
        self.identities.get(&id).map(|(identity, _)| identity)
    }

    /// Numbers of all of them, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = IdentityId> {
        self.identities.keys().copied()
    }

    /// Namespaces in which pods live, in order.
    pub(crate) fn populated(&self) -> impl Iterator<Item = &NamespaceName> {
        self.populated.keys()
    }

    /// Pods of a namespace that have a port of this name.
    pub(crate) fn with_port(&self, namespace: &NamespaceName, name: &str) -> impl Iterator<Item = &PodName> {
        self.named.get(&(namespace.clone(), name.to_owned())).into_iter().flatten()
    }

    /// A pod with these labels and ports, by the words that count now.
    pub(crate) fn see(&self, name: &PodName, labels: &Labels, ports: &[NamedPort]) -> Seen {
        let (id, identity) = self.words.identity_of(&name.namespace, labels, ports);
        let names = ports.iter().map(|port| port.name.clone()).collect();
        Seen { identity, id, names }
    }
}

/// Following the rows.
impl PolicyIndex {
    /// A policy came, changed or went; says which words begin or cease to count.
    pub(crate) fn replace(
        &mut self,
        name: &PolicyName,
        old: Option<&PolicySpec>,
        new: Option<&PolicySpec>,
    ) -> Turned {
        self.words.turn(name, old, new)
    }

    /// A pod is seen so now; `None`: nobody owns the name.
    pub(crate) fn set_pod(&mut self, name: &PodName, seen: Option<Seen>) -> Turns {
        let same = |(id, names): &(IdentityId, BTreeSet<String>)| {
            seen.as_ref().is_some_and(|seen| seen.id == *id && seen.names == *names)
        };
        if self.pods.get(name).is_some_and(same) {
            return Turns::new();
        }
        let mut turns = Turns::new();
        let port = |text: &String| (name.namespace.clone(), text.clone());
        if let Some((id, names)) = self.pods.remove(name) {
            names.iter().for_each(|text| part(&mut self.named, &port(text), name));
            turns.extend(self.leave(id));
            count_down(&mut self.populated, &name.namespace);
        }
        if let Some(Seen { identity, id, names }) = seen {
            names.iter().for_each(|text| join(&mut self.named, port(text), name.clone()));
            let (_, count) = self.identities.entry(id).or_insert_with(|| {
                turns.push((id, None));
                (identity, 0)
            });
            *count += 1;
            *self.populated.entry(name.namespace.clone()).or_default() += 1;
            self.pods.insert(name.clone(), (id, names));
        }
        turns
    }

    /// One pod less has an identity; gives back the one that nobody has any more.
    fn leave(&mut self, id: IdentityId) -> Option<(IdentityId, Option<Identity>)> {
        let (_, count) = self.identities.get_mut(&id)?;
        *count = count.saturating_sub(1);
        if *count > 0 {
            return None;
        }
        self.identities.remove(&id).map(|(identity, _)| (id, Some(identity)))
    }
}

/// One less of a key; one that has none goes.
fn count_down<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
