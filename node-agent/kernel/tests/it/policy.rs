//! Network policy in a real kernel: packets between pods, nodes and the outside, through the tables that weft-plan makes.
//!
//! The nodes are those of `datapath.rs`: p1 (role web) and p2 (role db) on n1, p3 (role web) on n2, all of namespace `default`.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use weft_kernel::{Namespace, NftSocket};
use weft_model::{
    Direction, Item, ItemKey, LabelSelector, Labels, NamespaceItem, Overlay, PodItem, PolicyItem, PolicyPeer,
    PolicyPort, PolicyRule, PolicySpec, PortMatch, Protocol, Revision,
};
use weft_nft::Batch;
use weft_plan::{DropCounters, DropCounts, DropReason, Facts, LocalPod, Policies, Scope, Services, Sweep};
use weft_policy::whole_identity;
use weft_view::{Update, View};

use crate::{
    datapath::{Node, closed, judge, open, two_nodes},
    nft::normal,
    service::{commit, endpoint, service},
    service_paths::{Server, ask},
    world::{facts_of, in_namespace, pod_of, view},
};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
/// Ports of the servers.
const HTTP: u16 = 8080;
const DNS: u16 = 5353;
/// Pods with their nodes and roles.
const PODS: [(u8, u8, &str); 3] = [(1, 1, "web"), (1, 2, "db"), (2, 3, "web")];
const P1: [&str; 2] = ["10.1.1.1", "fd00:0:0:1::1"];
const P2: [&str; 2] = ["10.1.1.2", "fd00:0:0:1::2"];
const P3: [&str; 2] = ["10.1.2.3", "fd00:0:0:2::3"];
const OUTSIDE: [&str; 2] = ["192.168.1.100", "fd99::100"];

fn pods_of(role: &str) -> LabelSelector {
    LabelSelector { labels: Labels::from([("role".to_owned(), role.to_owned())]), expressions: Vec::new() }
}

fn peer(role: &str) -> PolicyPeer {
    PolicyPeer::Pods { namespaces: None, pods: Some(pods_of(role)) }
}

fn block(range: &str, except: &[&str]) -> PolicyPeer {
    let except = except.iter().map(|one| one.parse().unwrap()).collect();
    PolicyPeer::Block { range: range.parse().unwrap(), except }
}

fn ports(protocol: Protocol, first: u16, last: u16) -> PolicyPort {
    PolicyPort { protocol, port: PortMatch::Numbers(first, last) }
}

/// Who may come in, to pods of a role.
fn ingress(role: &str, rules: Vec<PolicyRule>) -> PolicySpec {
    PolicySpec { pods: pods_of(role), isolates_ingress: true, ingress: rules, ..PolicySpec::default() }
}

/// Whom pods of a role may ask.
fn egress(role: &str, rules: Vec<PolicyRule>) -> PolicySpec {
    PolicySpec { pods: pods_of(role), isolates_egress: true, egress: rules, ..PolicySpec::default() }
}

fn rule(peers: Vec<PolicyPeer>, ports: Vec<PolicyPort>) -> PolicyRule {
    PolicyRule { peers, ports }
}

fn policy(name: &str, spec: PolicySpec) -> Item {
    Item::Policy(PolicyItem { name: format!("default/{name}").parse().unwrap(), spec })
}

/// Pods with their identities, and their namespace.
fn nouns() -> Vec<Item> {
    let namespace = "default".parse().unwrap();
    let mut items =
        vec![Item::Namespace(NamespaceItem { name: "default".parse().unwrap(), labels: Labels::new() })];
    for (node, index, role) in PODS {
        let pod = pod_of(node, index);
        let (id, identity) = whole_identity(&namespace, &pods_of(role).labels, &[]);
        items.push(Item::Identity(weft_model::IdentityItem { id, identity }));
        items.push(Item::Pod(PodItem {
            name: pod.name,
            addresses: pod.addresses,
            hostname: String::new(),
            subdomain: String::new(),
            identity: id,
        }));
    }
    items
}

struct World {
    nodes: [Node; 2],
    view: View,
    policies: [Policies; 2],
    _servers: Vec<Server>,
}

