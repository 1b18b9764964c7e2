//! Whole clusters in one thread, from one seed: real replicas, states, views and address ledgers; simulated time,
//! network, disks, agents and an operator.
//!
//! In: a seed, faults, perhaps a mutant. Out: a report, or the first invariant that broke, with the seed that breaks
//! it again. Not here: tonic, files, kernels (weft-e2e).

mod agent;
mod client;
mod disk;
mod faults;
mod founding;
mod invariants;
mod machine;
mod mutant;
mod net;
mod operator;
mod rest;
mod shop;
mod silence;
mod sim;
mod stream;
mod trouble;
mod world;

#[cfg(test)]
mod tests;

pub use faults::Faults;
pub use invariants::{Report, Violation};
pub use mutant::Mutant;
pub use sim::Sim;
