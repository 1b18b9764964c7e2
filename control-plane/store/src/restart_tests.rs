//! A real replica on real files, driven as the server drives it: what was acknowledged is there after any start.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use tempfile::TempDir;
use weft_model::{
    Action, ClientId, ClusterId, Command, FabricDraft, Families, LogIndex, Member, MemberRole, ReplicaId,
    ReplicaName, Revision, Role, Sequence, Stamp, Token, WallTime,
};
use weft_raft::{
    Codec, Effects, Error as RaftError, Input, Replica, ReplicaConfig, Reply, Ticket, Timing, found,
};

use crate::{DataDir, Disk, Done, Identity, LogStore, StateHealth, Work, restore};

const CLUSTER: ClusterId = ClusterId([7; 16]);

const TIMING: Timing = Timing {
    heartbeat_ticks: 5,
    election_ticks: 15,
    election_max_ticks: 30,
    promote_ticks: 300,
    snapshot_ticks: 6_000,
};

fn codec() -> Codec {
    Codec {
        encode_command: weft_proto::codec::encode_command,
        decode_command: |bytes| weft_proto::codec::decode_command(bytes).map_err(|e| e.to_string()),
        encode_record: weft_proto::codec::encode_record,
        decode_record: |bytes| weft_proto::codec::decode_record(bytes).map_err(|e| e.to_string()),
    }
}

fn command(sequence: u64, action: Action) -> Command {
    let stamp = Stamp { time: WallTime(sequence), random: [0; 16] };
    Command { client: ClientId([1; 16]), sequence: Sequence(sequence), stamp, action }
}

/// `weftd init`.
fn init(path: &Path) {
    let draft = FabricDraft { families: Some(Families::V4), ..FabricDraft::default() };
    let fabric = weft_core::new_fabric(draft).unwrap();
    let (name, listen) = (ReplicaName::new("cp-1").unwrap(), "192.0.2.1:7443".parse().unwrap());
    let (id, role, revision) = (ReplicaId(1), MemberRole::Voter, Revision(0));
    let member = Member { id, name: name.clone(), address: listen, role, revision };
    let seed = found(&command(1, Action::Found { cluster: CLUSTER, fabric, member }), &codec()).unwrap();
    let identity = Identity { cluster: CLUSTER, id, name, listen, peers: Vec::new() };
    drop(DataDir::create(path, identity, Some(&seed)).unwrap());
}

/// `weftd run`: a replica and its disk.
struct Running {
    replica: Replica,
    disk: Disk,
    done: Receiver<Done>,
    health: StateHealth,
    /// Numbers of the last draft that left and of the last that is durable.
    submitted: u64,
    persisted: u64,
    _directory: DataDir,
}

impl Running {
    fn start(path: &Path) -> Result<Self, RaftError> {
        let directory = DataDir::open(path).unwrap();
        let log = Arc::new(directory.open_log().unwrap());
        let (states, health) = directory.open_states().unwrap();
        let restored = restore(&*log, &states).unwrap();
        let config =
            ReplicaConfig { keep_entries: 50, ..ReplicaConfig::new(ReplicaId(1), CLUSTER, 3, TIMING) };
        let replica = Replica::new(config, restored, codec())?;
        let (sender, done) = channel();
        let disk = Disk::start(log, Arc::new(states), move |event| drop(sender.send(event))).unwrap();
        let mut running =
            Self { replica, disk, done, health, submitted: 0, persisted: 0, _directory: directory };
        running.input(Input::Start);
        while running.replica.status().role.role != weft_raft::StateRole::Leader {
            running.input(Input::Tick);
        }
        Ok(running)
    }

    /// Takes an input and everything that the disk says because of it.
    fn input(&mut self, input: Input) -> Vec<Effects> {
        let mut all = vec![self.carry_out(input)];
        while self.persisted < self.submitted {
            match self.done.recv_timeout(Duration::from_secs(20)).unwrap() {
                Done::Persisted(number) => {
                    self.persisted = number;
                    all.push(self.carry_out(Input::Persisted(number)));
                }
                Done::Compacted(_) => {}
                Done::Failed(error) => panic!("{error}"),
            }
        }
        all
    }