impl World {
    fn new(overlay: Overlay) -> Self {
        let nodes = two_nodes(overlay, 1);
        let pods = nodes.iter().flat_map(|node| &node.pods);
        let servers = ["p1", "p2", "p3"].iter().zip(pods).map(|(name, (_, space))| Server::new(space, name));
        let servers = servers.collect();
        let mut world = Self {
            nodes,
            view: view(overlay),
            policies: [Policies::new(), Policies::new()],
            _servers: servers,
        };
        // What `two_nodes` has put into the kernel.
        for (node, policies) in world.nodes.iter().zip(&mut world.policies) {
            policies.want(&world.view, &facts(node), Scope::All);
            node.space
                .run(|| {
                    let observed = NftSocket::open().unwrap().observe(&policies.tables()).unwrap();
                    assert_eq!(
                        policies.observed(&observed, Sweep::Allowed),
                        0,
                        "read back as it was written"
                    );
                })
                .unwrap();
        }
        world.change(nouns(), Vec::new());
        world
    }

    /// Puts and removes items on both nodes, as the control plane's deltas do.
    fn change(&mut self, upserts: Vec<Item>, deletes: Vec<ItemKey>) {
        let keys = upserts.iter().map(Item::key).chain(deletes.iter().cloned()).collect();
        let revision = Revision(self.view.revision().0 + 1);
        self.view.fold(Update::Delta { revision, upserts, deletes }).unwrap();
        for (node, policies) in self.nodes.iter().zip(&mut self.policies) {
            policies.want(&self.view, &facts(node), Scope::Items(&keys));
            node.space.run(|| judge(&mut NftSocket::open().unwrap(), policies)).unwrap();
        }
    }

    fn put(&mut self, name: &str, spec: PolicySpec) {
        self.change(vec![policy(name, spec)], Vec::new());
    }

    fn remove(&mut self, name: &str) {
        self.change(Vec::new(), vec![ItemKey::Policy(format!("default/{name}").parse().unwrap())]);
    }

    fn pod(&self, index: usize) -> &Namespace {
        &self.nodes.iter().flat_map(|node| &node.pods).nth(index - 1).unwrap().1
    }
}

fn facts(node: &Node) -> Facts {
    let pods: Vec<LocalPod> = node.pods.iter().map(|(pod, _)| pod.clone()).collect();
    facts_of(node.index, &pods)
}

fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Whether both families hear a server, or neither.
fn hears(who: &str, space: &Namespace, protocol: Protocol, to: [&str; 2], port: u16, expected: bool) {
    for to in to {
        let heard = ask(space, protocol, &at(to, port));
        assert_eq!(heard.starts_with('p'), expected, "{who} asks {to} port {port} by {protocol:?}: {heard}");
    }
}

#[test]
fn ingress_and_egress_are_judged_at_both_ends() {
    in_namespace(|| {
        let mut world = World::new(Overlay::Wireguard);
        for protocol_port in [(TCP, HTTP), (UDP, DNS)] {
            hears("nothing isolates", world.pod(1), protocol_port.0, P3, protocol_port.1, true);
        }
        world.put("web-in", ingress("web", vec![rule(vec![peer("web")], vec![ports(TCP, HTTP, HTTP)])]));
        hears("the role that may", world.pod(1), TCP, P3, HTTP, true);
        hears("another role", world.pod(2), TCP, P3, HTTP, false);
        hears("another role, same node", world.pod(2), TCP, P1, HTTP, false);
        hears("another protocol", world.pod(1), UDP, P3, DNS, false);
        hears("who isn't selected", world.pod(3), TCP, P2, HTTP, true);
        hears("itself", world.pod(1), UDP, P1, DNS, true);
        closed(world.pod(1), "echo needs a rule without ports", &P3);
        hears("the pod's own node", &world.nodes[1].space, TCP, P3, HTTP, true);
        hears("another node", &world.nodes[0].space, TCP, P3, HTTP, false);
        world.put(
            "db-out",
            egress("db", vec![rule(vec![block("10.1.2.0/24", &[]), block("fd00:0:0:2::/64", &[])], vec![])]),
        );
        world.remove("web-in");
        hears("a block", world.pod(2), TCP, P3, HTTP, true);
        hears("out of the block", world.pod(2), TCP, P1, HTTP, false);
        closed(world.pod(2), "outside", &OUTSIDE);
        closed(world.pod(2), "its own node", &["10.111.0.1", "fd11::1"]);
        open(world.pod(2), "a rule without ports is for echo too", &P3);
        world.put(
            "db-out",
            egress(
                "db",
                vec![rule(
                    vec![block("0.0.0.0/0", &["10.1.2.3/32"]), peer("web")],
                    vec![ports(TCP, 8000, 9000)],
                )],
            ),
        );
        hears("a range of ports, excepted but a peer", world.pod(2), TCP, P3, HTTP, true);
        hears("another port", world.pod(2), UDP, P3, DNS, false);
        world.put("db-out", egress("db", vec![rule(vec![block("10.1.0.0/16", &["10.1.2.3/32"])], vec![])]));
        assert!(ask(world.pod(2), TCP, &at(P1[0], HTTP)).starts_with("p1"), "in the block");
        assert_eq!(
            ask(world.pod(2), TCP, &at(P1[1], HTTP)),
            "silence",
            "a block of one family is of that one"
        );
        assert_eq!(ask(world.pod(2), TCP, &at(P3[0], HTTP)), "silence", "excepted");
        world.remove("db-out");
        hears("nothing isolates any more", world.pod(2), UDP, P3, DNS, true);
        open(world.pod(2), "nothing isolates any more", &P3);
    });
}

