//! The applied state in sled. It holds only what log and snapshot can rebuild, so damage costs time, never data.
//!
//! Layout: `a` the applied index, term, configuration and a digest of all rows; `r/KEY` a row, its first byte the number of further parts;
//! `p/KEY\0N` part N. Parts keep values below sled's blob files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use sled::{Batch as SledBatch, Db};
use weft_model::{LogIndex, Term};
use weft_raft::{AppliedState, Batch, Conf};

use crate::{
    Error, StateStore,
    bytes::{Reader, Writer},
};

const KEY_APPLIED: &[u8] = b"a";
/// Bytes of one part of a row.
const PART: usize = 3800;
/// How long opening may take before the store counts as damaged.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long a lock of an earlier handle is waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// Above this size and this many times the live data the files are written anew.
const BLOATED: (u64, u64) = (64 << 20, 4);

/// How a state store was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateHealth {
    /// As it was left, or new.
    Sound,
    /// Damaged or bloated: it was moved aside and is empty now.
    Rebuilt {
        /// What was wrong: worth an event.
        why: String,
        /// Where the old files are.
        aside: PathBuf,
    },
}

/// A state store on a directory.
pub struct SledState {
    db: Db,
    path: PathBuf,
}

impl SledState {
    /// Opens or makes the store in `directory/state`; what can't be opened and read is moved to `directory/state.damaged`.
    ///
    /// Fails only when the file system does.
    pub fn open(directory: &Path) -> Result<(Self, StateHealth), Error> {
        let path = directory.join("state");
        match try_open(&path) {
            Ok(store) => Ok((store, StateHealth::Sound)),
            Err(damage) => {
                let aside = move_aside(&path)?;
                let store = Self { db: open_db(&path)?, path };
                Ok((store, StateHealth::Rebuilt { why: damage.to_string(), aside }))
            }
        }
    }

    fn part_key(key: &str, number: u8) -> Vec<u8> {
        [b"p/", key.as_bytes(), &[0, number]].concat()
    }

    /// A row and the number of its further parts.
    fn row(&self, key: &str) -> Result<Option<(u8, Bytes)>, Error> {
        let head = self.db.get([b"r/", key.as_bytes()].concat()).map_err(Error::state("read"))?;
        head.map(|head| self.join(key, &head)).transpose()
    }

    fn join(&self, key: &str, head: &[u8]) -> Result<(u8, Bytes), Error> {
        let damaged = |why| Error::Damaged { what: "the applied state", why: format!("row {key} {why}") };
        let (parts, first) = head.split_first().ok_or_else(|| damaged("is empty"))?;
        let mut bytes = first.to_vec();
        for number in 1..=*parts {
            let part = self.db.get(Self::part_key(key, number)).map_err(Error::state("read"))?;
            bytes.extend_from_slice(&part.ok_or_else(|| damaged("lacks a part"))?);
        }
        Ok((*parts, Bytes::from(bytes)))
    }

    /// Puts or removes a row that had `before` further parts.
    fn put(batch: &mut SledBatch, key: &str, value: Option<&Bytes>, before: u8) -> Result<(), Error> {
        let head = [b"r/", key.as_bytes()].concat();
        let mut after = 0;
        if let Some(value) = value {
            let (first, rest) = value.split_at(value.len().min(PART));
            for part in rest.chunks(PART) {
                after += 1;
                if after == u8::MAX {
                    return Err(Error::State { what: "written", why: format!("row {key} is too large") });
                }
                batch.insert(Self::part_key(key, after), part);
            }
            batch.insert(head, [&[after], first].concat());
        } else {
            batch.remove(head);
        }
        for gone in after + 1..=before {
            batch.remove(Self::part_key(key, gone));
        }
        Ok(())
    }

    /// Everything goes; sled has no cheaper way inside one batch.
    fn clear(&self, batch: &mut SledBatch) -> Result<(), Error> {
        for key in self.db.iter().keys() {
            batch.remove(key.map_err(Error::state("read"))?);
        }
        Ok(())
    }

    fn head(&self) -> Result<Option<Head>, Error> {
        let Some(bytes) = self.db.get(KEY_APPLIED).map_err(Error::state("read"))? else { return Ok(None) };
        let damaged =
            || Error::Damaged { what: "the applied state", why: "its index is malformed".to_owned() };
        Head::read(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Everything; damage that sled passed over in silence shows by the digest.
    fn read(&self) -> Result<Option<AppliedState>, Error> {
        let Some(Head { index, term, conf, digest }) = self.head()? else { return Ok(None) };
        let mut sum = Digest::default();
        let mut rows = Vec::new();
        for row in self.db.scan_prefix(b"r/") {
            let (key, value) = row.map_err(Error::state("read"))?;
            let key = String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned();
            let (_, row) = self.join(&key, &value)?;
            sum.toggle(&key, &row);
            rows.push(row);
        }
        if sum != digest {
            return Err(Error::Damaged {
                what: "the applied state",
                why: "rows are missing or changed".to_owned(),
            });
        }
        Ok(Some(AppliedState { index, term, conf, rows }))
    }
}

/// Where the rows stand.
struct Head {
    index: LogIndex,
    term: Term,
    conf: Conf,
    digest: Digest,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (index, term) = (LogIndex(reader.number()?), Term(reader.number()?));
        Some(Self { index, term, conf: reader.conf()?, digest: Digest(reader.raw()?) })
    }
}

/// Sum over all rows that doesn't depend on their order: a row that comes or goes toggles its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Digest {
    fn toggle(&mut self, key: &str, value: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(key.len() as u64).to_be_bytes()).update(key.as_bytes()).update(value);
        for (sum, byte) in self.0.iter_mut().zip(hasher.finalize().as_bytes()) {
            *sum ^= byte;
        }
    }
}

