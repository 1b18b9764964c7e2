//! Identities: pods that no policy can tell apart are one.
//!
//! In: a pod's namespace, labels and named ports; the words that policies use. Out: the identity and its number.
//! Not here: which pods an identity has (the control plane), what it may do (evaluator, compiler).
//!
//! A pod's labels are cut down to keys that some policy's selector of pods names, its ports to names that some policy
//! names: so a cluster has few identities, and most pods that come bring no new one. Words are kept by where they count: a
//! selector of a policy's own namespace makes no difference elsewhere. An identity with more words than needed is as true:
//! the tables made of it say the same.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    Direction, Identity, IdentityId, LabelSelector, Labels, NamedPort, NamespaceName, PolicyName, PolicyPeer,
    PolicySpec, PortMatch, Protocol,
};

use crate::hash::Content;

/// Makes the identity of a pod from the labels and named ports that matter, and its number.
pub fn identity_of(
    namespace: &NamespaceName,
    labels: &Labels,
    ports: &[NamedPort],
    keys: &BTreeSet<String>,
    names: &BTreeSet<String>,
) -> (IdentityId, Identity) {
    project(namespace, labels, ports, |key| keys.contains(key), |name| names.contains(name))
}

/// The identity with all labels and ports: what a node gives its own pod before the control plane has said which matter.
pub fn whole_identity(
    namespace: &NamespaceName,
    labels: &Labels,
    ports: &[NamedPort],
) -> (IdentityId, Identity) {
    project(namespace, labels, ports, |_| true, |_| true)
}

fn project(
    namespace: &NamespaceName,
    labels: &Labels,
    ports: &[NamedPort],
    key_counts: impl Fn(&str) -> bool,
    name_counts: impl Fn(&str) -> bool,
) -> (IdentityId, Identity) {
    let labels = labels.iter().filter(|(key, _)| key_counts(key));
    let mut ports: Vec<_> = ports.iter().filter(|port| name_counts(&port.name)).cloned().collect();
    ports.sort_unstable();
    ports.dedup();
    let labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    let identity = Identity { namespace: namespace.clone(), labels, ports };
    (number_of(&identity), identity)
}

/// Number of an identity: of its namespace, its labels in order of their keys, its ports in order.
pub fn number_of(identity: &Identity) -> IdentityId {
    let mut content = Content::of("weft identity 1");
    content.text(identity.namespace.as_str());
    content.length(identity.labels.len());
    for (key, value) in &identity.labels {
        content.text(key);
        content.text(value);
    }
    content.length(identity.ports.len());
    for port in &identity.ports {
        content.text(&port.name);
        content.number(protocol_number(port.protocol).into());
        content.number(port.port.into());
    }
    IdentityId(content.finish())
}

/// Number of a protocol in IP headers (IANA, "Protocol Numbers").
pub const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Words that policies use, each with how many times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    keys: BTreeMap<String, u32>,
    names: BTreeMap<String, u32>,
}

/// Where a change of policies makes other words count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nowhere: every pod keeps its identity.
    Nothing,
    /// In one namespace: identities of its pods are made anew.
    Namespace(NamespaceName),
    /// Everywhere.
    Everything,
}

/// Words that begin or cease to count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnedWords {
    /// Keys of labels.
    pub keys: BTreeSet<String>,
    /// Names of ports.
    pub names: BTreeSet<String>,
}

impl TurnedWords {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.names.is_empty()
    }
}

/// What a change of one policy makes begin or cease to count: only pods that have one of these words get another identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// In all namespaces.
    pub everywhere: TurnedWords,
    /// In the policy's own namespace.
    pub within: TurnedWords,
}

/// Which words count where; kept as policies come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relevance {
    everywhere: Words,
    namespaces: BTreeMap<NamespaceName, Words>,
}

impl Relevance {
    /// Takes note that a policy was written, changed or deleted; says whose identities may be others now.
    pub fn replace(
        &mut self,
        name: &PolicyName,
        old: Option<&PolicySpec>,
        new: Option<&PolicySpec>,
    ) -> Touched {
        let turned = self.turn(name, old, new);
        match (turned.everywhere.is_empty(), turned.within.is_empty()) {
            (false, _) => Touched::Everything,
            (true, false) => Touched::Namespace(name.namespace.clone()),
            (true, true) => Touched::Nothing,
        }
    }

