//! Network policy, proved with packets: on a grid of three namespaces with three pods each, every pair asks on two ports over TCP and UDP.
//!
//! What is expected stands beside each case, by hand; only the differential test takes it from the evaluator. See `cases.rs` for the
//! language of cases.

mod bypass;
mod cases;
mod differential;
mod grid;
mod race;
mod random;
mod script;
mod state;

pub use bypass::{reused, tampered};
pub use cases::{CASES, Case, everywhere};
pub use differential::{differential, planted};
pub use grid::Grid;
pub use race::{Pace, races};

/// What every pod of the grid serves: the port, and whether over TCP.
pub(crate) const PORTS: [(u16, bool); 4] = [(80, true), (81, true), (80, false), (81, false)];
/// Namespaces, pods, nodes: `c` is on the second one.
pub(crate) const NAMESPACES: [&str; 3] = ["x", "y", "z"];
/// Of each namespace.
pub(crate) const PODS: [&str; 3] = ["a", "b", "c"];
