//! The rules of the state, by commands alone.
//!
//! `World` is the one place that knows the API: it applies, folds what comes out the way a disk and a follower
//! would, and compares both with the state after every command.

mod balancers;
mod clients;
mod codes;
mod drafts;
mod endpoints;
mod fabrics;
mod leases;
mod names;
mod nodes;
mod owners;
mod pods;
mod policies;
mod policy_properties;
mod properties;
mod restored;
mod service_properties;
mod services;
mod silence;
mod transitions;

use std::{collections::BTreeMap, net::IpAddr};

use weft_errors::{Code, Coded};
use weft_model::{
    Action, AddressRange, Answer, AttachmentId, BlockLease, ClientId, ClusterAddresses, ClusterId, Command,
    Fabric, FabricDraft, FabricRanges, Families, IpMode, Item, ItemKey, Key, Labels, LoadBalancerPool,
    LogIndex, Member, MemberRole, Node, NodeFacts, NodeName, NodeUid, Object, ObjectUid, Overlay, Pod,
    PodPhase, PodReport, PodUid, Protocol, Record, RecordKey, ReplicaId, Revision, Role, Sequence, Service,
    ServicePort, ServiceSpec, Stamp, TargetPort, Term, Token, WallTime,
};

use crate::{Change, ItemChange, Outcome, State, apply, new_fabric};

/// A state with everything that follows from it.
struct World {
    state: State,
    disk: BTreeMap<RecordKey, Record>,
    view: BTreeMap<ItemKey, Item>,
    now: u64,
    sequence: u64,
}

impl World {
    fn empty() -> Self {
        let state = State::new();
        let disk = state.records().map(|record| (record.key(), record)).collect();
        Self { state, disk, view: BTreeMap::new(), now: 1_000, sequence: 0 }
    }

    /// Four blocks of each family; six mesh addresses of IPv4.
    fn small(families: Families) -> Self {
        Self::of(small_fabric(families))
    }

    fn of(fabric: Fabric) -> Self {
        let mut world = Self::empty();
        world.good(found(fabric));
        world
    }

    /// The next command of the world's own client.
    fn command(&mut self, action: Action) -> Command {
        self.sequence += 1;
        let stamp = Stamp { time: WallTime(self.now), random: u128::from(self.sequence).to_le_bytes() };
        Command { client: ClientId([1; 16]), sequence: Sequence(self.sequence), stamp, action }
    }

    fn run(&mut self, action: Action) -> Outcome {
        let command = self.command(action);
        self.apply(&command)
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        let index = self.state.meta().applied.next();
        let outcome = apply(&mut self.state, index, Term(1), command);
        self.fold(&outcome);
        outcome
    }

    fn fold(&mut self, outcome: &Outcome) {
        for change in &outcome.changes {
            match change {
                Change::Put(record) => {
                    self.disk.insert(record.key(), record.clone());
                }
                Change::Delete(key) => assert!(self.disk.remove(key).is_some(), "{key} wasn't there"),
            }
        }
        for change in &outcome.items {
            match change {
                ItemChange::Upsert(item) => {
                    let old = self.view.insert(item.key(), item.clone());
                    assert_ne!(old.as_ref(), Some(item), "an unchanged item was published");
                }
                ItemChange::Delete(key) => assert!(self.view.remove(key).is_some(), "{key} wasn't there"),
            }
        }
        self.check();
    }

    /// What must hold after every entry.
    fn check(&self) {
        self.state.verify().expect("rows agree");
        assert_eq!(
            self.view.values().cloned().collect::<Vec<_>>(),
            self.state.items(),
            "deltas make the snapshot"
        );
        let stored: BTreeMap<_, _> = self.state.records().map(|record| (record.key(), record)).collect();
        assert_eq!(self.disk, stored, "changes make the rows");
        let restored = State::restore(self.disk.values().rev().cloned()).expect("restores");
        assert_eq!(restored, self.state, "rows make the state");
        assert_disjoint(&self.state);
    }

    fn good(&mut self, action: Action) -> Answer {
        let shown = format!("{action:?}");
        self.run(action).answer.unwrap_or_else(|error| panic!("{error} for {shown}"))
    }

    /// The command is refused with this code and changes no object.
    fn refused(&mut self, action: Action, code: &Code) -> String {
        let (before, shown) = (self.objects(), format!("{action:?}"));
        let revision = self.state.meta().revision;
        let outcome = self.run(action);
        let error = outcome.answer.expect_err(&shown);
        assert_eq!(error.code(), code, "{error} for {shown}");
        assert_eq!(self.objects(), before, "a refusal changes nothing");
        assert!(outcome.items.is_empty() && outcome.revision == revision);
        error.envelope().to_string()
    }

    /// All rows but counters and clients.
    fn objects(&self) -> Vec<Record> {
        let rest = |record: &Record| !matches!(record, Record::Meta(_) | Record::Client(_));
        self.state.records().filter(rest).collect()
    }

