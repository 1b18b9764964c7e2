//! What must survive a crash, as plain values: entries, hard state, snapshots, batches of applied rows.

use std::sync::Arc;

use bytes::Bytes;
use weft_model::{LogIndex, ReplicaId, Term};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command, a checkpoint, or the empty entry of a new leader.
    Normal,
    /// A change of the configuration.
    ConfChange,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 1.
    pub index: LogIndex,
    /// Term of the leader that made it.
    pub term: Term,
    /// What it is.
    pub kind: EntryKind,
    /// Normal: an encoded command or nothing. Configuration change: which replica becomes what.
    pub data: Bytes,
    /// Normal: a checkpoint or nothing. Configuration change: the encoded command for the member list.
    pub context: Bytes,
}

/// Raft's own durable state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Latest term seen.
    pub term: Term,
    /// Who got the vote in it; 0 is nobody.
    pub vote: ReplicaId,
    /// Highest index known to be committed.
    pub commit: LogIndex,
}

/// Who takes part in Raft. Changed one replica at a time, so it is never joint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// Replicas with a vote, ascending.
    pub voters: Vec<ReplicaId>,
    /// Replicas that only receive, ascending.
    pub learners: Vec<ReplicaId>,
}

impl Conf {
    /// Whether the replica takes part.
    pub fn has(&self, id: ReplicaId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id)
    }

    /// Everybody, voters first.
    pub fn all(&self) -> impl Iterator<Item = ReplicaId> {
        self.voters.iter().chain(&self.learners).copied()
    }
}

/// The whole state at one index: where the log begins, and what a replica gets that is too far behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Last entry that it contains.
    pub index: LogIndex,
    /// Term of that entry.
    pub term: Term,
    /// The configuration at that index.
    pub conf: Conf,
    /// Rows, each behind its length (u32, big-endian), each encoded by the codec.
    pub data: Bytes,
    /// BLAKE3 of `data`.
    pub digest: [u8; 32],
}

/// One write to the log store: durable as a whole, in order of its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Number to report back with `Input::Persisted`; ascending.
    pub number: u64,
    /// Replaces the whole log and the whole applied state; written first.
    pub snapshot: Option<Arc<Snapshot>>,
    /// To append; an index that exists already is overwritten and everything behind it goes.
    pub entries: Vec<Entry>,
    /// New hard state.
    pub hard_state: Option<HardState>,
}

/// Permission to shorten the durable log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// To store durably first, beside the log.
    pub snapshot: Arc<Snapshot>,
    /// First index to keep; at most one above the snapshot's.
    pub first: LogIndex,
}

/// One row of the applied state: put, or deleted when there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// The key as text (`RecordKey`).
    pub key: String,
    /// The encoded row.
    pub value: Option<Bytes>,
}

/// Rows that changed by a group of entries: one atomic batch of the state store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Last applied entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration after it.
    pub conf: Conf,
    /// Whether `rows` is everything: what the store had before goes.
    pub replace: bool,
    /// The rows, each key once.
    pub rows: Vec<BatchRow>,
}

/// What the state store held at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// Last applied entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration after it.
    pub conf: Conf,
    /// Encoded rows, in any order.
    pub rows: Vec<Bytes>,
}

/// What the disk held at start. Empty for a replica that has just joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The last hard state.
    pub hard_state: HardState,
    /// The snapshot that the log stands on.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The log, contiguous.
    pub entries: Vec<Entry>,
    /// The applied state; `None` when it was empty, damaged or moved aside: it is rebuilt from snapshot and log.
    pub applied: Option<AppliedState>,
    /// Highest index that this replica is known to have acknowledged; the log may not end before it.
    pub acknowledged: LogIndex,
    /// Highest term in which this replica is known to have voted or acknowledged.
    pub acknowledged_term: Term,
}
