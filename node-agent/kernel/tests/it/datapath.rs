//! Packets through two nodes as plan and guard make them: every path of design section 6 that needs no service.
//!
//! `weft0` is a veth without address resolution instead of WireGuard; the test's own namespace is the underlay's switch and the
//! machine outside.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    path::Path,
    time::{Duration, Instant},
};

use weft_kernel::{
    Echo, LinkExecutor, Look, Monitor, Namespace, NftSocket, Pinger, RouteExecutor, attach, write_setting,
};
use weft_model::{AddressRange, Dual, Epoch, Families, Item, Overlay, Revision, RouteItem};
use weft_plan::{
    GuardInput, Link, LocalPod, Policies, Route, Ruleset, Scope, Setting, Subject, Sweep, Tracker,
};
use weft_view::View;

use crate::world::{fabric, facts_of, in_namespace, ip, mesh, peer, pod_link, pod_namespace, pod_of, view};

/// Replicas on the machine outside, on both nodes.
const REPLICAS: [&str; 6] = [
    "192.168.1.100:7443",
    "[fd99::100]:7443",
    "192.168.1.11:7443",
    "[fd99::11]:7443",
    "192.168.1.12:7443",
    "[fd99::12]:7443",
];

pub(crate) struct Node {
    pub(crate) index: u8,
    pub(crate) space: Namespace,
    pub(crate) pods: Vec<(LocalPod, Namespace)>,
}

impl Node {
    fn new(index: u8, pods: &[u8]) -> Self {
        let pods = pods.iter().map(|pod| (pod_of(index, *pod), pod_namespace())).collect();
        let space = pod_namespace();
        // Link-local addresses serve as sources of neighbour solicitations at once, not after a second.
        let no_wait = Setting::new("ipv6/conf/default/accept_dad");
        space.run(|| write_setting(&no_wait, "0").unwrap()).unwrap();
        Self { index, space, pods }
    }

    /// Path by which `ip` finds the namespace.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsFd::as_fd(&self.space).as_raw_fd())
    }

    pub(crate) fn run(&self, commands: &str) {
        self.space
            .run(|| commands.lines().map(str::trim).filter(|l| !l.is_empty()).for_each(|l| drop(ip(l))))
            .unwrap();
    }

    /// Plans, converges, guards and attaches, as the agent does.
    fn make(&self, view: &View, overlay: Overlay, rp_filter: u8) {
        self.space
            .run(|| {
                let all = Setting::new("ipv4/conf/all/rp_filter");
                write_setting(&all, &rp_filter.to_string()).unwrap();
                let pods: Vec<LocalPod> = self.pods.iter().map(|(pod, _)| pod.clone()).collect();
                self.converge(view, &[]);
                for (pod, space) in &self.pods {
                    let mut link = pod_link(pod);
                    link.mesh = mesh(self.index);
                    attach(space, &link).unwrap();
                }
                self.converge(view, &pods);
                let input = GuardInput {
                    families: Families::Dual,
                    ranges: fabric(overlay).ranges,
                    masquerade_exceptions: Vec::new(),
                    replicas: REPLICAS.iter().map(|replica| replica.parse().unwrap()).collect(),
                    resolver: weft_model::resolver_addresses(&fabric(overlay)).collect(),
                    pods: pods.iter().map(Into::into).collect(),
                    peers_underlay: peer(3 - self.index).underlay,
                    uplinks: vec!["eth0".to_owned()],
                    owners: self.owners(),
                };
                let ruleset = Ruleset::new(overlay);
                let mut socket = NftSocket::open().unwrap();
                let mut policies = Policies::new();
                policies.want(view, &facts_of(self.index, &pods), Scope::All);
                judge(&mut socket, &mut policies);
                for batch in ruleset.full(&ruleset.elements(&input)) {
                    socket.commit(&batch).unwrap();
                }
            })
            .unwrap();
    }

    /// What the other node's uplink may be the source of.
    fn owners(&self) -> Vec<(AddressRange, [u8; 6])> {
        let other = 3 - self.index;
        let ranges = [
            format!("10.1.{other}.0/24"),
            format!("fd00:0:0:{other}::/64"),
            format!("10.111.0.{other}/32"),
            format!("fd11::{other}/128"),
        ];
        ranges.iter().map(|range| (range.parse().unwrap(), [2, 0xbb, 0, 0, 0, other])).collect()
    }

    fn converge(&self, view: &View, pods: &[LocalPod]) {
        let mut facts = facts_of(self.index, pods);
        facts.features.bridge_netfilter = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
        let mut links = Tracker::new();
        links.want(Scope::All, Link::desired(view, &facts, Scope::All));
        let mut executor = LinkExecutor::open().unwrap();
        links.observe::<Link, _>(&mut executor).unwrap();
        let (_, failures) = links.converge::<Link, _>(&mut executor, Sweep::Allowed);
        assert!(failures.is_empty(), "{failures:?}");
        let mut routes = Tracker::new();
        routes.want(Scope::All, Route::desired(view, &facts, Scope::All));
        let mut executor = RouteExecutor::open().unwrap();
        routes.observe::<Route, _>(&mut executor).unwrap();
        let (_, failures) = routes.converge::<Route, _>(&mut executor, Sweep::Allowed);
        assert!(failures.is_empty(), "{failures:?}");
    }

    fn unguard(&self, overlay: Overlay) {
        self.space
            .run(|| NftSocket::open().unwrap().commit(&Ruleset::new(overlay).remove()).unwrap())
            .unwrap();
    }
}