/// A byte there and back; `false` when it doesn't come within the time.
fn echoes(client: &mut TcpStream, server: &mut TcpStream) -> bool {
    let mut byte = [0];
    client.write_all(b"x").is_ok()
        && server.read_exact(&mut byte).is_ok()
        && server.write_all(&byte).is_ok()
        && client.read_exact(&mut byte).is_ok()
}

#[test]
fn a_deny_bites_living_connections_and_its_end_lets_them_on() {
    in_namespace(|| {
        let mut world = World::new(Overlay::Wireguard);
        let listener = world.pod(3).run(|| TcpListener::bind("[::]:7000").unwrap()).unwrap();
        for (to, from) in [(P3[0], "v4"), (P3[1], "v6")] {
            let connect =
                || TcpStream::connect_timeout(&at(to, 7000).parse().unwrap(), Duration::from_secs(4));
            let mut client = world.pod(1).run(connect).unwrap().unwrap();
            let (mut server, _) = listener.accept().unwrap();
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            }
            assert!(echoes(&mut client, &mut server), "{from}: it lives");
            world.put("none", ingress("web", Vec::new()));
            // What the server says of its own accord is a packet of the same connection.
            server.write_all(b"y").unwrap();
            let mut byte = [0];
            assert!(client.read_exact(&mut byte).is_err(), "{from}: not a byte more");
            world.remove("none");
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"y", "{from}: what was sent meanwhile comes");
            assert!(echoes(&mut client, &mut server), "{from}: it goes on");
        }
    });
}

#[test]
fn services_are_judged_by_the_pod_behind_them() {
    in_namespace(|| {
        let mut world = World::new(Overlay::Wireguard);
        let of_pods = |name: &str, n: u8, pods: &[(&str, &str, u8)]| {
            let endpoints =
                pods.iter().flat_map(|(v4, v6, at)| [endpoint(v4, *at, &[HTTP]), endpoint(v6, *at, &[HTTP])]);
            let addresses = [format!("10.112.0.{n}"), format!("fd12::{n}")];
            service(name, &addresses.each_ref().map(String::as_str), &[(TCP, 80)], endpoints.collect())
        };
        let behind = [
            of_pods("default/far", 21, &[(P3[0], P3[1], 2)]),
            of_pods("default/own", 22, &[(P1[0], P1[1], 1)]),
        ];
        world.change(behind.map(Item::Service).to_vec(), Vec::new());
        let mut services = [Services::new(), Services::new()];
        for (node, services) in world.nodes.iter().zip(&mut services) {
            services.want(&world.view, &facts(node), Scope::All);
            node.space.run(|| commit(&mut NftSocket::open().unwrap(), services)).unwrap();
        }
        let (far, own) = (["10.112.0.21", "fd12::21"], ["10.112.0.22", "fd12::22"]);
        world.put("web-in", ingress("web", vec![rule(vec![peer("web")], vec![ports(TCP, HTTP, HTTP)])]));
        hears("by the target's port", world.pod(1), TCP, far, 80, true);
        hears("who may not", world.pod(2), TCP, far, 80, false);
        world.put("web-in", ingress("web", vec![rule(vec![peer("web")], vec![ports(TCP, 80, 80)])]));
        hears("the service's port is nobody's", world.pod(1), TCP, far, 80, false);
        hears("itself, by its service", world.pod(1), TCP, own, 80, true);
        world.put("out", egress("web", Vec::new()));
        hears("itself, and no way out", world.pod(1), TCP, own, 80, true);
        hears("no way out", world.pod(1), TCP, far, 80, false);
    });
}

