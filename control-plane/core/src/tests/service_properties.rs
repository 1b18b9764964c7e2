//! Random writes around services: nothing is ever held twice, deltas make the snapshot, rows make the state
//! (`World::check`), a dry run and admission promise what happens, and the log goes the same way twice.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use weft_model::{
    Action, AddressType, ClusterAddresses, Command, Conditions, DnsPolicy, EndpointSlice, Families, Family,
    FamilyPolicy, Hints, Key, Labels, LogIndex, Namespace, NodeName, NodeSilence, Object, ObjectUid, PodDns,
    PodSpec, PodUid, Protocol, Revision, SERVICE_NAME_LABEL, Service, ServiceType, SliceEndpoint, SlicePort,
    TargetPort, Term, TrafficDistribution, TrafficPolicy, WallTime, ZONE_LABEL,
};

use super::{World, address, labels, name, pod, pool, port, ranges, service, small_fabric, write};
use crate::{
    SHARED_IP_ANNOTATION, State, TOPOLOGY_MODE_ANNOTATION, admit, apply, dry_run,
    owners::{Liveness, decide},
};

/// What varies of a service; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
struct Draft {
    name: u8,
    kind: u8,
    families: u8,
    policy: u8,
    address: u8,
    ports: Vec<(u8, bool, u8)>,
    local: bool,
    key: u8,
    asked: u8,
    external: bool,
    selector: u8,
    extra: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Service(Draft),
    DeleteService { name: u8 },
    Pool { name: u8, which: u8, automatic: bool, announce: bool },
    DeletePool { name: u8 },
    Fabric { services: u8, ports: u8, balancers: bool, external: bool },
    Pods { node: u8, pods: Vec<(u8, u8, bool)> },
    PodSpec { name: u8, labels: u8, ready: u8 },
    DeletePodSpec { name: u8 },
    Slice { name: u8, service: u8, addresses: u8 },
    DeleteSlice { name: u8 },
    Zone { node: u8, zone: u8 },
    Namespace { there: bool },
    Owners { alive: u8 },
    Silence { silent: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ports = vec((0..3_u8, any::<bool>(), 0..6_u8), 1..3);
    let first = (0..6_u8, 0..4_u8, 0..5_u8, 0..4_u8, 0..12_u8, ports);
    let second = (any::<bool>(), 0..3_u8, 0..8_u8, any::<bool>(), 0..3_u8, 0..4_u8);
    let draft = (first, second).prop_map(|((name, kind, families, policy, address, ports), second)| {
        let (local, key, asked, external, selector, extra) = second;
        Draft { name, kind, families, policy, address, ports, local, key, asked, external, selector, extra }
    });
    let small = 0..3_u8;
    let step = prop_oneof![
        16 => draft.prop_map(Step::Service),
        4 => (0..6_u8).prop_map(|name| Step::DeleteService { name }),
        3 => (0..2_u8, 0..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(name, which, automatic, announce)| Step::Pool { name, which, automatic, announce }),
        1 => (0..2_u8).prop_map(|name| Step::DeletePool { name }),
        2 => (small.clone(), small.clone(), any::<bool>(), any::<bool>()).prop_map(|(services, ports, balancers, external)| {
            Step::Fabric { services, ports, balancers, external }
        }),
        4 => (0..2_u8, vec((0..4_u8, 0..3_u8, any::<bool>()), 0..3)).prop_map(|(node, pods)| Step::Pods { node, pods }),
        3 => (0..8_u8, small.clone(), small.clone()).prop_map(|(name, labels, ready)| Step::PodSpec { name, labels, ready }),
        1 => (0..8_u8).prop_map(|name| Step::DeletePodSpec { name }),
        3 => (small.clone(), 0..6_u8, small.clone()).prop_map(|(name, service, addresses)| Step::Slice { name, service, addresses }),
        1 => small.clone().prop_map(|name| Step::DeleteSlice { name }),
        2 => (0..2_u8, small).prop_map(|(node, zone)| Step::Zone { node, zone }),
        1 => any::<bool>().prop_map(|there| Step::Namespace { there }),
        3 => (0..4_u8).prop_map(|alive| Step::Owners { alive }),
        3 => (0..4_u8).prop_map(|silent| Step::Silence { silent }),
    ];
    vec(step, 1..60)
}

/// Two services live in `shop`, which may come and go.
fn service_name(number: u8) -> String {
    format!("{}/s{number}", if number < 4 { "default" } else { "shop" })
}

fn selector(number: u8) -> Labels {
    labels(["", "app=web", "app=web tier=x"][usize::from(number)])
}

impl Draft {
    fn service(&self) -> Service {
        service(&service_name(self.name), |s| {
            s.spec.kind = ServiceType::ALL[usize::from(self.kind)];
            s.spec.families = [&[][..], &[], &[Family::V4], &[Family::V6], &[Family::V6, Family::V4]]
                [usize::from(self.families)]
            .to_vec();
            use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
            s.spec.family_policy = [None, Some(SingleStack), Some(PreferDualStack), Some(RequireDualStack)]
                [usize::from(self.policy)];
            s.spec.addresses = match self.address {
                0 => ClusterAddresses::None,
                1 => ClusterAddresses::Given(vec![address("10.1.0.5")]),
                2 => ClusterAddresses::Given(vec![address("10.1.0.6"), address("fd01::6")]),
                3 => ClusterAddresses::Given(vec![address("10.1.0.20")]),
                _ => ClusterAddresses::Wanted,
            };
            s.spec.ports = self
                .ports
                .iter()
                .map(|(number, udp, node_port)| weft_model::ServicePort {
                    protocol: if *udp { Protocol::Udp } else { Protocol::Tcp },
                    node_port: if *node_port == 0 { 30_000 + u16::from(self.asked) } else { 0 },
                    target: if *node_port == 1 {
                        TargetPort::Name("http".to_owned())
                    } else {
                        TargetPort::Number(8080)
                    },
                    ..port(&format!("p{number}-{udp}"), 80 + u16::from(*number))
                })
                .collect();
            s.spec.external_policy = if self.local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
            if self.key > 0 {
                s.annotations.insert(SHARED_IP_ANNOTATION.to_owned(), self.key.to_string());
            }
            if self.asked > 5 {
                s.spec.load_balancer_ips =
                    vec![address(["192.168.9.1", "192.168.8.0"][usize::from(self.asked) % 2])];
            }
            if self.external && self.extra == 0 {
                s.spec.external_ips = vec![address("198.18.0.1")];
            }
            s.spec.selector = selector(self.selector);
            s.spec.publish_not_ready = self.extra == 1;
            s.spec.distribution = (self.extra == 2).then_some(TrafficDistribution::PreferSameZone);
            s.spec.allocate_node_ports = self.kind != 2 || self.extra != 1;
            if self.extra == 3 {
                s.annotations.insert(TOPOLOGY_MODE_ANNOTATION.to_owned(), "Auto".to_owned());
            }
            if self.kind == 3 {
                s.spec.external_name = "db.example.com".to_owned();
            }
        })
    }
}

struct Run {
    world: World,
    log: Vec<Command>,
}

impl Run {
    fn new() -> Self {
        let mut world = World::empty();
        let mut log = Vec::new();
        let mut fabric = small_fabric(Families::Dual);
        fabric.ranges.services = ranges("10.1.0.0/28 fd01::/124");
        fabric.node_port_range = (30_000, 30_007);
        let command = world.command(super::found(fabric));
        world.apply(&command);
        log.push(command);
        let mut run = Self { world, log };
        for node in 0..2_u8 {
            let token = [node + 1; 32];
            let id = format!("t{node}");
            let expires = WallTime(u64::MAX / 2);
            let token_row = weft_model::Token {
                id,
                hash: token,
                role: weft_model::Role::Node,
                expires,
                used_by: None,
                revision: Revision(0),
            };
            run.apply(Action::CreateToken { token: token_row });
            run.apply(super::join(token, &format!("n{node}"), node + 1, weft_model::NodeFacts::default()));
        }
        run
    }

