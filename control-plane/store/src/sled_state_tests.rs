//! The applied state on real files: batches are whole, damage leads to an empty store and is told.

use tempfile::TempDir;
use weft_model::ReplicaId;
use weft_raft::{BatchRow, Conf};

use super::*;

fn row(key: &str, size: Option<usize>) -> BatchRow {
    BatchRow { key: key.to_owned(), value: size.map(|size| Bytes::from(vec![b'x'; size])) }
}

fn batch(index: u64, replace: bool, rows: &[(&str, Option<usize>)]) -> Batch {
    let rows = rows.iter().map(|(key, size)| row(key, *size)).collect();
    let conf = Conf { voters: vec![ReplicaId(1), ReplicaId(2)], learners: vec![ReplicaId(5)] };
    Batch { index: LogIndex(index), term: Term(3), conf, replace, rows }
}

/// Index and sizes of the rows after a fresh open.
fn stored(dir: &TempDir) -> Option<(u64, Vec<usize>)> {
    let (store, health) = SledState::open(dir.path()).unwrap();
    assert_eq!(health, StateHealth::Sound);
    let state = store.load().unwrap()?;
    assert_eq!((state.term, &state.conf), (Term(3), &batch(0, false, &[]).conf));
    Some((state.index.0, state.rows.iter().map(Bytes::len).collect()))
}

fn write(dir: &TempDir, batches: &[Batch]) {
    let (store, _) = SledState::open(dir.path()).unwrap();
    store.write(batches).unwrap();
    store.flush().unwrap();
}

#[test]
fn rows_come_back_with_the_index_they_stand_at() {
    let dir = TempDir::new().unwrap();
    assert_eq!(stored(&dir), None);
    write(
        &dir,
        &[
            batch(5, false, &[("a", Some(1)), ("b", Some(2))]),
            batch(6, false, &[("a", None), ("c", Some(3))]),
        ],
    );
    assert_eq!(stored(&dir), Some((6, vec![2, 3])));
    write(&dir, &[batch(9, true, &[("z", Some(4))]), batch(10, false, &[("y", Some(5))])]);
    assert_eq!(stored(&dir), Some((10, vec![5, 4])));
}

#[test]
fn large_rows_are_cut_into_parts_that_go_with_them() {
    let dir = TempDir::new().unwrap();
    write(&dir, &[batch(1, false, &[("big", Some(PART * 3 + 7)), ("edge", Some(PART))])]);
    assert_eq!(stored(&dir), Some((1, vec![PART * 3 + 7, PART])));
    write(&dir, &[batch(2, false, &[("big", Some(PART + 1))])]);
    assert_eq!(stored(&dir), Some((2, vec![PART + 1, PART])));
    write(&dir, &[batch(3, false, &[("big", None), ("edge", None)])]);
    assert_eq!(stored(&dir), Some((3, vec![])));
    let (store, _) = SledState::open(dir.path()).unwrap();
    assert_eq!(store.db.scan_prefix(b"p/").count(), 0, "no part stays behind");
}

#[test]
fn torn_and_foreign_files_never_stop_the_start_nor_lose_single_rows() {
    let mut rebuilt = 0;
    for seed in 0..12_usize {
        let dir = TempDir::new().unwrap();
        let rows: Vec<_> = (0..50).map(|n| row(&format!("row/{n}"), Some(n * 40))).collect();
        let many = Batch { rows, ..batch(7, false, &[]) };
        write(&dir, std::slice::from_ref(&many));
        let file = dir.path().join("state/db");
        let mut bytes = fs::read(&file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        match seed % 3 {
            0 => bytes.truncate(used * (seed + 1) / 14),
            1 => (0..200).for_each(|n| bytes[(n * 7919 + seed * 104_729) % used] ^= 0x5a),
            _ => bytes = vec![0xff; 1000],
        }
        fs::write(&file, bytes).unwrap();
        let (store, health) = SledState::open(dir.path()).unwrap();
        let state = store.load().unwrap();
        match health {
            StateHealth::Rebuilt { .. } => {
                assert_eq!(state, None, "it begins anew");
                rebuilt += 1;
            }
            // sled cuts a torn tail in silence: then the rows are all there, or there is nothing.
            StateHealth::Sound if state.is_none() => rebuilt += 1,
            StateHealth::Sound => assert_eq!(state.map(|state| state.rows.len()), Some(50)),
        }
        store.write(std::slice::from_ref(&many)).unwrap();
        assert_eq!(store.flush().unwrap(), LogIndex(7));
    }
    assert!(rebuilt > 0, "no damage was noticed: the test shows nothing");
}

#[test]
fn a_lock_that_is_given_up_late_is_waited_for() {
    let dir = TempDir::new().unwrap();
    write(&dir, &[batch(7, true, &[("a", Some(1))])]);
    let (earlier, _) = SledState::open(dir.path()).unwrap();
    let late = thread::spawn(move || {
        thread::park_timeout(Duration::from_millis(200));
        drop(earlier);
    });
    assert_eq!(stored(&dir), Some((7, vec![1])), "sound, not moved aside");
    late.join().unwrap();
}
