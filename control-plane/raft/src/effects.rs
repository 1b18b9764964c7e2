//! What goes into the replica and what its driver has to do about it.

use weft_core::{ItemChange, Outcome};
use weft_model::{Command, LogIndex, Member, ReplicaId, Revision, Term};

use crate::{Batch, Compaction, Draft, Error, Message, Refusal};

/// Name that the driver gives to a proposal or read, to find its caller again. Never reused in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A change of who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A replica that has joined begins to receive the log. It is promoted by the leader once it has caught up.
    AddLearner(Member),
    /// A learner gets its vote.
    Promote(ReplicaId),
    /// A replica leaves for good.
    Remove(ReplicaId),
}

/// One input.
#[derive(Clone, Debug)]
pub enum Input {
    /// Once, before everything else: yields what the start itself has to do.
    Start,
    /// One period of `Timing` passed.
    Tick,
    /// The process stood still for longer than an election timeout: a leader steps down before it answers anybody.
    Paused,
    /// A message of another replica; `certified` is the id in the certificate of its connection.
    Message {
        /// Who sent it, proved.
        certified: ReplicaId,
        /// What it says.
        message: Box<Message>,
    },
    /// A replica could not be reached: its messages were lost.
    Unreachable(ReplicaId),
    /// A mutation. Only the leader takes it; others answer `Reply::NotLeader` and the driver forwards.
    Propose {
        /// Name of the answer.
        ticket: Ticket,
        /// What to do.
        command: Box<Command>,
    },
    /// A linearizable read: asks for the index that must be applied before the state is read. Leader only.
    Read {
        /// Name of the answer.
        ticket: Ticket,
    },
    /// Waits until this replica has applied the index (a read that the leader gave an index for, or a wait for one's own write).
    Await {
        /// Name of the answer.
        ticket: Ticket,
        /// The index.
        index: LogIndex,
    },
    /// The caller gave up: its ticket is forgotten. The mutation may still be applied.
    Cancel(Ticket),
    /// The draft of this number and all before it are durable.
    Persisted(u64),
    /// Sending a snapshot to this replica ended. Must come for each message of kind `Snapshot`, also after a timeout.
    SnapshotReport {
        /// Who was to get it.
        to: ReplicaId,
        /// Whether it took it.
        taken: bool,
    },
    /// A change of the configuration. One at a time, leader only.
    ProposeMember {
        /// Name of the answer.
        ticket: Ticket,
        /// The change.
        change: MemberChange,
    },
    /// Hand leadership to this voter, or to the one that is furthest when 0.
    Transfer(ReplicaId),
}

/// Why a change of the configuration was not even proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRefusal {
    /// Another change is not applied yet.
    Pending,
    /// The replica takes part already, in that role.
    AlreadyThere,
    /// The replica does not take part.
    Unknown,
    /// The learner is too far behind to get a vote.
    Behind {
        /// Entries that it lacks.
        entries: u64,
    },
    /// Fewer replicas than a majority would be alive afterwards.
    QuorumLost {
        /// Voters afterwards.
        voters: usize,
        /// Of those, alive.
        alive: usize,
    },
    /// The replica to remove leads: leadership is being handed over, ask the new leader.
    Leads,
}

/// What became of a proposal.
#[derive(Debug)]
pub enum Reply {
    /// Applied at this index: the outcome, which may itself be a refusal.
    Applied {
        /// Where.
        index: LogIndex,
        /// What core says.
        outcome: Box<Outcome>,
    },
    /// Not proposed: another replica leads. Forwarding is safe.
    NotLeader {
        /// Who, if known.
        leader: Option<ReplicaId>,
    },
    /// Not applied and never will be: trying again is safe.
    Dropped(&'static str),
    /// Leadership went while it waited: it may still be applied. Ask again with the same client and sequence.
    Undecided {
        /// Who leads now, if known.
        leader: Option<ReplicaId>,
    },
    /// The change of the configuration was refused.
    Member(MemberRefusal),
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadReply {
    /// This index is applied here: read the state now.
    Ready(LogIndex),
    /// Another replica leads: ask it for an index, then `Input::Await` that.
    NotLeader(Option<ReplicaId>),
}

/// Part in Raft at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRole {
    /// Follows, or receives as a learner.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A change of role, term or leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The term.
    pub term: Term,
    /// Our role in it.
    pub role: StateRole,
    /// Who leads, if known.
    pub leader: Option<ReplicaId>,
}

/// Items that one revision changed, for the fan-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The revision.
    pub revision: Revision,
    /// What changed by it; never empty.
    pub changes: Vec<ItemChange>,
}

/// What the driver has to do. Order within one field is the order of doing; the fields are independent.
#[derive(Debug, Default)]
pub struct Effects {
    /// Writes to the log store, each reported back with `Input::Persisted`.
    pub persist: Vec<Draft>,
    /// Messages to send now: everything they depend on is durable.
    pub messages: Vec<Message>,
    /// For the state store, behind the drafts of this and earlier effects; may lag, the log is the truth.
    pub applied: Vec<Batch>,
    /// For the fan-out: items by revision, ascending.
    pub items: Vec<Published>,
    /// The state was replaced as a whole: watchers begin anew with `Replica::state().items()`.
    pub items_reset: bool,
    /// Answers to proposals and changes of the configuration.
    pub answers: Vec<(Ticket, Reply)>,
    /// Answers to reads and waits.
    pub reads: Vec<(Ticket, ReadReply)>,
    /// The log may be shortened, behind everything in `persist` and `applied`.
    pub compact: Option<Compaction>,
    /// Role, term or leader changed.
    pub role: Option<RoleChange>,
    /// The configuration changed: connections to replicas follow `Replica::status()`.
    pub conf_changed: bool,
    /// The message was refused, and the sender is to be told when it is `Refusal::Removed`.
    pub refused: Option<Refusal>,
    /// At start: why the applied state that was stored couldn't be used. It was made anew from snapshot and log; worth
    /// a warning, because a disk that lost or changed something may do so again
    /// (a crash while a snapshot of the leader came in has the same look).
    pub state_unusable: Option<String>,
    /// This replica was removed from the cluster: stop, keep the directory, don't start again.
    pub removed: bool,
    /// It can't go on: stop the process with this error. No further input is taken.
    pub fatal: Option<Error>,
}
