//! Packets to services through two nodes: who reaches which backend, and the source address that the backend sees.
//!
//! The nodes are those of `datapath.rs`; the test's own namespace is the outside, 192.168.1.100 and fd99::100.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike},
};
use weft_kernel::{ConnFilter, Connection, Conntrack, Namespace, NftSocket};
use weft_model::{
    ClientAffinity, Conditions, Family, IpMode, Item, LoadBalancerAddress, Overlay, Protocol, Revision,
    ServiceItem, ServiceType, TrafficPolicy,
};
use weft_plan::{Facts, Flow, LocalPod, Scope, Services};
use weft_view::{Update, View};

use crate::{
    datapath::{Node, closed, open, two_nodes},
    service::{commit, endpoint, service, with_services},
    world::{facts_of, in_namespace, ip},
};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
const HTTP: u16 = 8080;
const DNS: u16 = 5353;
/// How long a server or client waits for one packet.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// Servers of a namespace: to each connection and datagram they say their name and whom they see.
pub(crate) struct Server(Arc<AtomicBool>);

impl Server {
    pub(crate) fn new(space: &Namespace, name: &'static str) -> Self {
        let open = || {
            let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
            (TcpListener::bind(any(HTTP)).unwrap(), UdpSocket::bind(any(DNS)).unwrap())
        };
        let (tcp, udp) = space.run(open).unwrap();
        setsockopt(&tcp, ReceiveTimeout, &TimeVal::milliseconds(50)).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let says = move |from: SocketAddr| format!("{name} {}", from.ip().to_canonical());
        let end = Arc::clone(&ends);
        thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Ok((mut stream, from)) = tcp.accept() {
                    // A client that went away is its own affair.
                    let _ = stream.write_all(says(from).as_bytes());
                }
            }
        });
        let end = Arc::clone(&ends);
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while !end.load(Ordering::Relaxed) {
                if let Ok((_, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(says(from).as_bytes(), from);
                }
            }
        });
        Self(ends)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask_once(protocol: Protocol, to: SocketAddr) -> io::Result<String> {
    let mut answer = [0; 128];
    let len = if protocol == UDP {
        let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        socket.recv(&mut answer)?
    } else {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read(&mut answer)?
    };
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}

/// What a client in a namespace hears; the first packets of a link may wait for its carrier, so silence is asked again.
pub(crate) fn ask(space: &Namespace, protocol: Protocol, to: &str) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let hear = || {
        for _ in 0..4 {
            match ask_once(protocol, to) {
                Ok(answer) => return answer,
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return "refused".to_owned(),
                // What is rejected where it is sent: the kernel tells a datagram's sender before the ICMP error does.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied && protocol == UDP => {
                    return "refused".to_owned();
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {}
                Err(e) => return format!("{e}"),
            }
        }
        "silence".to_owned()
    };
    space.run(hear).unwrap()
}

fn check(who: &str, space: &Namespace, protocol: Protocol, to: &str, expected: &str) {
    let begin = Instant::now();
    let heard = ask(space, protocol, to);
    assert_eq!(heard, expected, "{who} asks {to} by {protocol:?}");
    if expected == "refused" {
        assert!(begin.elapsed() < PATIENCE, "refused at once: {who} {to}");
    }
}

/// Both families: addresses and ports as `V4 V6`, answers too.
fn check_both(who: &str, space: &Namespace, protocol: Protocol, to: [&str; 2], expected: [&str; 2]) {
    for (to, expected) in to.into_iter().zip(expected) {
        check(who, space, protocol, to, expected);
    }
}

pub(crate) struct World {
    pub(crate) nodes: [Node; 2],
    view: View,
    services: [Services; 2],
    _servers: Vec<Server>,
}

impl World {
    pub(crate) fn new(overlay: Overlay, services: Vec<ServiceItem>) -> Self {
        let nodes = two_nodes(overlay, 1);
        let view = with_services(overlay, services);
        let pods = nodes.iter().flat_map(|node| &node.pods);
        let servers = ["p1", "p2", "p3"].iter().zip(pods).map(|(name, (_, space))| Server::new(space, name));
        let servers = servers.collect();
        let mut world = Self { nodes, view, services: [Services::new(), Services::new()], _servers: servers };
        world.apply();
        world
    }

