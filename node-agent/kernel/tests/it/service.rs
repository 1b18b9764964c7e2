//! The service tables in a real kernel: loaded, read back, changed, as the `nft` program lists them, and how long that takes.

use std::{
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};

use weft_kernel::NftSocket;
use weft_model::{
    ClientAffinity, Conditions, EndpointItem, FabricItem, Families, Family, IpMode, Item, ItemKey,
    LoadBalancerAddress, ObjectUid, Overlay, Protocol, Revision, ServiceItem, ServicePortItem, ServiceType,
    TrafficPolicy,
};
use weft_plan::{Scope, Services, Sweep, remove_service_tables};
use weft_view::{Update, View};

use crate::{
    nft::normal,
    world::{fabric, facts, in_namespace, node, pod, view},
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An endpoint of all ports: `ADDRESS@NODE`, node 0 for none.
pub(crate) fn endpoint(address: &str, at: u8, ports: &[u16]) -> EndpointItem {
    EndpointItem {
        address: ip(address),
        ports: ports.into(),
        conditions: Conditions::default(),
        node: (at != 0).then(|| node(at)),
        zone: Default::default(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: None,
    }
}

/// A ClusterIP service with one port for each protocol and number.
pub(crate) fn service(
    name: &str,
    addresses: &[&str],
    ports: &[(Protocol, u16)],
    endpoints: Vec<EndpointItem>,
) -> ServiceItem {
    ServiceItem {
        name: name.parse().unwrap(),
        uid: ObjectUid([1; 16]),
        kind: ServiceType::ClusterIp,
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: ports
            .iter()
            .map(|(protocol, port)| ServicePortItem {
                name: format!("p{port}"),
                protocol: *protocol,
                port: *port,
                node_port: 0,
            })
            .collect(),
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints,
    }
}

pub(crate) fn commit(socket: &mut NftSocket, services: &mut Services) -> usize {
    let mut count = 0;
    while let Some(transaction) = services.next(Sweep::Allowed) {
        socket.commit(&transaction.batch).unwrap_or_else(|error| panic!("{error}"));
        services.committed(transaction);
        count += 1;
    }
    assert!(services.is_settled());
    count
}

/// One of each kind.
fn kinds() -> Vec<ServiceItem> {
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    let both = |name: &str, n: u8| {
        let addresses = [format!("10.112.0.{n}"), format!("fd12::{n}")];
        let endpoints = vec![
            endpoint("10.1.1.1", 1, &[8080, 53]),
            endpoint("10.1.2.3", 2, &[8080, 53]),
            endpoint("fd00:0:0:1::1", 1, &[8080, 53]),
        ];
        service(name, &addresses.each_ref().map(String::as_str), &[(tcp, 80), (udp, 53)], endpoints)
    };
    let mut node_port = both("shop/node-port", 2);
    node_port.kind = ServiceType::NodePort;
    node_port.external_policy = TrafficPolicy::Local;
    node_port.ports[0].node_port = 30080;
    let mut balanced = both("shop/balanced", 3);
    balanced.kind = ServiceType::LoadBalancer;
    balanced.load_balancer = vec![LoadBalancerAddress { address: ip("10.99.0.1"), mode: IpMode::Vip }];
    balanced.external_ips = vec![ip("203.0.113.9")];
    balanced.source_ranges = vec!["192.168.0.0/16".parse().unwrap()];
    let mut affine = both("shop/affine", 4);
    affine.affinity = Some(ClientAffinity { timeout_seconds: 10_800 });
    let mut empty = both("shop/empty", 5);
    empty.endpoints.clear();
    let mut wide = both("shop/wide", 6);
    wide.endpoints = (1..=40).map(|n| endpoint(&format!("10.1.3.{n}"), 3, &[8080, 53])).collect();
    vec![both("shop/plain", 1), node_port, balanced, affine, empty, wide]
}

fn delta(revision: u64, upserts: Vec<Item>, deletes: Vec<ItemKey>) -> Update {
    Update::Delta { revision: Revision(revision), upserts, deletes }
}

pub(crate) fn with_services(overlay: Overlay, services: impl IntoIterator<Item = ServiceItem>) -> View {
    let mut view = view(overlay);
    let items = services.into_iter().map(Item::Service).collect();
    view.fold(delta(8, items, Vec::new())).unwrap();
    view
}

#[test]
fn service_tables_are_read_back_as_they_were_loaded_and_changed() {
    in_namespace(|| Families::ALL.into_iter().for_each(read_back));
}

fn read_back(families: Families) {
    let mut socket = NftSocket::open().unwrap();
    let facts = facts(&[pod(1)]);
    let mut view = with_services(Overlay::Wireguard, kinds());
    let fabric = FabricItem { families, ..fabric(Overlay::Wireguard) };
    view.fold(delta(9, vec![Item::Fabric(fabric)], Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &facts, Scope::All);
    services.observed(&socket.observe(&services.tables()).unwrap());
    assert!(commit(&mut socket, &mut services) > 0);
    let differs = |socket: &mut NftSocket, view: &View| {
        // Another agent that knows nothing yet.
        let mut other = Services::new();
        other.want(view, &facts, Scope::All);
        other.observed(&socket.observe(&other.tables()).unwrap());
        let next = other.next(Sweep::Allowed);
        assert_eq!(next.is_none(), other.is_settled());
        next.map(|transaction| transaction.batch.to_string())
    };
    assert_eq!(differs(&mut socket, &view), None, "{families}");

    // Backends come and go, kinds change, a service goes, a time-out changes.
    let mut after = kinds();
    after.remove(0);
    after[0].endpoints.remove(0);
    after[1].source_ranges.clear();
    after[1].external_policy = TrafficPolicy::Local;
    after[2].affinity = Some(ClientAffinity { timeout_seconds: 60 });
    after[4].endpoints.truncate(17);
    let gone = ItemKey::Service("shop/plain".parse().unwrap());
    let touched = view.fold(delta(10, after.into_iter().map(Item::Service).collect(), vec![gone])).unwrap();
    assert!(differs(&mut socket, &view).is_some());
    services.want(&view, &facts, Scope::Items(&touched.keys));
    // One transaction for what comes, one for backends that nothing leads to any more, and one for the chain that is left.
    assert_eq!(commit(&mut socket, &mut services), 3);
    assert_eq!(differs(&mut socket, &view), None, "{families}");

    // What somebody takes away or adds is found and mended, without touching the rest.
    let (set, lost, stray) = match families.primary() {
        Family::V4 => (
            "ip weft node_ports",
            "tcp . 30080",
            "ip weft backends { 0x00000100 . 0x00000000 : 10.9.9.9 . 9 }",
        ),
        Family::V6 => (
            "ip6 weft node_ports",
            "tcp . 30080",
            "ip6 weft backends { 0x00000100 . 0x00000000 : fd09::9 . 9 }",
        ),
    };
    if Command::new("nft").arg("--version").output().is_ok() {
        for command in [format!("delete element {set} {{ {lost} }}"), format!("add element {stray}")] {
            let output = Command::new("nft").arg(command).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        services.observed(&socket.observe(&services.tables()).unwrap());
        let transaction = services.next(Sweep::Forbidden).unwrap();
        assert_eq!(transaction.batch.len(), 1, "a stray stays until the View is complete");
        socket.commit(&transaction.batch).unwrap();
        services.committed(transaction);
        assert_eq!(commit(&mut socket, &mut services), 1);
        assert_eq!(differs(&mut socket, &view), None, "{families}");
    }
    socket.commit(&remove_service_tables()).unwrap();
}

#[test]
fn the_nft_program_lists_service_tables_as_our_text_says() {
    if Command::new("nft").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "the nft program is missing: .ci/run must install it");
        eprintln!("the nft program isn't here: nothing to compare with");
        return;
    }
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let view = with_services(Overlay::Wireguard, kinds());
        let mut services = Services::new();
        services.want(&view, &facts(&[pod(1)]), Scope::All);
        commit(&mut socket, &mut services);
        let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).unwrap();
        let (listed, ours) = (normal(&listed), normal(&services.text()));
        let differing = listed.lines().zip(ours.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None, "nft on the left, our text on the right");
        assert_eq!(listed.lines().count(), ours.lines().count());
    });
}

