//! The end: a leader hands over first, then everything that waits is written.

use std::time::Instant;

use tokio::time::Interval;
use weft_errors::{Error, REPLICA_REMOVED};
use weft_model::ReplicaId;
use weft_raft::{Input, StateRole};

use super::{Driver, Parts, event_input};
use crate::limits::HAND_OVER;

/// This replica takes part no more.
pub(super) fn removed() -> Error {
    Error::new(&REPLICA_REMOVED, "this replica was removed from the cluster")
}

impl Driver {
    /// Gives leadership to another voter, if there is one that answers; goes on as a replica until that one leads.
    pub(super) async fn hand_over(&mut self, ticks: &mut Interval) -> Result<(), Error> {
        let end = Instant::now() + HAND_OVER;
        let leads = |parts: &Parts| parts.replica.status().role.role == StateRole::Leader;
        let status = self.parts.replica.status();
        if !leads(&self.parts) || !status.peers.iter().any(|peer| peer.voter && peer.alive) {
            return Ok(());
        }
        tracing::info!("handing leadership over");
        self.inputs.push(Input::Transfer(ReplicaId(0)));
        self.turn()?;
        while leads(&self.parts) && Instant::now() < end {
            let Parts { inbox, completions, .. } = &mut self.parts;
            tokio::select! {
                () = completions.ready.notified() => {}
                _ = ticks.tick() => self.inputs.push(Input::Tick),
                Some(event) = inbox.events.recv() => event_input(event, &mut self.inputs)?,
            }
            self.gather()?;
            self.turn()?;
        }
        Ok(())
    }

    /// Streams and links end, then the disk's threads write what they have. Waits for them.
    pub(super) fn end(self) {
        let Parts { disk, peers, fanout, replica, inbox, .. } = self.parts;
        // From here on callers are told that this replica stops.
        drop(inbox);
        fanout.reset(replica.state().meta().revision);
        peers.stop();
        disk.stop();
    }
}
