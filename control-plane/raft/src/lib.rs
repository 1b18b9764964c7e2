//! The Raft replica as a synchronous value: raft-rs and weft-core behind one function, inputs in, effects out.
//!
//! In: `Input` (tick, message of a replica, proposal, read, completion of a write). Out: `Effects` (what to persist,
//! send, answer, publish). Not here: disks (weft-store), streams between replicas and clocks (weft-server).
//! Invariants: nothing that depends on a write leaves before that write is durable (tests in weft-sim); bytes of
//! other replicas reach raft-rs only through the gate.

mod apply;
mod chance;
mod codec;
mod config;
mod convert;
mod durable;
mod effects;
mod error;
mod gate;
mod log;
mod member;
mod message;
mod pending;
mod preview;
mod read;
mod replica;
mod restore;
mod role;
mod snapshot;
mod status;
mod watch;

#[cfg(test)]
mod fixture;

pub use codec::Codec;
pub use config::{ReplicaConfig, Timing};
pub use durable::{
    AppliedState, Batch, BatchRow, Compaction, Conf, Draft, Entry, EntryKind, HardState, Restored, Snapshot,
};
pub use effects::{
    Effects, Input, MemberChange, MemberRefusal, Published, ReadReply, Reply, RoleChange, StateRole, Ticket,
};
pub use error::Error;
pub use gate::Refusal;
pub use message::{Checkpoint, Message, MessageKind};
pub use replica::Replica;
pub use snapshot::{Seed, found};
pub use status::{PeerStatus, Status};