/// Brings the kernel to what policies want.
pub(crate) fn judge(socket: &mut NftSocket, policies: &mut Policies) {
    while let Some(transaction) = policies.next(Sweep::Allowed) {
        socket.commit(&transaction.batch).unwrap_or_else(|error| panic!("{error}"));
        policies.committed(transaction);
    }
}

/// Two nodes on one link with a mesh between them, and the outside at .100.
pub(crate) fn two_nodes(overlay: Overlay, rp_filter: u8) -> [Node; 2] {
    ip("link set lo up");
    ip("link add sw type bridge");
    ip("link set sw up");
    ip("addr add 192.168.1.100/24 dev sw");
    ip("-6 addr add fd99::100/64 dev sw nodad");
    let nodes = [Node::new(1, &[1, 2]), Node::new(2, &[3])];
    for node in &nodes {
        let index = node.index;
        ip(&format!("link add p{index} type veth peer name eth0 netns {}", node.path()));
        ip(&format!("link set p{index} master sw up"));
        node.run(&format!(
            "link set lo up
             addr add 192.168.1.1{index}/24 dev eth0
             -6 addr add fd99::1{index}/64 dev eth0 nodad
             link set eth0 address 02:bb:00:00:00:0{index} up
             route add default via 192.168.1.100
             -6 route add default via fd99::100"
        ));
    }
    nodes[0].run(&format!("link add weft0 type veth peer name weft0 netns {}", nodes[1].path()));
    for node in &nodes {
        node.run("link set weft0 address 02:aa:00:00:00:01 mtu 1440 arp off up");
    }
    let view = view(overlay);
    nodes.iter().for_each(|node| node.make(&view, overlay, rp_filter));
    nodes
}

/// Whether a reply comes; the first packets of a link may wait for its carrier, so a good path may take a second.
pub(crate) fn reaches(space: &Namespace, to: &str, patience: Duration) -> bool {
    let to: IpAddr = to.parse().unwrap();
    space
        .run(|| {
            let mut pinger = Pinger::open(to, None).unwrap();
            matches!(pinger.echo(1200, patience).unwrap(), Echo::Replied { .. })
        })
        .unwrap()
}

pub(crate) fn open(space: &Namespace, what: &str, to: &[&str]) {
    for to in to {
        assert!((0..5).any(|_| reaches(space, to, Duration::from_millis(300))), "{what}: {to}");
    }
}

pub(crate) fn closed(space: &Namespace, what: &str, to: &[&str]) {
    for to in to {
        assert!(!reaches(space, to, Duration::from_millis(120)), "{what} is closed: {to}");
    }
}

