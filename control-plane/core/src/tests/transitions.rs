//! What a service is given, what stays and what goes when it changes its type, its families or its ports.

use weft_errors as codes;
use weft_model::{
    ClusterAddresses, Families, Family, FamilyPolicy, Key, Namespace, Object, Protocol, Revision, Service,
    ServicePort, ServiceType, TrafficPolicy, WallTime,
};

use super::{World, address, given, labels, port, ranges, service, small_fabric, write};
use crate::{admit, bands};

const DUAL: Option<FamilyPolicy> = Some(FamilyPolicy::PreferDualStack);
const SINGLE: Option<FamilyPolicy> = Some(FamilyPolicy::SingleStack);

/// Families, addresses and node ports of what is stored.
fn shape(service: &Service) -> (usize, usize, usize) {
    let ports = service.spec.ports.iter().filter(|port| port.node_port != 0).count();
    (service.spec.families.len(), service.spec.addresses.list().len(), ports)
}

fn web(change: impl FnOnce(&mut Service)) -> Service {
    service("default/web", change)
}

#[test]
fn what_was_left_out_is_given_out_and_stays() {
    let mut world = World::small(Families::Dual);
    let first = world.put_service(web(|s| s.spec.selector = labels("app=web")));
    assert_eq!(shape(&first), (1, 1, 0));
    assert_eq!((first.spec.families.as_slice(), first.spec.family_policy), ([Family::V4].as_slice(), SINGLE));
    let position = bands::position(world.state.fabric().unwrap(), first.spec.addresses.list()[0]).unwrap().1;
    assert!(position > 16, "by chance in the upper band: {position}");
    assert_eq!((first.generation, first.created), (1, WallTime(1_000)));
    assert_ne!(first.uid.0, [0; 16]);

    let again = world.put_service(web(|s| s.spec.selector = labels("app=web")));
    assert_eq!(again, first, "the same text changes nothing");
    let labelled = world.put_service(web(|s| s.labels = labels("a=b")));
    assert_eq!(
        (labelled.generation, labelled.uid, &labelled.spec.addresses),
        (2, first.uid, &first.spec.addresses)
    );
    // What was made whole is whole.
    let admitted = admit(&world.state, write(Object::Service(web(|_| {})))).unwrap();
    assert_eq!(admit(&world.state, admitted.clone()).unwrap(), admitted);
}

#[test]
fn families_come_and_go_but_the_first_stays() {
    let mut world = World::small(Families::Dual);
    let single = world.put_service(web(|_| {}));
    let dual = world.put_service(web(|s| s.spec.family_policy = DUAL));
    assert_eq!(shape(&dual), (2, 2, 0));
    assert_eq!(dual.spec.addresses.list()[0], single.spec.addresses.list()[0]);
    for keep in
        [web(|_| {}), web(|s| s.spec.families = vec![Family::V4]), web(|s| s.spec.family_policy = DUAL)]
    {
        assert_eq!(world.put_service(keep).spec, dual.spec);
    }
    let first = dual.spec.addresses.list()[0];
    let named = world.put_service(web(|s| s.spec.addresses = ClusterAddresses::Given(vec![first])));
    assert_eq!(named.spec, dual.spec, "the first address alone doesn't release the second");
    let shown = world
        .refused(write(Object::Service(web(|s| s.spec.families = vec![Family::V6]))), &codes::OBJECT_INVALID);
    assert!(
        shown.contains("spec.ipFamilies[0]: Invalid value: \"IPv6\": may not change once set"),
        "{shown}"
    );
    let mut moved = web(|s| s.spec.addresses = given("10.1.0.77"));
    moved.spec.family_policy = SINGLE;
    let shown = world.refused(write(Object::Service(moved)), &codes::OBJECT_INVALID);
    assert!(
        shown.contains("spec.clusterIPs[0]: Invalid value: \"10.1.0.77\": may not change once set"),
        "{shown}"
    );
    let released = world.put_service(web(|s| s.spec.family_policy = SINGLE));
    assert_eq!(shape(&released), (1, 1, 0));
    assert_eq!(world.state.service_at(dual.spec.addresses.list()[1]), None, "the second address is free");
    // And up again with a chosen second address.
    let mut chosen = web(|s| s.spec.family_policy = Some(FamilyPolicy::RequireDualStack));
    chosen.spec.addresses = ClusterAddresses::Given(vec![first, address("fd01::77")]);
    assert_eq!(world.put_service(chosen).spec.addresses.list()[1], address("fd01::77"));
}

