//! One machine of the control plane: a disk, and a replica while it is up.

use weft_model::{ClusterId, Command, ReplicaId, WallTime};
use weft_raft::{Codec, Error, Input, Replica, ReplicaConfig, Ticket, Timing};

use crate::{Mutant, disk::MemDisk, silence::Ear, world::Waiting};

/// The cluster of every simulation.
pub(crate) const CLUSTER: ClusterId = ClusterId(*b"weft-sim-cluster");

/// Ticks of simulated replicas: round trips take about two of them.
const TIMING: Timing = Timing {
    heartbeat_ticks: 2,
    election_ticks: 10,
    election_max_ticks: 20,
    promote_ticks: 20,
    snapshot_ticks: 100,
};

/// What became of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It works, or will again.
    Usable,
    /// Its disk is gone or can't be trusted: it must be replaced.
    Lost,
    /// It was removed from the cluster.
    Retired,
}

/// A machine.
pub(crate) struct Machine {
    pub(crate) id: ReplicaId,
    pub(crate) disk: MemDisk,
    pub(crate) replica: Option<Replica>,
    pub(crate) condition: Condition,
    /// Counts starts: what was scheduled before a crash means nothing after it.
    pub(crate) boot: u64,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) slow: bool,
    pub(crate) ear: Ear,
    known: Vec<ReplicaId>,
    next_ticket: u64,
    mutant: Option<Mutant>,
}

impl Machine {
    pub(crate) fn new(
        id: ReplicaId,
        mut disk: MemDisk,
        known: Vec<ReplicaId>,
        mutant: Option<Mutant>,
    ) -> Self {
        disk.mutant = mutant;
        Self {
            id,
            disk,
            replica: None,
            condition: Condition::Usable,
            boot: 0,
            waiting: Vec::new(),
            slow: false,
            ear: Ear::default(),
            known,
            next_ticket: 0,
            mutant,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// Starts the replica on what the disk holds.
    pub(crate) fn start(&mut self, seed: u64) -> Result<(), Error> {
        let differently = self.mutant == Some(Mutant::ReadDifferently) && self.id == ReplicaId(2);
        let codec = codec(differently.then_some(decode_differently));
        let config = ReplicaConfig {
            known: self.known.clone(),
            keep_entries: 60,
            check_every: 32,
            ..ReplicaConfig::new(self.id, CLUSTER, seed, TIMING)
        };
        self.boot += 1;
        self.ear = Ear::default();
        self.replica = Some(Replica::new(config, self.disk.restored(), codec)?);
        Ok(())
    }

    /// A ticket for whose answer nobody waits.
    pub(crate) fn nobodys_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub(crate) fn ticket(&mut self, client: usize, serial: u64) -> Ticket {
        let ticket = self.nobodys_ticket();
        self.waiting.push(Waiting { ticket, client, serial });
        ticket
    }

    /// Who waited for this ticket.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Option<Waiting> {
        let position = self.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        Some(self.waiting.swap_remove(position))
    }

    pub(crate) fn input(&mut self, input: Input) -> Option<weft_raft::Effects> {
        self.replica.as_mut().map(|replica| replica.input(input))
    }
}

/// A way to read commands.
pub(crate) type Decode = fn(&[u8]) -> Result<Command, String>;

/// The codec of the product, perhaps with another way to read commands.
pub(crate) fn codec(decode_command: Option<Decode>) -> Codec {
    Codec {
        encode_command: weft_proto::codec::encode_command,
        decode_command: decode_command.unwrap_or(decode),
        encode_record: weft_proto::codec::encode_record,
        decode_record: |bytes| weft_proto::codec::decode_record(bytes).map_err(|e| e.to_string()),
    }
}

fn decode(bytes: &[u8]) -> Result<Command, String> {
    weft_proto::codec::decode_command(bytes).map_err(|e| e.to_string())
}

/// The mutant `ReadDifferently`: once in a while the time of a command is another.
fn decode_differently(bytes: &[u8]) -> Result<Command, String> {
    let mut command = decode(bytes)?;
    if command.sequence.0 % 16 == 7 {
        command.stamp.time = WallTime(command.stamp.time.0 + 1);
    }
    Ok(command)
}
