//! What every part shares: time, chance, and the queue of what happens next. Two equal seeds draw equal numbers.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use weft_raft::{Message, ReadReply, Reply, Ticket};

use crate::client::Ask;

/// Units of simulated time per tick of a replica.
pub(crate) const UNITS_PER_TICK: u64 = 4;

/// Something that happens at a time.
pub(crate) enum Event {
    /// A message reaches a machine.
    Deliver { machine: usize, message: Box<Message> },
    /// A snapshot was carried to its receiver, or not.
    SnapshotSent { machine: usize, boot: u64, to: weft_model::ReplicaId, taken: bool },
    /// A draft is durable.
    Synced { machine: usize, boot: u64, number: u64 },
    /// A request of a client reaches a machine.
    Asked { machine: usize, client: usize, serial: u64, ask: Box<Ask> },
    /// An answer reaches a client.
    Replied { client: usize, serial: u64, reply: Box<Answered> },
    /// A replica passes on when it heard nodes.
    Present { machine: usize, boot: u64, via: weft_model::ReplicaId, nodes: Vec<(weft_model::NodeName, u64)> },
    /// A machine starts again.
    Restart { machine: usize },
    /// The network is whole again.
    Heal,
}

/// An answer on its way.
pub(crate) enum Answered {
    /// To a proposal.
    Write(Reply),
    /// To a read.
    Read(ReadReply),
}

/// Who waits for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) client: usize,
    pub(crate) serial: u64,
}

/// Time, chance and the queue.
pub(crate) struct World {
    pub(crate) now: u64,
    rng: SmallRng,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    /// Running hash over everything that happened.
    trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ 0x57ef_7000);
        Self { now: 0, rng, queue: BTreeMap::new(), scheduled: 0, trace: 0xcbf2_9ce4_8422_2325 }
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.rng.random_range(0..n) == 0
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes[..]);
        bytes
    }

    pub(crate) fn after(&mut self, units: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now + units, self.scheduled), event);
    }

    /// The next event that is due.
    pub(crate) fn due(&mut self) -> Option<Event> {
        let ((time, _), _) = self.queue.first_key_value()?;
        if *time > self.now {
            return None;
        }
        self.queue.pop_first().map(|(_, event)| event)
    }

    /// Folds numbers into the trace (FNV-1a).
    pub(crate) fn note(&mut self, numbers: &[u64]) {
        for number in numbers.iter().chain([&self.now]) {
            for byte in number.to_le_bytes() {
                self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    pub(crate) const fn trace(&self) -> u64 {
        self.trace
    }
}