    fn apply(&mut self, action: Action) {
        let command = self.world.command(action.clone());
        let promised = dry_run(&mut self.world.state, &command);
        match admit(&self.world.state, action) {
            Ok(action) => {
                let admitted = Command { action, ..command.clone() };
                let shown = dry_run(&mut self.world.state, &admitted);
                assert_eq!(shown, promised, "what was made whole does the same");
            }
            Err(_) => assert!(promised.answer.is_err(), "admission refuses nothing that can be applied"),
        }
        let outcome = self.world.apply(&command);
        assert_eq!((&promised.answer, &promised.items), (&outcome.answer, &outcome.items));
        self.log.push(command);
        check_held(&self.world.state);
        super::silence::check_nobody_is_left_alone(&self.world.state);
    }

    fn delete(&mut self, key: Key) {
        self.apply(Action::Delete { keys: vec![key] });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Service(draft) => self.apply(write(Object::Service(draft.service()))),
            Step::DeleteService { name } => self.delete(Key::Service(service_name(name).parse().unwrap())),
            Step::Pool { name, which, automatic, announce } => {
                let texts =
                    ["192.168.9.0/31 fd99::/127", "192.168.9.0/30", "192.168.8.0/31"][usize::from(which)];
                let mut pool = pool(&format!("p{name}"), texts);
                (pool.automatic, pool.announce) = (automatic, announce);
                self.apply(write(Object::Pool(pool)));
            }
            Step::DeletePool { name } => self.delete(Key::Pool(format!("p{name}").parse().unwrap())),
            Step::Fabric { services, ports, balancers, external } => {
                let mut fabric = self.world.state.fabric().unwrap().clone();
                let four = ["10.1.0.0/28", "10.1.0.0/27", "10.1.0.0/28 10.9.0.0/28"][usize::from(services)];
                fabric.ranges.services = ranges(&format!("{four} fd01::/124"));
                fabric.node_port_range =
                    [(30_000, 30_007), (30_000, 30_031), (30_004, 30_007)][usize::from(ports)];
                fabric.ranges.load_balancers = if balancers { ranges("192.168.7.0/31") } else { Vec::new() };
                fabric.external_ip_ranges = if external { ranges("198.18.0.0/24") } else { Vec::new() };
                self.apply(write(Object::Fabric(fabric)));
            }
            Step::Pods { node, pods } => self.pods(node, &pods),
            Step::PodSpec { name, labels, ready } => self.pod_spec(name, labels, ready),
            Step::DeletePodSpec { name } => {
                self.delete(Key::PodSpec(format!("default/w{name}").parse().unwrap()))
            }
            Step::Slice { name, service, addresses } => self.slice(name, service, addresses),
            Step::DeleteSlice { name } => {
                self.delete(Key::Slice(format!("default/l{name}").parse().unwrap()))
            }
            Step::Zone { node, zone } => {
                let mut node = self.world.node(&format!("n{node}")).clone();
                node.labels.insert(ZONE_LABEL.to_owned(), format!("z{zone}"));
                self.apply(write(Object::Node(node)));
            }
            Step::Namespace { there } => {
                let name: weft_model::NamespaceName = "shop".parse().unwrap();
                if there {
                    let (labels, created, revision) = (Labels::new(), WallTime(0), Revision(0));
                    self.apply(write(Object::Namespace(Namespace { name, labels, created, revision })));
                } else {
                    self.delete(Key::Namespace(name));
                }
            }
            Step::Silence { silent } => {
                let nodes = self.world.state.nodes().values().zip(0..2_u8).map(|(node, place)| NodeSilence {
                    node: node.name.clone(),
                    uid: node.uid,
                    since: (silent & (1 << place) != 0).then_some(WallTime(u64::from(silent))),
                });
                let nodes = nodes.collect();
                self.apply(Action::NoteSilence { nodes });
            }
            Step::Owners { alive } => {
                let nodes = (0..2_u8).filter(|node| alive & (1 << node) != 0);
                let alive: BTreeMap<NodeName, _> =
                    nodes.map(|node| (name(&format!("n{node}")), Liveness::Alive)).collect();
                let owners = decide(&self.world.state, &alive);
                self.apply(Action::AssignOwners { owners });
                assert_eq!(decide(&self.world.state, &alive), []);
            }
        }
    }

