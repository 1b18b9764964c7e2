//! Forecasts agree with the model of the specification and say why.

use std::collections::BTreeSet;

use weft_model::{ClientAffinity, Conditions, Families, LoadBalancerAddress, Overlay};

use super::*;
use crate::{
    service::{choose::Here, choose::choose, fixture::service, local::Local},
    world::{self, facts, node},
};

fn fabric(services: Vec<ServiceItem>) -> View {
    let base = world::view(Families::Dual, Overlay::Wireguard);
    View::restored(base.revision(), base.items().chain(services.into_iter().map(Item::Service)))
}

fn packet(to: &str, protocol: Protocol, port: u16) -> Packet {
    Packet { source: "10.1.1.9".parse().unwrap(), to: to.parse().unwrap(), protocol, port }
}

fn picked(told: &Forecast) -> BTreeSet<SocketAddr> {
    told.backends.iter().filter(|backend| backend.slots > 0).map(|backend| backend.socket).collect()
}

#[test]
fn backends_that_are_told_are_those_that_the_choice_gives_whatever_their_state() {
    let states = [
        Conditions::default(),
        Conditions { ready: Some(false), ..Conditions::default() },
        Conditions { ready: Some(false), serving: Some(true), terminating: Some(true) },
        Conditions { ready: Some(false), serving: Some(false), terminating: Some(true) },
    ];
    for pattern in 0..4_usize.pow(3) {
        for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
            let mut item = service(1, &[1, 2, 3]);
            item.internal_policy = policy;
            for (place, endpoint) in item.endpoints.iter_mut().enumerate() {
                endpoint.conditions = states[pattern / 4_usize.pow(u32::try_from(place).unwrap()) % 4];
            }
            let here = node(1);
            let chosen = choose(
                &item.endpoints,
                0,
                Family::V4,
                Here { node: &here, zone: "", local: &Local::default() },
            );
            let list = if policy == TrafficPolicy::Local { &chosen.local } else { &chosen.cluster };
            let expected: BTreeSet<SocketAddr> =
                list.iter().map(|e| SocketAddr::new(e.address, e.ports[0])).collect();
            let fate = match (expected.is_empty(), chosen.cluster.is_empty()) {
                (false, _) => "served",
                (true, true) => "refused",
                (true, false) => "dropped",
            };
            let told = forecast(
                &fabric(vec![item]),
                &facts(),
                &Limits::default(),
                packet("10.112.0.1", Protocol::Tcp, 80),
            );
            assert_eq!(picked(&told), expected, "{pattern} {policy:?}");
            let said = match &told.fate {
                Fate::Served => "served",
                Fate::Refused(_) => "refused",
                Fate::Dropped(_) => "dropped",
                Fate::Straight => "straight",
            };
            assert_eq!(said, fate, "{pattern} {policy:?}: {told:?}");
            assert!(told.backends.iter().all(|b| (b.slots == 0) != b.out.is_empty()), "{told:?}");
        }
    }
}

#[test]
fn fronts_chains_and_slots_are_named() {
    let mut item = service(1, &[1, 2]);
    item.ports[0].node_port = 30_080;
    item.kind = weft_model::ServiceType::LoadBalancer;
    item.load_balancer =
        vec![LoadBalancerAddress { address: "10.99.0.1".parse().unwrap(), mode: IpMode::Vip }];
    item.affinity = Some(ClientAffinity { timeout_seconds: 60 });
    let mut plain = service(2, &[9]);
    plain.source_ranges = vec!["192.168.0.0/16".parse().unwrap()];
    plain.kind = weft_model::ServiceType::LoadBalancer;
    plain.load_balancer =
        vec![LoadBalancerAddress { address: "10.99.0.2".parse().unwrap(), mode: IpMode::Vip }];
    let view = fabric(vec![item, plain]);
    let check = |to: &str, protocol, port, expected: &str| {
        let told = forecast(&view, &facts(), &Limits::default(), packet(to, protocol, port));
        let met = told.met.map_or_else(String::new, |met| {
            format!(
                "{} by {} {} {} {} {}; ",
                met.service,
                met.kind.as_str(),
                met.map,
                met.chain,
                met.slots,
                met.affinity
            )
        });
        assert_eq!(format!("{met}{:?}", told.fate), expected, "{to} {port}");
    };
    check(
        "10.112.0.1",
        Protocol::Tcp,
        80,
        "shop/s1 by cluster address services affinity_60s_251 251 60; Served",
    );
    check(
        "10.99.0.1",
        Protocol::Udp,
        53,
        "shop/s1 by load-balancer address services affinity_60s_251 251 60; Served",
    );
    // The nodes' primary addresses, also the other one's.
    check(
        "192.168.1.12",
        Protocol::Tcp,
        30_080,
        "shop/s1 by node port node_ports affinity_60s_251 251 60; Served",
    );
    check("192.168.1.12", Protocol::Tcp, 80, "Straight");
    check("10.1.2.3", Protocol::Tcp, 30_080, "Straight");
    check("10.112.0.2", Protocol::Tcp, 80, "shop/s2 by cluster address services to_1 1 0; Served");
    check(
        "10.99.0.2",
        Protocol::Tcp,
        80,
        "shop/s2 by load-balancer address restricted from_pods 0 0; Dropped(\"10.1.1.9 isn't in its loadBalancerSourceRanges (192.168.0.0/16)\")",
    );
    check(
        "10.112.0.2",
        Protocol::Tcp,
        81,
        "Refused(\"service shop/s2 has no port 81/TCP (it has 80/TCP, 53/UDP)\")",
    );
    check("10.112.0.10", Protocol::Udp, 53, "Straight");
    check("10.112.0.77", Protocol::Tcp, 80, "Refused(\"no service has the address 10.112.0.77\")");
    check(
        "10.99.0.1",
        Protocol::Tcp,
        81,
        "Dropped(\"no service has port 81/TCP at the load-balancer address 10.99.0.1\")",
    );
}

