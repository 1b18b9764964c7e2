//! Policies that probably don't say what was meant: nothing here is refused, people are told.

mod rules;

use std::fmt;

use weft_errors::{
    Code, Coded, POLICY_BLOCK_COVERS_PODS, POLICY_CLOSES_DNS, POLICY_PORT_NAME_UNKNOWN, POLICY_RULE_DEAD,
    POLICY_RULE_SHADOWED, POLICY_SELECTS_NOTHING,
};
use weft_model::{Direction, Family, PodName, PolicyName, Protocol};

use crate::{
    decision::{Isolation, Reason},
    flow::{Flow, Transport, protocol_name},
    world::World,
};

/// Why a rule can never match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// Its direction isn't among the policy's types.
    Type(Direction),
    /// A selector asks for labels that exclude each other.
    Contradiction,
    /// Exceptions take out the whole block.
    EmptyBlock,
    /// A block is of a family that no selected pod has.
    Family(Family),
    /// Ports by name towards blocks: no address has a name.
    NameToBlock,
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(Direction::Ingress) => f.write_str("policyTypes doesn't list Ingress"),
            Self::Type(Direction::Egress) => f.write_str("policyTypes doesn't list Egress"),
            Self::Contradiction => f.write_str("its selector asks for labels that exclude each other"),
            Self::EmptyBlock => f.write_str("its exceptions take out the whole block"),
            Self::Family(family) => write!(f, "no selected pod has an address of {family}"),
            Self::NameToBlock => f.write_str("a port by name never fits an ipBlock: no address has a name"),
        }
    }
}

/// One thing that people are told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The policy selects no pod.
    #[error("no pod of namespace {} is selected", policy.namespace)]
    SelectsNothing {
        /// The policy.
        policy: PolicyName,
    },
    /// A peer selects no pod.
    #[error("no pod is selected")]
    PeerSelectsNothing {
        /// The policy.
        policy: PolicyName,
        /// Where: `spec.ingress[0].from[1]`.
        field: String,
    },
    /// No pod that could be the destination has a port of this name.
    #[error("no destination has a port named {name} of {}", protocol_name(*protocol))]
    PortNameUnknown {
        /// The policy.
        policy: PolicyName,
        /// Where.
        field: String,
        /// The name.
        name: String,
        /// The protocol.
        protocol: Protocol,
    },
    /// A rule, or a part of one, can never match.
    #[error("it can never match: {why}")]
    NeverMatches {
        /// The policy.
        policy: PolicyName,
        /// Where.
        field: String,
        /// Why.
        why: Dead,
    },
    /// Another rule of the policy allows all that this one does.
    #[error("rule {} allows all that this one does", by + 1)]
    Shadowed {
        /// The policy.
        policy: PolicyName,
        /// Where.
        field: String,
        /// The other rule's place, from 0.
        by: usize,
    },
    /// A block has addresses of pods in it; whose they are changes.
    #[error("addresses of {} are in it", pods(*count, pod))]
    BlockCoversPods {
        /// The policy.
        policy: PolicyName,
        /// Where.
        field: String,
        /// How many pods.
        count: usize,
        /// One of them.
        pod: PodName,
    },
    /// Pods can't ask for names.
    #[error("{} can't reach DNS; {}", pods(*count, pod), isolated(isolation))]
    ClosesDns {
        /// Who isolates them.
        isolation: Isolation,
        /// How many pods.
        count: usize,
        /// One of them.
        pod: PodName,
    },
}

/// `pod shop/web`, or how many, with one of them.
fn pods(count: usize, pod: &PodName) -> String {
    if count == 1 { format!("pod {pod}") } else { format!("{count} pods, for example {pod},") }
}

fn isolated(isolation: &Isolation) -> String {
    Reason::Denied(isolation.clone()).to_string()
}