#[test]
fn who_is_not_known_is_closed_and_so_is_everybody_without_the_tables() {
    in_namespace(|| {
        let mut world = World::new(Overlay::Wireguard);
        hears("known", world.pod(1), TCP, P2, HTTP, true);
        // The control plane no longer says what p1 is, and some policy might select it.
        world.put("db-in", ingress("db", vec![rule(Vec::new(), Vec::new())]));
        world.change(Vec::new(), vec![ItemKey::Pod("default/p1".parse().unwrap())]);
        hears("unknown", world.pod(1), TCP, P2, HTTP, false);
        hears("to the unknown", world.pod(2), TCP, P1, HTTP, false);
        world.change(nouns(), Vec::new());
        hears("known again", world.pod(1), TCP, P2, HTTP, true);
        let tables = world.policies[0].tables();
        let mut gone = Batch::new();
        tables.iter().for_each(|table| gone.remove_table(&table.id));
        world.nodes[0].space.run(|| NftSocket::open().unwrap().commit(&gone).unwrap()).unwrap();
        hears("tables that somebody removed", world.pod(1), TCP, P2, HTTP, false);
        closed(world.pod(1), "tables that somebody removed", &OUTSIDE);
        world.nodes[0]
            .space
            .run(|| {
                let mut socket = NftSocket::open().unwrap();
                let observed = socket.observe(&tables).unwrap();
                world.policies[0].observed(&observed, Sweep::Allowed);
                judge(&mut socket, &mut world.policies[0]);
            })
            .unwrap();
        hears("mended", world.pod(1), TCP, P2, HTTP, true);
        open(world.pod(1), "mended", &OUTSIDE);
    });
}

#[test]
fn the_tables_are_listed_as_they_are_meant() {
    in_namespace(|| {
        let mut view = view(Overlay::Wireguard);
        let mut items = nouns();
        let wide = vec![
            ports(TCP, 80, 80),
            ports(UDP, 1000, 2000),
            PolicyPort { protocol: TCP, port: PortMatch::Any },
        ];
        items.push(policy(
            "in",
            ingress("web", vec![rule(vec![peer("db"), block("192.168.0.0/16", &["192.168.7.0/24"])], wide)]),
        ));
        items.push(policy("out", egress("db", vec![rule(Vec::new(), vec![ports(TCP, 1, 1024)])])));
        let revision = Revision(view.revision().0 + 1);
        view.fold(Update::Delta { revision, upserts: items, deletes: Vec::new() }).unwrap();
        let mut policies = Policies::new();
        policies.want(&view, &facts_of(1, &[pod_of(1, 1), pod_of(1, 2)]), Scope::All);
        let mut socket = NftSocket::open().unwrap();
        judge(&mut socket, &mut policies);
        let observed = socket.observe(&policies.tables()).unwrap();
        assert_eq!(policies.observed(&observed, Sweep::Allowed), 0, "read back as it was written");
        let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let (listed, ours) = (normal(&String::from_utf8(listed.stdout).unwrap()), normal(&policies.text()));
        let differing = listed.lines().zip(ours.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None, "nft on the left, our text on the right");
        assert_eq!(listed.lines().count(), ours.lines().count());
    });
}

