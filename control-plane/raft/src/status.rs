//! How a replica is doing, for operators and for the driver's connections.

use weft_model::{LogIndex, ReplicaId};

use crate::{Conf, Replica, RoleChange};

/// How another replica is doing, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub id: ReplicaId,
    /// Whether it votes.
    pub voter: bool,
    /// Last entry it is known to have.
    pub matched: LogIndex,
    /// Whether it was heard of within an election timeout.
    pub alive: bool,
}

/// How the replica is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Role, term, leader.
    pub role: RoleChange,
    /// Commit index.
    pub commit: LogIndex,
    /// Last applied entry.
    pub applied: LogIndex,
    /// First entry in the log.
    pub first: LogIndex,
    /// Last entry in the log.
    pub last: LogIndex,
    /// Bytes of the log in memory.
    pub log_bytes: usize,
    /// Who takes part.
    pub conf: Conf,
    /// Everybody but us; positions are known to the leader only.
    pub peers: Vec<PeerStatus>,
}

impl Replica {
    /// How it is doing.
    pub fn status(&self) -> Status {
        let log = &self.raw.raft.raft_log;
        let us = self.config.id;
        Status {
            role: self.now_role(),
            commit: LogIndex(log.committed),
            applied: self.applied.0,
            first: self.raw.store().base().0.next(),
            last: self.last(),
            log_bytes: self.raw.store().bytes(),
            conf: self.conf.clone(),
            peers: self.conf.all().filter(|id| *id != us).map(|id| self.peer_status(id)).collect(),
        }
    }

    fn peer_status(&self, id: ReplicaId) -> PeerStatus {
        let matched = self.progress(id).filter(|_| self.leads()).map_or(0, |progress| progress.matched);
        let voter = self.conf.voters.contains(&id);
        PeerStatus { id, voter, matched: LogIndex(matched), alive: self.is_alive(id) }
    }
}