    fn facts(node: &Node) -> Facts {
        let pods: Vec<LocalPod> = node.pods.iter().map(|(pod, _)| pod.clone()).collect();
        facts_of(node.index, &pods)
    }

    fn apply(&mut self) {
        for (node, services) in self.nodes.iter().zip(&mut self.services) {
            services.want(&self.view, &Self::facts(node), Scope::All);
            node.space.run(|| commit(&mut NftSocket::open().unwrap(), services)).unwrap();
        }
    }

    fn change(&mut self, items: Vec<ServiceItem>) {
        let revision = Revision(self.view.revision().0 + 1);
        let upserts = items.into_iter().map(Item::Service).collect();
        self.view.fold(Update::Delta { revision, upserts, deletes: Vec::new() }).unwrap();
        self.apply();
    }

    fn pod(&self, number: usize) -> &Namespace {
        let mut pods = self.nodes.iter().flat_map(|node| &node.pods);
        &pods.nth(number - 1).unwrap().1
    }
}

/// A service of two ports, HTTP and DNS, at .N of the service ranges; its backends are pods by number.
pub(crate) fn of_pods(name: &str, n: u8, pods: &[u8]) -> ServiceItem {
    let addresses = [format!("10.112.0.{n}"), format!("fd12::{n}")];
    let endpoints = pods.iter().flat_map(|pod| {
        let node = if *pod == 3 { 2 } else { 1 };
        let addresses = [format!("10.1.{node}.{pod}"), format!("fd00:0:0:{node}::{pod}")];
        addresses.map(|address| endpoint(&address, node, &[HTTP, DNS]))
    });
    let mut endpoints: Vec<_> = endpoints.collect();
    endpoints.sort_by_key(|e| e.address);
    service(
        &format!("shop/{name}"),
        &addresses.each_ref().map(String::as_str),
        &[(TCP, 80), (UDP, 53)],
        endpoints,
    )
}

fn with_node_ports(mut service: ServiceItem, port: u16, policy: TrafficPolicy) -> ServiceItem {
    service.kind = ServiceType::NodePort;
    service.external_policy = policy;
    service.ports[0].node_port = port;
    service.ports[1].node_port = port;
    service
}

fn inside(overlay: Overlay) {
    let far = with_node_ports(of_pods("far", 1, &[3]), 30001, TrafficPolicy::Cluster);
    let local = with_node_ports(of_pods("local", 2, &[3]), 30002, TrafficPolicy::Local);
    let mut here = of_pods("here", 5, &[3]);
    here.internal_policy = TrafficPolicy::Local;
    let world = World::new(
        overlay,
        vec![far, local, of_pods("near", 3, &[2]), of_pods("own", 4, &[1]), here, of_pods("empty", 6, &[])],
    );
    let (pod, node) = (world.pod(1), &world.nodes[0].space);
    let link = Watch::new();
    let (kept, mesh) = (["10.1.1.1", "fd00:0:0:1::1"], ["10.111.0.1", "fd11::1"]);
    let from = |name: &str, source: [&str; 2]| source.map(|source| format!("{name} {source}"));
    let check = |who: &str, space: &Namespace, protocol, to: [&str; 2], expected: [String; 2]| {
        check_both(who, space, protocol, to, expected.each_ref().map(String::as_str));
    };
    for (protocol, port) in [(TCP, 80), (UDP, 53)] {
        let at = |n: u8| [format!("10.112.0.{n}:{port}"), format!("[fd12::{n}]:{port}")];
        let check_at = |who: &str, space: &Namespace, n: u8, expected: [String; 2]| {
            check(who, space, protocol, at(n).each_ref().map(String::as_str), expected);
        };
        check_at("pod to other node", pod, 1, from("p3", kept));
        check_at("pod to own node", pod, 3, from("p2", kept));
        check_at("pod to itself", pod, 4, from("p1", mesh));
        check_at("process to other node", node, 1, from("p3", mesh));
        check_at("process to own node", node, 3, from("p2", mesh));
        check_at("pod, no endpoint", pod, 6, ["refused", "refused"].map(str::to_owned));
        check_at("process, no endpoint", node, 6, ["refused", "refused"].map(str::to_owned));
        check_at("pod, policy Local, none here", pod, 5, ["silence", "silence"].map(str::to_owned));
        check_at("the pod itself, policy Local", world.pod(3), 5, from("p3", ["10.111.0.2", "fd11::2"]));
        check_at("unknown address", pod, 99, ["refused", "refused"].map(str::to_owned));
        // Node ports of any node, whatever the policy, are led to all backends by the sender's own node.
        for (node_port, who) in [(30001, "Cluster"), (30002, "Local")] {
            for host in ["11", "12"] {
                let at = [format!("192.168.1.{host}:{node_port}"), format!("[fd99::{host}]:{node_port}")];
                let at = at.each_ref().map(String::as_str);
                check(&format!("pod to node port, {who}"), pod, protocol, at, from("p3", kept));
                check(&format!("process to node port, {who}"), node, protocol, at, from("p3", mesh));
            }
        }
    }
    for (who, space) in [("pod", pod), ("process", node)] {
        check(who, space, TCP, ["10.112.0.1:81", "[fd12::1]:81"], ["refused", "refused"].map(str::to_owned));
        open(space, who, &["10.112.0.1", "fd12::1"]);
        closed(space, who, &["10.112.0.6", "fd12::6"]);
    }
    link.saw_no_service();
}

