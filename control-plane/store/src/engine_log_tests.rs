//! The log on real files: what was written comes back, what was torn is noticed.

use std::{fs, path::Path};

use bytes::Bytes;
use tempfile::TempDir;
use weft_raft::{Conf, EntryKind, Snapshot};

use super::*;

fn entry(index: u64, term: u64, size: usize) -> Entry {
    let data = Bytes::from(vec![u8::try_from(index % 251).unwrap(); size]);
    Entry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data, context: Bytes::new() }
}

fn draft(entries: std::ops::Range<u64>, term: u64) -> Draft {
    let hard_state = Some(HardState { term: Term(term), vote: ReplicaId(1), commit: LogIndex(0) });
    Draft { entries: entries.map(|index| entry(index, term, 40)).collect(), hard_state, ..Draft::default() }
}

fn snapshot(index: u64) -> Arc<Snapshot> {
    let conf = Conf { voters: vec![ReplicaId(1), ReplicaId(3)], learners: vec![ReplicaId(9)] };
    let data = Bytes::from(vec![7; 10_000]);
    let digest = *blake3::hash(&data).as_bytes();
    Arc::new(Snapshot { index: LogIndex(index), term: Term(2), conf, data, digest })
}

const OWNER: Owner = Owner { cluster: ClusterId([7; 16]), replica: ReplicaId(3) };

fn open(path: &Path) -> EngineLog {
    EngineLog::open(path, OWNER).unwrap()
}

fn load(path: &Path) -> StoredLog {
    open(path).load().unwrap()
}

fn span(stored: &StoredLog) -> Option<(u64, u64)> {
    Some((stored.entries.first()?.index.0, stored.entries.last()?.index.0))
}

#[test]
fn what_was_written_comes_back_whole() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let drafts = [draft(1..4, 1), draft(4..10, 2)];
    log.write(&drafts).unwrap();
    drop(log);
    let stored = load(dir.path());
    let expected: Vec<_> = drafts.iter().flat_map(|draft| draft.entries.clone()).collect();
    assert_eq!(stored.entries, expected);
    assert_eq!(Some(stored.hard_state), drafts[1].hard_state);
    assert_eq!((stored.acknowledged_term, stored.snapshot), (Term(2), None));
}

#[test]
fn an_overwritten_tail_is_gone_also_within_one_group() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[draft(1..20, 1), draft(10..12, 2)]).unwrap();
    log.write(&[draft(11..13, 3)]).unwrap();
    drop(log);
    let stored = load(dir.path());
    assert_eq!(span(&stored), Some((1, 12)));
    let terms: Vec<_> = stored.entries.iter().map(|entry| entry.term.0).collect();
    assert_eq!(terms, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 3]);
}

#[test]
fn the_mark_never_claims_more_than_the_log_has() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[draft(1..600, 1)]).unwrap();
    assert_eq!(log.inner().mark.index, LogIndex(599));
    log.write(&[draft(300..310, 1)]).unwrap();
    let marked = log.inner().mark.index;
    assert!(marked <= LogIndex(309), "{marked}");
    log.seal().unwrap();
    drop(log);
    let stored = load(dir.path());
    assert_eq!((stored.acknowledged, span(&stored)), (LogIndex(309), Some((1, 309))));
}

#[test]
fn a_snapshot_of_the_leader_begins_the_log_anew() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[draft(1..700, 1)]).unwrap();
    log.write(&[Draft { snapshot: Some(snapshot(500)), ..draft(501..505, 2) }]).unwrap();
    log.write(&[draft(505..507, 2)]).unwrap();
    for _ in 0..2 {
        let stored = log.load().unwrap();
        assert_eq!(span(&stored), Some((501, 506)));
        assert_eq!(stored.snapshot, Some(snapshot(500)));
        assert!(stored.acknowledged <= LogIndex(506));
    }
    drop(log);
    let stored = load(dir.path());
    assert_eq!((span(&stored), stored.snapshot), (Some((501, 506)), Some(snapshot(500))));
}

