//! The state as bytes and back, and the first snapshot of a new cluster.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use weft_core::State;
use weft_model::{Action, Command, LogIndex, Record, Term};

use crate::{Batch, BatchRow, Codec, Conf, Error, HardState, Snapshot};

/// What a new cluster begins with: store both, then start a replica on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The state after `Action::Found`, at index 1: joiners get it as a snapshot, with the configuration in it.
    pub snapshot: Snapshot,
    /// The hard state that goes with it.
    pub hard_state: HardState,
}

/// Applies the founding command at index 1 of term 1.
///
/// Fails with `Error::State` when core refuses it, or when it isn't `Action::Found`.
pub fn found(command: &Command, codec: &Codec) -> Result<Seed, Error> {
    let Action::Found { member, .. } = &command.action else {
        return Err(Error::State { why: "the first command must found the cluster".to_owned() });
    };
    let (index, term) = (LogIndex(1), Term(1));
    let mut state = State::new();
    let outcome = weft_core::apply(&mut state, index, term, command);
    if let Err(refusal) = outcome.answer {
        return Err(Error::State { why: refusal.to_string() });
    }
    let conf = Conf { voters: vec![member.id], learners: Vec::new() };
    let snapshot = write(&state, index, term, conf, codec);
    Ok(Seed { snapshot, hard_state: HardState { term, commit: index, ..HardState::default() } })
}

/// The snapshot of a state.
pub(crate) fn write(state: &State, index: LogIndex, term: Term, conf: Conf, codec: &Codec) -> Snapshot {
    let mut data = BytesMut::new();
    for record in state.records() {
        let bytes = (codec.encode_record)(&record);
        data.put_u32(u32::try_from(bytes.len()).expect("a row is far below 4 GiB"));
        data.put_slice(&bytes);
    }
    let data = data.freeze();
    Snapshot { index, term, conf, digest: *blake3::hash(&data).as_bytes(), data }
}

/// The encoded rows of a snapshot.
fn rows(data: &Bytes) -> Result<Vec<Bytes>, Error> {
    let cut = || Error::Inconsistent { why: "a row of the snapshot is cut off".to_owned() };
    let mut rest = data.clone();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        if rest.len() < 4 {
            return Err(cut());
        }
        let head = rest.split_to(4);
        let length = head.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        if rest.len() < length {
            return Err(cut());
        }
        rows.push(rest.split_to(length));
    }
    Ok(rows)
}

/// The state of a snapshot.
pub(crate) fn read(snapshot: &Snapshot, codec: &Codec) -> Result<State, Error> {
    if *blake3::hash(&snapshot.data).as_bytes() != snapshot.digest {
        return Err(Error::Inconsistent { why: "the snapshot does not have its digest".to_owned() });
    }
    restore(&rows(&snapshot.data)?, codec)
}

/// The state of encoded rows.
pub(crate) fn restore(rows: &[Bytes], codec: &Codec) -> Result<State, Error> {
    let mut records: Vec<Record> = Vec::with_capacity(rows.len());
    for row in rows {
        let record = (codec.decode_record)(row)
            .map_err(|why| Error::Undecodable { what: "a row of the state".to_owned(), why })?;
        records.push(record);
    }
    State::restore(records).map_err(|e| Error::State { why: e.to_string() })
}

/// A batch that replaces the whole state store.
pub(crate) fn replacement(state: &State, index: LogIndex, term: Term, conf: &Conf, codec: &Codec) -> Batch {
    let rows: BTreeMap<String, Option<Bytes>> = state
        .records()
        .map(|record| (record.key().to_string(), Some((codec.encode_record)(&record))))
        .collect();
    let rows = rows.into_iter().map(|(key, value)| BatchRow { key, value }).collect();
    Batch { index, term, conf: conf.clone(), replace: true, rows }
}

/// A snapshot to share.
pub(crate) fn shared(state: &State, at: (LogIndex, Term), conf: &Conf, codec: &Codec) -> Arc<Snapshot> {
    Arc::new(write(state, at.0, at.1, conf.clone(), codec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_where_they_were_joined_and_damage_is_seen() {
        let data = Bytes::from_static(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9]);
        assert_eq!(rows(&data).unwrap(), [&[7, 8][..], &[], &[9]]);
        for length in [1, 3, 5, 7, 14] {
            assert!(rows(&data.slice(..length)).is_err(), "{length}");
        }
        assert!(rows(&data.slice(..6)).is_ok());
    }
}
