//! Laws of the tables: which backends a packet may reach, that the way doesn't matter, that what was sent is what is wanted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_model::{
    ClientAffinity, Conditions, Families, IpMode, Item, LoadBalancerAddress, Overlay, Protocol, ServiceItem,
    ServiceType, TrafficPolicy,
};
use weft_nft::{Data, Element, limits};

use super::*;
use crate::{
    service::{
        class::{CLASS_BITS, Class, GROUP_BITS},
        fixture::{endpoint, service},
        problem::{MOST_TIMEOUTS, ServiceProblem},
        rules::Front,
    },
    world,
};

/// What a property changes about a service.
#[derive(Clone, Debug)]
struct Shape {
    endpoints: Vec<(u8, u8)>,
    node_port: bool,
    balanced: bool,
    external: bool,
    policies: (bool, bool),
    affinity: Option<u32>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let endpoints = prop_oneof![
        4 => prop::collection::btree_map(1_u8..8, 0_u8..4, 0..5),
        1 => prop::collection::btree_map(1_u8..40, 0_u8..4, 15..20),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), (any::<bool>(), any::<bool>()));
    (endpoints, flags, prop::option::weighted(0.3, 1_u32..4)).prop_map(|(endpoints, flags, affinity)| Shape {
        endpoints: endpoints.into_iter().collect(),
        node_port: flags.0,
        balanced: flags.1,
        external: flags.2,
        policies: flags.3,
        affinity,
    })
}

fn made(n: u8, shape: &Shape) -> ServiceItem {
    let mut item = service(n, &[]);
    item.endpoints = shape
        .endpoints
        .iter()
        .map(|(n, state)| {
            let mut endpoint = endpoint(*n);
            let conditions = |ready, serving, terminating| Conditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            };
            endpoint.conditions = match state {
                0 | 1 => Conditions::default(),
                2 => conditions(false, true, true),
                _ => conditions(false, false, false),
            };
            endpoint
        })
        .collect();
    let policy = |local| if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    (item.internal_policy, item.external_policy) = (policy(shape.policies.0), policy(shape.policies.1));
    item.affinity = shape.affinity.map(|timeout_seconds| ClientAffinity { timeout_seconds });
    if shape.node_port {
        item.kind = ServiceType::NodePort;
        item.ports[0].node_port = 30_000 + u16::from(n);
    }
    if shape.balanced {
        item.kind = ServiceType::LoadBalancer;
        let address = format!("10.99.0.{n}").parse().unwrap();
        item.load_balancer = vec![LoadBalancerAddress { address, mode: IpMode::Vip }];
        item.source_ranges = vec!["192.168.0.0/16".parse().unwrap()];
    }
    if shape.external {
        // Two services may name the same address: one of them has it.
        item.external_ips = vec!["203.0.113.1".parse().unwrap()];
    }
    item
}

/// The model: who may serve, said as simply as the specification says it.
fn may_reach(item: &ServiceItem, policy: TrafficPolicy) -> Result<BTreeSet<std::net::SocketAddr>, Class> {
    let here = world::node(1);
    let of = |local: bool, ready: bool| -> BTreeSet<_> {
        let all = item.endpoints.iter().filter(|e| !local || e.node.as_ref() == Some(&here));
        all.filter(|e| {
            let c = e.conditions;
            if ready { c.is_ready() } else { c.is_serving() && c.is_terminating() }
        })
        .map(|e| std::net::SocketAddr::new(e.address, e.ports[0]))
        .collect()
    };
    let first = |local| Some(of(local, true)).filter(|s| !s.is_empty()).unwrap_or_else(|| of(local, false));
    let anywhere = first(false);
    if anywhere.is_empty() {
        return Err(Class::Refused);
    }
    match policy {
        TrafficPolicy::Cluster => Ok(anywhere),
        TrafficPolicy::Local => Some(first(true)).filter(|s| !s.is_empty()).ok_or(Class::Silent),
    }
}

/// What the tables say for a front: the set of backends behind all its slots.
fn reached(
    wanted: &BTreeMap<Key, Value>,
    key: &Key,
) -> Option<Result<BTreeSet<std::net::SocketAddr>, Class>> {
    let Value::Target(target) = wanted.get(key)? else { return None };
    let class = [Class::Silent, Class::Refused].into_iter().find(|class| class.code() == target & CLASS_BITS);
    if let Some(class) = class {
        return Some(Err(class));
    }
    let serving =
        Class::serving().find(|class| class.code() == target & CLASS_BITS).expect("a class that has a chain");
    let Some(Value::Group(group)) = wanted.get(&Key::Group(Family::V4, target & GROUP_BITS)) else {
        panic!("a front leads to a group that is there: {target:#x}")
    };
    match serving {
        Class::Affinity => assert!(group.stick.is_some()),
        Class::Exact(_) | Class::Power(_) | Class::Hashed(_) | Class::Silent | Class::Refused => {
            assert_eq!(group.slots(), usize::try_from(serving.slots()).unwrap());
        }
    }
    Some(Ok((0..group.slots()).map(|slot| group.at(slot).expect("no slot leads nowhere")).collect()))
}

