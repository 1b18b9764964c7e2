//! May a message step? Every check that the library lacks, before the library sees anything.
//!
//! In: a message, the id its sender proved, and where we stand. Out: the library's message, or why not. Reasons:
//! `RawNode::step` takes requests of anyone, and crafted fields reach its `fatal!` (docs of reliability, section 2).

use raft::eraftpb;
use weft_model::{ClusterId, LogIndex, ReplicaId, Term};

use crate::{
    Entry, EntryKind, Message, MessageKind, Snapshot,
    convert::{ConfStep, message_to_library},
};

/// Bytes of one entry's data: an Apply request is at most 1.5 MiB.
pub(crate) const MAX_ENTRY: usize = 2 << 20;
/// Bytes of one entry's context: an encoded member.
const MAX_CONTEXT: usize = 64 << 10;
/// Bytes of all entries of a message: the library fills up to 1 MiB, plus one entry, and may join two such messages.
const MAX_ENTRIES_BYTES: usize = 8 << 20;
/// Entries of one message.
const MAX_ENTRIES: usize = 100_000;
/// Highest index and term that are believed: sums of them can't overflow.
const MAX_NUMBER: u64 = 1 << 62;
/// Replicas in one configuration.
const MAX_REPLICAS: usize = 64;
/// What a voter puts into a request that was forced by a hand-over (`CAMPAIGN_TRANSFER` of the library).
const FORCED: &[u8] = b"CampaignTransfer";

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another cluster.
    #[error("a message of cluster {found} came to a replica of {expected}")]
    OtherCluster {
        /// Ours.
        expected: ClusterId,
        /// Theirs.
        found: ClusterId,
    },
    /// Not for us.
    #[error("a message for replica {to} came to replica {us}")]
    NotForUs {
        /// Receiver named.
        to: ReplicaId,
        /// Us.
        us: ReplicaId,
    },
    /// The sender is not who it says.
    #[error("replica {certified} sent a message in the name of replica {from}")]
    Forged {
        /// Who it says.
        from: ReplicaId,
        /// Who it proved to be.
        certified: ReplicaId,
    },
    /// The sender was removed from the cluster: tell it, so that it stops.
    #[error("replica {from} was removed from the cluster")]
    Removed {
        /// Who.
        from: ReplicaId,
    },
    /// The sender does not take part here yet.
    #[error("replica {from} does not take part")]
    Stranger {
        /// Who.
        from: ReplicaId,
    },
    /// A field has a value that no correct replica sends.
    #[error("a {kind:?} of replica {from} is malformed: {why}")]
    Malformed {
        /// Who.
        from: ReplicaId,
        /// What.
        kind: MessageKind,
        /// Which field.
        why: &'static str,
    },
    /// It is correct, but must wait: our own writes come first. The sender repeats it.
    #[error("a {kind:?} came before our own log was durable")]
    TooEarly {
        /// What.
        kind: MessageKind,
    },
    /// The leader knows that we acknowledged more than we have.
    #[error("the leader knows of {commit} here, the log ends at {last}")]
    LogLost {
        /// What the leader knows.
        commit: LogIndex,
        /// What we have.
        last: LogIndex,
    },
}

/// What the gate needs to know of us.
pub(crate) struct Standing<'a> {
    pub(crate) cluster: ClusterId,
    pub(crate) us: ReplicaId,
    pub(crate) term: Term,
    pub(crate) leads: bool,
    pub(crate) last: LogIndex,
    pub(crate) durable: bool,
    pub(crate) known: &'a dyn Fn(ReplicaId) -> Known,
}

/// What we know of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It takes part, or it is younger than everything we have applied.
    Yes,
    /// Its id was given out and it takes part no more.
    Removed,
    /// Its id was never given out.
    No,
}

/// Checks a message and converts it.
pub(crate) fn admit(
    standing: &Standing<'_>,
    certified: ReplicaId,
    message: &Message,
) -> Result<eraftpb::Message, Refusal> {
    sender(standing, certified, message)?;
    numbers(message)?;
    match message.kind {
        MessageKind::Append => append(message)?,
        MessageKind::AppendResponse => append_response(standing, message)?,
        MessageKind::RequestVote | MessageKind::RequestPreVote => {
            let known = message.context.is_empty() || message.context.as_ref() == FORCED;
            require(message, known, "context")?;
        }
        MessageKind::RequestVoteResponse | MessageKind::RequestPreVoteResponse => {
            // A correct grant comes only after our request, which left after our log was durable; an early one would
            // make the library lead with entries that aren't on disk.
            if !message.reject && !standing.durable {
                return Err(Refusal::TooEarly { kind: message.kind });
            }
        }
        MessageKind::TimeoutNow => {
            if !standing.durable {
                return Err(Refusal::TooEarly { kind: message.kind });
            }
        }
        MessageKind::Heartbeat => heartbeat(standing, message)?,
        MessageKind::HeartbeatResponse => require(message, message.context.len() <= 64, "context")?,
        MessageKind::Snapshot => snapshot(standing, message)?,
    }
    Ok(message_to_library(message))
}