#[test]
fn families_follow_the_fabric_and_the_order_of_wishes() {
    let six = [Family::V6, Family::V4];
    let stored = World::small(Families::Dual6).put_service(web(|s| s.spec.family_policy = DUAL));
    assert_eq!(stored.spec.families, six);
    let mut world = World::small(Families::Dual);
    let stored = world.put_service(web(|s| {
        s.spec.family_policy = DUAL;
        s.spec.families = six.to_vec();
    }));
    assert!(stored.spec.addresses.list()[0].is_ipv6());
    let stored = world.put_service(service("default/six", |s| s.spec.addresses = given("fd01::99")));
    assert_eq!((stored.spec.families.as_slice(), shape(&stored)), ([Family::V6].as_slice(), (1, 1, 0)));
    let one = World::small(Families::V4).put_service(web(|s| s.spec.family_policy = DUAL));
    assert_eq!(shape(&one), (1, 1, 0), "two are preferred, one there is");
    // Headless: families without addresses; without a selector, all families.
    let headless = |s: &mut Service| s.spec.addresses = ClusterAddresses::None;
    let stored = world.put_service(service("default/h1", headless));
    assert_eq!(
        (shape(&stored), stored.spec.family_policy),
        ((2, 0, 0), Some(FamilyPolicy::RequireDualStack))
    );
    let stored = world.put_service(service("default/h2", |s| {
        headless(s);
        s.spec.selector = labels("app=web");
        s.spec.ports.clear();
    }));
    assert_eq!(shape(&stored), (1, 0, 0));
    let again = world.put_service(service("default/h1", |_| {}));
    assert_eq!(again.spec.addresses, ClusterAddresses::None, "nothing said: stays headless");
    let shown = world.refused(
        write(Object::Service(service("default/h1", |s| s.spec.addresses = given("10.1.0.50")))),
        &codes::OBJECT_INVALID,
    );
    assert!(shown.contains("may not change once set"), "{shown}");
}

#[test]
fn types_keep_and_free_what_kubernetes_keeps_and_frees() {
    let mut world = World::small(Families::V4);
    let kind = |kind| web(move |s| s.spec.kind = kind);
    let first = world.put_service(kind(ServiceType::NodePort));
    let number = first.spec.ports[0].node_port;
    assert!((30_086..=32_767).contains(&number), "{number} is in the upper band");
    let balanced = world.put_service(kind(ServiceType::LoadBalancer));
    assert_eq!(balanced.spec.ports[0].node_port, number, "kept by the name of the port");
    // A text as it was read, with everything in it, only its type changed: what the type can't have goes.
    let mut read = balanced.clone();
    (read.spec.kind, read.revision) = (ServiceType::ClusterIp, Revision(0));
    let plain = world.put_service(read);
    assert_eq!((plain.spec.ports[0].node_port, &plain.spec.addresses), (0, &first.spec.addresses));
    assert_eq!(world.state.node_port_holder(number), None);

    let alias = |s: &mut Service| {
        s.spec.kind = ServiceType::ExternalName;
        s.spec.external_name = "db.example.com".to_owned();
    };
    let mut read = plain.clone();
    alias(&mut read);
    let named = world.put_service(read);
    assert_eq!((shape(&named), &named.spec.addresses), ((0, 0, 0), &ClusterAddresses::Wanted));
    assert_eq!(world.state.service_at(plain.spec.addresses.list()[0]), None, "free");
    let back = world.put_service(web(|_| {}));
    assert_eq!((shape(&back), back.spec.external_name.as_str(), back.uid), ((1, 1, 0), "", first.uid));
    world.delete(Key::Service(back.name));
    assert!(
        world.state.index.services.cluster.is_empty() && world.state.index.services.node_ports.is_empty()
    );
}

