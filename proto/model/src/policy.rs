//! Network policies: who may talk to whom (Kubernetes, networking/v1 NetworkPolicy), and what nodes need of pods for them.
//!
//! What these say is decided in weft-policy; here are only the words.

mod check;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use check::{FieldProblem, MAX_LABEL_VALUES, MAX_POLICY_PEERS, MAX_POLICY_PORTS, MAX_POLICY_RULES};
pub use settings::{
    DEFAULT_POLICY_LABEL, DefaultPolicy, NAMESPACE_NAME_LABEL, NodeEgress, PolicySettings, SYSTEM_NAMESPACES,
};

use crate::{
    AddressRange, Labels, NamedPort, NamespaceName, ObjectName, ObjectUid, Protocol, Revision, WallTime,
};

/// Namespace and name of a policy.
pub type PolicyName = ObjectName;

/// How a requirement on labels is meant (Kubernetes, `LabelSelectorOperator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelOperator {
    /// The label is there, with one of the values.
    In,
    /// The label is missing, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl fmt::Display for LabelOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        })
    }
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelRequirement {
    /// Key of the label.
    pub key: String,
    /// What is asked of it.
    pub operator: LabelOperator,
    /// Values: at least one for `In` and `NotIn`, none for the others; equal sets are equal requirements.
    pub values: BTreeSet<String>,
}

impl LabelRequirement {
    /// Whether labels fulfil it.
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// What labels must be like (Kubernetes, meta/v1 `LabelSelector`): everything in it holds. The empty one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    pub labels: BTreeMap<String, String>,
    /// Requirements besides, in the order they were written.
    pub expressions: Vec<LabelRequirement>,
}

impl LabelSelector {
    /// Whether labels fulfil all of it.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Keys of the labels it looks at; a key may come twice.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let expressions = self.expressions.iter().map(|requirement| requirement.key.as_str());
        self.labels.keys().map(String::as_str).chain(expressions)
    }
}

/// One of the two directions of a pod's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the pod.
    Ingress,
    /// From the pod.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// One peer of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyPeer {
    /// Pods; a selector that isn't there isn't asked.
    Pods {
        /// Which namespaces, by their labels; `None`: the policy's own.
        namespaces: Option<LabelSelector>,
        /// Which pods of them; `None`: all.
        pods: Option<LabelSelector>,
    },
    /// Addresses.
    Block {
        /// The addresses meant.
        range: AddressRange,
        /// But not these, each inside `range`; only this peer is narrowed.
        except: Vec<AddressRange>,
    },
}

/// Which ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// All.
    Any,
    /// From the first number to the last one, both included; 1 to 65535.
    Numbers(u16, u16),
    /// The number that the destination pod gives this name; without one, none.
    Name(String),
}

/// One entry of a rule's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Its ports.
    pub port: PortMatch,
}

/// One rule: a packet fits if any peer fits and any port fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRule {
    /// `from` or `to`; empty: anybody.
    pub peers: Vec<PolicyPeer>,
    /// Destination ports; empty: every port, and every protocol without ports.
    pub ports: Vec<PolicyPort>,
}

/// What people ask of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySpec {
    /// The pods of the policy's namespace that it is about.
    pub pods: LabelSelector,
    /// Whether it isolates them for ingress (`policyTypes`, with the default applied).
    pub isolates_ingress: bool,
    /// Whether it isolates them for egress.
    pub isolates_egress: bool,
    /// What is allowed in; heeded only when the policy isolates for ingress.
    pub ingress: Vec<PolicyRule>,
    /// What is allowed out; heeded only when the policy isolates for egress.
    pub egress: Vec<PolicyRule>,
}

impl PolicySpec {
    /// The rules of a direction in which it isolates; `None` where it doesn't.
    pub fn rules(&self, direction: Direction) -> Option<&[PolicyRule]> {
        match direction {
            Direction::Ingress => self.isolates_ingress.then_some(&self.ingress),
            Direction::Egress => self.isolates_egress.then_some(&self.egress),
        }
    }
}

/// Who may talk to the pods it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace and name.
    pub name: PolicyName,
    /// Identity of this life; all zero only while it is admitted.
    pub uid: ObjectUid,
    /// Labels.
    pub labels: Labels,
    /// Annotations, as they were written.
    pub annotations: BTreeMap<String, String>,
    /// What people ask.
    pub spec: PolicySpec,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// When it was made.
    pub created: WallTime,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Number of an identity: the first eight bytes of the SHA-256 of its content, so equal on every replica and after every
/// restart, whoever computes it and in whatever order. Zero stands for "no pod".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId(pub u64);

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What policies can tell pods apart by: pods alike in it are one to every policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The pods' namespace; its own labels come separately.
    pub namespace: NamespaceName,
    /// The labels that some policy asks for; others don't matter.
    pub labels: Labels,
    /// The named ports that some policy names, in order of name and protocol.
    pub ports: Vec<NamedPort>,
}