/// Hears every frame on the link between the nodes.
struct Watch {
    ends: Arc<AtomicBool>,
    heard: thread::JoinHandle<(usize, BTreeSet<IpAddr>)>,
}

impl Watch {
    fn new() -> Self {
        let kind = (AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = nix::sys::socket::socket(kind.0, kind.1, kind.2, kind.3).unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50)).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let hear = move || {
            let (mut frame, mut frames, mut to) = ([0; 2048], 0, BTreeSet::new());
            while !end.load(Ordering::Relaxed) {
                let Ok(len) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) else { continue };
                frames += 1;
                to.extend(destination(&frame[..len]));
            }
            (frames, to)
        };
        Self { ends, heard: thread::spawn(hear) }
    }

    /// Nothing that bears an address of a service range.
    fn saw_no_service(self) {
        self.ends.store(true, Ordering::Relaxed);
        let (frames, to) = self.heard.join().unwrap();
        assert!(frames > 0, "it heard the link");
        let of_services = |to: &&IpAddr| match to {
            IpAddr::V4(a) => a.octets()[..2] == [10, 112],
            IpAddr::V6(a) => a.segments()[0] == 0xfd12,
        };
        assert_eq!(to.iter().find(of_services), None);
    }
}

/// Where an IP packet in an Ethernet frame goes.
fn destination(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [8, 0] => Some(IpAddr::from(<[u8; 4]>::try_from(frame.get(30..34)?).ok()?)),
        [0x86, 0xdd] => Some(IpAddr::from(<[u8; 16]>::try_from(frame.get(38..54)?).ok()?)),
        _ => None,
    }
}

