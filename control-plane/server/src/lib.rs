//! One replica of the control plane, served: the replica task, gRPC services, the fan-out to agents.
//!
//! In: calls, messages of other replicas, ticks, completions of the disk. Out: answers, messages, frames, writes. Not
//! here: what commands do (weft-core), when something is committed (weft-raft), files (weft-store), TLS (weft-rpc).
//! Invariant: nothing is decided here that another replica would have to decide alike.

mod access;
mod admin;
mod ask;
mod codec;
mod context;
mod events;
mod handle;
mod inbox;
mod join;
mod limits;
mod outbox;
mod owners;
mod pace;
mod peer_link;
mod peers;
mod pulses;
mod raft_log;
mod raft_service;
mod renewal;
mod replica;
mod room;
mod serve;
mod silence;
mod snapshot;
mod sync;
mod wire;

pub use codec::codec;
pub use pace::Pace;
pub use renewal::identity_files;
pub use serve::{ServerOptions, Serving, serve};
