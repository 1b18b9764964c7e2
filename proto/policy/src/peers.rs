//! What a rule's peer is once it no longer depends on the policy that said it.

use std::net::IpAddr;

use weft_model::{AddressRange, Identity, LabelSelector, Labels, NamespaceName, PolicyPeer};

use crate::hash::Content;

/// Which namespaces a peer's pods are in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Namespaces {
    /// One, by name: the policy's own.
    Is(NamespaceName),
    /// Those with labels like this; the empty selector means all, known or not.
    Like(LabelSelector),
}

/// Pods of some namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodsOf {
    /// The namespaces.
    pub(crate) namespaces: Namespaces,
    /// Which of their pods; the empty selector means all.
    pub(crate) pods: LabelSelector,
}

impl PodsOf {
    /// All pods there are.
    pub(crate) fn everywhere() -> Self {
        Self { namespaces: Namespaces::Like(LabelSelector::default()), pods: LabelSelector::default() }
    }

    /// Whether pods of an identity are among them, whose namespace has these labels if it is known.
    pub(crate) fn include(&self, identity: &Identity, namespace: Option<&Labels>) -> bool {
        let namespace_fits = match &self.namespaces {
            Namespaces::Is(name) => *name == identity.namespace,
            Namespaces::Like(selector) => {
                selector.is_empty() || namespace.is_some_and(|labels| selects(selector, labels))
            }
        };
        namespace_fits && selects(&self.pods, &identity.labels)
    }

    fn feed(&self, content: &mut Content) {
        match &self.namespaces {
            Namespaces::Is(name) => {
                content.number(0);
                content.text(name.as_str());
            }
            Namespaces::Like(selector) => {
                content.number(1);
                feed_selector(selector, content);
            }
        }
        feed_selector(&self.pods, content);
    }
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    #[cfg(test)]
    if crate::mutant::is(crate::mutant::Mutant::NotInNeedsTheKey) {
        use weft_model::LabelOperator::NotIn;
        let missing = |key: &str| !labels.contains_key(key);
        if selector.expressions.iter().any(|wanted| wanted.operator == NotIn && missing(&wanted.key)) {
            return false;
        }
    }
    selector.selects(labels)
}

/// The same selector for the same meaning: the order of its requirements makes no difference.
fn in_order(selector: &LabelSelector) -> LabelSelector {
    let mut selector = selector.clone();
    selector.expressions.sort_unstable();
    selector.expressions.dedup();
    selector
}

fn feed_selector(selector: &LabelSelector, content: &mut Content) {
    content.length(selector.labels.len());
    for (key, value) in &selector.labels {
        content.text(key);
        content.text(value);
    }
    content.length(selector.expressions.len());
    for wanted in &selector.expressions {
        content.text(&wanted.key);
        content.text(&wanted.operator.to_string());
        content.length(wanted.values.len());
        wanted.values.iter().for_each(|value| content.text(value));
    }
}

/// Addresses of a range but for some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    /// The range.
    pub(crate) range: AddressRange,
    /// The exceptions, in order, none inside another.
    pub(crate) except: Vec<AddressRange>,
}

impl Block {
    pub(crate) fn new(range: AddressRange, except: &[AddressRange]) -> Self {
        let mut holes: Vec<AddressRange> = Vec::new();
        // Wider ones first: whatever lies in one adds nothing.
        let mut sorted = except.to_vec();
        sorted.sort_unstable_by_key(|hole| (hole.prefix(), *hole));
        for hole in sorted {
            if hole.overlaps(range) && !holes.iter().any(|wider| wider.covers(hole)) {
                holes.push(hole);
            }
        }
        holes.sort_unstable_by_key(AddressRange::first);
        #[cfg(test)]
        if crate::mutant::is(crate::mutant::Mutant::ExceptIsForgotten) {
            holes.clear();
        }
        Self { range, except: holes }
    }

    /// Whether an address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.range.contains(address) && !self.except.iter().any(|hole| hole.contains(address))
    }

    pub(crate) fn feed(&self, content: &mut Content) {
        content.text(&self.range.to_string());
        content.length(self.except.len());
        self.except.iter().for_each(|hole| content.text(&hole.to_string()));
    }
}

/// Whom a rule means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Whoever it is, pod or not.
    Anyone,
    /// Pods.
    Pods(PodsOf),
    /// Addresses.
    Block(Block),
}

impl Source {
    /// The meaning of a peer in a policy of a namespace.
    pub(crate) fn of(peer: &PolicyPeer, namespace: &NamespaceName) -> Self {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                let namespaces = match namespaces {
                    None => Namespaces::Is(namespace.clone()),
                    Some(selector) => Namespaces::Like(in_order(selector)),
                };
                #[cfg(test)]
                let namespaces = if crate::mutant::is(crate::mutant::Mutant::OwnNamespaceIsAny) {
                    Namespaces::Like(LabelSelector::default())
                } else {
                    namespaces
                };
                Self::Pods(PodsOf { namespaces, pods: pods.as_ref().map(in_order).unwrap_or_default() })
            }
            PolicyPeer::Block { range, except } => Self::Block(Block::new(*range, except)),
        }
    }

    pub(crate) fn feed(&self, content: &mut Content) {
        match self {
            Self::Anyone => content.number(0),
            Self::Pods(pods) => {
                content.number(1);
                pods.feed(content);
            }
            Self::Block(block) => {
                content.number(2);
                block.feed(content);
            }
        }
    }
}
