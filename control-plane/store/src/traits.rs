//! The seams between a replica and its disk: the log, which is the truth, and the applied state, which may lag.

use std::sync::Arc;

use weft_model::{LogIndex, Term};
use weft_raft::{AppliedState, Batch, Compaction, Draft, Entry, HardState, Restored, Snapshot};

use crate::Error;

/// What a log store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLog {
    /// The last hard state.
    pub hard_state: HardState,
    /// The snapshot that the log stands on.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The log, contiguous.
    pub entries: Vec<Entry>,
    /// An index known to have been acknowledged; at most some hundred entries behind the highest.
    pub acknowledged: LogIndex,
    /// Highest term that was stored.
    pub acknowledged_term: Term,
}

/// Log, hard state and snapshot. One thread writes; any error is final: the process stops and reads what is there.
pub trait LogStore: Send + Sync {
    /// Everything, at start.
    fn load(&self) -> Result<StoredLog, Error>;

    /// Writes drafts in their order, durably, as one: when it returns everything has been synced.
    fn write(&self, drafts: &[Draft]) -> Result<(), Error>;

    /// Stores the snapshot durably, then drops the entries before `first`. May run beside `write`.
    fn compact(&self, compaction: &Compaction) -> Result<(), Error>;

    /// Before an orderly end: what the next start may rely on is brought up to date.
    fn seal(&self) -> Result<(), Error>;
}

/// The applied state: rows, with the index they stand at, in one atomic batch per group of entries.
pub trait StateStore: Send + Sync {
    /// Everything, at start; `None` when there is nothing yet.
    fn load(&self) -> Result<Option<AppliedState>, Error>;

    /// Writes batches in their order, all or nothing; durable only after `flush`.
    fn write(&self, batches: &[Batch]) -> Result<(), Error>;

    /// Makes everything written so far durable: the index that then stands.
    fn flush(&self) -> Result<LogIndex, Error>;
}

/// What a replica starts from: everything of the log, and the applied state if there is one.
pub fn restore(log: &dyn LogStore, states: &dyn StateStore) -> Result<Restored, Error> {
    let StoredLog { hard_state, snapshot, entries, acknowledged, acknowledged_term } = log.load()?;
    let applied = states.load()?;
    Ok(Restored { hard_state, snapshot, entries, applied, acknowledged, acknowledged_term })
}
