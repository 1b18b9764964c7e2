//! What replicas say to each other, as plain values; the gate turns them into the library's type.

use std::sync::Arc;

use bytes::Bytes;
use weft_model::{ClusterId, LogIndex, ReplicaId, Term};

use crate::{Entry, Snapshot};

/// The kinds that may cross the network; everything else of the library is local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// Entries of the leader.
    Append,
    /// How far they were taken.
    AppendResponse,
    /// A candidate wants a vote.
    RequestVote,
    /// The vote.
    RequestVoteResponse,
    /// The whole state for a replica that is too far behind.
    Snapshot,
    /// The leader lives.
    Heartbeat,
    /// The follower lives.
    HeartbeatResponse,
    /// The leader hands over.
    TimeoutNow,
    /// Would it get a vote?
    RequestPreVote,
    /// It would, or not.
    RequestPreVoteResponse,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Append,
        Self::AppendResponse,
        Self::RequestVote,
        Self::RequestVoteResponse,
        Self::Snapshot,
        Self::Heartbeat,
        Self::HeartbeatResponse,
        Self::TimeoutNow,
        Self::RequestPreVote,
        Self::RequestPreVoteResponse,
    ];

    /// Number on the wire: that of `eraftpb.MessageType`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Append => 3,
            Self::AppendResponse => 4,
            Self::RequestVote => 5,
            Self::RequestVoteResponse => 6,
            Self::Snapshot => 7,
            Self::Heartbeat => 8,
            Self::HeartbeatResponse => 9,
            Self::TimeoutNow => 14,
            Self::RequestPreVote => 17,
            Self::RequestPreVoteResponse => 18,
        }
    }

    /// The kind of a number; `None` for every number that may not cross the network.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// State hash of a replica at an index that all replicas choose alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The index: a multiple of `ReplicaConfig::check_every`.
    pub index: LogIndex,
    /// The running hash of weft-core there.
    pub hash: [u8; 32],
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Kind.
    pub kind: MessageKind,
    /// Sender; must be the id in its certificate.
    pub from: ReplicaId,
    /// Receiver.
    pub to: ReplicaId,
    /// Term of the sender (of the candidacy for votes).
    pub term: Term,
    /// Term of the entry at `index`.
    pub log_term: Term,
    /// Append: entry before the first one. Response: what was taken. Votes: last entry of the candidate.
    pub index: LogIndex,
    /// Commit index that the sender tells.
    pub commit: LogIndex,
    /// Term of that entry (votes).
    pub commit_term: Term,
    /// Entries of an append.
    pub entries: Vec<Entry>,
    /// The state, in a message of kind `Snapshot` only. The transport sends it in chunks.
    pub snapshot: Option<Arc<Snapshot>>,
    /// True for a refusal.
    pub reject: bool,
    /// Where the refuser's log may agree.
    pub reject_hint: LogIndex,
    /// Round of a read in heartbeats, sort of campaign in votes.
    pub context: Bytes,
    /// Latest checkpoint of the sender, on responses of followers.
    pub checkpoint: Option<Checkpoint>,
}

impl Message {
    /// A message with nothing but its head.
    pub fn head(cluster: ClusterId, kind: MessageKind, from: ReplicaId, to: ReplicaId, term: Term) -> Self {
        Self {
            cluster,
            kind,
            from,
            to,
            term,
            log_term: Term(0),
            index: LogIndex(0),
            commit: LogIndex(0),
            commit_term: Term(0),
            entries: Vec::new(),
            snapshot: None,
            reject: false,
            reject_hint: LogIndex(0),
            context: Bytes::new(),
            checkpoint: None,
        }
    }
}