fn outside(overlay: Overlay) {
    let mut balanced = of_pods("balanced", 3, &[1, 3]);
    balanced.kind = ServiceType::LoadBalancer;
    balanced.load_balancer = ["10.99.0.1", "fd77::1"]
        .map(|a| LoadBalancerAddress { address: a.parse().unwrap(), mode: IpMode::Vip })
        .to_vec();
    let mut closed_to_us = of_pods("restricted", 4, &[3]);
    closed_to_us.kind = ServiceType::LoadBalancer;
    closed_to_us.load_balancer =
        vec![LoadBalancerAddress { address: "10.99.0.2".parse().unwrap(), mode: IpMode::Vip }];
    closed_to_us.source_ranges = vec!["192.168.1.200/32".parse().unwrap(), "10.1.0.0/16".parse().unwrap()];
    let mut lazy = of_pods("empty", 5, &[]);
    lazy = with_node_ports(lazy, 30005, TrafficPolicy::Cluster);
    let world = World::new(
        overlay,
        vec![
            with_node_ports(of_pods("cluster", 1, &[3]), 30001, TrafficPolicy::Cluster),
            with_node_ports(of_pods("local", 2, &[3]), 30002, TrafficPolicy::Local),
            balanced,
            closed_to_us,
            lazy,
        ],
    );
    let here = Namespace::current().unwrap();
    ip("route add 10.99.0.0/24 via 192.168.1.11");
    ip("-6 route add fd77::/64 via fd99::11");
    ip("route add 10.112.0.0/16 via 192.168.1.11");
    for protocol in [TCP, UDP] {
        let at =
            |node: u8, port: u16| [format!("192.168.1.1{node}:{port}"), format!("[fd99::1{node}]:{port}")];
        let check_at = |who: &str, node: u8, port: u16, expected: [&str; 2]| {
            check_both(who, &here, protocol, at(node, port).each_ref().map(String::as_str), expected);
        };
        check_at("Cluster, by the other node", 1, 30001, ["p3 10.111.0.1", "p3 fd11::1"]);
        check_at("Cluster, by the backend's node", 2, 30001, ["p3 10.111.0.2", "p3 fd11::2"]);
        check_at("Local, by the backend's node", 2, 30002, ["p3 192.168.1.100", "p3 fd99::100"]);
        check_at("Local, by the other node", 1, 30002, ["silence", "silence"]);
        check_at("no endpoint", 1, 30005, ["refused", "refused"]);
        let port = if protocol == TCP { 80 } else { 53 };
        let heard = ask(&here, protocol, &format!("10.99.0.1:{port}"));
        assert!(["p1 10.111.0.1", "p3 10.111.0.1"].contains(&heard.as_str()), "load balancer: {heard}");
        let heard = ask(&here, protocol, &format!("[fd77::1]:{port}"));
        assert!(["p1 fd11::1", "p3 fd11::1"].contains(&heard.as_str()), "load balancer: {heard}");
        check("not in the ranges", &here, protocol, &format!("10.99.0.2:{port}"), "silence");
        check("a pod in the ranges", world.pod(1), protocol, &format!("10.99.0.2:{port}"), "p3 10.1.1.1");
        let cluster = |n: u8| format!("10.112.0.{n}:{port}");
        check("from outside to a cluster address", &here, protocol, &cluster(1), "p3 10.111.0.1");
        check("from outside, no endpoint", &here, protocol, &cluster(5), "refused");
    }
}

#[test]
fn flows_to_an_endpoint_that_went_move_to_another_and_others_stay() {
    in_namespace(|| {
        let mut world =
            World::new(Overlay::Wireguard, vec![of_pods("one", 1, &[2]), of_pods("other", 2, &[3])]);
        let socket = |to: &str| {
            let to: SocketAddr = to.parse().unwrap();
            let open = || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.connect(to).unwrap();
                socket
            };
            world.pod(1).run(open).unwrap()
        };
        let (one, other) = (socket("10.112.0.1:53"), socket("10.112.0.2:53"));
        let asks = |socket: &UdpSocket| {
            let mut answer = [0; 64];
            for _ in 0..5 {
                let heard = socket.send(b"?").and_then(|_| socket.recv(&mut answer));
                if let Ok(len) = heard {
                    return String::from_utf8_lossy(&answer[..len]).into_owned();
                }
            }
            "silence".to_owned()
        };
        assert_eq!((asks(&one).as_str(), asks(&other).as_str()), ("p2 10.1.1.1", "p3 10.1.1.1"));
        world.change(vec![of_pods("one", 1, &[3])]);
        assert_eq!(asks(&one), "p2 10.1.1.1", "the flow is held by connection tracking");
        let cleanup = world.services[0].take_cleanup();
        let clean = || {
            let condemned = |c: &Connection| {
                let protocol = if c.protocol == 17 { UDP } else { TCP };
                let destination = SocketAddr::new(c.original.destination, c.original.destination_port);
                let reply_source = SocketAddr::new(c.reply.source, c.reply.source_port);
                cleanup.condemns(&Flow { protocol, destination, reply_source, is_ours: true })
            };
            Conntrack::open().unwrap().remove_where(&ConnFilter::all(Family::V4), condemned).unwrap()
        };
        assert_eq!(world.nodes[0].space.run(clean).unwrap(), 1, "{cleanup:?}");
        assert_eq!((asks(&one).as_str(), asks(&other).as_str()), ("p3 10.1.1.1", "p3 10.1.1.1"));
        assert!(world.services[0].take_cleanup().is_empty());
    });
}

