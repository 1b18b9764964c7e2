//! The truth of the cluster: its state, what commands do to it, and what nodes need because of it.
//!
//! In: committed [`Command`](weft_model::Command)s in log order. Out: [`Outcome`]s, that is answers, changed
//! records and changed items. Not here: text, wire shapes, the log, the disk, time and chance; those that a
//! command needs are inside it.
//! Invariants: the same commands give the same state and hash on every replica · a refused command changes
//! no object · no address is held twice · leases are disjoint · allowed IPs are disjoint over all peers.

mod admit;
mod apply;
mod bands;
mod chance;
mod derive;
mod edit;
mod error;
mod hash;
mod index;
pub mod limits;
mod outcome;
pub mod owners;
mod pool;
pub mod pulse;
mod runs;
pub mod silence;
mod state;
mod terms;
mod verify;
mod waits;

#[cfg(test)]
mod tests;

pub use admit::{admit, default_range, merge, new_fabric, parse_range};
pub use apply::{apply, apply_empty, dry_run, preview};
pub use error::{Error, RangeAt, ServiceError};
pub use outcome::{Change, ItemChange, Outcome};
pub use state::{EffectivePod, State};
pub use terms::{LOAD_BALANCER_CLASS, SHARED_IP_ANNOTATION, TOPOLOGY_MODE_ANNOTATION};
pub use waits::waits_for_address;
