//! Room on the disk: while there is little, this replica takes nothing as a leader that makes the state larger.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, DISK_FULL, Error};
use weft_model::{Action, ReplicaName, Role};
use weft_store::{Reserve, Space};

use crate::limits::SPACE_CHECK;

/// How full the disk of this replica is; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    replica: ReplicaName,
    /// What there is, while it is too little.
    low: Arc<Mutex<Option<Space>>>,
}

impl Room {
    pub(crate) fn new(replica: ReplicaName) -> Self {
        Self { replica, low: Arc::default() }
    }

    /// Refuses with `DISK_FULL` what makes the state larger while there is little room. What makes it smaller, and what
    /// changes who takes part, is always taken: that is the way out.
    pub(crate) fn check(&self, action: &Action) -> Result<(), Error> {
        let low = *self.low.lock().unwrap_or_else(PoisonError::into_inner);
        match low {
            Some(space) if adds(action) => {
                let (free, total) = (space.free >> 20, space.total >> 20);
                let what = format!(
                    "the disk of replica {} is nearly full: {free} of {total} MiB are free",
                    self.replica
                );
                Err(Error::new(&DISK_FULL, what).object("member", "", &self.replica))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn found(&self, space: Space) {
        let now = space.is_low().then_some(space);
        let before = std::mem::replace(&mut *self.low.lock().unwrap_or_else(PoisonError::into_inner), now);
        let (free_mib, total_mib) = (space.free >> 20, space.total >> 20);
        match (before.is_some(), now.is_some()) {
            (false, true) => {
                tracing::warn!(free_mib, total_mib, "the disk is nearly full: only removals are taken")
            }
            (true, false) => tracing::info!(free_mib, total_mib, "the disk has room again"),
            (true, true) | (false, false) => {}
        }
    }
}

/// Whether an action only adds. Those that replace or take away, and those that the way out of a full disk may need
/// (a replica and a person join, a token for a replica), don't count.
fn adds(action: &Action) -> bool {
    match action {
        Action::Write { .. } | Action::JoinNode { .. } | Action::LeaseBlock { .. } => true,
        Action::CreateToken { token } => token.role == Role::Node,
        // A complete report also removes what it doesn't name.
        Action::PublishPods(report) => {
            !report.complete && report.deletes.is_empty() && !report.upserts.is_empty()
        }
        Action::Found { .. }
        | Action::Delete { .. }
        | Action::AssignOwners { .. }
        | Action::NoteSilence { .. }
        | Action::RevokeToken { .. }
        | Action::JoinReplica { .. }
        | Action::JoinPerson { .. }
        | Action::PublishNode { .. }
        | Action::ReturnBlock { .. }
        | Action::RemoveNode { .. }
        | Action::ChangeMember { .. }
        | Action::RemoveMember { .. } => false,
    }
}

/// Looks at the disk until the process stops. A disk that doesn't answer holds up nothing but the next look.
pub(crate) async fn keep_looking(mut reserve: Reserve, room: Room, stop: CancellationToken) {
    let mut looks = tokio::time::interval(SPACE_CHECK);
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let space = reserve.look();
            (reserve, space)
        });
        // It panics only with the runtime's end.
        let Ok((back, space)) = looked.await else { return };
        reserve = back;
        match space {
            Ok(space) => {
                told = false;
                room.found(space);
            }
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(error = %error.envelope(), "the room on the disk is unknown");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{Family, NodeName, NodeUid, PodReport, PodUid, ReplicaId, Revision, Token, WallTime};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn token(role: Role) -> Action {
        let (id, hash, expires) = ("t".to_owned(), [0; 32], WallTime(1));
        Action::CreateToken { token: Token { id, hash, role, expires, used_by: None, revision: Revision(0) } }
    }

    #[test]
    fn a_full_disk_refuses_what_adds_and_takes_what_removes() {
        let (node, uid) = (NodeName::new("n1").unwrap(), NodeUid([1; 16]));
        let report = |complete, deletes| {
            let pod = weft_model::Pod {
                uid: PodUid([1; 16]),
                name: "shop/web".parse().unwrap(),
                labels: std::collections::BTreeMap::new(),
                node: NodeName::new("n1").unwrap(),
                attachment: weft_model::AttachmentId {
                    container: "c".to_owned(),
                    interface: "eth0".to_owned(),
                },
                addresses: Vec::new(),
                ports: Vec::new(),
                phase: weft_model::PodPhase::Active,
                ready: true,
                terminating: false,
                created: WallTime(1),
                revision: Revision(0),
            };
            let node = NodeName::new("n1").unwrap();
            Action::PublishPods(PodReport {
                node,
                uid: NodeUid([1; 16]),
                complete,
                upserts: vec![pod],
                deletes,
            })
        };
        let cases = [
            (Action::Write { objects: Vec::new() }, false),
            (token(Role::Node), false),
            (Action::LeaseBlock { node: node.clone(), uid, family: Family::V4 }, false),
            (report(false, vec![]), false),
            (report(false, vec![PodUid([2; 16])]), true),
            (report(true, vec![]), true),
            (token(Role::Replica), true),
            (Action::RevokeToken { id: "t".to_owned() }, true),
            (Action::RemoveNode { name: node }, true),
            (Action::RemoveMember { id: ReplicaId(2) }, true),
        ];
        let room = Room::new(ReplicaName::new("cp-1").unwrap());
        let space = |free| Space { free: free * MIB, total: 1_000 * MIB };
        for (action, taken) in &cases {
            room.found(space(99));
            assert_eq!(room.check(action).is_ok(), *taken, "{action:?}");
            room.found(space(100));
            assert!(room.check(action).is_ok(), "there is room: {action:?}");
        }
        room.found(space(99));
        let error = room.check(&cases[0].0).unwrap_err();
        assert_eq!(error.registered(), &DISK_FULL);
        assert!(
            error.to_string().contains("cp-1") && error.to_string().contains("99 of 1000 MiB"),
            "{error}"
        );
    }
}
