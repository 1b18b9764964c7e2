//! A disk in memory: what was synced survives a crash, what wasn't may not, the write in between may be torn.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use weft_model::{LogIndex, Term};
use weft_raft::{AppliedState, Batch, Compaction, Draft, Entry, HardState, Restored, Seed, Snapshot};

use crate::{Mutant, world::World};

/// The log as a real log store would hold it.
#[derive(Clone, Default)]
struct Log {
    hard_state: HardState,
    snapshot: Option<Arc<Snapshot>>,
    entries: Vec<Entry>,
    acknowledged: LogIndex,
    acknowledged_term: Term,
}

impl Log {
    fn last(&self) -> LogIndex {
        let base = self.snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.index);
        self.entries.last().map_or(base, |entry| entry.index)
    }

    fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.entries.retain(|entry| entry.index < first.index);
        self.entries.extend_from_slice(entries);
    }
}

/// The applied state as a real state store would hold it.
#[derive(Clone, Default)]
struct States {
    head: Option<Batch>,
    rows: BTreeMap<String, Bytes>,
}

impl States {
    fn write(&mut self, batch: &Batch) {
        if batch.replace {
            self.rows.clear();
        }
        for row in &batch.rows {
            match &row.value {
                Some(value) => self.rows.insert(row.key.clone(), value.clone()),
                None => self.rows.remove(&row.key),
            };
        }
        self.head = Some(Batch { rows: Vec::new(), ..batch.clone() });
    }
}

/// What waits behind a draft.
enum Behind {
    Batch(Batch),
    Shorten(Compaction),
}

/// A disk.
#[derive(Default)]
pub(crate) struct MemDisk {
    log: Log,
    writing: VecDeque<Draft>,
    behind: VecDeque<(u64, Behind)>,
    last_number: u64,
    /// Flushed rows, and batches written since.
    flushed: States,
    unflushed: Vec<Batch>,
    /// When the write that is queued last will be done.
    busy_until: u64,
    pub(crate) mutant: Option<Mutant>,
}

impl MemDisk {
    /// A disk that holds the first snapshot of a cluster.
    pub(crate) fn seeded(seed: Seed) -> Self {
        let Seed { snapshot, hard_state } = seed;
        let (acknowledged, acknowledged_term) = (snapshot.index, hard_state.term);
        let snapshot = Some(Arc::new(snapshot));
        let log = Log { hard_state, snapshot, entries: Vec::new(), acknowledged, acknowledged_term };
        Self { log, ..Self::default() }
    }

    /// Queues a draft: units until it is durable.
    pub(crate) fn write(&mut self, world: &mut World, draft: Draft, slow: bool) -> u64 {
        let takes = if slow { world.between(10, 60) } else { world.between(1, 4) };
        self.busy_until = self.busy_until.max(world.now) + takes;
        self.last_number = draft.number;
        self.writing.push_back(draft);
        self.busy_until - world.now
    }

    /// Batches and shortenings come behind the drafts before them.
    pub(crate) fn apply(&mut self, batch: Batch) {
        self.behind.push_back((self.last_number, Behind::Batch(batch)));
        self.settle();
    }

    pub(crate) fn shorten(&mut self, compaction: Compaction) {
        self.behind.push_back((self.last_number, Behind::Shorten(compaction)));
        self.settle();
    }

    /// The draft of this number is durable.
    pub(crate) fn synced(&mut self, number: u64) {
        while self.writing.front().is_some_and(|draft| draft.number <= number) {
            let Some(draft) = self.writing.pop_front() else { break };
            if let Some(snapshot) = draft.snapshot {
                self.log.entries.clear();
                self.log.acknowledged = snapshot.index;
                self.log.snapshot = Some(snapshot);
            }
            self.log.append(&draft.entries);
            if let Some(state) = draft.hard_state
                && self.mutant != Some(Mutant::ForgetVote)
            {
                self.log.hard_state = state;
                self.log.acknowledged_term = state.term;
            }
            self.log.acknowledged = self.log.last();
        }
        self.settle();
    }

    fn settle(&mut self) {
        let durable = self.writing.front().map_or(u64::MAX, |draft| draft.number - 1);
        while self.behind.front().is_some_and(|(number, _)| *number <= durable) {
            match self.behind.pop_front() {
                Some((_, Behind::Batch(batch))) => self.unflushed.push(batch),
                Some((_, Behind::Shorten(compaction))) => {
                    self.unflushed.drain(..).for_each(|batch| self.flushed.write(&batch));
                    self.log.snapshot = Some(compaction.snapshot);
                    self.log.entries.retain(|entry| entry.index >= compaction.first);
                }
                None => {}
            }
        }
    }

    /// The machine loses power.
    pub(crate) fn crash(&mut self, world: &mut World) {
        if let Some(draft) = self.writing.pop_front()
            && world.one_in(2)
        {
            self.tear(world, draft);
        }
        self.writing.clear();
        self.behind.clear();
        self.last_number = 0;
        self.busy_until = 0;
        let kept = usize::try_from(world.between(0, self.unflushed.len() as u64)).unwrap_or(0);
        self.unflushed.drain(..).take(kept).for_each(|batch| self.flushed.write(&batch));
        if world.one_in(8) {
            self.flushed = States::default();
        }
        if self.mutant == Some(Mutant::LoseSynced) {
            self.lose(3);
            self.log.acknowledged = self.log.last();
        }
    }

    /// A part of the write that was under way is there: first the snapshot file, then some of the entries.
    fn tear(&mut self, world: &mut World, draft: Draft) {
        if let Some(snapshot) = draft.snapshot {
            self.log.snapshot = Some(snapshot);
            return;
        }
        let some = usize::try_from(world.between(0, draft.entries.len() as u64)).unwrap_or(0);
        if let (Some(first), true) = (draft.entries.first(), some > 0) {
            // The mark is lowered before anything is overwritten.
            self.log.acknowledged = self.log.acknowledged.min(LogIndex(first.index.0 - 1));
            self.log.append(draft.entries.get(..some).unwrap_or_default());
        }
    }

    /// Entries are gone, so many of the youngest. Whether the disk had said of one of them that it is safe: those that a crash
    /// left there half written are no loss.
    pub(crate) fn lose(&mut self, count: usize) -> bool {
        let kept = self.log.entries.len().saturating_sub(count);
        let commit = self.log.hard_state.commit;
        self.log.entries.truncate(kept);
        self.log.hard_state.commit = commit.min(self.log.last());
        if self.flushed.head.as_ref().is_some_and(|head| head.index > self.log.last()) {
            self.flushed = States::default();
        }
        // A snapshot that was there before its entries went holds what they held.
        let covered = self.log.snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.index);
        self.log.last().max(covered) < self.log.acknowledged
    }

    /// What a start finds.
    pub(crate) fn restored(&self) -> Restored {
        let Log { hard_state, snapshot, entries, acknowledged, acknowledged_term } = self.log.clone();
        let applied = self.flushed.head.as_ref().map(|head| AppliedState {
            index: head.index,
            term: head.term,
            conf: head.conf.clone(),
            rows: self.flushed.rows.values().cloned().collect(),
        });
        Restored { hard_state, snapshot, entries, applied, acknowledged, acknowledged_term }
    }
}
