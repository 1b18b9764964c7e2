//! Who takes part: changes one at a time, learners before voters, never less than a live majority.

use raft::Progress;
use weft_model::{Action, ClientId, Command, LogIndex, Member, MemberRole, ReplicaId, Sequence, Stamp, Term};

use crate::{
    Effects, MemberChange, MemberRefusal, Replica, Reply, Ticket,
    apply::voters_without,
    convert::{ConfStep, ConfStepKind},
    gate::Known,
};

/// A learner may lack this many entries and still be promoted.
const CAUGHT_UP: u64 = 1000;
/// A learner that lacks nothing is promoted after so many heartbeats.
const LEVEL_HEARTBEATS: usize = 3;
/// The client in whose name the replicas change the member list; its sequence is the index of the entry.
const RAFT_CLIENT: ClientId = ClientId(*b"weft/raft-member");

/// For how many ticks without a break a learner has kept up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloseBehind {
    /// Lacking at most `CAUGHT_UP` entries.
    close: usize,
    /// Lacking nothing.
    level: usize,
}

impl CloseBehind {
    /// One more tick: what it has and what there is.
    fn tick(&mut self, matched: u64, last: u64) {
        let on = |ticks: usize, goes_on: bool| if goes_on { ticks + 1 } else { 0 };
        self.close = on(self.close, matched > 0 && matched + CAUGHT_UP >= last);
        self.level = on(self.level, matched > 0 && matched >= last);
    }
}

impl Replica {
    /// Proposes a change, or says at once why not.
    pub(crate) fn propose_member(&mut self, ticket: Ticket, change: MemberChange, effects: &mut Effects) {
        let reply = if self.leads() {
            match self.plan_member(change) {
                Ok((step, action)) => self.propose_step(Some(ticket), step, action).err(),
                Err(refusal) => Some(Reply::Member(refusal)),
            }
        } else {
            Some(Reply::NotLeader { leader: self.leader() })
        };
        effects.answers.extend(reply.map(|reply| (ticket, reply)));
    }

    fn plan_member(&mut self, change: MemberChange) -> Result<(ConfStep, Action), MemberRefusal> {
        if self.raw.raft.has_pending_conf() {
            return Err(MemberRefusal::Pending);
        }
        match change {
            MemberChange::AddLearner(member) => {
                if self.conf.has(member.id) {
                    return Err(MemberRefusal::AlreadyThere);
                }
                let step = ConfStep { kind: ConfStepKind::AddLearner, id: member.id };
                Ok((step, Action::ChangeMember { member: Member { role: MemberRole::Learner, ..member } }))
            }
            MemberChange::Promote(id) => self.plan_promotion(id),
            MemberChange::Remove(id) => self.plan_removal(id),
        }
    }

    fn plan_promotion(&self, id: ReplicaId) -> Result<(ConfStep, Action), MemberRefusal> {
        if self.conf.voters.contains(&id) {
            return Err(MemberRefusal::AlreadyThere);
        }
        let (Some(progress), Some(member)) = (self.progress(id), self.state.members().get(&id)) else {
            return Err(MemberRefusal::Unknown);
        };
        let lacks = self.last().0.saturating_sub(progress.matched);
        if progress.matched == 0 || lacks > CAUGHT_UP {
            return Err(MemberRefusal::Behind { entries: lacks });
        }
        let member = Member { role: MemberRole::Voter, ..member.clone() };
        Ok((ConfStep { kind: ConfStepKind::AddVoter, id }, Action::ChangeMember { member }))
    }

