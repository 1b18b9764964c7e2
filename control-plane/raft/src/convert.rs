//! Our plain values <-> the library's types, field by field. Payloads are shared, never copied.
//!
//! rust-protobuf parses nothing here: the change inside a configuration entry is read and written by hand, because it
//! may have come over the network (RUSTSEC-2024-0437).

use raft::eraftpb;
use weft_model::{ClusterId, LogIndex, ReplicaId, Term};

use crate::{Conf, Entry, EntryKind, HardState, Message, MessageKind, Snapshot};

/// Which replica becomes what: the data of a configuration entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConfStep {
    pub(crate) kind: ConfStepKind,
    pub(crate) id: ReplicaId,
}

/// What it becomes; numbers of `eraftpb.ConfChangeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfStepKind {
    AddVoter = 0,
    Remove = 1,
    AddLearner = 2,
}

impl ConfStep {
    /// Reads the bytes of an `eraftpb.ConfChange` with nothing but its type (field 2) and node (field 3).
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (mut kind, mut id) = (ConfStepKind::AddVoter, 0);
        let mut rest = data;
        while let Some((&tag, after)) = rest.split_first() {
            let (value, after) = read_varint(after)?;
            rest = after;
            match (tag, value) {
                (0x10, 0) => kind = ConfStepKind::AddVoter,
                (0x10, 1) => kind = ConfStepKind::Remove,
                (0x10, 2) => kind = ConfStepKind::AddLearner,
                (0x18, node) => id = node,
                _ => return None,
            }
        }
        (id != 0 && data.len() <= 16).then_some(Self { kind, id: ReplicaId(id) })
    }

    /// The library's type.
    pub(crate) fn to_library(self) -> eraftpb::ConfChange {
        let mut change = eraftpb::ConfChange::default();
        change.set_change_type(match self.kind {
            ConfStepKind::AddVoter => eraftpb::ConfChangeType::AddNode,
            ConfStepKind::Remove => eraftpb::ConfChangeType::RemoveNode,
            ConfStepKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
        });
        change.node_id = self.id.0;
        change
    }
}

/// A base-128 varint (Protocol Buffers encoding) and what follows it.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(position).ok()? * 7;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(position + 1..)?));
        }
    }
    None
}

impl From<&Entry> for eraftpb::Entry {
    fn from(ours: &Entry) -> Self {
        let mut entry = Self::default();
        entry.set_entry_type(match ours.kind {
            EntryKind::Normal => eraftpb::EntryType::EntryNormal,
            EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        });
        entry.term = ours.term.0;
        entry.index = ours.index.0;
        entry.data = ours.data.clone();
        entry.context = ours.context.clone();
        entry
    }
}

/// Entries of the second form of configuration changes are never made here and never pass the gate.
impl From<&eraftpb::Entry> for Entry {
    fn from(entry: &eraftpb::Entry) -> Self {
        Self {
            index: LogIndex(entry.index),
            term: Term(entry.term),
            kind: match entry.get_entry_type() {
                eraftpb::EntryType::EntryNormal => EntryKind::Normal,
                eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => {
                    EntryKind::ConfChange
                }
            },
            data: entry.data.clone(),
            context: entry.context.clone(),
        }
    }
}

impl Conf {
    pub(crate) fn to_library(&self) -> eraftpb::ConfState {
        let ids = |list: &[ReplicaId]| list.iter().map(|id| id.0).collect::<Vec<_>>();
        eraftpb::ConfState::from((ids(&self.voters), ids(&self.learners)))
    }

    pub(crate) fn from_library(state: &eraftpb::ConfState) -> Self {
        let ids = |list: &[u64]| {
            let mut ids: Vec<_> = list.iter().map(|id| ReplicaId(*id)).collect();
            ids.sort_unstable();
            ids
        };
        Self { voters: ids(&state.voters), learners: ids(&state.learners) }
    }
}

impl HardState {
    pub(crate) fn to_library(self) -> eraftpb::HardState {
        let (term, vote, commit) = (self.term.0, self.vote.0, self.commit.0);
        eraftpb::HardState { term, vote, commit, ..eraftpb::HardState::default() }
    }

    pub(crate) fn from_library(state: &eraftpb::HardState) -> Self {
        Self { term: Term(state.term), vote: ReplicaId(state.vote), commit: LogIndex(state.commit) }
    }
}

impl Snapshot {
    pub(crate) fn to_library(&self) -> eraftpb::Snapshot {
        let mut snapshot = eraftpb::Snapshot { data: self.data.clone(), ..eraftpb::Snapshot::default() };
        let meta = snapshot.mut_metadata();
        meta.index = self.index.0;
        meta.term = self.term.0;
        meta.set_conf_state(self.conf.to_library());
        snapshot
    }

