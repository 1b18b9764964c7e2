//! The ledger with its journal file: every change is decided by weft-ipam, written by one thread, answered when durable.
//!
//! Group commit: changes that come while a write is under way share the next one. A failed write is final: what the disk
//! holds is unknown then, so the process ends and reads it anew (reliability, section 2).

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weft_errors::{Coded, DEADLINE, Error, FILE_UNREADABLE};
use weft_ipam::{BootId, Entry, Journal, Ledger, Settings, Uptime};

use crate::limits;

/// A promise that a change reaches the disk as it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: u64,
    durability: Durability,
}

/// How safe a change must be before anybody hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It survives the machine: written and synced.
    Durable,
    /// It survives this process: written. For what a new boot of the machine makes meaningless.
    Written,
    /// It goes with the next one: it can be worked out again.
    WithNext,
}

/// The addresses of this node.
#[derive(Debug)]
pub(crate) struct Addresses {
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    journal: Journal,
    waiting: Vec<u8>,
    /// Somebody waits for the bytes.
    urgent: bool,
    /// Somebody waits for them to be synced.
    sync: bool,
    last: u64,
    written: u64,
    durable: u64,
    failure: Option<Error>,
    stop: bool,
}

/// The file, owned by the writer thread.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    end: u64,
    /// Size right after the last rewriting.
    base: u64,
}

/// What the writer writes in one go.
struct Batch {
    bytes: Vec<u8>,
    last: u64,
    sync: bool,
}

/// What was found when the journal was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The addresses.
    pub(crate) addresses: Addresses,
    /// The file for the writer.
    pub(crate) file: JournalFile,
    /// Damage that was found; the damaged file is kept aside.
    pub(crate) damage: Option<Error>,
    /// Whether the machine has started anew since: no pod of before lives.
    pub(crate) rebooted: bool,
}

impl Addresses {
    /// Reads the journal. A torn tail is cut; a damaged file is kept as `ipam.journal.corrupt-<uptime>` and what can be
    /// read of it is used.
    pub(crate) fn open(path: &Path, boot: BootId, now: Uptime) -> Result<Opened, Error> {
        let bytes = match weft_process::read_limited(path, limits::JOURNAL_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing_file() => Vec::new(),
            Err(error) => return Err(error.envelope()),
        };
        let (entries, damage) = match Journal::scan(&bytes) {
            Ok(scan) => match scan.damage {
                None => (scan.entries, None),
                Some(damage) => (
                    [scan.entries, damage.salvaged].concat(),
                    Some(keep_aside(path, &bytes, damage.error, now)?),
                ),
            },
            Err(error) => (Vec::new(), Some(keep_aside(path, &bytes, error, now)?)),
        };
        let mut ledger = Ledger::replay(Settings::default(), &entries);
        let had_pods = ledger.holdings().next().is_some();
        let rebooted = ledger.begin_boot(boot, now).is_some() && had_pods;
        // Rewritten at every start: one place that makes the file, whatever was found.
        let snapshot = ledger.snapshot();
        let (journal, file) = JournalFile::rewrite(path, &snapshot)?;
        let shared = Shared {
            ledger,
            journal,
            waiting: Vec::new(),
            urgent: false,
            sync: false,
            last: 0,
            written: 0,
            durable: 0,
            failure: None,
            stop: false,
        };
        let addresses = Self { shared: Mutex::new(shared), changed: Condvar::new() };
        Ok(Opened { addresses, file, damage, rebooted })
    }