    /// As `replace`, and says which words those are.
    pub fn turn(&mut self, name: &PolicyName, old: Option<&PolicySpec>, new: Option<&PolicySpec>) -> Turned {
        let (old, new) = (old.map(Uses::of).unwrap_or_default(), new.map(Uses::of).unwrap_or_default());
        // New ones first, so that a word which stays never goes to zero.
        let mut turned = Turned::default();
        self.everywhere.count(&new.everywhere, &mut turned.everywhere);
        self.everywhere.uncount(&old.everywhere, &mut turned.everywhere);
        let words = self.namespaces.entry(name.namespace.clone()).or_default();
        words.count(&new.within, &mut turned.within);
        words.uncount(&old.within, &mut turned.within);
        if words.keys.is_empty() && words.names.is_empty() {
            self.namespaces.remove(&name.namespace);
        }
        turned
    }

    /// The identity of a pod with these words.
    pub fn identity_of(
        &self,
        namespace: &NamespaceName,
        labels: &Labels,
        ports: &[NamedPort],
    ) -> (IdentityId, Identity) {
        let here = self.namespaces.get(namespace);
        let key_counts = |key: &str| {
            self.everywhere.keys.contains_key(key) || here.is_some_and(|words| words.keys.contains_key(key))
        };
        let name_counts = |name: &str| {
            self.everywhere.names.contains_key(name)
                || here.is_some_and(|words| words.names.contains_key(name))
        };
        project(namespace, labels, ports, key_counts, name_counts)
    }
}

impl Words {
    /// Adds words; keeps those that are new.
    fn count(&mut self, set: &Set<'_>, turned: &mut TurnedWords) {
        for (counts, words, turned) in
            [(&mut self.keys, &set.keys, &mut turned.keys), (&mut self.names, &set.names, &mut turned.names)]
        {
            for word in words {
                let count = counts.entry((*word).to_owned()).or_default();
                *count += 1;
                if *count == 1 {
                    turned.insert((*word).to_owned());
                }
            }
        }
    }

    /// Takes words away; keeps those that are gone.
    fn uncount(&mut self, set: &Set<'_>, turned: &mut TurnedWords) {
        for (counts, words, turned) in
            [(&mut self.keys, &set.keys, &mut turned.keys), (&mut self.names, &set.names, &mut turned.names)]
        {
            for word in words {
                let Some(count) = counts.get_mut(*word) else { continue };
                *count -= 1;
                if *count == 0 {
                    counts.remove(*word);
                    turned.insert((*word).to_owned());
                }
            }
        }
    }
}

#[derive(Default)]
struct Set<'a> {
    keys: BTreeSet<&'a str>,
    names: BTreeSet<&'a str>,
}

/// Words of one policy, each once, by where they count.
#[derive(Default)]
struct Uses<'a> {
    everywhere: Set<'a>,
    within: Set<'a>,
}

impl<'a> Uses<'a> {
    fn of(spec: &'a PolicySpec) -> Self {
        let mut uses = Self::default();
        uses.within.keys.extend(spec.pods.keys());
        for direction in [Direction::Ingress, Direction::Egress] {
            for rule in spec.rules(direction).unwrap_or_default() {
                let mut foreign = rule.peers.is_empty();
                for peer in &rule.peers {
                    if let PolicyPeer::Pods { namespaces, pods } = peer {
                        foreign |= namespaces.is_some();
                        let set = if namespaces.is_some() { &mut uses.everywhere } else { &mut uses.within };
                        set.keys.extend(pods.iter().flat_map(LabelSelector::keys));
                    }
                }
                // A name is looked up on the destination: on the selected pods, or on the peers.
                let far = direction == Direction::Egress && foreign;
                let set = if far { &mut uses.everywhere } else { &mut uses.within };
                set.names.extend(rule.ports.iter().filter_map(|port| match &port.port {
                    PortMatch::Name(name) => Some(name.as_str()),
                    PortMatch::Any | PortMatch::Numbers(..) => None,
                }));
            }
        }
        uses
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