    fn pods(&mut self, node: u8, pods: &[(u8, u8, bool)]) {
        let text = format!("n{node}");
        let blocks: Vec<_> = self.world.state.node_leases(&name(&text)).map(|lease| lease.block).collect();
        let upserts = pods.iter().map(|(number, labels, ready)| {
            let uid = 1 + 4 * node + number;
            let addresses: Vec<_> =
                blocks.iter().map(|block| block.nth(u128::from(uid)).unwrap().to_string()).collect();
            let pod = pod(uid, &text, &format!("default/w{}", uid - 1), &addresses.join(" "), 1);
            weft_model::Pod { labels: selector(*labels), ready: *ready, ..pod }
        });
        let mut report = self.world.report(&text, upserts.collect());
        report.complete = true;
        report.upserts.dedup_by_key(|pod| pod.uid);
        report.deletes = vec![PodUid([99; 16])];
        self.apply(Action::PublishPods(report));
    }

    fn pod_spec(&mut self, name: u8, labels: u8, ready: u8) {
        let spec = PodSpec {
            name: format!("default/w{name}").parse().unwrap(),
            labels: selector(labels),
            ports: vec![weft_model::NamedPort {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: 8000,
            }],
            ready: [None, Some(false), Some(true)][usize::from(ready)],
            terminating: ready == 2 && labels == 2,
            readiness: None,
            startup: None,
            hostname: if labels == 1 { format!("h{ready}") } else { String::new() },
            subdomain: if labels == 1 { "s0".to_owned() } else { String::new() },
            dns: PodDns {
                policy: if ready == 1 { DnsPolicy::Default } else { DnsPolicy::ClusterFirst },
                ..PodDns::default()
            },
            service_links: labels != 2,
            annotations: Labels::new(),
            generation: 0,
            revision: Revision(0),
        };
        self.apply(write(Object::PodSpec(spec)));
    }

