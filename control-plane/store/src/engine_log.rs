//! The log on raft-engine, the snapshot and the mark as files beside it.
//!
//! Each life of the log (it begins anew when a snapshot of the leader is installed) is a group of the engine with a
//! number of its own, never reused; which one lives stands under a key beside the hard state, and so does whose log it is:
//! votes and entries count only for the replica that gave them. rust-protobuf only parses entries that this process
//! wrote, under the engine's checksums.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use raft::eraftpb;
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};
use weft_model::{ClusterId, LogIndex, ReplicaId, Term};
use weft_raft::{Compaction, Draft, Entry, HardState};

use crate::{
    Error, LogStore, StoredLog,
    bytes::{Reader, Writer},
    mark::Mark,
    snapshot_file::SnapshotFile,
};

/// Group of the engine that holds hard state and the number of the living log.
const HEAD: u64 = 1;
/// Number of the first log.
const FIRST_LIFE: u64 = 16;
const KEY_HARD_STATE: &[u8] = b"hard-state";
const KEY_LIFE: &[u8] = b"life";
const KEY_OWNER: &[u8] = b"owner";
/// Bytes of one batch: the engine refuses more than 1 GiB.
const MAX_BATCH: usize = 256 << 20;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its Raft id.
    pub replica: ReplicaId,
}

/// How the engine finds the index of an entry.
struct Entries;

impl MessageExt for Entries {
    type Entry = eraftpb::Entry;

    fn index(entry: &Self::Entry) -> u64 {
        entry.index
    }
}

/// A log store on a directory.
pub struct EngineLog {
    engine: Engine,
    snapshot: SnapshotFile,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The living log.
    life: u64,
    hard_state: HardState,
    mark: Mark,
}

impl EngineLog {
    /// Opens or makes the log of `owner`: `log/`, `snapshot` and `acknowledged` in `directory`.
    ///
    /// Fails with `Log` when the engine finds damage other than a torn tail, or panics over it; with `OtherOwner` when the
    /// log is another replica's or another cluster's, with `Damaged` when it holds something and doesn't say whose.
    pub fn open(directory: &Path, owner: Owner) -> Result<Self, Error> {
        let log = directory.join("log");
        weft_process::private_dir(&log)?;
        let config = Config {
            dir: log.to_string_lossy().into_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            target_file_size: ReadableSize::mb(16),
            purge_threshold: ReadableSize::mb(256),
            enable_log_recycle: false,
            ..Config::default()
        };
        // The engine is known to panic over some damage (tikv/tikv#13123): that must be told as damage.
        let opened = std::panic::catch_unwind(|| Engine::open(config));
        let engine = match opened {
            Ok(opened) => opened.map_err(Error::log("opened"))?,
            Err(_) => {
                return Err(Error::Log { what: "opened", why: "the engine panicked over it".to_owned() });
            }
        };
        own(&engine, &log, owner)?;
        let mark = Mark::open(&directory.join("acknowledged"))?;
        let head = |key| engine.get(HEAD, key);
        let life = head(KEY_LIFE).and_then(|bytes| Reader::new(&bytes).number()).unwrap_or(FIRST_LIFE);
        let hard_state =
            head(KEY_HARD_STATE).map_or(Some(HardState::default()), |bytes| read_hard_state(&bytes));
        let hard_state = hard_state
            .ok_or_else(|| Error::Damaged { what: "the hard state", why: "it is malformed".to_owned() })?;
        let inner = Mutex::new(Inner { life, hard_state, mark });
        Ok(Self { engine, snapshot: SnapshotFile::open(directory.join("snapshot"))?, inner })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One draft into the batch, of which `last` is the end of the log so far.
    fn add(
        &self,
        inner: &mut Inner,
        batch: &mut LogBatch,
        draft: &Draft,
        last: &mut LogIndex,
    ) -> Result<(), Error> {
        if let Some(snapshot) = &draft.snapshot {
            // The mark first, or a crash behind the file would look like a log that lost its tail. Then the file: a
            // crash behind that leaves a log that the newer snapshot outruns.
            inner.mark.before_overwriting(snapshot.index.next())?;
            self.snapshot.replace(snapshot)?;
            batch.add_command(inner.life, Command::Clean);
            inner.life += 1;
            let life = Writer::default().number(inner.life).done();
            batch.put(HEAD, KEY_LIFE.to_vec(), life).map_err(Error::log("written"))?;
            *last = snapshot.index;
        }
        if let (Some(first), Some(end)) = (draft.entries.first(), draft.entries.last()) {
            inner.mark.before_overwriting(first.index)?;
            let entries: Vec<_> = draft.entries.iter().map(eraftpb::Entry::from).collect();
            batch.add_entries::<Entries>(inner.life, &entries).map_err(Error::log("written"))?;
            *last = end.index;
        }
        if let Some(state) = draft.hard_state {
            let bytes =
                Writer::default().number(state.term.0).number(state.vote.0).number(state.commit.0).done();
            batch.put(HEAD, KEY_HARD_STATE.to_vec(), bytes).map_err(Error::log("written"))?;
            inner.hard_state = state;
        }
        Ok(())
    }

    fn last(&self, inner: &Inner) -> Result<LogIndex, Error> {
        if let Some(index) = self.engine.last_index(inner.life) {
            return Ok(LogIndex(index));
        }
        Ok(self.snapshot.read()?.map_or(LogIndex(0), |snapshot| snapshot.index))
    }
}

impl LogStore for EngineLog {
    fn load(&self) -> Result<StoredLog, Error> {
        let inner = self.inner();
        let mut entries = Vec::new();
        if let (Some(first), Some(last)) =
            (self.engine.first_index(inner.life), self.engine.last_index(inner.life))
        {
            self.engine
                .fetch_entries_to::<Entries>(inner.life, first, last + 1, None, &mut entries)
                .map_err(Error::log("read"))?;
        }
        Ok(StoredLog {
            hard_state: inner.hard_state,
            snapshot: self.snapshot.read()?.map(Arc::new),
            entries: entries.iter().map(Entry::from).collect(),
            acknowledged: inner.mark.index,
            acknowledged_term: inner.mark.term,
        })
    }

