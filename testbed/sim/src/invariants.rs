//! What must hold at every moment, and what must hold once everything is well again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use weft_model::{Answer, ClientId, LogIndex, ReplicaId, Sequence, Term};
use weft_raft::{Message, MessageKind};

use crate::client::Acked;

/// The first invariant that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed that breaks it again.
    pub seed: u64,
    /// When, in units.
    pub at: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, unit {}: {}", self.seed, self.at, self.what)
    }
}

impl std::error::Error for Violation {}

/// How much happened: an idle simulation proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Mutations acknowledged to clients.
    pub acknowledged: u64,
    /// Of those, answered from the memory of exactly-once.
    pub repeated: u64,
    /// Linearizable reads answered.
    pub reads: u64,
    /// Terms with a leader.
    pub elections: u64,
    /// Starts of replicas after a crash.
    pub crashes: u64,
    /// Cuts of the network.
    pub partitions: u64,
    /// Disks lost.
    pub disk_losses: u64,
    /// Replicas put in place of lost ones.
    pub replacements: u64,
    /// Snapshots taken by followers.
    pub snapshots: u64,
    /// Times a log was shortened.
    pub compactions: u64,
    /// Pods attached.
    pub attached: u64,
    /// Blocks granted.
    pub grants: u64,
    /// Blocks given back.
    pub returns: u64,
    /// Nodes found silent.
    pub silences: u64,
    /// Nodes heard again.
    pub returns_of_nodes: u64,
    /// Highest applied index.
    pub entries: u64,
    /// Hash over everything that happened.
    pub trace: u64,
}

impl Report {
    /// Adds another run's counts.
    pub const fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.repeated += other.repeated;
        self.reads += other.reads;
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.disk_losses += other.disk_losses;
        self.replacements += other.replacements;
        self.snapshots += other.snapshots;
        self.compactions += other.compactions;
        self.attached += other.attached;
        self.grants += other.grants;
        self.returns += other.returns;
        self.silences += other.silences;
        self.returns_of_nodes += other.returns_of_nodes;
        self.entries += other.entries;
        self.trace ^= other.trace;
    }
}

/// Everything that is remembered to be checked against.
#[derive(Default)]
pub(crate) struct Invariants {
    leaders: BTreeMap<Term, ReplicaId>,
    votes: BTreeMap<(ReplicaId, Term), ReplicaId>,
    hashes: BTreeMap<LogIndex, ([u8; 32], ReplicaId)>,
    held: BTreeMap<IpAddr, String>,
    acked: BTreeSet<LogIndex>,
    pub(crate) newest: LogIndex,
    /// Last acknowledged sequence of each client and where it was applied first, if that is known.
    pub(crate) last: BTreeMap<ClientId, (Sequence, Option<LogIndex>)>,
    pub(crate) report: Report,
    /// Compare hashes here too, not only inside the replicas.
    pub(crate) compare_hashes: bool,
}

impl Invariants {
    pub(crate) fn new() -> Self {
        Self { compare_hashes: true, ..Self::default() }
    }

    /// One leader per term.
    pub(crate) fn leads(&mut self, term: Term, id: ReplicaId) -> Result<(), String> {
        match self.leaders.insert(term, id) {
            Some(other) if other != id => Err(format!("replicas {other} and {id} both lead term {term}")),
            Some(_) => Ok(()),
            None => {
                self.report.elections += 1;
                Ok(())
            }
        }
    }

    /// One vote per replica and term, through all its starts; a candidate's own counts.
    pub(crate) fn votes(&mut self, message: &Message) -> Result<(), String> {
        let candidate = if message.kind == MessageKind::RequestVote {
            message.from
        } else if message.kind == MessageKind::RequestVoteResponse && !message.reject {
            message.to
        } else {
            return Ok(());
        };
        match self.votes.insert((message.from, message.term), candidate) {
            Some(other) if other != candidate => {
                let (voter, term) = (message.from, message.term);
                Err(format!("replica {voter} voted for {other} and for {candidate} in term {term}"))
            }
            _ => Ok(()),
        }
    }

    /// Equal states at equal indexes.
    pub(crate) fn applied(&mut self, index: LogIndex, hash: [u8; 32], id: ReplicaId) -> Result<(), String> {
        self.report.entries = self.report.entries.max(index.0);
        let (known, by) = *self.hashes.entry(index).or_insert((hash, id));
        if known == hash || !self.compare_hashes {
            return Ok(());
        }
        Err(format!("replicas {by} and {id} have different states at index {index}"))
    }

    /// An address is held by one pod of one node.
    pub(crate) fn hold(&mut self, address: IpAddr, who: String) -> Result<(), String> {
        self.report.attached += 1;
        match self.held.insert(address, who.clone()) {
            Some(other) => Err(format!("{address} is held by {other} and {who}")),
            None => Ok(()),
        }
    }

    pub(crate) fn release(&mut self, address: IpAddr) {
        self.held.remove(&address);
    }

    /// Acknowledged mutations are in the order in which they were asked for, each at an index of its own.
    pub(crate) fn acknowledge(&mut self, acked: &Acked, floor: LogIndex) -> Result<(), String> {
        let (index, command) = (acked.index, &acked.command);
        self.report.acknowledged += 1;
        if acked.outcome.repeated {
            self.report.repeated += 1;
        } else if index <= floor {
            return Err(format!("a mutation begun after {floor} was acknowledged got index {index}"));
        } else if !self.acked.insert(index) {
            return Err(format!("two mutations were acknowledged at index {index}"));
        }
        match &acked.outcome.answer {
            Ok(Answer::Lease(_)) => self.report.grants += 1,
            Ok(Answer::Node(_, leases)) => self.report.grants += leases.len() as u64,
            Ok(Answer::Done | Answer::Written(_) | Answer::Member(_) | Answer::Person(_)) | Err(_) => {}
        }
        self.newest = self.newest.max(index);
        let place = (!acked.outcome.repeated).then_some(index);
        self.last.insert(command.client, (command.sequence, place));
        Ok(())
    }

    /// A linearizable read sees everything that was acknowledged before it was asked.
    pub(crate) fn read(&mut self, index: LogIndex, floor: LogIndex) -> Result<(), String> {
        self.report.reads += 1;
        if index < floor {
            return Err(format!("a read begun after {floor} was acknowledged saw the state of {index}"));
        }
        Ok(())
    }

    /// Once all is well: nothing that was acknowledged is missing, nothing was done twice.
    pub(crate) fn complete(&self, state: &weft_core::State) -> Result<(), String> {
        for (client, (sequence, place)) in &self.last {
            let Some(record) = state.clients().get(client) else {
                return Err(format!(
                    "client {client} was acknowledged {sequence}, the state knows nothing of it"
                ));
            };
            if record.sequence != *sequence || place.is_some_and(|index| index != record.index) {
                let (was, at) = (record.sequence, record.index);
                return Err(format!(
                    "client {client} was acknowledged {sequence} at {place:?}, the state has {was} at {at}"
                ));
            }
        }
        let (granted, acked) = (state.meta().last_epoch.0, self.report.grants);
        if granted != acked {
            return Err(format!("{granted} blocks were granted, {acked} were acknowledged"));
        }
        Ok(())
    }
}