#[test]
fn a_silent_node_is_the_reason_why_its_pods_are_out() {
    let mut item = service(1, &[1, 2]);
    let gone = item.endpoints.iter_mut().filter(|e| e.node == Some(node(2)));
    gone.for_each(|e| e.conditions = Conditions { ready: Some(false), serving: Some(false), ..e.conditions });
    let whole = fabric(vec![item]);
    for (silent, expected) in [(true, "node n2 is silent"), (false, "it isn't ready")] {
        let mut peer = whole.peer(&node(2)).cloned().unwrap();
        peer.silent = silent;
        let view = View::restored(whole.revision(), whole.items().chain([Item::Peer(peer)]));
        let told = forecast(&view, &facts(), &Limits::default(), packet("10.112.0.1", Protocol::Tcp, 80));
        let out = told.backends.iter().map(|backend| (backend.slots > 0, backend.out.as_str()));
        assert_eq!(out.collect::<BTreeSet<_>>(), BTreeSet::from([(true, ""), (false, expected)]));
    }
}

#[test]
fn a_pod_that_may_meet_itself_is_marked() {
    let told = forecast(
        &fabric(vec![service(1, &[8, 9])]),
        &facts(),
        &Limits::default(),
        packet("10.112.0.1", Protocol::Tcp, 80),
    );
    let own: Vec<bool> = told.backends.iter().map(|backend| backend.is_sender).collect();
    assert_eq!(own, [false, true]);
    assert_eq!(told.backends[1].pod.as_ref().map(Name::as_str), Some("pod-9"));
}

#[test]
fn what_all_services_together_leave_to_one_is_told_as_the_kernel_acts() {
    // 300 endpoints with affinity take 16381 picks per port; and more time-outs than there may be.
    let large = |n: u8| {
        let mut item = service(n, &[]);
        item.affinity = Some(ClientAffinity { timeout_seconds: u32::from(n) });
        let address = |i: u32| IpAddr::V4((0x0a01_0000 + i).into());
        item.endpoints = (0..if n <= 31 { 300 } else { 1 })
            .map(|i| EndpointItem { address: address(i), pod: None, ..crate::service::fixture::endpoint(1) })
            .collect();
        item
    };
    let view = fabric((1..=70).map(large).collect());
    let mut all = Services::new();
    all.want(&view, &facts(), Scope::All);
    let limits = all.limits();
    assert!(!limits.closed.is_empty() && limits.closed.len() < 31, "{:?}", limits.closed);
    assert_eq!(limits.timeouts.len(), super::super::MOST_TIMEOUTS);
    // A closed one, one that is as large and open, and those with the shortest and the longest time-outs of the small ones.
    let is_closed = |n: &u8| limits.closed.contains(&large(*n).name);
    let closed = (1..=31).find(is_closed).unwrap();
    let open = (1..=31).find(|n| !is_closed(n)).unwrap();
    for n in [closed, open, 32, 70] {
        let item = large(n);
        let told =
            forecast(&view, &facts(), &limits, packet(&item.addresses[0].to_string(), Protocol::Tcp, 80));
        let is_closed = limits.closed.contains(&item.name);
        let refused = matches!(&told.fate, Fate::Refused(why) if why.contains("more elements"));
        assert_eq!(refused, is_closed, "{}: {:?}", item.name, told.fate);
        assert!(told.backends.iter().all(|b| b.out.is_empty() != is_closed), "{}", item.name);
        // As the maps of all have it.
        let key = Key::Front(Front::Services, item.addresses[0], Protocol::Tcp, 80);
        let Some(Value::Target(target)) = all.entry(&key) else { panic!("{}", item.name) };
        assert_eq!(class_of(*target) == Some(Class::Refused), is_closed);
        let group = all.entry(&Key::Group(Family::V4, target & GROUP_BITS)).and_then(Value::group);
        let stick = group.and_then(|group| group.stick);
        assert_eq!(told.met.unwrap().affinity, stick.map_or(0, |stick| stick.timeout), "{}", item.name);
    }
}
