//! Commands, answers and records as bytes: for the Raft log, the state store and snapshots.
//!
//! Encoding is deterministic: equal values give equal bytes (maps are ordered, unknown fields don't exist).

use bytes::Bytes;
use prost::Message;
use weft_model::{Command, Record};

use crate::{
    convert::{AnswerResult, ShapeError},
    internal,
};

/// Bytes that can't be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf of this message.
    #[error("the bytes are no {what}: {why}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// Protobuf, but a field has a wrong shape.
    #[error("the {what} has a wrong shape: {shape}")]
    Shape {
        /// What was expected.
        what: &'static str,
        /// Which field.
        #[source]
        shape: ShapeError,
    },
}

fn decode<W, M>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError>
where
    W: Message + Default,
    M: TryFrom<W, Error = ShapeError>,
{
    decode_by::<W, M>(what, bytes, M::try_from)
}

fn decode_by<W: Message + Default, M>(
    what: &'static str,
    bytes: &[u8],
    convert: impl FnOnce(W) -> Result<M, ShapeError>,
) -> Result<M, DecodeError> {
    let wire = W::decode(bytes).map_err(|error| DecodeError::Malformed { what, why: error.to_string() })?;
    convert(wire).map_err(|shape| DecodeError::Shape { what, shape })
}

/// A command as an entry of the log.
pub fn encode_command(command: &Command) -> Bytes {
    internal::Command::from(command).encode_to_vec().into()
}

/// The inverse of [`encode_command`].
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    decode::<internal::Command, _>("command", bytes)
}

/// A row of the applied state.
pub fn encode_record(record: &Record) -> Bytes {
    internal::Record::from(record).encode_to_vec().into()
}

/// The inverse of [`encode_record`].
pub fn decode_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    decode::<internal::Record, _>("record", bytes)
}

/// An answer or refusal, for a replica that carried a command to the leader.
pub fn encode_answer(answer: &AnswerResult) -> Bytes {
    crate::convert::answer_to_wire(answer).encode_to_vec().into()
}

/// The inverse of [`encode_answer`].
pub fn decode_answer(bytes: &[u8]) -> Result<AnswerResult, DecodeError> {
    decode_by::<internal::Answer, _>("answer", bytes, crate::convert::answer_from_wire)
}

/// The rows of a snapshot.
pub fn encode_snapshot<'a>(records: impl IntoIterator<Item = &'a Record>) -> Bytes {
    internal::SnapshotRecords { records: records.into_iter().map(Into::into).collect() }
        .encode_to_vec()
        .into()
}

/// The inverse of [`encode_snapshot`].
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    decode_by::<internal::SnapshotRecords, _>("snapshot", bytes, |wire| {
        crate::convert::records_from_wire("records", wire.records)
    })
}