    fn write(&self, drafts: &[Draft]) -> Result<(), Error> {
        let mut inner = self.inner();
        let mut last = LogIndex(0);
        let mut batch = LogBatch::default();
        for draft in drafts {
            // An entry that overwrites one of the same batch would be a hole to the engine.
            let overwrites = draft.entries.first().is_some_and(|first| first.index <= last);
            if overwrites || draft.snapshot.is_some() || batch.approximate_size() > MAX_BATCH {
                self.engine.write(&mut batch, true).map_err(Error::log("written"))?;
            }
            self.add(&mut inner, &mut batch, draft, &mut last)?;
        }
        self.engine.write(&mut batch, true).map_err(Error::log("written"))?;
        let term = inner.hard_state.term;
        let last = if last.0 == 0 { inner.mark.index } else { last };
        inner.mark.after(last, term)
    }

    fn compact(&self, compaction: &Compaction) -> Result<(), Error> {
        let life = self.inner().life;
        if !self.snapshot.replace(&compaction.snapshot)? {
            // A younger one of the leader came in between: the log that was to be shortened is gone.
            return Ok(());
        }
        let mut batch = LogBatch::default();
        batch.add_command(life, Command::Compact { index: compaction.first.0 });
        self.engine.write(&mut batch, true).map_err(Error::log("shortened"))?;
        self.engine.purge_expired_files().map_err(Error::log("shortened"))?;
        Ok(())
    }

    fn seal(&self) -> Result<(), Error> {
        let mut inner = self.inner();
        let (last, term) = (self.last(&inner)?, inner.hard_state.term);
        inner.mark.set(last, term)
    }
}

/// Checks whose log it is; one that holds nothing yet becomes the owner's.
fn own(engine: &Engine, path: &Path, owner: Owner) -> Result<(), Error> {
    if let Some(bytes) = engine.get(HEAD, KEY_OWNER) {
        let mut reader = Reader::new(&bytes);
        let found = reader.raw().zip(reader.number());
        let (cluster, replica) = found.ok_or_else(|| Error::Damaged {
            what: "the log",
            why: format!("{}: its owner is malformed", path.display()),
        })?;
        let found = Owner { cluster: ClusterId(cluster), replica: ReplicaId(replica) };
        if found != owner {
            return Err(Error::OtherOwner { path: path.to_owned(), found, expected: owner });
        }
        return Ok(());
    }
    if !engine.is_empty() {
        let why = format!("{}: it doesn't say whose it is", path.display());
        return Err(Error::Damaged { what: "the log", why });
    }
    let mut batch = LogBatch::default();
    let bytes = Writer::default().raw(&owner.cluster.0).number(owner.replica.0).done();
    batch.put(HEAD, KEY_OWNER.to_vec(), bytes).map_err(Error::log("written"))?;
    engine.write(&mut batch, true).map_err(Error::log("written"))?;
    Ok(())
}

fn read_hard_state(bytes: &[u8]) -> Option<HardState> {
    let mut reader = Reader::new(bytes);
    Some(HardState {
        term: Term(reader.number()?),
        vote: ReplicaId(reader.number()?),
        commit: LogIndex(reader.number()?),
    })
}

#[cfg(test)]
#[path = "engine_log_tests.rs"]
mod tests;
