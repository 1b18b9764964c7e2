//! Fabrics out of namespaces: what tests, demonstrations and benchmarks of Weft run in.
//!
//! A lab is one process tree. Its supervisor (supervisor/) is pid 1 of a process namespace; machines are network and mount
//! namespaces (or virtual machines: vm/) with the product's real programs in them, pods are network namespaces attached by the real CNI plugin. Commands and tests
//! talk to it through `Client`; `Fabric` (fabric/) brings a whole fabric up. Not here: any knowledge of how Weft works inside.

pub mod capture;
pub mod checks;
pub mod client;
pub mod commands;
pub mod enter;
pub mod fabric;
pub mod fault;
pub mod inside;
pub mod ip;
pub mod launch;
pub mod layout;
pub mod mounts;
pub mod namespace;
pub mod netfilter;
pub mod plan;
pub mod prerequisites;
pub mod probe;
pub mod protocol;
pub mod record;
pub mod substrate;
pub mod supervisor;
pub mod topology;
pub mod vm;
pub mod wait;

mod notify;
mod priority;
mod refusal;

pub use fabric::Fabric;
pub use refusal::Refusal;

/// Result of everything in the lab; a [`Refusal`] inside decides the exit status.
pub type Result<T = ()> = anyhow::Result<T>;
