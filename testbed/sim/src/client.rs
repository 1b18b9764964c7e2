//! A client of the control plane: one mutation at a time, asked again under the same sequence until it is answered.

use weft_core::Outcome;
use weft_model::{Action, ClientId, Command, LogIndex, ReplicaId, Sequence, Stamp, WallTime};
use weft_raft::MemberChange;

use crate::{Mutant, world::World};

/// Units after which an unanswered request is sent again.
const PATIENCE: u64 = 80;

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// A mutation.
    Command(Box<Command>),
    /// A change of the configuration; the operator's.
    Member(MemberChange),
    /// A linearizable read.
    Read,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) serial: u64,
    pub(crate) ask: Ask,
    /// Highest index that had been acknowledged to anybody when it was first sent.
    pub(crate) floor: LogIndex,
    sent: Option<u64>,
}

/// An acknowledged mutation.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) index: LogIndex,
    pub(crate) outcome: Outcome,
    pub(crate) command: Command,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) sequence: Sequence,
    pub(crate) pending: Option<Pending>,
    pub(crate) leader: Option<ReplicaId>,
    serial: u64,
}

impl Client {
    pub(crate) fn new(number: u64) -> Self {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&(number + 1).to_be_bytes());
        Self { id: ClientId(id), sequence: Sequence(0), pending: None, leader: None, serial: 0 }
    }

    pub(crate) fn begin(&mut self, world: &mut World, action: Action, floor: LogIndex) {
        self.sequence = self.sequence.next();
        let stamp = Stamp { time: WallTime(1_000_000 + world.now), random: world.bytes() };
        let command = Command { client: self.id, sequence: self.sequence, stamp, action };
        self.ask(Ask::Command(Box::new(command)), floor);
    }

    pub(crate) fn ask(&mut self, ask: Ask, floor: LogIndex) {
        self.serial += 1;
        self.pending = Some(Pending { serial: self.serial, ask, floor, sent: None });
    }

    /// What to send now, if anything: first, or again.
    pub(crate) fn due(&mut self, now: u64, mutant: Option<Mutant>) -> Option<(u64, Ask)> {
        let pending = self.pending.as_mut()?;
        if pending.sent.is_some_and(|sent| now < sent + PATIENCE) {
            return None;
        }
        if pending.sent.is_some()
            && mutant == Some(Mutant::RetryAsNew)
            && let Ask::Command(command) = &mut pending.ask
        {
            self.sequence = self.sequence.next();
            command.sequence = self.sequence;
        }
        pending.sent = Some(now);
        Some((pending.serial, pending.ask.clone()))
    }

    /// The request was not taken: soon again, somewhere else.
    pub(crate) fn refused(&mut self, now: u64, leader: Option<ReplicaId>) {
        self.leader = leader;
        if let Some(pending) = &mut self.pending {
            // A leader that is named is asked at once, else after a while.
            let wait = if leader.is_some() { 1 } else { 20 };
            pending.sent = Some((now + wait).saturating_sub(PATIENCE));
        }
    }

    pub(crate) fn waits_for(&self, serial: u64) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.serial == serial)
    }
}