fn check_model(item: &ServiceItem, wanted: &BTreeMap<Key, Value>) {
    let front = |front, address, expected| {
        let key = Key::Front(front, address, Protocol::Tcp, 80);
        assert_eq!(reached(wanted, &key), Some(expected), "{key:?} of {item:?}");
    };
    let cluster = || may_reach(item, TrafficPolicy::Cluster);
    front(Front::Services, item.addresses[0], may_reach(item, item.internal_policy));
    for given in &item.load_balancer {
        front(Front::Services, given.address, cluster());
        front(Front::Outside, given.address, may_reach(item, item.external_policy));
        let restricted = Key::Restricted(given.address, Protocol::Tcp, 80);
        assert_eq!(wanted.contains_key(&restricted), !item.source_ranges.is_empty());
    }
    let port = |front| reached(wanted, &Key::Port(front, Family::V4, Protocol::Tcp, item.ports[0].node_port));
    if item.ports[0].node_port != 0 {
        assert_eq!(port(Front::NodePorts), Some(cluster()));
        assert_eq!(port(Front::OutsidePorts), Some(may_reach(item, item.external_policy)));
    }
    assert_eq!(wanted.contains_key(&Key::Pingable(item.addresses[0])), cluster().is_ok());
}

/// A kernel: elements by family and set.
#[derive(Default)]
struct Kernel(BTreeMap<(Family, &'static str), BTreeSet<Element>>);

impl Kernel {
    fn take(&mut self, unit: element::Unit) {
        let set = self.0.entry((unit.family, unit.set)).or_default();
        if let Some(element) = unit.remove {
            assert!(set.remove(&element), "removed while it is there: {element}");
        }
        if let Some(element) = unit.add {
            assert!(set.iter().all(|there| there.key != element.key), "added where nothing is: {element}");
            set.insert(element);
        }
    }

    /// All fronts lead to slots that are there.
    fn check_ways(&self) {
        let empty = BTreeSet::new();
        let of = |set| self.0.get(&(Family::V4, set)).unwrap_or(&empty);
        let keys: BTreeSet<_> = of("backends").iter().chain(of("picks")).map(|e| e.key.clone()).collect();
        for front in Front::ALL {
            for element in of(front.map()) {
                let Some(Data::Value(weft_nft::Value::U32(target))) = element.data else {
                    panic!("{element}")
                };
                let Some(class) = Class::serving().find(|class| class.code() == target & CLASS_BITS) else {
                    continue;
                };
                let last = class.slots().max(1) - 1;
                let key = vec![weft_nft::Value::U32(target & GROUP_BITS), weft_nft::Value::U32(last)];
                assert!(keys.contains(&key), "{element} leads to {last} of {}", class.name());
            }
        }
    }
}

/// Goes through a round as its transactions would, one unit after another.
fn converge(services: &mut Services, kernel: &mut Kernel) {
    while let Some(transaction) = services.next(Sweep::Allowed) {
        assert!(transaction.batch.size() <= limits::TRANSACTION_BYTES);
        transaction.units.iter().for_each(|unit| {
            kernel.take(unit.clone());
        });
        kernel.check_ways();
        services.committed(transaction);
    }
    assert!(services.is_settled());
}

fn whole(services: &Services) -> BTreeMap<(Family, &'static str), BTreeSet<Element>> {
    let mut all: BTreeMap<_, BTreeSet<Element>> = BTreeMap::new();
    for (key, value) in services.wanted().0 {
        for unit in round::units(&(key, None, Some(value))) {
            all.entry((unit.family, unit.set)).or_default().extend(unit.add);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_say_what_the_model_says_and_the_way_there_doesnt_matter(
        changes in prop::collection::vec((1_u8..5, prop::option::weighted(0.8, shape())), 1..14),
    ) {
        let mut view = world::view(Families::V4, Overlay::Wireguard);
        let facts = world::facts();
        let (mut services, mut kernel) = (Services::new(), Kernel::default());
        services.want(&view, &facts, Scope::All);
        converge(&mut services, &mut kernel);
        for (step, (n, shape)) in changes.into_iter().enumerate() {
            let key = ItemKey::Service(service(n, &[]).name);
            let (upserts, deletes) = match shape {
                Some(shape) => (vec![Item::Service(made(n, &shape))], Vec::new()),
                None => (Vec::new(), vec![key]),
            };
            let touched = view.fold(world::delta(step as u64 + 2, upserts, deletes)).unwrap();
            services.want(&view, &facts, Scope::Items(&touched.keys));
            let mut anew = Services::new();
            anew.want(&view, &facts, Scope::All);
            prop_assert_eq!(services.wanted(), anew.wanted());
            prop_assert_eq!((services.total, &services.sticks), (anew.total, &anew.sticks));
            let (wanted, _) = services.wanted();
            view.services().values().for_each(|item| check_model(item, &wanted));
            // Sometimes several changes go together.
            if step % 3 != 1 {
                converge(&mut services, &mut kernel);
                kernel.0.retain(|_, elements| !elements.is_empty());
                prop_assert_eq!(&kernel.0, &whole(&services));
            }
        }
    }
}

#[test]
fn the_largest_services_are_closed_when_all_need_too_much() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let facts = world::facts();
    // 250 endpoints with affinity take 16381 picks per port.
    let large = |n: u8| {
        let mut item = service(n, &[]);
        item.affinity = Some(ClientAffinity { timeout_seconds: 60 });
        item.endpoints = (0..300_u32)
            .map(|i| {
                let mut e = endpoint(1);
                (e.address, e.pod) = (IpAddr::V4((0x0a01_0000 + i).into()), None);
                e
            })
            .collect();
        Item::Service(item)
    };
    let mut items: Vec<Item> = (1..=30).map(large).collect();
    items.push(Item::Service(service(200, &[1, 2])));
    view.fold(world::delta(2, items, Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &facts, Scope::All);
    let problems = services.problems();
    let [ServiceProblem::TooManyElements { closed, largest, wanted }] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_eq!((closed.len(), largest.len()), (1, 5), "{wanted}");
    let (entries, _) = services.wanted();
    let front =
        |n: u8| Key::Front(Front::Services, format!("10.112.0.{n}").parse().unwrap(), Protocol::Tcp, 80);
    let n: u8 = closed[0].name.as_str()[1..].parse().unwrap();
    assert_eq!(reached(&entries, &front(n)), Some(Err(Class::Refused)));
    assert!(reached(&entries, &front(200)).unwrap().is_ok(), "small ones go on");
    // Once there is room they are open again.
    view.fold(world::delta(3, Vec::new(), vec![ItemKey::Service("shop/s1".parse().unwrap())])).unwrap();
    services.want(&view, &facts, Scope::Items(&[ItemKey::Service("shop/s1".parse().unwrap())].into()));
    assert!(services.problems().is_empty());
}

#[test]
fn an_address_behind_a_proxy_is_nobodys_short_cut() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let mut item = service(1, &[1]);
    item.kind = ServiceType::LoadBalancer;
    let give = |address: &str, mode| LoadBalancerAddress { address: address.parse().unwrap(), mode };
    item.load_balancer = vec![give("10.99.0.1", IpMode::Proxy), give("10.99.0.2", IpMode::Vip)];
    view.fold(world::delta(2, vec![Item::Service(item)], Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &world::facts(), Scope::All);
    let (wanted, _) = services.wanted();
    for (address, keys) in [("10.99.0.1", 0), ("10.99.0.2", 5)] {
        let address: IpAddr = address.parse().unwrap();
        let is_of = |key: &&Key| match key {
            Key::Front(_, of, ..) | Key::Balanced(of) => *of == address,
            Key::Group(..) | Key::Port(..) | Key::Pingable(_) | Key::Restricted(..) | Key::Allowed(..) => {
                false
            }
        };
        assert_eq!(wanted.keys().filter(is_of).count(), keys, "{address}");
    }
}

#[test]
fn topology_and_headless_services_are_as_the_item_says() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let mut near = service(1, &[1, 2]);
    Arc::make_mut(&mut near.endpoints[0].hints).nodes = vec![world::node(2)];
    Arc::make_mut(&mut near.endpoints[1].hints).nodes = vec![world::node(1)];
    let mut headless = service(2, &[1]);
    headless.addresses.clear();
    view.fold(world::delta(2, vec![Item::Service(near), Item::Service(headless)], Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &world::facts(), Scope::All);
    let (wanted, _) = services.wanted();
    let front = Key::Front(Front::Services, "10.112.0.1".parse().unwrap(), Protocol::Tcp, 80);
    assert_eq!(reached(&wanted, &front), Some(Ok(["10.1.1.2:8080".parse().unwrap()].into())));
    assert_eq!(services.sizes().1.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [7, 0]);
}

#[test]
fn more_time_outs_than_there_may_be_are_lengthened() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let items = (1..=70_u8).map(|n| {
        let mut item = service(n, &[1]);
        item.affinity = Some(ClientAffinity { timeout_seconds: u32::from(n) });
        Item::Service(item)
    });
    view.fold(world::delta(2, items.collect(), Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &world::facts(), Scope::All);
    assert_eq!(services.wanted_sticks().len(), MOST_TIMEOUTS);
    let said: Vec<String> = services.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["services use 70 distinct affinity time-outs, 64 at most: the shortest last 7 s instead"]
    );
}

#[test]
fn nothing_is_taken_away_before_it_may_be() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let facts = world::facts();
    view.fold(world::delta(2, vec![Item::Service(service(1, &[1, 2]))], Vec::new())).unwrap();
    let (mut services, mut kernel) = (Services::new(), Kernel::default());
    services.want(&view, &facts, Scope::All);
    converge(&mut services, &mut kernel);
    view.fold(world::delta(3, Vec::new(), vec![ItemKey::Service("shop/s1".parse().unwrap())])).unwrap();
    services.want(&view, &facts, Scope::All);
    assert!(services.next(Sweep::Forbidden).is_none());
    assert!(services.next(Sweep::Allowed).is_some());
}

/// The kernels that we test on lack SCTP: here it is at least told to them as TCP and UDP are.
#[test]
fn sctp_ports_are_served_and_closed_like_others() {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let (mut served, mut closed) = (service(1, &[1, 2]), service(2, &[]));
    for item in [&mut served, &mut closed] {
        item.ports[0].protocol = Protocol::Sctp;
        item.ports[0].node_port = 30_000 + u16::from(item.uid.0[0]);
        item.kind = ServiceType::NodePort;
    }
    view.fold(world::delta(2, vec![Item::Service(served), Item::Service(closed)], Vec::new())).unwrap();
    let (mut services, mut kernel) = (Services::new(), Kernel::default());
    services.want(&view, &world::facts(), Scope::All);
    let (wanted, _) = services.wanted();
    let front =
        |n: u8, protocol| Key::Front(Front::Services, format!("10.112.0.{n}").parse().unwrap(), protocol, 80);
    let both = ["10.1.1.1:8080", "10.1.1.2:8080"].map(|to| to.parse().unwrap());
    assert_eq!(reached(&wanted, &front(1, Protocol::Sctp)), Some(Ok(both.into())));
    assert_eq!(reached(&wanted, &front(2, Protocol::Sctp)), Some(Err(Class::Refused)));
    assert_eq!(reached(&wanted, &front(1, Protocol::Tcp)), None, "another protocol is another port");
    for front in [Front::NodePorts, Front::OutsidePorts] {
        let port = Key::Port(front, Family::V4, Protocol::Sctp, 30_001);
        assert_eq!(reached(&wanted, &port), Some(Ok(both.into())), "{front:?}");
    }
    converge(&mut services, &mut kernel);
    let listed = |set| -> Vec<String> {
        let all = &kernel.0[&(Family::V4, set)];
        let text = all.iter().map(ToString::to_string);
        text.filter(|element| element.contains("sctp") || element.contains("132")).collect()
    };
    assert_eq!(listed("services").len(), 2, "{:?}", kernel.0[&(Family::V4, "services")]);
    assert_eq!(listed("node_ports").len(), 2);
}

/// What the limits of the control plane allow fits into a node: every service's endpoints are all behind its slots.
#[test]
fn a_hundred_services_of_a_thousand_endpoints_each_are_all_served() {
    const SERVICES: u8 = 100;
    const ENDPOINTS: u32 = 1_000;
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    let large = |n: u8| {
        let mut item = service(n, &[]);
        item.ports.truncate(1);
        let each = |i: u32| weft_model::EndpointItem {
            address: IpAddr::V4((0x0a02_0000 + u32::from(n) * ENDPOINTS + i).into()),
            ports: [8080].into(),
            pod: None,
            ..endpoint(1)
        };
        item.endpoints = (0..ENDPOINTS).map(each).collect();
        Item::Service(item)
    };
    view.fold(world::delta(2, (1..=SERVICES).map(large).collect(), Vec::new())).unwrap();
    let mut services = Services::new();
    services.want(&view, &world::facts(), Scope::All);
    assert!(services.problems().is_empty(), "{:?}", services.problems());
    let (wanted, _) = services.wanted();
    let mut all = BTreeSet::new();
    for n in 1..=SERVICES {
        let address = format!("10.112.0.{n}").parse().unwrap();
        all.extend(
            reached(&wanted, &Key::Front(Front::Services, address, Protocol::Tcp, 80)).unwrap().unwrap(),
        );
    }
    assert_eq!(all.len(), usize::from(SERVICES) * ENDPOINTS as usize);
}