#[test]
fn node_ports_stay_with_the_names_of_ports_and_protocols_share_them() {
    let mut world = World::small(Families::V4);
    let dns = |names: &[(&str, u16, Protocol)]| {
        let port = |(name, number, protocol): &(&str, u16, Protocol)| ServicePort {
            protocol: *protocol,
            ..port(name, *number)
        };
        let ports: Vec<_> = names.iter().map(port).collect();
        service("default/dns", |s| (s.spec.kind, s.spec.ports) = (ServiceType::NodePort, ports))
    };
    let numbers = |s: &Service| s.spec.ports.iter().map(|port| port.node_port).collect::<Vec<_>>();
    let both = numbers(&world.put_service(dns(&[("tcp", 53, Protocol::Tcp), ("udp", 53, Protocol::Udp)])));
    assert_eq!(both[0], both[1], "one number for one port of two protocols");
    let turned = numbers(&world.put_service(dns(&[("udp", 53, Protocol::Udp), ("web", 80, Protocol::Tcp)])));
    assert_eq!(turned[0], both[0]);
    assert_ne!(turned[1], both[0]);
    let mut chosen = dns(&[("udp", 53, Protocol::Udp), ("web", 80, Protocol::Tcp)]);
    chosen.spec.ports[1].node_port = turned[0];
    chosen.spec.ports[0].node_port = turned[1];
    assert_eq!(numbers(&world.put_service(chosen)), [turned[1], turned[0]], "exchanged on request");
}

#[test]
fn health_check_ports_come_with_local_load_balancers_and_never_change() {
    let mut world = World::small(Families::V4);
    let local = |port: u16| {
        web(move |s| {
            s.spec.kind = ServiceType::LoadBalancer;
            s.spec.external_policy = TrafficPolicy::Local;
            s.spec.allocate_node_ports = false;
            s.spec.health_check_node_port = port;
        })
    };
    let first = world.put_service(local(0));
    let number = first.spec.health_check_node_port;
    assert!(number != 0 && first.spec.ports[0].node_port == 0);
    assert_eq!(world.put_service(local(0)).spec.health_check_node_port, number);
    let shown = world.refused(write(Object::Service(local(30_001))), &codes::OBJECT_INVALID);
    assert!(shown.contains("spec.healthCheckNodePort: Invalid value: 30001: field is immutable"), "{shown}");
    let cluster = world.put_service(web(|s| {
        s.spec.kind = ServiceType::LoadBalancer;
        s.spec.health_check_node_port = number;
    }));
    assert_eq!(cluster.spec.health_check_node_port, 0);
    assert!(cluster.spec.ports[0].node_port != 0 && world.state.node_port_holder(number).is_none());
    let mut class = cluster;
    class.spec.load_balancer_class = Some("other.example/lb".to_owned());
    let shown = world.refused(write(Object::Service(class)), &codes::OBJECT_INVALID);
    assert!(
        shown
            .contains("spec.loadBalancerClass: Invalid value: \"other.example/lb\": may not change once set"),
        "{shown}"
    );
}