    /// A new token's hash.
    fn token(&mut self, role: Role) -> [u8; 32] {
        let id = format!("t{}", self.sequence);
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.sequence.to_be_bytes());
        let expires = WallTime(self.now + 1_000);
        let token = Token { id, hash, role, expires, used_by: None, revision: Revision(0) };
        self.good(Action::CreateToken { token });
        hash
    }

    fn join(&mut self, node: &str) -> (Node, Vec<BlockLease>) {
        let uid = u8::try_from(self.sequence % 250).unwrap() + 1;
        let token = self.token(Role::Node);
        let answer = self.good(join(token, node, uid, NodeFacts::default()));
        let Answer::Node(node, leases) = answer else { panic!("{answer:?}") };
        (node, leases)
    }

    fn node(&self, node: &str) -> &Node {
        &self.state.nodes()[&name(node)]
    }

    fn publish(&mut self, node: &str, pods: Vec<Pod>) -> Answer {
        let report = self.report(node, pods);
        self.good(Action::PublishPods(report))
    }

    fn report(&self, node: &str, upserts: Vec<Pod>) -> PodReport {
        PodReport {
            node: name(node),
            uid: self.node(node).uid,
            complete: false,
            upserts,
            deletes: Vec::new(),
        }
    }

    fn phase(&self, uid: u8) -> PodPhase {
        self.state.pods()[&PodUid([uid; 16])].phase
    }
}

/// Allowed IPs and leases are pairwise disjoint.
fn assert_disjoint(state: &State) {
    let mut ranges: Vec<AddressRange> = Vec::new();
    for item in state.items() {
        if let Item::Peer(peer) = item {
            ranges.extend(peer.allowed);
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(!pair[0].overlaps(pair[1]), "{} and {} are allowed to two peers", pair[0], pair[1]);
    }
    let blocks: Vec<_> = state.leases().keys().collect();
    assert!(blocks.windows(2).all(|pair| !pair[0].overlaps(*pair[1])), "leases are disjoint");
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

fn ranges(texts: &str) -> Vec<AddressRange> {
    texts.split_whitespace().map(range).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn small_fabric(families: Families) -> Fabric {
    let of = |texts: &str| ranges(texts).into_iter().filter(|range| families.has(range.family())).collect();
    let ranges = FabricRanges {
        pods: of("10.0.0.0/22 fd00::/62"),
        services: of("10.1.0.0/24 fd01::/112"),
        nodes: of("10.2.0.0/29 fd02::/125"),
        load_balancers: Vec::new(),
    };
    new_fabric(FabricDraft { families: Some(families), ..FabricDraft::from(ranges) }).unwrap()
}

fn routed_fabric() -> Fabric {
    Fabric { overlay: Overlay::Routed, ..small_fabric(Families::Dual) }
}

fn member(id: u64, text: &str, port: u16) -> Member {
    Member {
        id: ReplicaId(id),
        name: text.parse().unwrap(),
        address: ([192, 168, 1, 10], port).into(),
        role: MemberRole::Voter,
        revision: Revision(0),
    }
}

fn found(fabric: Fabric) -> Action {
    Action::Found { cluster: ClusterId([7; 16]), fabric, member: member(1, "cp-1", 7443) }
}

fn join(token: [u8; 32], node: &str, uid: u8, facts: NodeFacts) -> Action {
    Action::JoinNode { token, name: name(node), uid: NodeUid([uid; 16]), labels: BTreeMap::new(), facts }
}

fn facts(underlay: &str, routes: &str) -> NodeFacts {
    let underlay: Vec<IpAddr> = underlay.split_whitespace().map(address).collect();
    let endpoint = underlay.first().map(|address| (*address, 51820).into());
    NodeFacts { endpoint, underlay, host_routes: ranges(routes), ..NodeFacts::default() }
}

fn write(object: Object) -> Action {
    Action::Write { objects: vec![object] }
}

/// A pod of one node: `pod(3, "n1", "shop/web", "10.0.0.2", 5)` was created at 5.
fn pod(uid: u8, node: &str, text: &str, addresses: &str, created: u64) -> Pod {
    Pod {
        uid: PodUid([uid; 16]),
        name: text.parse().unwrap(),
        labels: BTreeMap::new(),
        node: name(node),
        attachment: AttachmentId { container: format!("c{uid}"), interface: "eth0".to_owned() },
        addresses: addresses.split_whitespace().map(address).collect(),
        ports: Vec::new(),
        phase: PodPhase::Active,
        ready: true,
        terminating: false,
        created: WallTime(created),
        revision: Revision(0),
    }
}

/// A service of one port, 80 to 8080, as people write it: `service("shop/web", |s| ..)`.
fn service(text: &str, change: impl FnOnce(&mut Service)) -> Service {
    let spec = ServiceSpec { ports: vec![port("", 80)], allocate_node_ports: true, ..ServiceSpec::default() };
    let mut service = Service {
        name: text.parse().unwrap(),
        uid: ObjectUid([0; 16]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec,
        load_balancer: Vec::new(),
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    };
    change(&mut service);
    service
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
        target: TargetPort::Number(8080),
        node_port: 0,
        app_protocol: String::new(),
    }
}

fn labels(texts: &str) -> Labels {
    let pairs = texts.split_whitespace().filter_map(|text| text.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn given(texts: &str) -> ClusterAddresses {
    ClusterAddresses::Given(texts.split_whitespace().map(address).collect())
}

fn pool(text: &str, texts: &str) -> LoadBalancerPool {
    LoadBalancerPool {
        name: text.parse().unwrap(),
        ranges: ranges(texts),
        automatic: true,
        announce: true,
        mode: IpMode::Vip,
        nodes: BTreeMap::new(),
        generation: 0,
        revision: Revision(0),
    }
}

impl World {
    fn put(&mut self, object: Object) -> Object {
        let Answer::Written(mut written) = self.good(write(object)) else { panic!("not written") };
        written.remove(0).0
    }

    fn put_service(&mut self, service: Service) -> Service {
        let Object::Service(stored) = self.put(Object::Service(service)) else { panic!("no service") };
        stored
    }

    fn delete(&mut self, key: Key) {
        self.good(Action::Delete { keys: vec![key] });
    }
}

fn index(world: &World) -> LogIndex {
    world.state.meta().applied
}
