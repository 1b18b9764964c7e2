//! What the tests of this crate share: a founded cluster, a codec without a wire format, replicas that talk at once.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use weft_core::new_fabric;
use weft_model::{
    Action, ClientId, ClusterId, Command, FabricDraft, Families, LogIndex, Member, MemberRole, NodeName,
    Record, ReplicaId, ReplicaName, Revision, Sequence, Stamp, WallTime,
};

use crate::{
    Codec, Conf, Effects, Input, Message, Replica, ReplicaConfig, Restored, Seed, StateRole, Ticket, Timing,
    found,
};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

pub(crate) const TIMING: Timing = Timing {
    heartbeat_ticks: 2,
    election_ticks: 10,
    election_max_ticks: 20,
    promote_ticks: 10,
    snapshot_ticks: 40,
};

thread_local! {
    static COMMANDS: RefCell<Vec<Command>> = const { RefCell::new(Vec::new()) };
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

fn intern<T: Clone>(all: &RefCell<Vec<T>>, value: &T) -> Bytes {
    let mut all = all.borrow_mut();
    all.push(value.clone());
    Bytes::from((all.len() as u64 - 1).to_be_bytes().to_vec())
}

fn recall<T: Clone>(all: &RefCell<Vec<T>>, bytes: &[u8]) -> Result<T, String> {
    let index = u64::from_be_bytes(bytes.try_into().map_err(|_| "not 8 bytes".to_owned())?);
    let index = usize::try_from(index).map_err(|e| e.to_string())?;
    all.borrow().get(index).cloned().ok_or_else(|| "unknown".to_owned())
}

/// Bytes are places in a table of this thread.
pub(crate) fn codec() -> Codec {
    Codec {
        encode_command: |command| COMMANDS.with(|all| intern(all, command)),
        decode_command: |bytes| COMMANDS.with(|all| recall(all, bytes)),
        encode_record: |record| RECORDS.with(|all| intern(all, record)),
        decode_record: |bytes| RECORDS.with(|all| recall(all, bytes)),
    }
}

pub(crate) fn member(id: u64) -> Member {
    Member {
        id: ReplicaId(id),
        name: ReplicaName::new(format!("cp-{id}")).unwrap(),
        address: format!("192.0.2.{id}:7443").parse().unwrap(),
        role: MemberRole::Voter,
        revision: Revision(0),
    }
}

pub(crate) fn command(sequence: u64, action: Action) -> Command {
    let stamp = Stamp { time: WallTime(sequence), random: [0; 16] };
    Command { client: ClientId([1; 16]), sequence: Sequence(sequence), stamp, action }
}

/// A mutation that core refuses: enough to fill a log.
pub(crate) fn filler(sequence: u64) -> Box<Command> {
    Box::new(command(sequence, Action::RemoveNode { name: NodeName::new("nobody").unwrap() }))
}

pub(crate) fn seed() -> Seed {
    let fabric = new_fabric(FabricDraft { families: Some(Families::V4), ..FabricDraft::default() }).unwrap();
    let action = Action::Found { cluster: CLUSTER, fabric, member: member(1) };
    found(&command(1, action), &codec()).unwrap()
}

pub(crate) fn config(id: u64) -> ReplicaConfig {
    ReplicaConfig {
        keep_entries: 40,
        check_every: 8,
        ..ReplicaConfig::new(ReplicaId(id), CLUSTER, id, TIMING)
    }
}

/// What the disk of a voter of `voters` holds after the founding.
pub(crate) fn restored(voters: u64) -> Restored {
    let mut seed = seed();
    seed.snapshot.conf = Conf { voters: (1..=voters).map(ReplicaId).collect(), learners: Vec::new() };
    Restored { hard_state: seed.hard_state, snapshot: Some(Arc::new(seed.snapshot)), ..Restored::default() }
}

pub(crate) fn replica(id: u64, voters: u64) -> Replica {
    let mut replica = Replica::new(config(id), restored(voters), codec()).unwrap();
    replica.input(Input::Start);
    replica
}

/// Replicas whose disks write at once and whose messages arrive at once, in order.
pub(crate) struct Group {
    pub(crate) replicas: Vec<Replica>,
    /// Everything that came out, by replica, except drafts and messages.
    pub(crate) seen: Vec<(usize, Effects)>,
    /// Messages to this replica are lost.
    pub(crate) deaf: Option<ReplicaId>,
    /// Ticks that a message is on its way.
    pub(crate) delay: usize,
    on_the_way: VecDeque<(usize, usize, Input)>,
    now: usize,
}

impl Group {
    pub(crate) fn of(voters: u64) -> Self {
        let replicas = (1..=voters).map(|id| replica(id, voters)).collect();
        Self { replicas, seen: Vec::new(), deaf: None, delay: 0, on_the_way: VecDeque::new(), now: 0 }
    }

    pub(crate) fn input(&mut self, to: usize, input: Input) {
        let mut queue = VecDeque::from([(to, input)]);
        while let Some((to, input)) = queue.pop_front() {
            let mut effects = self.replicas[to].input(input);
            queue.extend(effects.persist.drain(..).map(|draft| (to, Input::Persisted(draft.number))));
            for message in effects.messages.drain(..) {
                if let Some(snapshot) = &message.snapshot {
                    assert!(snapshot.index.0 > 0);
                    queue.push_back((to, Input::SnapshotReport { to: message.to, taken: true }));
                }
                self.route(message, &mut queue);
            }
            self.seen.push((to, effects));
        }
    }

    fn route(&mut self, message: Message, queue: &mut VecDeque<(usize, Input)>) {
        if self.deaf == Some(message.to) || self.deaf == Some(message.from) {
            return;
        }
        let Some(to) = self.replicas.iter().position(|other| other.config.id == message.to) else { return };
        let input = Input::Message { certified: message.from, message: Box::new(message) };
        if self.delay == 0 {
            queue.push_back((to, input));
        } else {
            self.on_the_way.push_back((self.now + self.delay, to, input));
        }
    }

    pub(crate) fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += 1;
            while let Some((_, to, input)) = self.on_the_way.pop_front_if(|(due, ..)| *due <= self.now) {
                self.input(to, input);
            }
            (0..self.replicas.len()).for_each(|to| self.input(to, Input::Tick));
        }
    }

    /// Ticks until somebody leads: its place.
    pub(crate) fn elect(&mut self) -> usize {
        for _ in 0..200 {
            self.tick(1);
            let leader =
                self.replicas.iter().position(|replica| replica.status().role.role == StateRole::Leader);
            if let Some(leader) = leader {
                return leader;
            }
        }
        panic!("nobody leads");
    }

    pub(crate) fn fill(&mut self, to: usize, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            self.input(to, Input::Propose { ticket: Ticket(sequence), command: filler(sequence) });
        }
    }

    pub(crate) fn applied(&self) -> Vec<LogIndex> {
        self.replicas.iter().map(|replica| replica.status().applied).collect()
    }

    /// The answers to a ticket so far.
    pub(crate) fn answers(&self, ticket: u64) -> Vec<String> {
        let answers = self.seen.iter().flat_map(|(_, effects)| &effects.answers);
        let mine = answers.filter(|(other, _)| *other == Ticket(ticket));
        mine.map(|(_, reply)| format!("{reply:?}").split([' ', '(']).next().unwrap_or_default().to_owned())
            .collect()
    }
}
