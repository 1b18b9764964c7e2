//! Who waits for which ticket.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use weft_raft::{Input, MemberChange, ReadReply, Replica, Reply, StateRole, Ticket};

use super::{Look, Proposal, Question};

enum Caller {
    Mutation(oneshot::Sender<Reply>),
    Read(oneshot::Sender<ReadReply>),
    /// The task itself: a replica that joined is being admitted.
    Member,
}

impl Caller {
    fn is_gone(&self) -> bool {
        match self {
            Self::Mutation(sender) => sender.is_closed(),
            Self::Read(sender) => sender.is_closed(),
            Self::Member => false,
        }
    }
}

/// Callers by ticket.
#[derive(Default)]
pub(super) struct Waiting {
    next: u64,
    callers: BTreeMap<Ticket, Caller>,
}

impl Waiting {
    fn enter(&mut self, caller: Caller) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.callers.insert(ticket, caller);
        ticket
    }

    pub(super) fn proposal(&mut self, proposal: Proposal, inputs: &mut Vec<Input>) {
        if proposal.reply.is_closed() {
            return;
        }
        let ticket = self.enter(Caller::Mutation(proposal.reply));
        inputs.push(Input::Propose { ticket, command: proposal.command });
    }

    pub(super) fn question(&mut self, question: Question, inputs: &mut Vec<Input>, looks: &mut Vec<Look>) {
        match question {
            Question::Read(reply) => {
                let ticket = self.enter(Caller::Read(reply));
                inputs.push(Input::Read { ticket });
            }
            Question::Await(index, reply) => {
                let ticket = self.enter(Caller::Read(reply));
                inputs.push(Input::Await { ticket, index });
            }
            Question::Look(look) => looks.push(look),
        }
    }

    /// On a leader: a replica that has joined and takes no part in Raft yet becomes a learner.
    ///
    /// Level-triggered: whoever leads sees it, however often leaders change in between.
    pub(super) fn admit_member(&mut self, replica: &Replica) -> Option<Input> {
        let busy = self.callers.values().any(|caller| matches!(caller, Caller::Member));
        let status = replica.status();
        if busy || status.role.role != StateRole::Leader {
            return None;
        }
        let member = replica.state().members().values().find(|member| !status.conf.has(member.id))?.clone();
        tracing::info!(replica = %member.name, id = member.id.0, address = %member.address, "admitting a replica");
        let ticket = self.enter(Caller::Member);
        Some(Input::ProposeMember { ticket, change: MemberChange::AddLearner(member) })
    }

    /// The tickets of callers that gave up.
    pub(super) fn abandoned(&mut self) -> Vec<Input> {
        let gone: Vec<_> =
            self.callers.iter().filter(|(_, caller)| caller.is_gone()).map(|(ticket, _)| *ticket).collect();
        gone.into_iter()
            .map(|ticket| {
                self.callers.remove(&ticket);
                Input::Cancel(ticket)
            })
            .collect()
    }

    /// Passes an answer on. A caller may have gone: then nobody needs it.
    pub(super) fn answer(&mut self, ticket: Ticket, reply: Reply) {
        match self.callers.remove(&ticket) {
            Some(Caller::Mutation(sender)) => drop(sender.send(reply)),
            Some(Caller::Member) => match reply {
                Reply::Applied { index, .. } => tracing::info!(index = index.0, "a replica was admitted"),
                // It is tried again for as long as the replica is missing.
                Reply::NotLeader { .. } | Reply::Undecided { .. } | Reply::Dropped(_) | Reply::Member(_) => {
                    tracing::debug!(?reply, "a replica was not admitted yet");
                }
            },
            Some(Caller::Read(_)) | None => {}
        }
    }

    pub(super) fn read(&mut self, ticket: Ticket, reply: ReadReply) {
        if let Some(Caller::Read(sender)) = self.callers.remove(&ticket) {
            let _ = sender.send(reply);
        }
    }
}