    fn plan_removal(&mut self, id: ReplicaId) -> Result<(ConfStep, Action), MemberRefusal> {
        if !self.conf.has(id) {
            return Err(MemberRefusal::Unknown);
        }
        let voters = voters_without(&self.conf, id);
        let alive = voters.iter().filter(|voter| self.is_alive(**voter)).count();
        if voters.is_empty() || alive * 2 <= voters.len() {
            return Err(MemberRefusal::QuorumLost { voters: voters.len(), alive });
        }
        if id == self.config.id {
            self.transfer(ReplicaId(0));
            return Err(MemberRefusal::Leads);
        }
        Ok((ConfStep { kind: ConfStepKind::Remove, id }, Action::RemoveMember { id }))
    }

    fn propose_step(&mut self, ticket: Option<Ticket>, step: ConfStep, action: Action) -> Result<(), Reply> {
        let command = Command {
            client: RAFT_CLIENT,
            sequence: Sequence(self.last().0 + 1),
            stamp: Stamp { time: self.time, random: [0; 16] },
            action,
        };
        let context = (self.codec.encode_command)(&command).to_vec();
        self.raw
            .propose_conf_change(context, step.to_library())
            .map_err(|_| Reply::Dropped("leadership is being handed over, or too much waits"))?;
        if let Some(ticket) = ticket {
            let term = Term(self.raw.raft.term);
            self.pending.insert(self.last(), term, ticket);
        }
        Ok(())
    }

    /// Promotes learners that have been close behind for long enough; called on each tick of a leader. One that lacks
    /// nothing for some heartbeats needs no further proof: a small cluster becomes safe soon.
    pub(crate) fn promote_learners(&mut self) {
        let (last, learners) = (self.last(), self.conf.learners.clone());
        self.close_behind.retain(|id, _| learners.contains(id));
        for id in learners {
            let matched = self.progress(id).map_or(0, |progress| progress.matched);
            let behind = self.close_behind.entry(id).or_default();
            behind.tick(matched, last.0);
            let timing = self.config.timing;
            let ripe = behind.close >= timing.promote_ticks
                || behind.level >= LEVEL_HEARTBEATS * timing.heartbeat_ticks;
            if !ripe || !self.is_alive(id) {
                continue;
            }
            if let Ok((step, action)) = self.plan_member(MemberChange::Promote(id))
                && self.propose_step(None, step, action).is_ok()
            {
                self.close_behind.remove(&id);
            }
        }
    }

    /// Hands leadership to the voter, or to the live one that is furthest when 0.
    pub(crate) fn transfer(&mut self, to: ReplicaId) {
        if !self.leads() {
            return;
        }
        let others = voters_without(&self.conf, self.config.id);
        let best = others
            .iter()
            .copied()
            .filter(|id| self.is_alive(*id))
            .max_by_key(|id| (self.progress(*id).map_or(0, |progress| progress.matched), id.0));
        let to = if to.0 == 0 { best } else { Some(to).filter(|id| others.contains(id)) };
        if let Some(to) = to {
            self.raw.transfer_leader(to.0);
        }
    }

    /// Ids rise and are never reused: one that we don't know and that was given out before is of a removed replica,
    /// one that is younger than our state joined after what we have applied.
    pub(crate) fn knows(&self, id: ReplicaId) -> Known {
        if self.conf.has(id) || self.state.members().contains_key(&id) {
            Known::Yes
        } else if self.conf.voters.is_empty() {
            // Nothing is applied here yet: those it was told of at join, and those that joined after it.
            let told = self.config.known.contains(&id) || id > self.config.id;
            if told { Known::Yes } else { Known::No }
        } else if id >= self.state.meta().next_replica {
            Known::Yes
        } else {
            Known::Removed
        }
    }

    /// Whether the replica was heard of within the longest election timeout; we ourselves always.
    pub(crate) fn is_alive(&self, id: ReplicaId) -> bool {
        let patience = self.config.timing.election_max_ticks as u64;
        id == self.config.id || self.heard.get(&id).is_some_and(|tick| self.now - tick <= patience)
    }

    pub(crate) fn progress(&self, id: ReplicaId) -> Option<&Progress> {
        self.raw.raft.prs().get(id.0)
    }

    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }
}