    pub(crate) fn from_library(snapshot: &eraftpb::Snapshot) -> Self {
        let meta = snapshot.get_metadata();
        Self {
            index: LogIndex(meta.index),
            term: Term(meta.term),
            conf: Conf::from_library(meta.get_conf_state()),
            digest: *blake3::hash(&snapshot.data).as_bytes(),
            data: snapshot.data.clone(),
        }
    }
}

const KINDS: [(MessageKind, eraftpb::MessageType); 10] = [
    (MessageKind::Append, eraftpb::MessageType::MsgAppend),
    (MessageKind::AppendResponse, eraftpb::MessageType::MsgAppendResponse),
    (MessageKind::RequestVote, eraftpb::MessageType::MsgRequestVote),
    (MessageKind::RequestVoteResponse, eraftpb::MessageType::MsgRequestVoteResponse),
    (MessageKind::Snapshot, eraftpb::MessageType::MsgSnapshot),
    (MessageKind::Heartbeat, eraftpb::MessageType::MsgHeartbeat),
    (MessageKind::HeartbeatResponse, eraftpb::MessageType::MsgHeartbeatResponse),
    (MessageKind::TimeoutNow, eraftpb::MessageType::MsgTimeoutNow),
    (MessageKind::RequestPreVote, eraftpb::MessageType::MsgRequestPreVote),
    (MessageKind::RequestPreVoteResponse, eraftpb::MessageType::MsgRequestPreVoteResponse),
];

/// The library's message of a checked one.
pub(crate) fn message_to_library(message: &Message) -> eraftpb::Message {
    let mut out = eraftpb::Message::default();
    if let Some((_, kind)) = KINDS.iter().find(|(kind, _)| *kind == message.kind) {
        out.set_msg_type(*kind);
    }
    out.to = message.to.0;
    out.from = message.from.0;
    out.term = message.term.0;
    out.log_term = message.log_term.0;
    out.index = message.index.0;
    out.commit = message.commit.0;
    out.commit_term = message.commit_term.0;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint.0;
    out.context = message.context.clone();
    out.set_entries(message.entries.iter().map(eraftpb::Entry::from).collect::<Vec<_>>().into());
    if let Some(snapshot) = &message.snapshot {
        out.set_snapshot(snapshot.to_library());
    }
    out
}

/// Our message of one that the library wants sent; `None` for kinds that never cross the network.
pub(crate) fn message_from_library(cluster: ClusterId, message: &eraftpb::Message) -> Option<Message> {
    let (kind, _) = KINDS.iter().find(|(_, kind)| *kind == message.get_msg_type())?;
    let head =
        Message::head(cluster, *kind, ReplicaId(message.from), ReplicaId(message.to), Term(message.term));
    Some(Message {
        log_term: Term(message.log_term),
        index: LogIndex(message.index),
        commit: LogIndex(message.commit),
        commit_term: Term(message.commit_term),
        entries: message.entries.iter().map(Entry::from).collect(),
        reject: message.reject,
        reject_hint: LogIndex(message.reject_hint),
        context: message.context.clone(),
        ..head
    })
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::ConfChangeType;

    use super::*;

    #[test]
    fn the_change_is_read_as_the_library_writes_it() {
        use protobuf::Message as _;
        for (kind, library) in [
            (ConfStepKind::AddVoter, ConfChangeType::AddNode),
            (ConfStepKind::Remove, ConfChangeType::RemoveNode),
            (ConfStepKind::AddLearner, ConfChangeType::AddLearnerNode),
        ] {
            for id in [1, 127, 128, 300, u64::MAX] {
                let step = ConfStep { kind, id: ReplicaId(id) };
                let change = step.to_library();
                assert_eq!(change.get_change_type(), library);
                let bytes = change.write_to_bytes().unwrap();
                assert_eq!(ConfStep::read(&bytes), Some(step), "{kind:?} {id}");
            }
        }
    }

    #[test]
    fn malformed_changes_are_refused() {
        for bytes in [
            &[][..],
            &[0x10, 1],
            &[0x18],
            &[0x18, 0],
            &[0x18, 0x80],
            &[0x10, 3, 0x18, 1],
            &[0x08, 1, 0x18, 1],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x0b, 0x0b, 0x0b, 0x0b],
        ] {
            assert_eq!(ConfStep::read(bytes), None, "{bytes:?}");
        }
    }
}