    /// Reads the ledger.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledger)
    }

    /// Changes the ledger. Wait for the ticket before anybody hears of the change.
    pub(crate) fn change<T>(
        &self,
        durability: Durability,
        act: impl FnOnce(&mut Ledger) -> (T, Vec<Entry>),
    ) -> (T, Ticket) {
        let mut guard = self.lock();
        let shared = &mut *guard;
        let (value, entries) = act(&mut shared.ledger);
        if entries.is_empty() {
            return (value, Ticket { number: 0, durability });
        }
        for entry in &entries {
            shared.journal.append(entry, &mut shared.waiting);
        }
        shared.last += 1;
        let ticket = Ticket { number: shared.last, durability };
        shared.sync |= durability == Durability::Durable;
        if durability != Durability::WithNext {
            shared.urgent = true;
            self.changed.notify_all();
        }
        (value, ticket)
    }

    /// Waits until a change is as safe as it asked for. Fails when it can't be written, or when the deadline passes.
    pub(crate) fn wait(&self, ticket: Ticket, deadline: Instant) -> Result<(), Error> {
        let mut shared = self.lock();
        loop {
            if let Some(failure) = &shared.failure {
                return Err(failure.clone());
            }
            let reached = match ticket.durability {
                Durability::Durable => shared.durable,
                Durability::Written => shared.written,
                Durability::WithNext => u64::MAX,
            };
            if reached >= ticket.number {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(&DEADLINE, "the allocation journal wasn't written in time")
                    .try_this("look at the load of the disk that holds /var/lib/weft", ""));
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the writer once everything is written.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    /// The writer thread.
    pub(crate) fn write_all(&self, mut file: JournalFile) -> Result<(), Error> {
        loop {
            let Some(batch) = self.next_batch() else { return Ok(()) };
            let written =
                file.append(&batch.bytes, batch.sync).and_then(|()| self.compact_if_large(&mut file));
            let mut shared = self.lock();
            match written {
                Ok(()) => {
                    shared.written = shared.written.max(batch.last);
                    if batch.sync {
                        shared.durable = shared.durable.max(batch.last);
                    }
                }
                Err(error) => {
                    shared.failure = Some(error.clone());
                    self.changed.notify_all();
                    return Err(error);
                }
            }
            self.changed.notify_all();
        }
    }

    /// What is to be written next; `None` when all is written and the process stops.
    fn next_batch(&self) -> Option<Batch> {
        let mut shared = self.lock();
        while !shared.urgent && !shared.stop {
            let patience = Duration::from_secs(1);
            let (guard, timeout) =
                self.changed.wait_timeout(shared, patience).unwrap_or_else(PoisonError::into_inner);
            shared = guard;
            if timeout.timed_out() && !shared.waiting.is_empty() {
                break;
            }
        }
        shared.urgent = false;
        if shared.waiting.is_empty() && shared.stop {
            return None;
        }
        // An orderly stop syncs what nobody waits for.
        let sync = std::mem::take(&mut shared.sync) || shared.stop;
        Some(Batch { bytes: std::mem::take(&mut shared.waiting), last: shared.last, sync })
    }

    fn compact_if_large(&self, file: &mut JournalFile) -> Result<(), Error> {
        if file.end < limits::JOURNAL_COMPACT.max(4 * file.base) {
            return Ok(());
        }
        // Under the lock: what waits is in the snapshot already and must not be appended a second time.
        let mut guard = self.lock();
        let shared = &mut *guard;
        let (journal, rewritten) = JournalFile::rewrite(&file.path, &shared.ledger.snapshot())?;
        shared.journal = journal;
        shared.waiting.clear();
        shared.urgent = false;
        shared.sync = false;
        shared.written = shared.last;
        shared.durable = shared.last;
        *file = rewritten;
        Ok(())
    }

    /// Each statement keeps the ledger whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JournalFile {
    fn rewrite(path: &Path, entries: &[Entry]) -> Result<(Journal, Self), Error> {
        let (journal, bytes) = Journal::create(entries);
        weft_process::durable_replace(path, &bytes, weft_process::MODE_PRIVATE).map_err(|e| e.envelope())?;
        let opened = OpenOptions::new().write(true).mode(weft_process::MODE_PRIVATE).open(path);
        let file = opened.map_err(|error| failed("open", path, error))?;
        let end = bytes.len() as u64;
        Ok((journal, Self { path: path.to_owned(), file, end, base: end }))
    }

    fn append(&mut self, bytes: &[u8], sync: bool) -> Result<(), Error> {
        let synced = || if sync { self.file.sync_data() } else { Ok(()) };
        let written = self.file.write_all_at(bytes, self.end).and_then(|()| synced());
        written.map_err(|error| failed("write", &self.path, error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

fn keep_aside(path: &Path, bytes: &[u8], error: weft_ipam::Error, now: Uptime) -> Result<Error, Error> {
    let aside = path.with_file_name(format!("ipam.journal.corrupt-{}", now.0));
    weft_process::durable_replace(&aside, bytes, weft_process::MODE_PRIVATE).map_err(|e| e.envelope())?;
    Ok(error
        .envelope()
        .object("file", "", path.display())
        .try_this(format!("nothing must be done; the damaged file is kept as {}", aside.display()), ""))
}

fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("cannot {action} the allocation journal");
    Error::new(&FILE_UNREADABLE, message).object("file", "", path.display()).because(error)
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
