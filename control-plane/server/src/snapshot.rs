//! A snapshot on its way to another replica: cut into parts, and put together again only when whole.

use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use weft_model::{LogIndex, ReplicaId, Term};
use weft_proto::{
    convert::{ShapeError, Within},
    v1,
};
use weft_raft::{Conf, Message, MessageKind, Snapshot};

use crate::{
    limits::{SNAPSHOT_BYTES, SNAPSHOT_CHUNK},
    wire::{hash_from_wire, message_from_wire, message_to_wire},
};

/// The parts of a message that carries a snapshot: the head first, then the data.
pub(crate) fn parts(
    message: &Message,
    snapshot: &Arc<Snapshot>,
) -> impl Iterator<Item = v1::SnapshotChunk> + use<> {
    let ids = |ids: &[ReplicaId]| ids.iter().map(|id| id.0).collect();
    let meta = v1::SnapshotMeta {
        index: snapshot.index.0,
        term: snapshot.term.0,
        voters: ids(&snapshot.conf.voters),
        learners: ids(&snapshot.conf.learners),
    };
    let head = v1::SnapshotChunk {
        message: Some(message_to_wire(message)),
        meta: Some(meta),
        length: snapshot.data.len() as u64,
        hash: Bytes::copy_from_slice(&snapshot.digest),
        data: Bytes::new(),
    };
    let mut rest = snapshot.data.clone();
    let data = std::iter::from_fn(move || {
        let part = rest.split_to(rest.len().min(SNAPSHOT_CHUNK));
        (!part.is_empty()).then(|| v1::SnapshotChunk { data: part, ..v1::SnapshotChunk::default() })
    });
    std::iter::once(head).chain(data)
}

/// A snapshot that is coming in.
#[derive(Debug)]
pub(crate) struct Incoming {
    message: Message,
    snapshot: Snapshot,
    length: usize,
    data: BytesMut,
}

impl Incoming {
    /// Begins with the head. Fails when a field is missing or malformed, or when the whole would be too long.
    pub(crate) fn begin(head: v1::SnapshotChunk) -> Result<Self, ShapeError> {
        let missing = || ShapeError::new("the first part lacks it");
        let message =
            message_from_wire(head.message.ok_or_else(missing).within("message")?).within("message")?;
        if message.kind != MessageKind::Snapshot {
            return Err(ShapeError::new("it carries no snapshot")).within("message.type");
        }
        let meta = head.meta.ok_or_else(missing).within("meta")?;
        if head.length > SNAPSHOT_BYTES {
            return Err(ShapeError::new(format!("{} bytes are too many", head.length))).within("length");
        }
        let ids = |ids: Vec<u64>| ids.into_iter().map(ReplicaId).collect();
        let snapshot = Snapshot {
            index: LogIndex(meta.index),
            term: Term(meta.term),
            conf: Conf { voters: ids(meta.voters), learners: ids(meta.learners) },
            digest: hash_from_wire("hash", &head.hash)?,
            data: Bytes::new(),
        };
        let length = usize::try_from(head.length).map_err(ShapeError::new).within("length")?;
        let mut incoming = Self { message, snapshot, length, data: BytesMut::new() };
        incoming.push(&head.data)?;
        Ok(incoming)
    }

    /// The next part. Fails when there are more bytes than announced.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), ShapeError> {
        if self.data.len() + data.len() > self.length {
            return Err(ShapeError::new("more bytes came than were announced")).within("data");
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// The whole message. Fails when bytes are missing or the hash doesn't hold.
    pub(crate) fn finish(self) -> Result<Message, ShapeError> {
        let Self { message, snapshot, length, data } = self;
        if data.len() != length {
            return Err(ShapeError::new(format!("{} of {length} bytes came", data.len()))).within("data");
        }
        if *blake3::hash(&data).as_bytes() != snapshot.digest {
            return Err(ShapeError::new("the bytes don't have this hash")).within("hash");
        }
        let snapshot = Snapshot { data: data.freeze(), ..snapshot };
        Ok(Message { snapshot: Some(Arc::new(snapshot)), ..message })
    }
}

#[cfg(test)]
mod tests {
    use weft_model::ClusterId;

    use super::*;

    fn message(length: usize) -> (Message, Arc<Snapshot>) {
        let data: Bytes = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let snapshot = Arc::new(Snapshot {
            index: LogIndex(7),
            term: Term(2),
            conf: Conf { voters: vec![ReplicaId(1)], learners: vec![ReplicaId(2)] },
            digest: *blake3::hash(&data).as_bytes(),
            data,
        });
        let head =
            Message::head(ClusterId([1; 16]), MessageKind::Snapshot, ReplicaId(1), ReplicaId(2), Term(3));
        (Message { snapshot: Some(Arc::clone(&snapshot)), ..head }, snapshot)
    }

    fn join(parts: impl IntoIterator<Item = v1::SnapshotChunk>) -> Result<Message, ShapeError> {
        let mut parts = parts.into_iter();
        let mut incoming = Incoming::begin(parts.next().unwrap())?;
        parts.try_for_each(|part| incoming.push(&part.data))?;
        incoming.finish()
    }

    #[test]
    fn what_was_cut_is_put_together_again() {
        for length in [0, 1, SNAPSHOT_CHUNK, 3 * SNAPSHOT_CHUNK + 5] {
            let (message, snapshot) = message(length);
            let parts: Vec<_> = parts(&message, &snapshot).collect();
            assert_eq!(parts.len(), 1 + length.div_ceil(SNAPSHOT_CHUNK));
            assert_eq!(join(parts), Ok(message));
        }
    }

    #[test]
    fn what_is_cut_off_longer_changed_or_no_snapshot_is_refused() {
        let (message, snapshot) = message(2 * SNAPSHOT_CHUNK);
        let all: Vec<_> = parts(&message, &snapshot).collect();
        let check = |change: &dyn Fn(&mut Vec<v1::SnapshotChunk>), field: &str| {
            let mut parts = all.clone();
            change(&mut parts);
            assert_eq!(join(parts).unwrap_err().field, field);
        };
        check(&|parts| drop(parts.pop()), "data");
        check(&|parts| parts.push(parts[1].clone()), "data");
        check(&|parts| parts.swap(1, 2), "hash");
        check(&|parts| parts[0].length = SNAPSHOT_BYTES + 1, "length");
        check(&|parts| parts[0].meta = None, "meta");
        check(&|parts| parts[0].message.as_mut().unwrap().r#type = 8, "message.type");
    }
}
