//! Who leads, what changes with it, and the election timeouts, drawn from our own chance.

use weft_model::{ReplicaId, Term};

use crate::{Effects, Replica, RoleChange, StateRole};

impl Replica {
    pub(crate) fn leads(&self) -> bool {
        self.raw.raft.state == raft::StateRole::Leader
    }

    pub(crate) fn leader(&self) -> Option<ReplicaId> {
        Some(ReplicaId(self.raw.raft.leader_id)).filter(|id| id.0 != 0)
    }

    pub(crate) fn role(&self) -> StateRole {
        match self.raw.raft.state {
            raft::StateRole::Follower => StateRole::Follower,
            raft::StateRole::Candidate | raft::StateRole::PreCandidate => StateRole::Candidate,
            raft::StateRole::Leader => StateRole::Leader,
        }
    }

    pub(crate) fn now_role(&self) -> RoleChange {
        RoleChange { term: Term(self.raw.raft.term), role: self.role(), leader: self.leader() }
    }

    pub(crate) fn follow_role(&mut self, effects: &mut Effects) {
        let role = self.now_role();
        if role == self.seen {
            return;
        }
        let led = self.seen.role == StateRole::Leader;
        if led && (role.role != StateRole::Leader || role.term != self.seen.term) {
            effects.answers.extend(self.pending.abandon(role.leader));
            effects.reads.extend(self.reads.abandon(role.leader));
            self.sending.clear();
        }
        if role.term != self.seen.term {
            self.hashes.forget();
            self.close_behind.clear();
        }
        self.seen = role;
        effects.role = Some(role);
    }

    /// The library draws timeouts from the thread's generator whenever it resets; ours takes its place each time.
    pub(crate) fn settle_timeout(&mut self) {
        let role = self.now_role();
        if role != self.seen {
            self.draw_timeout();
        } else {
            self.raw.raft.set_randomized_election_timeout(self.timeout);
        }
    }

    pub(crate) fn draw_timeout(&mut self) {
        let timing = self.config.timing;
        self.timeout = self.chance.between(timing.election_ticks, timing.election_max_ticks);
        self.raw.raft.set_randomized_election_timeout(self.timeout);
    }
}
