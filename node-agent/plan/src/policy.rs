//! Network policy on a node: constant rules, and the elements that weft-policy compiles from what the node knows.

mod element;
mod explain;
mod feed;
mod held;
mod numbers;
pub(crate) mod rules;
mod tables;

pub use explain::{explain, own_addresses};
pub use held::{HeldPolicies, Judgement};
pub use tables::{Policies, PolicyTransaction};