fn require(message: &Message, holds: bool, why: &'static str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Malformed { from: message.from, kind: message.kind, why }) }
}

fn sender(standing: &Standing<'_>, certified: ReplicaId, message: &Message) -> Result<(), Refusal> {
    if message.cluster != standing.cluster {
        return Err(Refusal::OtherCluster { expected: standing.cluster, found: message.cluster });
    }
    if message.to != standing.us {
        return Err(Refusal::NotForUs { to: message.to, us: standing.us });
    }
    if message.from != certified || message.from == standing.us || message.from.0 == 0 {
        return Err(Refusal::Forged { from: message.from, certified });
    }
    match (standing.known)(message.from) {
        Known::Yes => Ok(()),
        Known::Removed => Err(Refusal::Removed { from: message.from }),
        Known::No => Err(Refusal::Stranger { from: message.from }),
    }
}

/// Term 0 marks local messages in the library; huge numbers would overflow its sums.
fn numbers(message: &Message) -> Result<(), Refusal> {
    require(message, (1..=MAX_NUMBER).contains(&message.term.0), "term")?;
    for (value, name) in [
        (message.log_term.0, "log term"),
        (message.index.0, "index"),
        (message.commit.0, "commit"),
        (message.commit_term.0, "commit term"),
        (message.reject_hint.0, "reject hint"),
    ] {
        require(message, value <= MAX_NUMBER, name)?;
    }
    require(message, message.entries.is_empty() || message.kind == MessageKind::Append, "entries")?;
    require(message, message.snapshot.is_some() == (message.kind == MessageKind::Snapshot), "snapshot")
}

fn append(message: &Message) -> Result<(), Refusal> {
    require(message, (message.index.0 == 0) == (message.log_term.0 == 0), "index without term")?;
    require(message, message.log_term <= message.term, "log term")?;
    require(message, message.entries.len() <= MAX_ENTRIES, "number of entries")?;
    let (mut index, mut term, mut bytes) = (message.index, message.log_term, 0);
    for entry in &message.entries {
        index = index.next();
        require(message, entry.index == index, "indexes of entries")?;
        require(
            message,
            entry.term >= term && entry.term.0 > 0 && entry.term <= message.term,
            "terms of entries",
        )?;
        term = entry.term;
        bytes += entry.data.len() + entry.context.len();
        require(message, bytes <= MAX_ENTRIES_BYTES, "bytes of entries")?;
        require(message, payload(entry), "payload of an entry")?;
    }
    Ok(())
}

/// Whether an entry holds what its kind allows.
fn payload(entry: &Entry) -> bool {
    let sized = entry.data.len() <= MAX_ENTRY && entry.context.len() <= MAX_CONTEXT;
    sized
        && match entry.kind {
            EntryKind::Normal => entry.context.is_empty() || entry.data.is_empty(),
            EntryKind::ConfChange => ConfStep::read(&entry.data).is_some() && !entry.context.is_empty(),
        }
}

/// A leader believes what followers say they took, but never beyond its own log.
fn append_response(standing: &Standing<'_>, message: &Message) -> Result<(), Refusal> {
    let ours = standing.leads && message.term == standing.term;
    require(message, !ours || message.reject || message.index <= standing.last, "index")
}

/// The commit index of a heartbeat is at most what we acknowledged in this term, so it is within our log.
fn heartbeat(standing: &Standing<'_>, message: &Message) -> Result<(), Refusal> {
    require(message, message.context.len() <= 64, "context")?;
    if message.term >= standing.term && message.commit > standing.last {
        return Err(Refusal::LogLost { commit: message.commit, last: standing.last });
    }
    Ok(())
}

fn snapshot(standing: &Standing<'_>, message: &Message) -> Result<(), Refusal> {
    let Some(snapshot) = &message.snapshot else { return require(message, false, "snapshot") };
    require(message, (1..=MAX_NUMBER).contains(&snapshot.index.0), "index of the snapshot")?;
    require(message, snapshot.term.0 > 0 && snapshot.term <= message.term, "term of the snapshot")?;
    require(message, conf(snapshot, standing.us), "configuration of the snapshot")
}

/// No replica twice, none is 0, at least one voter, and we are in it.
fn conf(snapshot: &Snapshot, us: ReplicaId) -> bool {
    let mut all: Vec<_> = snapshot.conf.all().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    all.len() == count
        && count <= MAX_REPLICAS
        && !snapshot.conf.voters.is_empty()
        && !all.contains(&ReplicaId(0))
        && all.contains(&us)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