fn check_paths(overlay: Overlay, rp_filter: u8) {
    let nodes = two_nodes(overlay, rp_filter);
    let pod = &nodes[0].pods[0].1;
    let node = &nodes[0].space;
    open(pod, "pod - pod, same node", &["10.1.1.2", "fd00:0:0:1::2"]);
    open(pod, "pod - pod, other node", &["10.1.2.3", "fd00:0:0:2::3"]);
    open(pod, "pod - outside, masqueraded", &["192.168.1.100", "fd99::100"]);
    open(pod, "pod - own node", &["192.168.1.11", "fd99::11", "10.111.0.1", "fd11::1"]);
    open(pod, "pod - other node's mesh address", &["10.111.0.2", "fd11::2"]);
    open(pod, "pod - other node's own address", &["192.168.1.12", "fd99::12"]);
    open(node, "node - own pod", &["10.1.1.1", "fd00:0:0:1::1"]);
    open(node, "node - pod of another node", &["10.1.2.3", "fd00:0:0:2::3"]);
    open(node, "node - other node's mesh address", &["10.111.0.2", "fd11::2"]);

    kept_from_the_control_plane(&nodes);
    kept_from_metadata(pod, node);
    nothing_forged_comes_in(node);

    // From outside there is no way in, even with a route to the node.
    ip("route add 10.1.0.0/16 via 192.168.1.11");
    ip("-6 route add fd00::/48 via fd99::11");
    closed(&Namespace::current().unwrap(), "outside - pod", &["10.1.1.1", "fd00:0:0:1::1"]);

    let counters = pod.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap()).unwrap();
    let redirects = counters.lines().find(|l| l.starts_with("Icmp6InRedirects")).unwrap();
    assert_eq!(redirects.split_whitespace().last(), Some("0"), "{redirects}");

    nodes[0].unguard(overlay);
    let all = [
        "10.1.1.2",
        "fd00:0:0:1::2",
        "10.1.2.3",
        "fd00:0:0:2::3",
        "192.168.1.100",
        "fd99::100",
        "192.168.1.12",
    ];
    closed(pod, "a pod of a node whose ruleset is gone", &all);
    open(node, "the node itself goes on", &["10.1.2.3", "fd00:0:0:2::3"]);
}

/// Whether a TCP connection comes about.
fn connects(space: &Namespace, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    space.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(250)).is_ok()).unwrap()
}

/// Replicas listen outside and on both nodes, as does something else beside them.
fn kept_from_the_control_plane(nodes: &[Node; 2]) {
    let outside = Namespace::current().unwrap();
    let listen = |space: &Namespace, host: &str| {
        let listener = |port| TcpListener::bind((host.parse::<IpAddr>().unwrap(), port)).unwrap();
        space.run(|| [listener(7443), listener(7444)]).unwrap()
    };
    let places = [&outside, &outside, &nodes[0].space, &nodes[0].space, &nodes[1].space, &nodes[1].space];
    for (space, replica) in places.into_iter().zip(REPLICAS) {
        let address: SocketAddr = replica.parse().unwrap();
        let _open = listen(space, &address.ip().to_string());
        let beside = SocketAddr::new(address.ip(), 7444).to_string();
        for node in nodes {
            let pod = &node.pods[0].1;
            assert!(!connects(pod, replica), "a pod of node {} speaks to replica {replica}", node.index);
            assert!(connects(pod, &beside), "a pod of node {} reaches {beside}", node.index);
            assert!(connects(&node.space, replica), "node {} itself speaks to replica {replica}", node.index);
        }
        assert!(connects(&outside, replica), "others speak to replica {replica}");
    }
}

/// The machine outside plays a cloud's server of metadata, as clouds do at the next hop.
fn kept_from_metadata(pod: &Namespace, node: &Namespace) {
    ip("addr add 169.254.169.254/32 dev sw");
    ip("-6 addr add fd00:ec2::254/128 dev sw nodad");
    node.run(|| ip("route add 169.254.169.254 via 192.168.1.100")).unwrap();
    let metadata = ["169.254.169.254", "fd00:ec2::254"];
    for host in metadata {
        let listener = |port| TcpListener::bind((host.parse::<IpAddr>().unwrap(), port)).unwrap();
        let _open = [listener(80), listener(53)];
        let at = |port| SocketAddr::new(host.parse().unwrap(), port).to_string();
        assert!(connects(node, &at(80)), "the node itself reads its metadata");
        assert!(!connects(pod, &at(80)), "a pod reads the node's metadata at {host}");
        assert!(connects(pod, &at(53)), "a pod asks for names at {host}");
    }
    closed(pod, "metadata for a pod", &metadata);
    open(node, "metadata for the node", &metadata);
}

