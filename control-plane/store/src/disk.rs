//! The threads that write: drafts in order with one fsync for all that wait, applied rows behind them.
//!
//! `weft-log` writes drafts and passes rows on only after the drafts before them are durable; `weft-state` writes
//! rows and shortens the log. So neither rows nor a shorter log ever get ahead of the log, and no fsync waits for
//! sled. The first error ends both threads: what the disk holds is unknown until it is read again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{Builder, JoinHandle},
};

use weft_model::LogIndex;
use weft_raft::{Batch, Compaction, Draft};

use crate::{Error, LogStore, StateStore};

/// Jobs that may wait: the replica itself bounds what is on its way to 64 MiB of entries.
const QUEUE: usize = 8192;
/// Jobs that share one write.
const GROUP: usize = 1024;

/// What the effects of one input want written.
#[derive(Debug, Default)]
pub struct Work {
    /// `Effects::persist`.
    pub drafts: Vec<Draft>,
    /// `Effects::applied`.
    pub batches: Vec<Batch>,
    /// `Effects::compact`.
    pub compaction: Option<Compaction>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.batches.is_empty() && self.compaction.is_none()
    }
}

/// What the disk reports.
#[derive(Debug)]
pub enum Done {
    /// The draft of this number and all before it are durable: `Input::Persisted`.
    Persisted(u64),
    /// The log begins with this index now; worth a line of the log.
    Compacted(LogIndex),
    /// Nothing more will be written: stop the process.
    Failed(Error),
}

type Report = Arc<dyn Fn(Done) + Send + Sync>;

struct Rows {
    batches: Vec<Batch>,
    compaction: Option<Compaction>,
}

/// The two threads.
pub struct Disk {
    jobs: Option<SyncSender<Work>>,
    waiting: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Starts the threads. `report` is called on them and must not wait for the caller of `submit`.
    pub fn start(
        log: Arc<dyn LogStore>,
        states: Arc<dyn StateStore>,
        report: impl Fn(Done) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let report: Report = Arc::new(report);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (jobs, work) = mpsc::sync_channel(QUEUE);
        let (rows, pending_rows) = mpsc::sync_channel(QUEUE);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            Builder::new().name(name.to_owned()).spawn(run).map_err(Error::file("started", name))
        };
        let log_thread = LogThread { log: Arc::clone(&log), rows, waiting: Arc::clone(&waiting) };
        let told = Arc::clone(&report);
        let first = spawn("weft-log", Box::new(move || guarded(&told, || log_thread.run(&work, &told))))?;
        let told = report;
        let state_thread = StateThread { log, states };
        let second =
            spawn("weft-state", Box::new(move || guarded(&told, || state_thread.run(&pending_rows, &told))))?;
        Ok(Self { jobs: Some(jobs), waiting, threads: vec![first, second] })
    }

    /// Queues work; never waits. Fails with `Stuck` when the queue is full or the threads have ended.
    pub fn submit(&self, work: Work) -> Result<(), Error> {
        if work.is_empty() {
            return Ok(());
        }
        let stuck = || Error::Stuck { waiting: self.waiting() };
        let jobs = self.jobs.as_ref().ok_or_else(stuck)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match jobs.try_send(work) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(stuck())
            }
        }
    }

    /// Jobs that aren't durable yet: the driver takes no new proposals above some hundreds.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Writes what is queued, makes the applied state durable, ends. Waits for it: not on a worker of a runtime.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs until its queue ends; an error or a panic (the log engine panics when an fsync fails) is reported, once.
fn guarded(report: &Report, run: impl FnOnce() -> Result<(), Error>) {
    let failed = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => {
            Error::Log { what: "written", why: "the engine panicked, an fsync may have failed".to_owned() }
        }
    };
    report(Done::Failed(failed));
}

/// The first item and everything that waits behind it, up to a bound; `None` at the end.
fn group<T>(queue: &Receiver<T>) -> Option<Vec<T>> {
    let mut group = vec![queue.recv().ok()?];
    while group.len() < GROUP
        && let Ok(next) = queue.try_recv()
    {
        group.push(next);
    }
    Some(group)
}

struct LogThread {
    log: Arc<dyn LogStore>,
    rows: SyncSender<Rows>,
    waiting: Arc<AtomicUsize>,
}

impl LogThread {
    fn run(self, queue: &Receiver<Work>, report: &Report) -> Result<(), Error> {
        while let Some(group) = group(queue) {
            let count = group.len();
            let (mut drafts, mut rows) = (Vec::new(), Vec::new());
            for work in group {
                drafts.extend(work.drafts);
                if !work.batches.is_empty() || work.compaction.is_some() {
                    rows.push(Rows { batches: work.batches, compaction: work.compaction });
                }
            }
            if let Some(number) = drafts.last().map(|draft| draft.number) {
                self.log.write(&drafts)?;
                report(Done::Persisted(number));
            }
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            for rows in rows {
                if self.rows.send(rows).is_err() {
                    // The other thread has failed and said so.
                    return Ok(());
                }
            }
        }
        self.log.seal()
    }
}

struct StateThread {
    log: Arc<dyn LogStore>,
    states: Arc<dyn StateStore>,
}

impl StateThread {
    fn run(self, queue: &Receiver<Rows>, report: &Report) -> Result<(), Error> {
        while let Some(group) = group(queue) {
            let mut batches = Vec::new();
            let mut compaction = None;
            for rows in group {
                batches.extend(rows.batches);
                compaction = rows.compaction.or(compaction);
            }
            if !batches.is_empty() {
                self.states.write(&batches)?;
            }
            if let Some(compaction) = compaction {
                self.shorten(&compaction, report)?;
            }
        }
        self.states.flush().map(|_| ())
    }

    /// The log never begins after what the applied state holds durably.
    fn shorten(&self, compaction: &Compaction, report: &Report) -> Result<(), Error> {
        let durable = self.states.flush()?;
        if durable.next() < compaction.first {
            let why = format!("it stands at {durable}, the log was to begin with {}", compaction.first);
            return Err(Error::Damaged { what: "the applied state", why });
        }
        self.log.compact(compaction)?;
        report(Done::Compacted(compaction.first));
        Ok(())
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
