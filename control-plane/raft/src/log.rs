//! The log in memory, as the library reads it: everything since the last compaction, durable or on its way.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use raft::{GetEntriesContext, RaftState, Storage, StorageError, eraftpb};
use weft_model::{LogIndex, ReplicaId, Term};

use crate::{Conf, HardState, Snapshot};

/// The library's `Storage`. Reading never touches a disk.
pub(crate) struct Log {
    hard_state: HardState,
    /// Configuration at the applied index when the replica started.
    conf: Conf,
    /// Entry before the first one.
    base: (LogIndex, Term),
    entries: VecDeque<eraftpb::Entry>,
    bytes: usize,
    /// Latest snapshot, for replicas that need entries before the first.
    snapshot: Option<Arc<Snapshot>>,
    /// The library asked for a snapshot and there was none that serves.
    wanted: AtomicBool,
}

impl Log {
    pub(crate) fn new(
        hard_state: HardState,
        conf: Conf,
        base: (LogIndex, Term),
        entries: VecDeque<eraftpb::Entry>,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Self {
        let bytes = entries.iter().map(size).sum();
        Self { hard_state, conf, base, entries, bytes, snapshot, wanted: AtomicBool::new(false) }
    }

    pub(crate) const fn base(&self) -> (LogIndex, Term) {
        self.base
    }

    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.base.0.0 + self.entries.len() as u64)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Index of the first entry such that at most `bytes` of entries follow it, counted from the end.
    pub(crate) fn first_within(&self, bytes: usize) -> LogIndex {
        let mut sum = 0;
        let kept = self.entries.iter().rev().take_while(|entry| {
            sum += size(entry);
            sum <= bytes
        });
        LogIndex(self.last().0 + 1 - kept.count() as u64)
    }

    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        let position = usize::try_from(index.0.checked_sub(self.base.0.0 + 1)?).ok()?;
        self.entries.get(position).map(|entry| Term(entry.term))
    }

    /// Appends, overwriting what is there from the first given index on.
    pub(crate) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        while self.last().0 >= first.index {
            let Some(gone) = self.entries.pop_back() else { break };
            self.bytes -= size(&gone);
        }
        self.bytes += entries.iter().map(size).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Takes a snapshot of the leader in place of everything.
    pub(crate) fn install(&mut self, snapshot: Arc<Snapshot>) {
        self.entries.clear();
        self.bytes = 0;
        self.base = (snapshot.index, snapshot.term);
        self.conf = snapshot.conf.clone();
        self.snapshot = Some(snapshot);
    }

    /// Drops the entries before `first`, which must exist.
    pub(crate) fn compact(&mut self, first: LogIndex) {
        while self.base.0.next() < first {
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= size(&gone);
            self.base = (LogIndex(gone.index), Term(gone.term));
        }
    }

    pub(crate) fn offer(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = Some(snapshot);
        self.wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) const fn offered(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }

    pub(crate) const fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// A replica that is not in the configuration of a snapshot would refuse it, and ask for it again without end.
    fn serves(&self, snapshot: &Snapshot, request: u64, to: u64) -> bool {
        snapshot.index.0 >= request && snapshot.index >= self.base.0 && snapshot.conf.has(ReplicaId(to))
    }
}

/// What an entry counts for in limits.
fn size(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.to_library(), self.conf.to_library()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.base.0.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last().0 + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let skip = usize::try_from(low - self.base.0.0 - 1).unwrap_or(usize::MAX);
        let count = usize::try_from(high - low).unwrap_or(usize::MAX);
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut sum = 0u64;
        let taken = self.entries.iter().skip(skip).take(count).enumerate().take_while(|(position, entry)| {
            sum += size(entry) as u64;
            *position == 0 || sum <= limit
        });
        Ok(taken.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.base.0.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_at(LogIndex(index)).map(|term| term.0).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    fn snapshot(&self, request: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        match &self.snapshot {
            Some(snapshot) if self.serves(snapshot, request, to) => Ok(snapshot.to_library()),
            _ => {
                self.wanted.store(true, Ordering::Relaxed);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> eraftpb::Entry {
        eraftpb::Entry { index, term, data: vec![0; 36].into(), ..eraftpb::Entry::default() }
    }

    fn log() -> Log {
        let entries = (11..=20).map(|index| entry(index, 2)).collect();
        Log::new(HardState::default(), Conf::default(), (LogIndex(10), Term(1)), entries, None)
    }

    fn read(log: &Log, low: u64, high: u64, limit: u64) -> Vec<u64> {
        let entries = log.entries(low, high, Some(limit), GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn reading_honours_the_bounds_and_yields_at_least_one() {
        let log = log();
        assert_eq!(read(&log, 11, 21, u64::MAX), (11..=20).collect::<Vec<_>>());
        assert_eq!(read(&log, 12, 14, u64::MAX), [12, 13]);
        assert_eq!(read(&log, 12, 21, 250), [12, 13]);
        assert_eq!(read(&log, 12, 21, 0), [12]);
        assert!(log.entries(10, 12, None, GetEntriesContext::empty(false)).is_err());
        assert_eq!(log.term(10).unwrap(), 1);
        assert!(log.term(9).is_err() && log.term(21).is_err());
    }

    #[test]
    fn appending_overwrites_the_tail_and_keeps_count_of_bytes() {
        let mut log = log();
        let all = log.bytes();
        log.append(&[entry(18, 3), entry(19, 3)]);
        assert_eq!(
            (log.last(), log.term_at(LogIndex(18)), log.term_at(LogIndex(17))),
            (LogIndex(19), Some(Term(3)), Some(Term(2)))
        );
        assert_eq!(log.bytes(), all - 100);
        log.compact(LogIndex(15));
        assert_eq!((log.base(), log.bytes()), ((LogIndex(14), Term(2)), 500));
        assert_eq!(log.first_within(200), LogIndex(18));
    }

    #[test]
    fn a_snapshot_is_asked_for_only_when_none_serves() {
        let mut log = log();
        assert!(log.snapshot(0, 2).is_err() && log.take_wanted());
        let conf = Conf { voters: vec![ReplicaId(1), ReplicaId(2)], learners: Vec::new() };
        log.offer(Arc::new(Snapshot { index: LogIndex(15), term: Term(2), conf, ..Snapshot::default() }));
        assert_eq!(log.snapshot(0, 2).unwrap().get_metadata().index, 15);
        assert!(!log.take_wanted());
        assert!(log.snapshot(16, 2).is_err(), "a newer one was asked for");
        assert!(log.snapshot(0, 3).is_err() && log.take_wanted(), "the receiver is not in it yet");
    }
}