impl StateStore for SledState {
    fn load(&self) -> Result<Option<AppliedState>, Error> {
        self.read()
    }

    fn write(&self, batches: &[Batch]) -> Result<(), Error> {
        let Some(last) = batches.last() else { return Ok(()) };
        let (mut rows, mut replace) = (BTreeMap::new(), false);
        for batch in batches {
            if batch.replace {
                rows.clear();
                replace = true;
            }
            rows.extend(batch.rows.iter().map(|row| (row.key.as_str(), row.value.as_ref())));
        }
        let mut written = SledBatch::default();
        let mut digest = Digest::default();
        if replace {
            self.clear(&mut written)?;
        } else if let Some(head) = self.head()? {
            digest = head.digest;
        }
        for (key, value) in rows {
            let old = if replace { None } else { self.row(key)? };
            if let Some((_, old)) = &old {
                digest.toggle(key, old);
            }
            if let Some(value) = value {
                digest.toggle(key, value);
            }
            Self::put(&mut written, key, value, old.map_or(0, |(parts, _)| parts))?;
        }
        let head = Writer::default().number(last.index.0).number(last.term.0).conf(&last.conf).raw(&digest.0);
        written.insert(KEY_APPLIED, head.done());
        self.db.apply_batch(written).map_err(Error::state("written"))
    }

    fn flush(&self) -> Result<LogIndex, Error> {
        let index = self.head()?.map_or(LogIndex(0), |head| head.index);
        self.db.flush().map_err(Error::state("flushed"))?;
        // Flushing sled doesn't flush the drive's cache (spacejam/sled#1452).
        sync_files(&self.path).map_err(Error::file("synced", &self.path))?;
        Ok(index)
    }
}

/// Opens the database. An earlier handle of this process gives its lock up in the background, a moment after it was
/// dropped: a locked directory is waited for (another process can't hold it, `DataDir` has a lock of its own).
fn open_db(path: &Path) -> Result<Db, Error> {
    weft_process::private_dir(path)?;
    let config = sled::Config::new().path(path).flush_every_ms(None).cache_capacity(64 << 20);
    let opened = weft_process::wait::until_blocking(LOCK_LIMIT, "the lock of the applied state", || {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => None,
            settled => Some(settled),
        }
    });
    match opened {
        Ok(settled) => settled.map_err(Error::state("opened")),
        Err(_) => Err(Error::State { what: "opened", why: "another handle keeps its lock".to_owned() }),
    }
}

/// Opens and reads everything once, in a thread of its own: sled is known to panic or to hang over damaged files.
fn try_open(path: &Path) -> Result<SledState, Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let path = path.to_owned();
    let open = move || {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let store = SledState { db: open_db(&path)?, path };
            let live =
                store.read()?.map_or(0, |state| state.rows.iter().map(Bytes::len).sum::<usize>()) as u64;
            let size = store.db.size_on_disk().map_err(Error::state("read"))?;
            if size > BLOATED.0 && size > BLOATED.1 * live {
                let why = format!("{size} bytes hold {live} bytes of rows");
                return Err(Error::Damaged { what: "the applied state", why });
            }
            Ok(store)
        }));
        let opened = opened.unwrap_or_else(|_| {
            Err(Error::State { what: "opened", why: "the engine panicked over it".to_owned() })
        });
        // Nobody listens after the limit: then the store is dropped here.
        let _ = sender.send(opened);
    };
    thread::Builder::new()
        .name("weft-state-open".to_owned())
        .spawn(open)
        .map_err(Error::file("opened", "a thread"))?;
    receiver.recv_timeout(OPEN_LIMIT).map_err(|_| Error::Slow { limit: OPEN_LIMIT })?
}

/// Keeps the newest damaged files for a report; older ones go.
#[allow(
    clippy::disallowed_methods,
    reason = "a directory is moved aside, nothing depends on when that is durable"
)]
fn move_aside(path: &Path) -> Result<PathBuf, Error> {
    let aside = path.with_extension("damaged");
    match fs::remove_dir_all(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::file("removed", &aside)(e)),
        _ => {}
    }
    match fs::rename(path, &aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("moved aside", path)(e)),
        _ => Ok(aside),
    }
}

/// Syncs every file below a directory, then the directories.
fn sync_files(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_files(&entry.path())?;
            continue;
        }
        match File::open(entry.path()) {
            Ok(file) => file.sync_data()?,
            // sled replaces its own snapshots while it runs.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
#[path = "sled_state_tests.rs"]
mod tests;