#[test]
fn ten_thousand_pods_are_loaded_at_once_and_one_more_is_one_element() {
    const MANY: u32 = 10_000;
    in_namespace(|| {
        let mut view = view(Overlay::Wireguard);
        let mut items = nouns();
        let (id, _) = whole_identity(&"default".parse().unwrap(), &pods_of("web").labels, &[]);
        let pod = |n: u32| {
            let v6 = format!("fd00:0:0:{:x}::{:x}", 16 + n / 200, n % 200 + 1);
            Item::Pod(PodItem {
                name: format!("default/m{n}").parse().unwrap(),
                addresses: vec![IpAddr::V4((0x0a01_1000 + n).into()), v6.parse().unwrap()],
                hostname: String::new(),
                subdomain: String::new(),
                identity: id,
            })
        };
        items.extend((0..MANY).map(pod));
        items.push(policy("in", ingress("web", vec![rule(vec![peer("web")], vec![ports(TCP, 80, 80)])])));
        let revision = Revision(view.revision().0 + 1);
        view.fold(Update::Delta { revision, upserts: items, deletes: Vec::new() }).unwrap();
        let (mut policies, facts) = (Policies::new(), facts_of(1, &[pod_of(1, 1), pod_of(1, 2)]));
        let mut socket = NftSocket::open().unwrap();
        let begin = Instant::now();
        policies.want(&view, &facts, Scope::All);
        let planned = begin.elapsed();
        judge(&mut socket, &mut policies);
        eprintln!(
            "{MANY} pods: planned in {planned:?}, loaded in {:?}",
            begin.elapsed().saturating_sub(planned)
        );
        let one = pod(MANY);
        let keys = [one.key()].into();
        let revision = Revision(view.revision().0 + 1);
        view.fold(Update::Delta { revision, upserts: vec![one], deletes: Vec::new() }).unwrap();
        let begin = Instant::now();
        policies.want(&view, &facts, Scope::Items(&keys));
        let planned = begin.elapsed();
        let transaction = policies.next(Sweep::Allowed).unwrap();
        assert_eq!(transaction.batch.len(), 2, "one element of each family");
        socket.commit(&transaction.batch).unwrap();
        policies.committed(transaction);
        assert!(policies.next(Sweep::Allowed).is_none());
        eprintln!(
            "one more: planned in {planned:?}, in the kernel in {:?}",
            begin.elapsed().saturating_sub(planned)
        );
    });
}

/// One datagram that nobody answers.
fn send(from: &Namespace, to: &str) {
    let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    from.run(|| UdpSocket::bind(any).unwrap().send_to(b"x", at(to, DNS)).unwrap()).unwrap();
}

/// What a node's kernel has counted.
fn counts(node: &Node) -> DropCounts {
    let counters = DropCounters::all();
    let read = || NftSocket::open().unwrap().counts(&counters.tables, &counters.sets).unwrap();
    DropCounts::read(&node.space.run(read).unwrap())
}

#[test]
fn each_denied_packet_is_counted_once_with_its_pod_and_numbers_outlive_other_policies() {
    in_namespace(|| {
        let mut world = World::new(Overlay::Wireguard);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let counted = |world: &World, direction, to: &str, node: usize| {
            counts(&world.nodes[node]).pods.get(&(direction, address(to))).copied()
        };
        assert_eq!(counted(&world, Direction::Ingress, P3[0], 1), Some(0), "open pods are there too");
        world.put("web-in", ingress("web", vec![rule(vec![peer("web")], Vec::new())]));
        for (family, to) in P3.iter().enumerate() {
            (0..3).for_each(|_| send(world.pod(2), to));
            assert_eq!(counted(&world, Direction::Ingress, to, 1), Some(3), "by the receiver's node");
            send(world.pod(1), to);
            assert_eq!(counted(&world, Direction::Ingress, to, 1), Some(3), "what passes doesn't count");
            let expected = 3 * (family as u64 + 1);
            assert_eq!(counts(&world.nodes[1]).reasons[&DropReason::PolicyIngress], expected);
        }
        world.put("db-out", egress("db", Vec::new()));
        world.remove("web-in");
        for to in P3 {
            send(world.pod(2), to);
        }
        assert_eq!(counted(&world, Direction::Egress, P2[0], 0), Some(1), "by the sender's node");
        assert_eq!(counted(&world, Direction::Egress, P2[1], 0), Some(1));
        for to in P3 {
            assert_eq!(
                counted(&world, Direction::Ingress, to, 1),
                Some(3),
                "it stays, whoever isolates the pod"
            );
        }
        assert_eq!(counts(&world.nodes[0]).reasons[&DropReason::PolicyEgress], 2);
        // More than is told: each is counted all the same.
        world
            .pod(2)
            .run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                for _ in 0..1000 {
                    socket.send_to(b"x", at(P3[0], DNS)).unwrap();
                }
            })
            .unwrap();
        assert_eq!(counted(&world, Direction::Egress, P2[0], 0), Some(1001));
    });
}
