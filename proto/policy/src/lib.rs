//! What network policies mean (Kubernetes, networking/v1 NetworkPolicy): one place for the control plane, the nodes and people.
//!
//! In: the nouns of weft-model. Out: identities of pods, decisions with the rule that made them, the tables that a node's
//! kernel asks, and answers about whole sets of policies. Not here: text (weft-yaml), what is stored (weft-core), rules and
//! sets of nf_tables (weft-plan, weft-nft).

mod cases;
mod compile;
mod cuts;
mod decision;
mod difference;
mod error;
mod evaluate;
mod flow;
mod fold;
mod groups;
mod hash;
mod hint;
mod identity;
mod index;
mod interpret;
pub mod limits;
mod lint;
mod matrix;
mod peers;
mod ports;
mod profile;
mod size;
mod split;
mod table;
mod world;

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hard_cases_ports_tests;
#[cfg(test)]
mod hard_cases_tests;
#[cfg(test)]
mod mutant;

pub use cases::{Case, CaseEnd, Outcome};
pub use compile::{Compiler, Explanation, Place};
pub use cuts::{Closing, Cuts, Cutter, Ends};
pub use decision::{Closest, Decision, Isolation, Lack, Reason, Verdict};
pub use difference::{Difference, Shift, cut_by};
pub use error::{Error, Part};
pub use flow::{Flow, Transport, protocol_name};
pub use fold::Fold;
pub use groups::{Group, Members};
pub use identity::{
    Relevance, Touched, Turned, TurnedWords, identity_of, number_of, protocol_number, whole_identity,
};
pub use lint::{Dead, Warning};
pub use matrix::{Folded, Matrix, Share};
pub use ports::{PROTOCOLS, PortSet, PortsId};
pub use profile::ProfileId;
pub use size::Oversized;
pub use table::{BlockClass, Changes, Key, PortClass, Tables};
pub use world::{Party, RESOLVER_LABEL, RESOLVER_NAMESPACE, Resolver, World, WorldPod};
