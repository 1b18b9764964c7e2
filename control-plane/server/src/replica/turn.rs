//! One turn: the gathered inputs go in, every effect that comes out is carried out.

use std::sync::atomic::Ordering;

use weft_core::ItemChange;
use weft_errors::{Coded, Error};
use weft_model::{ItemKey, NodeName};
use weft_raft::{Effects, Input, Published, Refusal, Replica, RoleChange, StateRole};
use weft_store::Work;

use super::{Driver, stop};
use crate::{handle::ReplicaView, peers::Place};

impl Driver {
    /// Fails when the replica can't go on; nothing of what it wanted then has left.
    pub(super) fn turn(&mut self) -> Result<(), Error> {
        self.parts.turns.fetch_add(1, Ordering::Relaxed);
        if !self.inputs.is_empty() {
            let effects = self.parts.replica.inputs(std::mem::take(&mut self.inputs));
            self.perform(effects)?;
        }
        for look in self.looks.drain(..) {
            look(&mut self.parts.replica);
        }
        Ok(())
    }

    fn perform(&mut self, effects: Effects) -> Result<(), Error> {
        if let Some(error) = effects.fatal {
            tracing::error!(%error, "this replica can't go on");
            return Err(error.envelope());
        }
        if let Some(why) = &effects.state_unusable {
            tracing::warn!(why, "the applied state on disk can't be used: it is made anew from the log");
        }
        if let Some(refusal) = &effects.refused {
            self.refused(refusal);
        }
        for (lost, snapshot) in self.parts.peers.send(effects.messages) {
            self.inputs.push(if snapshot {
                Input::SnapshotReport { to: lost, taken: false }
            } else {
                Input::Unreachable(lost)
            });
        }
        let work = Work { drafts: effects.persist, batches: effects.applied, compaction: effects.compact };
        self.parts.disk.submit(work).map_err(|e| e.envelope())?;
        self.publish(&effects.items, effects.items_reset);
        for (ticket, reply) in effects.answers {
            self.waiting.answer(ticket, reply);
        }
        for (ticket, reply) in effects.reads {
            self.waiting.read(ticket, reply);
        }
        if let Some(role) = effects.role {
            told(role);
        }
        self.follow_members(effects.conf_changed);
        let view = view_of(self.parts.id, &self.parts.replica);
        self.parts.view.send_if_modified(|before| {
            let changed = *before != view;
            *before = view;
            changed
        });
        if effects.removed { Err(stop::removed()) } else { Ok(()) }
    }

    fn refused(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Removed { from } => self.parts.removed.add(*from),
            Refusal::TooEarly { .. } => {}
            Refusal::OtherCluster { .. }
            | Refusal::NotForUs { .. }
            | Refusal::Forged { .. }
            | Refusal::Stranger { .. }
            | Refusal::Malformed { .. }
            | Refusal::LogLost { .. } => tracing::warn!(%refusal, "a message of a replica was refused"),
        }
    }

    fn publish(&self, items: &[Published], reset: bool) {
        let fanout = &self.parts.fanout;
        let revision = self.parts.replica.state().meta().revision;
        if reset {
            fanout.reset(revision);
            self.parts.events.begin(self.parts.replica.state());
            return;
        }
        for published in items {
            fanout.publish(published.revision, &published.changes);
            self.parts.events.take(published.revision, &published.changes, self.parts.replica.state());
            for node in gone(&published.changes) {
                fanout.cut_node(node);
                self.parts.reports.forget(node);
            }
        }
        self.parts.events.nodes(revision, self.parts.replica.state());
        fanout.advance(revision);
    }

    /// Connections follow the list of members, level-triggered. Before there is a state, those told at join stay.
    fn follow_members(&mut self, changed: bool) {
        let state = self.parts.replica.state();
        let revision = state.meta().revision;
        if state.members().is_empty() || (!changed && self.members_at == Some(revision)) {
            return;
        }
        self.members_at = Some(revision);
        let places = state.members().values().map(|member| Place {
            id: member.id,
            name: Some(member.name.clone()),
            address: member.address,
        });
        self.parts.peers.follow(places);
    }
}

/// Nodes whose peers went: they were removed.
fn gone(changes: &[ItemChange]) -> impl Iterator<Item = &NodeName> {
    changes.iter().filter_map(|change| match change {
        ItemChange::Delete(ItemKey::Peer(node)) => Some(node),
        ItemChange::Delete(
            ItemKey::Fabric
            | ItemKey::Route(_)
            | ItemKey::Service(_)
            | ItemKey::Probe(_)
            | ItemKey::Owner(_)
            | ItemKey::Pod(_)
            | ItemKey::Setup(_)
            | ItemKey::Policy(_)
            | ItemKey::Namespace(_)
            | ItemKey::Identity(_),
        )
        | ItemChange::Upsert(_) => None,
    })
}

fn told(change: RoleChange) {
    let term = change.term.0;
    match (change.role, change.leader) {
        (StateRole::Leader, _) => tracing::info!(term, "this replica leads"),
        (StateRole::Follower, Some(leader)) => tracing::info!(term, leader = leader.0, "following a leader"),
        (StateRole::Follower, None) => tracing::debug!(term, "no leader is known"),
        (StateRole::Candidate, _) => tracing::debug!(term, "asking for votes"),
    }
}

/// How the replica is doing, for everybody else.
pub(crate) fn view_of(id: weft_model::ReplicaId, replica: &Replica) -> ReplicaView {
    let status = replica.status();
    ReplicaView {
        id,
        role: status.role.role,
        term: status.role.term,
        leader: status.role.leader,
        applied: status.applied,
        conf: status.conf,
    }
}
