//! Network policy on a node: constant rules, and the elements that weft-policy compiles from what the node knows.

mod element;
mod feed;
mod numbers;
pub(crate) mod rules;
mod tables;

pub use tables::{Policies, PolicyTransaction};