#[test]
fn an_exhausted_range_says_what_holds_it() {
    let mut fabric = small_fabric(Families::V4);
    fabric.ranges.services = ranges("10.1.0.0/28");
    fabric.node_port_range = (30_000, 30_001);
    let mut world = World::of(fabric.clone());
    let numbered = |n: usize| service(&format!("default/s{n}"), |_| {});
    for n in 0..12 {
        world.put_service(numbered(n));
    }
    let shown = world.refused(write(Object::Service(numbered(12))), &codes::SERVICE_ADDRESSES_EXHAUSTED);
    assert!(shown.contains("no IPv4 service address is free for service default/s12"), "{shown}");
    assert!(
        shown.contains("all addresses of 10.1.0.0/28 are held by default/s") && shown.contains("and 9 more"),
        "{shown}"
    );
    fabric.ranges.services = ranges("10.1.0.0/28 10.9.0.0/24");
    world.put(Object::Fabric(fabric));
    let next = world.put_service(numbered(12));
    assert!(next.spec.addresses.list()[0] > address("10.9.0.16"), "the upper band of the next range");
    for n in 0..2 {
        world.put_service(service(&format!("default/s{n}"), |s| s.spec.kind = ServiceType::NodePort));
    }
    let third = service("default/s2", |s| s.spec.kind = ServiceType::NodePort);
    let shown = world.refused(write(Object::Service(third)), &codes::NODE_PORTS_EXHAUSTED);
    assert!(
        shown.contains("all ports 30000-30001 are held by default/s0, default/s1")
            || shown.contains("default/s1, default/s0"),
        "{shown}"
    );
}

#[test]
fn the_lower_band_is_given_out_last() {
    let mut fabric = small_fabric(Families::V4);
    fabric.ranges.services = ranges("10.1.0.0/27");
    let mut world = World::of(fabric);
    let mut positions = Vec::new();
    for n in 0..28 {
        let stored = world.put_service(service(&format!("default/s{n}"), |_| {}));
        positions
            .push(bands::position(world.state.fabric().unwrap(), stored.spec.addresses.list()[0]).unwrap().1);
    }
    assert!(positions[..14].iter().all(|position| *position > 16), "{positions:?}");
    assert!(positions[14..].iter().all(|position| *position <= 16), "{positions:?}");
    assert!(!positions.is_sorted(), "by chance: {positions:?}");
}

#[test]
fn namespaces_hold_what_was_written_in_them() {
    let mut world = World::small(Families::V4);
    let namespace = |name: &str| Namespace {
        name: name.parse().unwrap(),
        labels: labels("team=a"),
        created: WallTime(0),
        revision: Revision(0),
    };
    let action = weft_model::Action::Write {
        objects: vec![Object::Namespace(namespace("shop")), Object::Service(service("shop/web", |_| {}))],
    };
    let admitted = admit(&world.state, action).unwrap();
    world.good(admitted);
    let stored = &world.state.namespaces()[&"shop".parse().unwrap()];
    assert_eq!(stored.labels, labels("team=a kubernetes.io/metadata.name=shop"));
    let key = |text: &str| Key::Namespace(text.parse().unwrap());
    let delete = |keys: Vec<Key>| weft_model::Action::Delete { keys };
    world.refused(delete(vec![key("nowhere")]), &codes::NOT_FOUND);
    let shown = world.refused(delete(vec![key("default")]), &codes::NAMESPACE_IN_USE);
    assert!(shown.contains("namespace default is in use by the cluster itself"), "{shown}");
    world.refused(delete(vec![Key::Fabric]), &codes::READ_ONLY_KIND);
    world.refused(delete(vec![Key::Service("shop/none".parse().unwrap())]), &codes::NOT_FOUND);
    world.good(delete(vec![key("shop"), Key::Service("shop/web".parse().unwrap())]));
    assert!(world.state.services().is_empty() && world.state.namespaces().is_empty());
    world.put(Object::Namespace(namespace("shop")));
    world.put_service(service("shop/web", |_| {}));
    world.delete(key("shop"));
    assert!(world.state.services().is_empty(), "what was in it went with it");
}

#[test]
fn a_service_made_from_an_older_revision_is_a_conflict() {
    let mut world = World::small(Families::V4);
    let seen = world.put_service(web(|_| {}));
    world.put_service(web(|s| s.labels = labels("a=b")));
    world.refused(write(Object::Service(seen)), &codes::CONFLICT);
}