/// The machine outside takes addresses of services, and of pods: what it sends from those reaches nobody.
fn nothing_forged_comes_in(node: &Namespace) {
    for address in ["10.112.0.5", "10.1.2.9"] {
        ip(&format!("addr add {address}/32 dev sw"));
    }
    for address in ["fd12::5", "fd00:0:0:2::9"] {
        ip(&format!("-6 addr add {address}/128 dev sw nodad"));
    }
    let pairs = [
        ("192.168.1.11", ["192.168.1.100", "10.112.0.5", "10.1.2.9"]),
        ("fd99::11", ["fd99::100", "fd12::5", "fd00:0:0:2::9"]),
    ];
    for (to, [honest, service, pod]) in pairs {
        let to: IpAddr = to.parse().unwrap();
        let heard = node.run(|| UdpSocket::bind((to, 7777)).unwrap()).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // The honest one comes last: whatever was sent before it would have been heard before it.
        for source in [service, pod, honest] {
            let socket = UdpSocket::bind((source.parse::<IpAddr>().unwrap(), 0)).unwrap();
            socket.send_to(b"hello", (to, 7777)).unwrap();
        }
        let (_, from) = heard.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from.ip().to_string(), honest);
    }
}

#[test]
fn packets_take_the_planned_paths_without_reverse_path_filter() {
    in_namespace(|| check_paths(Overlay::Wireguard, 0));
}

#[test]
fn packets_take_the_planned_paths_with_a_strict_reverse_path_filter() {
    in_namespace(|| check_paths(Overlay::Wireguard, 1));
}

#[test]
fn packets_take_the_planned_paths_with_a_loose_reverse_path_filter() {
    in_namespace(|| check_paths(Overlay::Wireguard, 2));
}

#[test]
fn packets_take_the_planned_paths_of_a_routed_fabric() {
    in_namespace(|| check_paths(Overlay::Routed, 1));
}

#[test]
fn a_thousand_peers_are_routed_and_timed() {
    const PEERS: u16 = 1000;
    in_namespace(|| {
        ip("link set lo up");
        ip("link add weft0 type bridge");
        ip("link set weft0 up");
        let mut items: Vec<Item> = view(Overlay::Wireguard).items().collect();
        for index in 4..PEERS {
            let mut peer = peer(1);
            let (high, low) = (index / 250, index % 250 + 1);
            peer.node = format!("n{index}").parse().unwrap();
            peer.mesh = Dual::new(
                Some(format!("10.111.{high}.{low}").parse().unwrap()),
                Some(format!("fd11::{index:x}:1").parse().unwrap()),
            )
            .unwrap();
            peer.underlay = vec![format!("192.168.{}.{low}", 10 + high).parse().unwrap()];
            let block = format!("10.{}.{low}.0/24", 10 + high).parse().unwrap();
            items.push(Item::Route(RouteItem { block, node: peer.node.clone(), epoch: Epoch(1) }));
            items.push(Item::Peer(peer));
        }
        let view = View::restored(Revision(1), items);
        let facts = facts_of(1, &[]);
        let mut links = Tracker::new();
        links.want(Scope::All, Link::desired(&view, &facts, Scope::All));
        let (_, failures) = links.converge::<Link, _>(&mut LinkExecutor::open().unwrap(), Sweep::Forbidden);
        assert!(failures.is_empty(), "{failures:?}");
        let mut monitor = Monitor::open().unwrap();
        let mut executor = RouteExecutor::open().unwrap();
        let mut routes = Tracker::new();
        let begin = Instant::now();
        routes.want(Scope::All, Route::desired(&view, &facts, Scope::All));
        let planned = begin.elapsed();
        let (steps, failures) = routes.converge::<Route, _>(&mut executor, Sweep::Forbidden);
        let executed = begin.elapsed() - planned;
        assert!(failures.is_empty(), "{:?}", failures.first());
        let begin = Instant::now();
        routes.observe::<Route, _>(&mut executor).unwrap();
        assert!(routes.pending().is_empty());
        let looks = monitor.wait(Duration::from_millis(100)).unwrap();
        assert!(looks.contains(&Look::Everything), "more notifications than a buffer holds: {looks:?}");
        println!(
            "{} steps: planned {planned:?}, executed {executed:?}, observed {:?}",
            steps.len(),
            begin.elapsed()
        );
    });
}