/// Copies a directory of files and directories.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_snapshot_leaves_a_log_that_holds_what_was_acknowledged() {
    // A log to 699 of term 1; a snapshot to 500 of term 2 takes its place: the mark goes down, the file comes, the
    // log begins anew. A step that can't be done stands for a crash before it.
    for (refused, holds_snapshot) in [(Some("acknowledged"), false), (Some("snapshot"), false), (None, true)]
    {
        let dir = TempDir::new().unwrap();
        let log = open(dir.path());
        log.write(&[draft(1..700, 1)]).unwrap();
        drop(log);
        let before = TempDir::new().unwrap();
        copy(&dir.path().join("log"), before.path());
        if let Some(name) = refused {
            // No file replaces a directory with something in it.
            let path = dir.path().join(name);
            let kept = fs::read(&path).ok();
            let log = open(dir.path());
            let _gone = fs::remove_file(&path);
            fs::create_dir_all(path.join("in the way")).unwrap();
            assert!(log.write(&[Draft { snapshot: Some(snapshot(500)), ..draft(501..505, 2) }]).is_err());
            drop(log);
            fs::remove_dir_all(&path).unwrap();
            if let Some(kept) = kept {
                fs::write(&path, kept).unwrap();
            }
        } else {
            let log = open(dir.path());
            log.write(&[Draft { snapshot: Some(snapshot(500)), ..Draft::default() }]).unwrap();
            drop(log);
            // The last step undone: the log as it was.
            fs::remove_dir_all(dir.path().join("log")).unwrap();
            copy(before.path(), &dir.path().join("log"));
        }
        let stored = load(dir.path());
        assert_eq!(stored.snapshot.is_some(), holds_snapshot, "{refused:?}");
        // The entry at the end of the snapshot is of another term: what is left of the log counts for nothing.
        let last = stored.snapshot.as_ref().map_or(span(&stored).unwrap().1, |snapshot| snapshot.index.0);
        assert!(stored.acknowledged.0 <= last, "{refused:?}: {} of {last}", stored.acknowledged);
    }
}

#[test]
fn shortening_keeps_the_snapshot_that_the_log_stands_on() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[draft(1..100, 2)]).unwrap();
    log.compact(&Compaction { snapshot: snapshot(80), first: LogIndex(60) }).unwrap();
    // An older one, overtaken by a snapshot of the leader, must not come back.
    log.compact(&Compaction { snapshot: snapshot(70), first: LogIndex(71) }).unwrap();
    drop(log);
    let stored = load(dir.path());
    assert_eq!((span(&stored), stored.snapshot), (Some((60, 99)), Some(snapshot(80))));
}

#[test]
fn a_log_that_lost_its_tail_shows_by_the_mark_and_a_whole_one_does_not() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    for start in (1..1001).step_by(100) {
        log.write(&[draft(start..start + 100, 1)]).unwrap();
    }
    drop(log);
    let stored = load(dir.path());
    assert!(stored.acknowledged > LogIndex(700) && span(&stored) == Some((1, 1000)));
    let newest = fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.extension().is_some_and(|e| e == "raftlog")).max().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&newest, &bytes[..used / 2]).unwrap();
    let torn = load(dir.path());
    let last = span(&torn).map_or(0, |(_, last)| last);
    assert!(last < torn.acknowledged.0, "the log ends at {last}, {} was acknowledged", torn.acknowledged);
}

#[test]
fn a_damaged_snapshot_is_told_and_not_used() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[Draft { snapshot: Some(snapshot(5)), ..draft(6..7, 2) }]).unwrap();
    drop(log);
    let path = dir.path().join("snapshot");
    let whole = fs::read(&path).unwrap();
    for position in [0, 40, 60, 100, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(matches!(EngineLog::open(dir.path(), OWNER), Err(Error::Damaged { .. })), "byte {position}");
    }
    fs::write(&path, &whole[..20]).unwrap();
    assert!(EngineLog::open(dir.path(), OWNER).is_err());
    fs::write(&path, whole).unwrap();
    assert!(EngineLog::open(dir.path(), OWNER).is_ok());
}

/// A log of `written`, opened as `opened`: refused with both named, or taken when it is the same; nothing is lost by it.
fn check_owner(written: Owner, opened: Owner) {
    let dir = TempDir::new().unwrap();
    let log = EngineLog::open(dir.path(), written).unwrap();
    log.write(&[draft(1..9, 1)]).unwrap();
    drop(log);
    match EngineLog::open(dir.path(), opened).map(|_| ()) {
        Ok(()) => assert_eq!(written, opened),
        Err(Error::OtherOwner { path, found, expected }) => {
            assert_eq!((path, found, expected), (dir.path().join("log"), written, opened));
            assert_ne!(found, expected);
        }
        Err(other) => panic!("{other}"),
    }
    let stored = EngineLog::open(dir.path(), written).unwrap().load().unwrap();
    assert_eq!(span(&stored), Some((1, 8)));
}

#[test]
fn a_log_of_another_cluster_or_replica_is_refused_and_left_alone() {
    check_owner(OWNER, OWNER);
    check_owner(OWNER, Owner { cluster: ClusterId([8; 16]), ..OWNER });
    check_owner(OWNER, Owner { replica: ReplicaId(4), ..OWNER });
}

#[test]
fn a_log_that_does_not_say_whose_it_is_is_not_taken() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.write(&[draft(1..9, 1)]).unwrap();
    let mut batch = LogBatch::default();
    batch.delete(HEAD, KEY_OWNER.to_vec());
    log.engine.write(&mut batch, true).unwrap();
    drop(log);
    assert!(matches!(EngineLog::open(dir.path(), OWNER), Err(Error::Damaged { what: "the log", .. })));
}
