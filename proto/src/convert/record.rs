//! Rows of the applied state.

use weft_model::{
    ClientRecord, Epoch, FreedBlock, LogIndex, Meta, Record, ReplicaId, Revision, Sequence, Term, WallTime,
};

use super::{
    answer::{answer_from_wire, answer_to_wire},
    shape::{
        ShapeError, Within, client_from_wire, cluster_from_wire, copied, exactly, list, missing, required,
    },
};
use crate::internal::{self, record::Kind as Wire};

pub(crate) fn records_from_wire(
    field: &str,
    values: Vec<internal::Record>,
) -> Result<Vec<Record>, ShapeError> {
    list(field, values)
}

impl TryFrom<internal::Record> for Record {
    type Error = ShapeError;

    fn try_from(wire: internal::Record) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            Wire::Meta(meta) => meta.try_into().map(Self::Meta).within("meta"),
            Wire::Object(object) => object.try_into().map(Self::Object).within("object"),
            Wire::Token(token) => token.try_into().map(Self::Token).within("token"),
            Wire::Client(client) => client.try_into().map(Self::Client).within("client"),
            Wire::Freed(freed) => freed.try_into().map(Self::Freed).within("freed"),
        }
    }
}

impl From<&Record> for internal::Record {
    fn from(record: &Record) -> Self {
        let kind = match record {
            Record::Meta(meta) => Wire::Meta(meta.into()),
            Record::Object(object) => Wire::Object(object.into()),
            Record::Token(token) => Wire::Token(token.into()),
            Record::Client(client) => Wire::Client(client.into()),
            Record::Freed(freed) => Wire::Freed(freed.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<internal::Meta> for Meta {
    type Error = ShapeError;

    fn try_from(wire: internal::Meta) -> Result<Self, ShapeError> {
        Ok(Self {
            cluster: cluster_from_wire("cluster", &wire.cluster)?,
            applied: LogIndex(wire.applied),
            term: Term(wire.term),
            revision: Revision(wire.revision),
            next_replica: ReplicaId(wire.next_replica),
            last_epoch: Epoch(wire.last_epoch),
            hash: exactly("hash", &wire.hash)?,
        })
    }
}

impl From<&Meta> for internal::Meta {
    fn from(meta: &Meta) -> Self {
        Self {
            cluster: copied(&meta.cluster.0),
            applied: meta.applied.0,
            term: meta.term.0,
            revision: meta.revision.0,
            next_replica: meta.next_replica.0,
            last_epoch: meta.last_epoch.0,
            hash: copied(&meta.hash),
        }
    }
}

impl TryFrom<internal::ClientRecord> for ClientRecord {
    type Error = ShapeError;

    fn try_from(wire: internal::ClientRecord) -> Result<Self, ShapeError> {
        Ok(Self {
            client: client_from_wire("client", &wire.client)?,
            sequence: Sequence(wire.sequence),
            index: LogIndex(wire.index),
            time: WallTime(wire.time_ms),
            answer: wire.answer.ok_or_else(missing).and_then(answer_from_wire).within("answer")?,
        })
    }
}

impl From<&ClientRecord> for internal::ClientRecord {
    fn from(record: &ClientRecord) -> Self {
        Self {
            client: copied(&record.client.0),
            sequence: record.sequence.0,
            index: record.index.0,
            time_ms: record.time.0,
            answer: Some(answer_to_wire(&record.answer)),
        }
    }
}

impl TryFrom<internal::FreedBlock> for FreedBlock {
    type Error = ShapeError;

    fn try_from(wire: internal::FreedBlock) -> Result<Self, ShapeError> {
        Ok(Self {
            block: required("block", wire.block)?,
            epoch: Epoch(wire.epoch),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&FreedBlock> for internal::FreedBlock {
    fn from(freed: &FreedBlock) -> Self {
        Self { block: Some((&freed.block).into()), epoch: freed.epoch.0, revision: freed.revision.0 }
    }
}
