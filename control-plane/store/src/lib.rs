//! The durable log and the applied state of a replica, and the directory that holds them.
//!
//! In: numbered drafts and batches of weft-raft. Out: completions, and at start what there is. Not here: what a draft
//! means, whether a log is complete enough to vote (weft-raft decides from what is loaded here).
//! Invariants: a completion is given only for what an fsync has covered; the first failed fsync is final; the applied
//! state holds nothing that log and snapshot could not rebuild.

mod bytes;
mod directory;
mod disk;
mod engine_log;
mod error;
mod mark;
mod reserve;
mod sled_state;
mod snapshot_file;
mod traits;

#[cfg(test)]
mod restart_tests;

pub use directory::{DataDir, Identity, ReplicaAddress};
pub use disk::{Disk, Done, Work};
pub use engine_log::{EngineLog, Owner};
pub use error::Error;
pub use reserve::{Reserve, Space};
pub use sled_state::{SledState, StateHealth};
pub use traits::{LogStore, StateStore, StoredLog, restore};