    fn carry_out(&mut self, input: Input) -> Effects {
        let mut effects = self.replica.input(input);
        assert_eq!(effects.fatal, None);
        let (drafts, batches) = (std::mem::take(&mut effects.persist), std::mem::take(&mut effects.applied));
        self.submitted = drafts.last().map_or(self.submitted, |draft| draft.number);
        self.disk.submit(Work { drafts, batches, compaction: effects.compact.take() }).unwrap();
        effects
    }

    /// Proposes tokens of these numbers; every one must be acknowledged.
    fn write(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let token = Token {
                id: format!("t{number}"),
                hash: [u8::try_from(number % 256).unwrap(); 32],
                role: Role::Viewer,
                expires: WallTime(u64::MAX / 2),
                used_by: None,
                revision: Revision(0),
            };
            let command = Box::new(command(number + 10, Action::CreateToken { token }));
            let effects = self.input(Input::Propose { ticket: Ticket(number), command });
            let acked = effects.iter().flat_map(|effects| &effects.answers);
            let acked = acked.filter(|(_, reply)| matches!(reply, Reply::Applied { .. })).count();
            assert_eq!(acked, 1, "token {number}");
        }
    }

    fn facts(&self) -> (usize, Revision) {
        let state = self.replica.state();
        (state.tokens().len(), state.meta().revision)
    }
}

/// Tokens and revision survive; the applied index rises with each start.
fn check(running: &Running, before: (usize, Revision)) {
    let after = running.facts();
    assert_eq!(after, before);
}

#[test]
fn what_was_acknowledged_is_there_after_any_start() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("weft");
    init(&path);
    let mut running = Running::start(&path).unwrap();
    running.write(0..30);
    let before = running.facts();
    assert_eq!(before.0, 30);
    running.disk.stop();
    drop((running.replica, running.done, running._directory));

    // An orderly end, then one with the log shortened several times.
    let mut running = Running::start(&path).unwrap();
    assert_eq!(running.health, StateHealth::Sound);
    check(&running, before);
    running.write(30..230);
    assert!(running.replica.status().first > LogIndex(100), "the log was shortened");
    let before = running.facts();
    drop(running);

    // The applied state is damaged: it is rebuilt from snapshot and log.
    fs::write(path.join("state/db"), vec![0xff; 100_000]).unwrap();
    let running = Running::start(&path).unwrap();
    assert!(matches!(running.health, StateHealth::Rebuilt { .. }));
    check(&running, before);
    drop(running);
    let running = Running::start(&path).unwrap();
    assert_eq!(running.health, StateHealth::Sound, "and it was written again");
    check(&running, before);
    drop(running);

    // The applied state is gone altogether.
    fs::remove_dir_all(path.join("state")).unwrap();
    check(&Running::start(&path).unwrap(), before);
}

#[test]
fn a_log_that_lost_its_tail_makes_no_replica() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("weft");
    init(&path);
    let mut running = Running::start(&path).unwrap();
    running.write(0..20);
    running.disk.stop();
    drop((running.replica, running.done, running._directory));
    let whole = path.join("whole");
    fs::create_dir(&whole).unwrap();
    for file in fs::read_dir(path.join("log")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), whole.join(file.file_name())).unwrap();
        let bytes = fs::read(file.path()).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        fs::write(file.path(), &bytes[..used / 2]).unwrap();
    }
    fs::remove_dir_all(path.join("state")).unwrap();
    assert!(matches!(Running::start(&path).map(|_| ()), Err(RaftError::LogLost { .. })));
    for file in fs::read_dir(&whole).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), path.join("log").join(file.file_name())).unwrap();
    }
    assert_eq!(Running::start(&path).unwrap().facts().0, 20, "the whole log is taken");
    let log = DataDir::open(&path).unwrap().open_log().unwrap();
    assert!(log.load().unwrap().acknowledged > LogIndex(20));
}
