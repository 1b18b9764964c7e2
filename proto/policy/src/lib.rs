//! What network policies mean (Kubernetes, networking/v1 NetworkPolicy): one place for the control plane, the nodes and people.
//!
//! In: the nouns of weft-model. Out: identities of pods, decisions with the rule that made them, the tables that a node's
//! kernel asks, and answers about whole sets of policies. Not here: text (weft-yaml), what is stored (weft-core), rules and
//! sets of nf_tables (weft-plan, weft-nft).

mod decision;
mod evaluate;
mod flow;
mod hash;
mod identity;
mod ports;
mod settings;
mod world;

#[cfg(test)]
mod fixture;

pub use decision::{Closest, Decision, Isolation, Lack, Reason, Verdict};
pub use flow::{Flow, Transport, protocol_name};
pub use identity::{Relevance, Touched, identity_of, number_of, protocol_number, whole_identity};
pub use ports::{PROTOCOLS, PortSet, PortsId};
pub use settings::{DEFAULT_DENY_LABEL, DefaultDeny, SYSTEM_NAMESPACES, Settings};
pub use world::{Party, RESOLVER_LABEL, RESOLVER_NAMESPACE, Resolver, World, WorldPod};