#[test]
fn connections_spread_evenly() {
    in_namespace(|| {
        const ASKED: u32 = 900;
        let world = World::new(Overlay::Wireguard, vec![of_pods("spread", 1, &[1, 2, 3])]);
        let count = || {
            let mut counts = std::collections::BTreeMap::<String, u32>::new();
            for _ in 0..ASKED {
                let name = ask_once(UDP, "10.112.0.1:53".parse().unwrap()).unwrap_or_default();
                *counts.entry(name.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
            }
            counts
        };
        let counts = world.nodes[0].space.run(count).unwrap();
        assert_eq!(counts.len(), 3, "{counts:?}");
        let expected = f64::from(ASKED) / 3.0;
        let chi: f64 = counts.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        // Two degrees of freedom: above 18.4 once in ten thousand runs.
        assert!(chi < 18.4, "{chi}: {counts:?}");
    });
}

#[test]
fn services_are_reached_from_inside_a_mesh() {
    in_namespace(|| inside(Overlay::Wireguard));
}

#[test]
fn services_are_reached_from_inside_a_routed_fabric() {
    in_namespace(|| inside(Overlay::Routed));
}

#[test]
fn services_are_reached_from_outside_a_mesh() {
    in_namespace(|| outside(Overlay::Wireguard));
}

#[test]
fn services_are_reached_from_outside_a_routed_fabric() {
    in_namespace(|| outside(Overlay::Routed));
}

#[test]
fn clients_stick_to_their_endpoint_until_it_goes() {
    in_namespace(|| {
        let sticky = |pods: &[u8], timeout_seconds| {
            let mut service = with_node_ports(of_pods("sticky", 1, pods), 30001, TrafficPolicy::Cluster);
            service.affinity = Some(ClientAffinity { timeout_seconds });
            service
        };
        let mut world =
            World::new(Overlay::Wireguard, vec![sticky(&[1, 2, 3], 600), of_pods("spread", 2, &[1, 2, 3])]);
        let name = |heard: String| heard.split(' ').next().unwrap().to_owned();
        let all = |world: &World, to: &str| -> BTreeSet<String> {
            (0..24).map(|_| name(ask(&world.nodes[0].space, TCP, to))).collect()
        };
        assert_eq!(all(&world, "10.112.0.2:80").len(), 3, "without affinity they spread");
        for to in ["10.112.0.1:80", "[fd12::1]:80"] {
            let mine = all(&world, to);
            assert!(mine.len() == 1 && mine.first().unwrap().starts_with('p'), "{mine:?}");
        }
        // Whoever has an endpoint keeps it while others come and go; whoever lost it gets another at once.
        let first = all(&world, "10.112.0.1:80");
        let number: u8 = first.first().unwrap()[1..].parse().unwrap();
        let rest: Vec<u8> = (1..=3).filter(|pod| *pod != number).collect();
        world.change(vec![sticky(&[number, rest[0]], 600)]);
        assert_eq!(all(&world, "10.112.0.1:80"), first);
        world.change(vec![sticky(&rest, 600)]);
        let second = all(&world, "10.112.0.1:80");
        assert!(second.len() == 1 && second != first, "{second:?} after {first:?}");
        world.change(vec![sticky(&[1, 2, 3], 600)]);
        assert_eq!(all(&world, "10.112.0.1:80"), second, "it stays where it is");
        // One that ends while others are ready is left too.
        let mut ending = sticky(&[1, 2, 3], 600);
        let last: String = second.first().unwrap()[1..].to_owned();
        for endpoint in
            ending.endpoints.iter_mut().filter(|e| e.address.to_string().ends_with(&format!(".{last}")))
        {
            let conditions = Conditions { ready: Some(false), serving: Some(true), terminating: Some(true) };
            endpoint.conditions = conditions;
        }
        world.change(vec![ending]);
        assert_ne!(all(&world, "10.112.0.1:80"), second);
    });
}
