//! What reaches the replica task, and by which bounded channels.

use tokio::sync::{mpsc, oneshot};
use weft_model::{Command, LogIndex, ReplicaId};
use weft_raft::{Message, ReadReply, Replica, Reply};

use crate::limits::{EVENTS, PROPOSALS, QUESTIONS};

/// A mutation and who waits for its outcome.
pub(crate) struct Proposal {
    pub(crate) command: Box<Command>,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// Something that runs on the replica task, with the state between two inputs.
pub(crate) type Look = Box<dyn FnOnce(&mut Replica) + Send>;

/// Everything that changes nothing.
pub(crate) enum Question {
    /// From when on is a read linearizable? The leader only.
    Read(oneshot::Sender<ReadReply>),
    /// Is this index applied here?
    Await(LogIndex, oneshot::Sender<ReadReply>),
    /// A look at the state as it is.
    Look(Look),
}

/// What other replicas say, and what became of what was sent to them.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message of the replica that the connection's certificate names.
    Message(ReplicaId, Box<Message>),
    /// The stream to a replica broke.
    Unreachable(ReplicaId),
    /// Sending a snapshot ended.
    SnapshotSent(ReplicaId, bool),
    /// A replica says that this one was removed.
    Removed,
}

/// Where others put things.
#[derive(Clone)]
pub(crate) struct Senders {
    pub(crate) proposals: mpsc::Sender<Proposal>,
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) events: mpsc::Sender<Event>,
}

/// Where the replica task takes them.
pub(crate) struct Inbox {
    pub(crate) proposals: mpsc::Receiver<Proposal>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Both ends.
pub(crate) fn channels() -> (Senders, Inbox) {
    let (proposals, proposals_in) = mpsc::channel(PROPOSALS);
    let (questions, questions_in) = mpsc::channel(QUESTIONS);
    let (events, events_in) = mpsc::channel(EVENTS);
    let senders = Senders { proposals, questions, events };
    (senders, Inbox { proposals: proposals_in, questions: questions_in, events: events_in })
}
