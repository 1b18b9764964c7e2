//! The threads: order, group commit, and the end at the first failure.

use std::{
    sync::{
        Condvar, Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use weft_model::Term;
use weft_raft::{AppliedState, Conf, HardState, Snapshot};

use super::*;
use crate::StoredLog;

/// A log and a state store that write down what comes, and hold writes while `gate` is closed.
#[derive(Default)]
struct Fake {
    lines: Mutex<Vec<String>>,
    closed: Mutex<bool>,
    opened: Condvar,
    fail: Mutex<Option<&'static str>>,
    applied: Mutex<LogIndex>,
}

impl Fake {
    fn line(&self, text: String) {
        self.lines.lock().unwrap().push(text);
    }

    fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl LogStore for Fake {
    fn load(&self) -> Result<StoredLog, Error> {
        Ok(StoredLog::default())
    }

    fn write(&self, drafts: &[Draft]) -> Result<(), Error> {
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            closed = self.opened.wait(closed).unwrap();
        }
        drop(closed);
        let fail = *self.fail.lock().unwrap();
        match fail {
            Some("panic") => panic!("fsync"),
            Some(why) => return Err(Error::Log { what: "written", why: why.to_owned() }),
            None => {}
        }
        self.line(format!("log {}-{}", drafts[0].number, drafts[drafts.len() - 1].number));
        Ok(())
    }

    fn compact(&self, compaction: &Compaction) -> Result<(), Error> {
        self.line(format!("first {}", compaction.first));
        Ok(())
    }

    fn seal(&self) -> Result<(), Error> {
        self.line("seal".to_owned());
        Ok(())
    }
}

impl StateStore for Fake {
    fn load(&self) -> Result<Option<AppliedState>, Error> {
        Ok(None)
    }

    fn write(&self, batches: &[Batch]) -> Result<(), Error> {
        let last = batches[batches.len() - 1].index;
        *self.applied.lock().unwrap() = last;
        self.line(format!("rows {last}"));
        Ok(())
    }

    fn flush(&self) -> Result<LogIndex, Error> {
        Ok(*self.applied.lock().unwrap())
    }
}

fn start() -> (Arc<Fake>, Disk, Receiver<Done>) {
    let fake = Arc::new(Fake::default());
    let (sender, done) = channel();
    let report = move |event| sender.send(event).unwrap_or(());
    let disk = Disk::start(Arc::clone(&fake) as _, Arc::clone(&fake) as _, report).unwrap();
    (fake, disk, done)
}

fn write(number: u64) -> Work {
    let hard_state = Some(HardState::default());
    Work { drafts: vec![Draft { number, hard_state, ..Draft::default() }], ..Work::default() }
}

fn rows(index: u64) -> Batch {
    let conf = Conf::default();
    Batch { index: LogIndex(index), term: Term(1), conf, replace: false, rows: Vec::new() }
}

fn next(done: &Receiver<Done>) -> String {
    format!("{:?}", done.recv_timeout(Duration::from_secs(10)).unwrap())
}

#[test]
fn rows_follow_the_log_and_everything_is_written_before_the_end() {
    let (fake, disk, done) = start();
    fake.set_closed(true);
    disk.submit(Work { batches: vec![rows(4)], ..write(1) }).unwrap();
    assert!(fake.lines.lock().unwrap().is_empty(), "no row before the log");
    fake.set_closed(false);
    assert_eq!(next(&done), "Persisted(1)");
    disk.stop();
    let mut lines = fake.lines.lock().unwrap().clone();
    lines.retain(|line| line != "seal");
    assert_eq!(lines, ["log 1-1", "rows 4"]);
}

#[test]
fn drafts_that_wait_share_one_write() {
    let (fake, disk, done) = start();
    fake.set_closed(true);
    (1..=50).for_each(|number| disk.submit(write(number)).unwrap());
    fake.set_closed(false);
    let mut last = String::new();
    while last != "Persisted(50)" {
        last = next(&done);
    }
    disk.stop();
    let writes = fake.lines.lock().unwrap().iter().filter(|line| line.starts_with("log")).count();
    assert!(writes <= 2, "{writes} writes for 50 drafts");
}

#[test]
fn the_log_is_shortened_only_up_to_what_is_applied() {
    let (fake, disk, done) = start();
    let shorten =
        |first| Some(Compaction { snapshot: Arc::new(Snapshot::default()), first: LogIndex(first) });
    disk.submit(Work { batches: vec![rows(9)], compaction: shorten(10), ..write(1) }).unwrap();
    assert_eq!(next(&done), "Persisted(1)");
    assert_eq!(next(&done), "Compacted(LogIndex(10))");
    disk.submit(Work { compaction: shorten(12), ..Work::default() }).unwrap();
    assert!(next(&done).contains("was to begin with 12"));
    drop(disk);
    assert!(!fake.lines.lock().unwrap().contains(&"first 12".to_owned()));
}

#[test]
fn the_first_failure_is_final() {
    for why in ["no space", "panic"] {
        let (fake, disk, done) = start();
        disk.submit(write(1)).unwrap();
        assert_eq!(next(&done), "Persisted(1)");
        *fake.fail.lock().unwrap() = Some(why);
        disk.submit(Work { batches: vec![rows(4)], ..write(2) }).unwrap();
        assert!(next(&done).starts_with("Failed("), "{why}");
        *fake.fail.lock().unwrap() = None;
        let refused = (0..10_000).any(|number| disk.submit(write(3 + number)).is_err());
        assert!(refused, "nothing is taken any more");
        drop(disk);
        assert!(done.try_recv().is_err(), "and nothing is reported");
        assert!(!fake.lines.lock().unwrap().contains(&"rows 4".to_owned()), "no row of a lost draft");
    }
}