impl Warning {
    /// The policy it is about; the first of several, none where only defaults are at work.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::SelectsNothing { policy }
            | Self::PeerSelectsNothing { policy, .. }
            | Self::PortNameUnknown { policy, .. }
            | Self::NeverMatches { policy, .. }
            | Self::Shadowed { policy, .. }
            | Self::BlockCoversPods { policy, .. } => Some(policy),
            Self::ClosesDns { isolation: Isolation::Policies(policies), .. } => policies.first(),
            Self::ClosesDns { isolation: Isolation::Default(_), .. } => None,
        }
    }

    /// What it is about, in words: `shop/web-in`, or `namespace shop` where only what is closed by default is at work.
    pub fn subject(&self) -> String {
        match (self.policy(), self) {
            (Some(policy), _) => policy.to_string(),
            (None, Self::ClosesDns { pod, .. }) => format!("namespace {}", pod.namespace),
            (None, _) => String::new(),
        }
    }

    /// Where in the policy; empty where it is about the whole.
    pub fn field(&self) -> &str {
        match self {
            Self::PeerSelectsNothing { field, .. }
            | Self::PortNameUnknown { field, .. }
            | Self::NeverMatches { field, .. }
            | Self::Shadowed { field, .. }
            | Self::BlockCoversPods { field, .. } => field,
            Self::SelectsNothing { .. } => "spec.podSelector",
            Self::ClosesDns { .. } => "",
        }
    }
}

impl Coded for Warning {
    fn code(&self) -> &'static Code {
        match self {
            Self::SelectsNothing { .. } | Self::PeerSelectsNothing { .. } => &POLICY_SELECTS_NOTHING,
            Self::PortNameUnknown { .. } => &POLICY_PORT_NAME_UNKNOWN,
            Self::NeverMatches { .. } => &POLICY_RULE_DEAD,
            Self::Shadowed { .. } => &POLICY_RULE_SHADOWED,
            Self::BlockCoversPods { .. } => &POLICY_BLOCK_COVERS_PODS,
            Self::ClosesDns { .. } => &POLICY_CLOSES_DNS,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string()).field(self.field());
        match (self.policy(), self) {
            (Some(policy), _) => error.object("networkpolicy", policy.namespace.as_str(), &policy.name),
            (None, Self::ClosesDns { pod, .. }) => error.object("namespace", "", &pod.namespace),
            (None, _) => error,
        }
    }
}

impl World {
    /// All that people are told of their policies: of each policy in order of name, then of DNS.
    pub fn lint(&self) -> Vec<Warning> {
        let mut warnings: Vec<_> = self.policies().flat_map(|(name, _)| self.lint_policy(name)).collect();
        warnings.extend(self.closed_dns());
        warnings
    }

    /// All that people are told of one policy, but for DNS.
    pub fn lint_policy(&self, name: &PolicyName) -> Vec<Warning> {
        self.policies.get(name).map(|spec| rules::lint(self, name, spec)).unwrap_or_default()
    }

    /// Pods that can't ask the resolver for names, by who isolates them.
    fn closed_dns(&self) -> Vec<Warning> {
        let Some(resolver) = &self.resolver else { return Vec::new() };
        let mut closed: Vec<(Isolation, usize, PodName)> = Vec::new();
        for (name, pod) in self.pods() {
            let mut reasons = pod.addresses.iter().flat_map(|source| {
                let same = resolver.addresses.iter().filter(|to| Family::of(**to) == Family::of(*source));
                same.map(|to| {
                    self.decide(&Flow::new(*source, *to, Transport::Port(Protocol::Udp, 53))).egress
                })
            });
            // A pod that can ask at one address, of one family, can ask.
            let Some(Reason::Denied(isolation)) = reasons.next() else { continue };
            if reasons.any(|reason| reason.allows()) {
                continue;
            }
            match closed.iter_mut().find(|(same, ..)| *same == isolation) {
                Some((_, count, _)) => *count += 1,
                None => closed.push((isolation, 1, name.clone())),
            }
        }
        let warning = |(isolation, count, pod)| Warning::ClosesDns { isolation, count, pod };
        closed.into_iter().map(warning).collect()
    }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
