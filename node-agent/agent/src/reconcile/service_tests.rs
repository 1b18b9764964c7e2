//! The loop against a real kernel, in a namespace of its own: loaded once, left alone when right, repaired, and flows follow.

use std::{
    net::{IpAddr, UdpSocket},
    process::Command,
};

use weft_kernel::{ConnFilter, Namespace, create_namespace, remove_namespace};
use weft_model::{
    Conditions, Dual, EndpointItem, Family, Item, ItemKey, ObjectUid, PeerItem, Protocol, ServiceItem,
    ServicePortItem, ServiceType, TrafficPolicy,
};
use weft_view::Update;

use super::*;
use crate::fixture;

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip (iproute2) runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a test in a new network namespace that goes with it.
fn in_namespace(test: impl FnOnce(&Arc<Node>) + Send) {
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(fixture::node(&directory));
    let space: Namespace = create_namespace(directory.path(), "weft-test-services").unwrap();
    let ran = space.run(|| {
        ip("link set lo up");
        test(&node);
    });
    remove_namespace(directory.path(), "weft-test-services").unwrap();
    ran.unwrap();
}

fn service(endpoints: &[&str]) -> ServiceItem {
    let endpoint = |address: &&str| EndpointItem {
        address: address.parse().unwrap(),
        ports: vec![5300].into(),
        conditions: Conditions::default(),
        node: None,
        zone: Default::default(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: None,
    };
    ServiceItem {
        name: "shop/dns".parse().unwrap(),
        uid: ObjectUid([1; 16]),
        kind: ServiceType::ClusterIp,
        addresses: vec!["10.112.0.10".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: vec![ServicePortItem { name: String::new(), protocol: Protocol::Udp, port: 53, node_port: 0 }],
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn own_peer() -> PeerItem {
    PeerItem {
        node: weft_model::NodeName::new("n1").unwrap(),
        wireguard_key: None,
        endpoint: None,
        mesh: Dual::new(Some("10.111.0.1".parse().unwrap()), None).unwrap(),
        underlay: vec!["192.168.1.11".parse().unwrap()],
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    }
}

/// The fabric gets services at a revision; whoever follows is told.
fn show(node: &Node, revision: u64, upserts: Vec<Item>, deletes: Vec<ItemKey>) {
    let mut view = View::clone(&node.view());
    let touched = view.fold(Update::Delta { revision: Revision(revision), upserts, deletes }).unwrap();
    node.adopt(view, &touched);
}

fn sync(node: &Node) {
    let mut view = View::clone(&node.view());
    let touched = view.fold(Update::InSync { revision: node.view().revision() }).unwrap();
    node.adopt(view, &touched);
}

fn start(node: &Arc<Node>) -> ServiceLoop {
    ServiceLoop::new(Arc::clone(node), NftSocket::open().unwrap())
}

/// One pass over everything that was told since the last.
fn pass(services: &mut ServiceLoop) {
    let node = Arc::clone(&services.node);
    let wish = match node.inboxes.services.take(Instant::now()) {
        Work::Wish(wish, _) => wish,
        Work::Nothing | Work::Stop => Wish::default(),
    };
    let result = services.pass(&node.view(), &wish);
    services.settle(node.view().revision(), result.clone());
    assert_eq!(result, Ok(()));
}

fn generation() -> u32 {
    NftSocket::open().unwrap().generation().unwrap().id
}

fn tables() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().expect("nft runs");
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn nft(command: &str) {
    assert!(Command::new("nft").args(command.split_whitespace()).status().expect("nft runs").success());
}

#[test]
fn services_are_loaded_once_left_alone_when_right_and_repaired_when_not() {
    in_namespace(|node| {
        let mut services = start(node);
        show(node, 2, vec![Item::Peer(own_peer()), Item::Service(service(&["10.1.1.2"]))], vec![]);
        sync(node);
        pass(&mut services);
        assert!(tables().contains("10.112.0.10"), "{}", tables());
        let loaded = generation();
        pass(&mut services);
        assert_eq!(generation(), loaded, "nothing to do");
        // Another process: it looks, and finds everything right.
        let mut again = start(node);
        pass(&mut again);
        assert_eq!(generation(), loaded, "a new start changes nothing");
        assert_eq!(node.states.all()[&Subsystem::Services].applied, Some(Revision(2)));
        // One more endpoint is one transaction.
        show(node, 3, vec![Item::Service(service(&["10.1.1.2", "10.1.1.3"]))], vec![]);
        pass(&mut again);
        assert_eq!(generation(), loaded + 1);
        nft("flush ruleset");
        node.inboxes.services.poke(Wish::observe());
        again.rested_at = Instant::now();
        pass(&mut again);
        let repaired = tables();
        assert!(repaired.contains("10.112.0.10") && repaired.contains("10.1.1.3"), "{repaired}");
    });
}

#[test]
fn nothing_is_taken_away_before_the_view_is_whole() {
    in_namespace(|node| {
        let mut services = start(node);
        show(node, 2, vec![Item::Peer(own_peer()), Item::Service(service(&["10.1.1.2"]))], vec![]);
        sync(node);
        pass(&mut services);
        // A process that knows of no service yet.
        let directory = tempfile::tempdir().unwrap();
        let other = Arc::new(fixture::node(&directory));
        show(&other, 2, vec![Item::Peer(own_peer())], vec![]);
        let mut young = start(&other);
        pass(&mut young);
        assert!(tables().contains("10.112.0.10"), "{}", tables());
        sync(&other);
        pass(&mut young);
        assert!(!tables().contains("10.112.0.10"), "{}", tables());
    });
}

#[test]
fn flows_of_an_endpoint_that_goes_are_removed_and_others_stay() {
    in_namespace(|node| {
        for address in ["10.1.1.2", "10.1.1.3", "10.111.0.1"] {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        ip("route add 10.112.0.0/16 dev lo src 10.111.0.1");
        let mut services = start(node);
        show(
            node,
            2,
            vec![Item::Peer(own_peer()), Item::Service(service(&["10.1.1.2", "10.1.1.3"]))],
            vec![],
        );
        sync(node);
        pass(&mut services);
        let sockets: Vec<_> = (0..32)
            .map(|_| {
                let socket = UdpSocket::bind("10.111.0.1:0").unwrap();
                socket.send_to(b"x", "10.112.0.10:53").unwrap();
                socket
            })
            .collect();
        let mut table = Conntrack::open().unwrap();
        let mut flows = || {
            let to: IpAddr = "10.112.0.10".parse().unwrap();
            let all = ConnFilter::of_protocol(Family::V4, Protocol::Udp);
            let filter = ConnFilter { original_destination: Some(to), ..all };
            let found = table.list(&filter).unwrap();
            let to = |endpoint: &str| {
                found.iter().filter(|c| c.reply.source == endpoint.parse::<IpAddr>().unwrap()).count()
            };
            (to("10.1.1.2"), to("10.1.1.3"))
        };
        let (gone, stay) = flows();
        assert_eq!(gone + stay, sockets.len());
        assert!(gone > 0 && stay > 0, "{gone} and {stay}");
        show(node, 3, vec![Item::Service(service(&["10.1.1.3"]))], vec![]);
        pass(&mut services);
        assert_eq!(flows(), (0, stay));
        show(node, 4, vec![], vec![ItemKey::Service("shop/dns".parse().unwrap())]);
        pass(&mut services);
        assert_eq!(flows(), (0, 0), "a service that is gone keeps no flow");
    });
}

#[test]
fn flows_of_services_that_went_while_the_agent_was_down_are_removed_and_others_stay() {
    in_namespace(|node| {
        for address in ["10.1.1.2", "10.111.0.1", "192.168.1.11"] {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        ip("route add 10.112.0.0/16 dev lo src 10.111.0.1");
        let mut kept = service(&["10.1.1.2"]);
        (kept.name, kept.addresses) = ("shop/kept".parse().unwrap(), vec!["10.112.0.11".parse().unwrap()]);
        let mut gone = service(&["10.1.1.2"]);
        (gone.kind, gone.ports[0].node_port) = (ServiceType::NodePort, 30_053);
        show(node, 2, vec![Item::Peer(own_peer()), Item::Service(gone), Item::Service(kept.clone())], vec![]);
        sync(node);
        pass(&mut start(node));
        // Somebody else's translation at a node's address, without our mark.
        nft("add table ip other");
        nft("add chain ip other sent { type nat hook output priority -150; }");
        nft("add rule ip other sent udp dport 30054 dnat to 10.1.1.2:5300");
        let to =
            ["10.112.0.10:53", "10.112.0.11:53", "192.168.1.11:30053", "192.168.1.11:30054", "10.1.1.2:5300"];
        let socket = UdpSocket::bind("10.111.0.1:0").unwrap();
        for to in to {
            // Nobody listens: what comes back of that is of no interest.
            let _ = socket.send_to(b"x", to);
        }
        let flows = || -> Vec<bool> {
            let all = ConnFilter::of_protocol(Family::V4, Protocol::Udp);
            let found = Conntrack::open().unwrap().list(&all).unwrap();
            let is_there = |to: &&str| {
                let to: std::net::SocketAddr = to.parse().unwrap();
                found
                    .iter()
                    .any(|c| (c.original.destination, c.original.destination_port) == (to.ip(), to.port()))
            };
            to.iter().map(is_there).collect()
        };
        assert_eq!(flows(), [true; 5]);
        // The agent is down meanwhile: the next one knows nothing of the service.
        let directory = tempfile::tempdir().unwrap();
        let other = Arc::new(fixture::node(&directory));
        show(&other, 3, vec![Item::Peer(own_peer()), Item::Service(kept)], vec![]);
        let mut young = start(&other);
        pass(&mut young);
        assert_eq!(flows(), [true; 5], "a View that isn't whole may lack what is there");
        sync(&other);
        pass(&mut young);
        assert_eq!(flows(), [false, true, false, true, true]);
    });
}

/// What `weft check` tells of the maps.
fn told(node: &Node) -> String {
    node.service_findings.all().pop().map(|finding| finding.detail).unwrap_or_default()
}

#[test]
fn what_somebody_changed_is_repaired_and_told() {
    in_namespace(|node| {
        let mut services = start(node);
        show(node, 2, vec![Item::Peer(own_peer()), Item::Service(service(&["10.1.1.2"]))], vec![]);
        sync(node);
        pass(&mut services);
        let mut compare = |script: &[&str]| {
            script.iter().for_each(|command| nft(command));
            node.inboxes.services.poke(Wish { compare: true, ..Wish::default() });
            pass(&mut services);
            // Without the number of elements, and without how long it is ago.
            let told = told(node);
            let parts = told.split("; ").skip(1);
            let timeless = parts.map(|part| part.strip_suffix(" 0 s ago").unwrap_or(part).to_owned());
            timeless.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(compare(&[]), "as wanted when compared");
        let whole = tables();
        let lost = "delete element ip weft services { 10.112.0.10 . udp . 53 }";
        let stray = "add element ip weft backends { 0x00000100 . 0x00000000 : 10.9.9.9 . 9 }";
        let wrong = "delete element ip weft pingable { 10.112.0.10 }";
        assert_eq!(compare(&[lost]), "1 difference was repaired");
        assert_eq!(compare(&[stray, wrong]), "2 differences were repaired");
        assert_eq!(
            compare(&["flush chain ip weft unserved", "add chain ip weft odd"]),
            "2 differences were repaired"
        );
        // All at once: the rules are mended, and what was wrong in the maps too.
        assert_eq!(compare(&[lost, stray, "flush chain ip weft refused"]), "3 differences were repaired");
        assert_eq!(compare(&[]), "as wanted when compared, 3 differences were repaired");
        assert_eq!(tables(), whole);
    });
}

#[test]
fn a_look_gives_way_to_changes_and_comes_later() {
    in_namespace(|node| {
        let mut services = start(node);
        show(node, 2, vec![Item::Peer(own_peer()), Item::Service(service(&["10.1.1.2"]))], vec![]);
        sync(node);
        pass(&mut services);
        node.inboxes.services.poke(Wish::default());
        assert!(!services.look(true).unwrap(), "somebody waits");
        assert!(services.put_off_since.is_some());
        assert!(services.look(false).unwrap(), "whoever must know doesn't give way");
        assert!(!services.look(true).unwrap());
        pass(&mut services);
        assert!(services.look(true).unwrap() && services.put_off_since.is_none(), "nobody waits");
    });
}
