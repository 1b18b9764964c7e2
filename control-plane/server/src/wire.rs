//! Messages between replicas: weft-raft's plain values to and from the wire, field by field.
//!
//! Shapes are checked here (lengths, known kinds); what the numbers mean is for the gate of weft-raft.

use bytes::Bytes;
use weft_model::{LogIndex, ReplicaId, Term};
use weft_proto::{
    convert::{ShapeError, Within, cluster_from_wire},
    v1,
};
use weft_raft::{Checkpoint, Entry, EntryKind, Message, MessageKind};

use crate::limits::APPEND_BYTES;

/// A message without its snapshot, which travels in parts of its own.
pub(crate) fn message_to_wire(message: &Message) -> v1::RaftMessage {
    let checkpoint = message.checkpoint;
    v1::RaftMessage {
        cluster: Bytes::copy_from_slice(&message.cluster.0),
        r#type: message.kind.number(),
        to: message.to.0,
        from: message.from.0,
        term: message.term.0,
        log_term: message.log_term.0,
        index: message.index.0,
        entries: message.entries.iter().map(entry_to_wire).collect(),
        commit: message.commit.0,
        commit_term: message.commit_term.0,
        reject: message.reject,
        reject_hint: message.reject_hint.0,
        context: message.context.clone(),
        request_snapshot: 0,
        priority: 0,
        hash_index: checkpoint.map_or(0, |checkpoint| checkpoint.index.0),
        hash: checkpoint.map_or_else(Bytes::new, |checkpoint| Bytes::copy_from_slice(&checkpoint.hash)),
    }
}

/// The inverse; fails with the field that has no such shape.
pub(crate) fn message_from_wire(wire: v1::RaftMessage) -> Result<Message, ShapeError> {
    let kind = MessageKind::from_number(wire.r#type)
        .ok_or_else(|| ShapeError::new(format!("kind {} doesn't cross the network", wire.r#type)))
        .within("type")?;
    let mut entries = Vec::with_capacity(wire.entries.len());
    for (index, entry) in wire.entries.into_iter().enumerate() {
        entries.push(entry_from_wire(entry).within(&format!("entries[{index}]"))?);
    }
    let checkpoint = match wire.hash_index {
        0 => None,
        index => Some(Checkpoint { index: LogIndex(index), hash: hash_from_wire("hash", &wire.hash)? }),
    };
    Ok(Message {
        cluster: cluster_from_wire("cluster", &wire.cluster)?,
        kind,
        from: ReplicaId(wire.from),
        to: ReplicaId(wire.to),
        term: Term(wire.term),
        log_term: Term(wire.log_term),
        index: LogIndex(wire.index),
        commit: LogIndex(wire.commit),
        commit_term: Term(wire.commit_term),
        entries,
        snapshot: None,
        reject: wire.reject,
        reject_hint: LogIndex(wire.reject_hint),
        context: wire.context,
        checkpoint,
    })
}

/// Bytes of a BLAKE3 hash.
pub(crate) fn hash_from_wire(field: &str, bytes: &[u8]) -> Result<[u8; 32], ShapeError> {
    bytes
        .try_into()
        .map_err(|_| ShapeError::new(format!("it must be 32 bytes and is {}", bytes.len())))
        .within(field)
}

fn entry_to_wire(entry: &Entry) -> v1::RaftEntry {
    v1::RaftEntry {
        r#type: match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
        },
        term: entry.term.0,
        index: entry.index.0,
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

fn entry_from_wire(wire: v1::RaftEntry) -> Result<Entry, ShapeError> {
    let kind = match wire.r#type {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        other => return Err(ShapeError::new(format!("there is no kind {other} of entries"))).within("type"),
    };
    Ok(Entry {
        index: LogIndex(wire.index),
        term: Term(wire.term),
        kind,
        data: wire.data,
        context: wire.context,
    })
}

/// Bytes that the entries of a message hold.
pub(crate) fn entry_bytes(message: &Message) -> usize {
    message.entries.iter().map(size).sum()
}

fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len()
}

/// Cuts an append into several that each fit the wire: one behind the other they say the same.
///
/// The library joins appends that wait for one replica without a bound of its own.
pub(crate) fn split(message: Message) -> Vec<Message> {
    if entry_bytes(&message) <= APPEND_BYTES {
        return vec![message];
    }
    let mut parts = Vec::new();
    let mut part = Message { entries: Vec::new(), ..message };
    let mut bytes = 0;
    for entry in message.entries {
        if bytes + size(&entry) > APPEND_BYTES
            && let Some(last) = part.entries.last()
        {
            let next =
                Message { index: last.index, log_term: last.term, entries: Vec::new(), ..part.clone() };
            parts.push(std::mem::replace(&mut part, next));
            bytes = 0;
        }
        bytes += size(&entry);
        part.entries.push(entry);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use weft_model::ClusterId;

    use super::*;

    fn append(sizes: &[usize]) -> Message {
        let head =
            Message::head(ClusterId([7; 16]), MessageKind::Append, ReplicaId(1), ReplicaId(2), Term(9));
        let entries = sizes.iter().zip(11..).map(|(size, index)| Entry {
            index: LogIndex(index),
            term: Term(8),
            kind: EntryKind::Normal,
            data: vec![3; *size].into(),
            context: Bytes::new(),
        });
        Message {
            index: LogIndex(10),
            log_term: Term(7),
            commit: LogIndex(9),
            entries: entries.collect(),
            ..head
        }
    }

    #[test]
    fn a_message_comes_back_from_the_wire_as_it_was() {
        let mut message = append(&[3, 0]);
        message.entries[1].kind = EntryKind::ConfChange;
        message.entries[1].context = Bytes::from_static(b"member");
        message.checkpoint = Some(Checkpoint { index: LogIndex(512), hash: [5; 32] });
        (message.reject, message.reject_hint, message.commit_term) = (true, LogIndex(4), Term(3));
        assert_eq!(message_from_wire(message_to_wire(&message)), Ok(message));
    }

    #[test]
    fn wrong_shapes_are_named() {
        let check = |change: fn(&mut v1::RaftMessage), field: &str| {
            let mut wire = message_to_wire(&append(&[1]));
            change(&mut wire);
            assert_eq!(message_from_wire(wire).unwrap_err().field, field);
        };
        // MsgPropose and every number that the library doesn't know.
        check(|wire| wire.r#type = 2, "type");
        check(|wire| wire.r#type = 99, "type");
        check(|wire| wire.cluster = Bytes::from_static(b"short"), "cluster");
        check(|wire| wire.entries[0].r#type = 2, "entries[0].type");
        check(|wire| wire.hash_index = 512, "hash");
    }

    #[test]
    fn a_long_append_is_cut_into_parts_that_follow_each_other() {
        let part = APPEND_BYTES / 2;
        let whole = append(&[part, part, part, 2 * APPEND_BYTES, 1]);
        let parts = split(whole.clone());
        let lengths: Vec<_> = parts.iter().map(|part| part.entries.len()).collect();
        assert_eq!(lengths, [2, 1, 1, 1]);
        let before: Vec<_> = parts.iter().map(|part| (part.index.0, part.log_term.0)).collect();
        assert_eq!(before, [(10, 7), (12, 8), (13, 8), (14, 8)]);
        assert!(parts.iter().all(|part| part.commit == whole.commit));
        let joined: Vec<_> = parts.into_iter().flat_map(|part| part.entries).collect();
        assert_eq!(joined, whole.entries);
        assert_eq!(split(append(&[1, 2])), [append(&[1, 2])]);
    }
}