    fn slice(&mut self, name: u8, service: u8, addresses: u8) {
        let endpoint = |number: u8| SliceEndpoint {
            addresses: vec![address(&format!("192.0.2.{number}"))],
            fqdn: Vec::new(),
            conditions: Conditions { ready: Some(number != 1), ..Conditions::default() },
            hostname: String::new(),
            node: Some(super::name("n0")),
            zone: String::new(),
            hints: Hints::default(),
            pod: None,
        };
        let slice = EndpointSlice {
            name: format!("default/l{name}").parse().unwrap(),
            uid: ObjectUid([0; 16]),
            labels: Labels::from([(SERVICE_NAME_LABEL.to_owned(), format!("s{service}"))]),
            address_type: AddressType::V4,
            ports: vec![SlicePort {
                name: "p0-false".to_owned(),
                protocol: Protocol::Tcp,
                port: None,
                app_protocol: String::new(),
            }],
            endpoints: (0..=addresses).map(endpoint).collect(),
            generation: 0,
            created: WallTime(0),
            revision: Revision(0),
        };
        self.apply(write(Object::Slice(slice)));
    }
}

/// Straight from the rows, without any index: each address and each node port has one holder.
fn check_held(state: &State) {
    let mut addresses = BTreeMap::new();
    let mut ports = BTreeMap::new();
    for service in state.services().values() {
        for address in service.spec.addresses.list() {
            let other = addresses.insert(*address, &service.name);
            assert_eq!(other, None, "{address} is held twice");
        }
        let numbers = service.spec.ports.iter().map(|port| port.node_port);
        for port in numbers.chain([service.spec.health_check_node_port]).filter(|port| *port != 0) {
            let other = ports.insert(port, &service.name).filter(|other| **other != service.name);
            assert_eq!(other, None, "node port {port} is held twice");
        }
    }
    let index = &state.index.services;
    assert_eq!(
        (index.cluster.len(), index.node_ports.len()),
        (addresses.len(), ports.len()),
        "nothing leaks"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_and_no_node_port_is_ever_held_twice_and_the_log_goes_the_same_way_twice(steps in steps()) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.step(step));
        let mut again = State::new();
        for (position, command) in run.log.iter().enumerate() {
            apply(&mut again, LogIndex(position as u64 + 1), Term(1), command);
        }
        prop_assert_eq!(&again, &run.world.state);
        prop_assert_eq!(again.meta().hash, run.world.state.meta().hash);
        prop_assert_eq!(again.digest(), run.world.state.digest());
    }
}