/// So many services of two ports with three backends each.
pub(crate) fn many(count: u32) -> Vec<ServiceItem> {
    let one = |n: u32| {
        let address = |high: u32| IpAddr::V4((high + n).into());
        let backends: Vec<String> =
            (0..3).map(|i| IpAddr::V4((0x0a01_0000 + n * 3 + i).into()).to_string()).collect();
        let endpoints = backends.iter().map(|b| endpoint(b, 1, &[8080, 53])).collect();
        let address = address(0x0a70_0100).to_string();
        service(&format!("shop/s{n}"), &[&address], &[(Protocol::Tcp, 80), (Protocol::Udp, 53)], endpoints)
    };
    (1..=count).map(one).collect()
}

#[test]
fn loading_and_changing_services_stay_quick() {
    const SERVICES: u32 = 2000;
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let facts = facts(&[pod(1)]);
        let mut view = with_services(Overlay::Wireguard, many(SERVICES));
        let mut services = Services::new();
        let begin = Instant::now();
        services.want(&view, &facts, Scope::All);
        let planned = begin.elapsed();
        let transactions = commit(&mut socket, &mut services);
        let loaded = begin.elapsed();
        let mut changes = Vec::new();
        for n in 1..=100 {
            let item = many(SERVICES + n).pop().unwrap();
            let touched = view.fold(delta(8 + u64::from(n), vec![Item::Service(item)], Vec::new())).unwrap();
            let begin = Instant::now();
            services.want(&view, &facts, Scope::Items(&touched.keys));
            let transaction = services.next(Sweep::Allowed).unwrap();
            let planned = begin.elapsed();
            socket.commit(&transaction.batch).unwrap();
            services.committed(transaction);
            changes.push((begin.elapsed() - planned, planned));
            assert!(services.next(Sweep::Allowed).is_none());
        }
        changes.sort();
        let (kernel, plan) = changes[50];
        let begin = Instant::now();
        services.observed(&socket.observe(&services.tables()).unwrap());
        let looked = begin.elapsed();
        assert!(services.is_settled());
        println!(
            "{SERVICES} services: planned {planned:?}, loaded {loaded:?} in {transactions} transactions; one more: \
             planned {plan:?}, kernel {kernel:?}; looked at in {looked:?}"
        );
        // Far above what is measured: this finds work that grows with what is there, not a slow machine.
        assert!(
            kernel < Duration::from_millis(50) && loaded < Duration::from_secs(10),
            "{kernel:?} {loaded:?}"
        );
    });
}
