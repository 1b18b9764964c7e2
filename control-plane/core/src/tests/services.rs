//! Services that are refused, each with the words of Kubernetes, the field and the holder.

use weft_errors as codes;
use weft_errors::Code;
use weft_model::{
    Action, ClientAffinity, ClusterAddresses, Families, Family, FamilyPolicy, Key, Object, Protocol,
    Revision, Role, Service, ServiceType, TargetPort, TrafficPolicy,
};

use super::{
    World, address, facts, given, join, labels, member, pool, port, range, ranges, service, small_fabric,
    write,
};

/// A world with services that hold things: `default/web` with 10.1.0.100 and node port 30100.
fn world(families: Families) -> World {
    let mut fabric = small_fabric(families);
    fabric.external_ip_ranges = ranges("198.18.0.0/24");
    let mut world = World::of(fabric);
    world.put_service(service("default/web", |s| {
        s.spec.kind = ServiceType::NodePort;
        let first = if families == Families::V6 { "fd01::100" } else { "10.1.0.100" };
        s.spec.addresses = given(first);
        s.spec.ports[0].node_port = 30_100;
    }));
    world
}

#[track_caller]
fn check(families: Families, change: impl FnOnce(&mut Service), code: &Code, words: &str) {
    let mut world = world(families);
    let shown = world.refused(write(Object::Service(service("default/bad", change))), code);
    assert!(shown.contains(words), "{shown:?} lacks {words:?}");
}

/// Refused as invalid in a fabric with both families.
#[track_caller]
fn invalid(change: impl FnOnce(&mut Service), words: &str) {
    check(Families::Dual, change, &codes::OBJECT_INVALID, words);
}

#[test]
fn ports_are_refused_as_kubernetes_refuses_them() {
    invalid(|s| s.spec.ports.clear(), "spec.ports: Required value");
    invalid(
        |s| s.spec.ports[0].port = 0,
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
    invalid(|s| s.spec.ports[0].target = TargetPort::Number(0), "spec.ports[0].targetPort: Invalid value: 0");
    for (name, words) in [
        ("", "must be 1 to 15 characters"),
        ("a-name-of-16-chr", "must be 1 to 15 characters"),
        ("Http", "must contain only alpha-numeric characters"),
        ("80", "must contain at least one letter"),
        ("a--b", "must not contain consecutive hyphens"),
        ("-a", "must not begin or end with a hyphen"),
    ] {
        invalid(|s| s.spec.ports[0].target = TargetPort::Name(name.to_owned()), words);
    }
    invalid(|s| s.spec.ports.push(port("b", 81)), "spec.ports[0].name: Required value");
    invalid(
        |s| s.spec.ports = vec![port("a", 80), port("a", 81)],
        "spec.ports[1].name: Duplicate value: \"a\"",
    );
    invalid(
        |s| s.spec.ports = vec![port("a", 80), port("b", 80)],
        "spec.ports[1]: Duplicate value: \"TCP/80\"",
    );
    invalid(
        |s| s.spec.ports[0].name = "Http".to_owned(),
        "spec.ports[0].name: Invalid value: \"Http\": a lowercase RFC 1123 label",
    );
    invalid(
        |s| s.spec.ports[0].app_protocol = "a b".to_owned(),
        "spec.ports[0].appProtocol: Invalid value: \"a b\"",
    );
    invalid(
        |s| s.spec.ports = (1..=251).map(|n| port(&format!("p{n}"), n)).collect(),
        "spec.ports: Too many: 251: must have at most 250 items",
    );
    // Every problem at once; the field is that of the first.
    invalid(
        |s| s.spec.ports = vec![port("a", 0), port("a", 0)],
        "isn't valid: [spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[1].name: Duplicate value: \"a\"",
    );
    let mut world = world(Families::Dual);
    let udp = |port| weft_model::ServicePort { protocol: Protocol::Udp, ..port };
    world.put_service(service("default/dns", |s| s.spec.ports = vec![port("tcp", 53), udp(port("udp", 53))]));
}

#[test]
fn node_ports_are_refused_with_their_holder() {
    let node_port = |number: u16| {
        move |s: &mut Service| {
            s.spec.kind = ServiceType::NodePort;
            s.spec.ports[0].node_port = number;
        }
    };
    check(
        Families::V4,
        node_port(30_100),
        &codes::NODE_PORT_TAKEN,
        "node port 30100 of service default/bad is already held by service default/web; object service/default/bad; at spec.ports[0].nodePort",
    );
    invalid(
        node_port(80),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
    );
    invalid(
        |s| s.spec.ports[0].node_port = 30_000,
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    );
    invalid(
        |s| {
            node_port(30_001)(s);
            s.spec.ports[0].name = "a".to_owned();
            s.spec.ports.push(weft_model::ServicePort { node_port: 30_001, ..port("b", 81) });
        },
        "spec.ports[1].nodePort: Duplicate value: 30001",
    );
    invalid(
        |s| s.spec.health_check_node_port = 30_000,
        "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    );
    let local = |port: u16| {
        move |s: &mut Service| {
            s.spec.kind = ServiceType::LoadBalancer;
            s.spec.external_policy = TrafficPolicy::Local;
            s.spec.health_check_node_port = port;
        }
    };
    check(Families::V4, local(30_100), &codes::NODE_PORT_TAKEN, "at spec.healthCheckNodePort");
    invalid(local(1), "spec.healthCheckNodePort: Invalid value: 1: provided port is not in the valid range");
    invalid(
        |s| {
            local(30_005)(s);
            s.spec.ports[0].node_port = 30_005;
        },
        "spec.healthCheckNodePort: Duplicate value: 30005",
    );
}

#[test]
fn addresses_are_refused_with_their_holder() {
    let at = |texts: &'static str| move |s: &mut Service| s.spec.addresses = given(texts);
    let taken = |texts, words| check(Families::V4, at(texts), &codes::SERVICE_ADDRESS_TAKEN, words);
    taken(
        "10.1.0.100",
        "10.1.0.100 can't be an address of service default/bad: it is held by service default/web",
    );
    taken("10.1.0.1", "held by the control plane's own service (reserved)");
    taken("10.1.0.10", "held by the cluster's DNS (reserved)");
    let outside = |texts| {
        check(
            Families::V4,
            at(texts),
            &codes::OBJECT_INVALID,
            "the provided IP is not in the valid range. The range of valid IPs is 10.1.0.0/24",
        )
    };
    outside("10.2.0.5");
    outside("10.1.0.0");
    outside("10.1.0.255");
    check(
        Families::V6,
        at("fd01::"),
        &codes::OBJECT_INVALID,
        "spec.clusterIPs[0]: Invalid value: \"fd01::\"",
    );
    invalid(
        at("10.1.0.5 10.1.0.6 10.1.0.7"),
        "spec.clusterIPs: Invalid value: \"3 values\": may only hold up to 2 values",
    );
    invalid(
        |s| {
            at("10.1.0.5 10.1.0.6")(s);
            s.spec.family_policy = Some(FamilyPolicy::PreferDualStack);
        },
        "spec.clusterIPs[1]: Invalid value: \"10.1.0.6\": may specify no more than one IP for each IP family",
    );
    invalid(
        at("10.1.0.5 fd01::5"),
        "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when multiple 'clusterIPs' are specified",
    );
    check(
        Families::V4,
        at("fd01::5"),
        &codes::OBJECT_INVALID,
        "spec.clusterIPs[0]: Invalid value: \"fd01::5\": IPv6 is not configured on this cluster",
    );
}

#[test]
fn families_are_refused_when_they_dont_fit() {
    let families = |list: &'static [Family]| move |s: &mut Service| s.spec.families = list.to_vec();
    check(
        Families::V4,
        families(&[Family::V6]),
        &codes::OBJECT_INVALID,
        "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
    );
    invalid(
        families(&[Family::V4, Family::V6]),
        "must be RequireDualStack or PreferDualStack when multiple 'ipFamilies' are specified",
    );
    invalid(
        |s| {
            families(&[Family::V4, Family::V4])(s);
            s.spec.family_policy = Some(FamilyPolicy::RequireDualStack);
        },
        "spec.ipFamilies[1]: Invalid value: \"IPv4\"",
    );
    check(
        Families::V6,
        |s| s.spec.family_policy = Some(FamilyPolicy::RequireDualStack),
        &codes::OBJECT_INVALID,
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
    );
    invalid(
        |s| {
            families(&[Family::V6])(s);
            s.spec.addresses = given("10.1.0.5");
        },
        "spec.clusterIPs[0]: Invalid value: \"10.1.0.5\": expected an IPv6 value as indicated by `ipFamilies[0]`",
    );
}

#[test]
fn types_are_refused_with_what_they_cant_have() {
    for (kind, name) in [(ServiceType::NodePort, "NodePort"), (ServiceType::LoadBalancer, "LoadBalancer")] {
        invalid(
            |s| {
                s.spec.kind = kind;
                s.spec.addresses = ClusterAddresses::None;
            },
            &format!(
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for {name} services"
            ),
        );
    }
    let alias = |name: &'static str| {
        move |s: &mut Service| {
            s.spec.kind = ServiceType::ExternalName;
            s.spec.external_name = name.to_owned();
        }
    };
    invalid(alias(""), "spec.externalName: Required value");
    invalid(alias("not a name"), "spec.externalName: Invalid value: \"not a name\"");
    for set in [
        (|s: &mut Service| s.spec.addresses = given("10.1.0.5")) as fn(&mut Service),
        |s| s.spec.addresses = ClusterAddresses::None,
        |s| s.spec.families = vec![Family::V4],
        |s| s.spec.family_policy = Some(FamilyPolicy::SingleStack),
    ] {
        invalid(
            |s| {
                alias("db.example.com.")(s);
                set(s);
            },
            "Forbidden: may not be set for ExternalName services",
        );
    }
    let only = "may only be used when `type` is 'LoadBalancer'";
    invalid(
        |s| s.spec.load_balancer_class = Some("a.b/c".to_owned()),
        &format!("spec.loadBalancerClass: Forbidden: {only}"),
    );
    invalid(
        |s| s.spec.source_ranges = vec![range("10.0.0.0/8")],
        &format!("spec.loadBalancerSourceRanges: Forbidden: {only}"),
    );
    invalid(
        |s| s.spec.allocate_node_ports = false,
        &format!("spec.allocateLoadBalancerNodePorts: Forbidden: {only}"),
    );
    invalid(
        |s| s.spec.external_policy = TrafficPolicy::Local,
        "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
    );
}

#[test]
fn the_rest_of_a_service_is_checked_too() {
    invalid(
        |s| s.name = "default/1web".parse().unwrap(),
        "metadata.name: Invalid value: \"1web\": a DNS-1035 label",
    );
    invalid(|s| s.name = "default/a.b".parse().unwrap(), "metadata.name: Invalid value: \"a.b\"");
    invalid(|s| s.name = format!("default/{}.x", "w".repeat(60)).parse().unwrap(), "at most 63 characters");
    invalid(|s| s.labels = labels("app=-x"), "metadata.labels[app]: Invalid value: \"-x\"");
    invalid(|s| s.spec.selector = labels("app=-x"), "spec.selector: Invalid value: \"-x\"");
    invalid(|s| drop(s.annotations.insert("a b".to_owned(), String::new())), "metadata.annotations[a b]");
    invalid(
        |s| drop(s.annotations.insert("a".to_owned(), "x".repeat(262_144))),
        "metadata.annotations: Invalid value: \"262145 bytes\"",
    );
    for timeout_seconds in [0, 86_401] {
        invalid(
            |s| s.spec.affinity = Some(ClientAffinity { timeout_seconds }),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        );
    }
    for (text, words) in [
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::ffff:1.2.3.4", "IPv4-mapped"),
        ("100.100.100.200", "credentials"),
        ("fd00:ec2::254", "credentials"),
    ] {
        invalid(|s| s.spec.external_ips = vec![address(text)], words);
    }
    invalid(
        |s| s.spec.external_ips = vec![address("198.18.0.1"); 2],
        "spec.externalIPs[1]: Duplicate value: \"198.18.0.1\"",
    );
    let mut world = world(Families::V4);
    let stranger = service("nowhere/web", |_| {});
    let shown = world.refused(write(Object::Service(stranger)), &codes::NOT_FOUND);
    assert!(shown.contains("namespace nowhere of service nowhere/web doesn't exist; object service/nowhere/web; at metadata.namespace; try make it first (weft create namespace nowhere)"), "{shown}");
}

#[test]
fn external_addresses_need_an_admins_permission_and_one_taker_per_port() {
    let at = |texts: &str| texts.split_whitespace().map(address).collect::<Vec<_>>();
    check(
        Families::V4,
        |s| s.spec.external_ips = at("198.18.0.1 192.168.1.1"),
        &codes::EXTERNAL_ADDRESS_DENIED,
        "at spec.externalIPs[1]; because whoever names an external address gets the packets that others send there (CVE-2020-8554): the fabric allows 198.18.0.0/24",
    );
    let mut world = world(Families::V4);
    world.put_service(service("default/a", |s| s.spec.external_ips = at("198.18.0.1")));
    let rival = service("default/b", |s| s.spec.external_ips = at("198.18.0.1"));
    let shown = world.refused(write(Object::Service(rival.clone())), &codes::SERVICE_ADDRESS_TAKEN);
    assert!(shown.contains("held by service default/a") && shown.contains("spec.externalIPs[0]"), "{shown}");
    let mut friend = rival;
    friend.spec.ports[0].port = 81;
    world.put_service(friend);
    let mut fabric = world.state.fabric().unwrap().clone();
    fabric.external_ip_ranges.clear();
    let shown = world.refused(write(Object::Fabric(fabric)), &codes::RANGE_IN_USE);
    assert!(shown.contains("external address 198.18.0.1 is in use by service default/a"), "{shown}");
}

#[test]
fn what_the_fabric_itself_needs_is_no_services_to_take() {
    let mut fabric = small_fabric(Families::V4);
    fabric.external_ip_ranges = ranges("192.168.1.0/24");
    fabric.node_port_range = (7_443, 7_446);
    let mut world = World::of(fabric.clone());
    let external = |number, udp: bool| {
        service("default/bad", |s| {
            s.spec.external_ips = vec![address("192.168.1.10")];
            s.spec.ports[0].port = number;
            if udp {
                s.spec.ports[0].protocol = Protocol::Udp;
            }
        })
    };
    let node_port = |name: &str, number| {
        service(name, |s| {
            s.spec.kind = ServiceType::NodePort;
            s.spec.ports[0].node_port = number;
        })
    };
    // `cp-1` serves at 192.168.1.10:7443.
    let shown = world.refused(write(Object::Service(external(7_443, false))), &codes::SERVICE_ADDRESS_TAKEN);
    assert!(shown.contains("held by replica cp-1, which serves at 192.168.1.10:7443"), "{shown}");
    world.put_service(external(7_443, true));
    let token = world.token(Role::Node);
    world.good(join(token, "n1", 1, facts("192.168.1.10", "192.168.1.0/24")));
    let shown = world.refused(write(Object::Service(external(51_820, true))), &codes::SERVICE_ADDRESS_TAKEN);
    assert!(shown.contains("held by node n1, whose mesh has UDP port 51820"), "{shown}");
    world.put_service(external(51_820, false));
    let taken = node_port("default/worse", 7_443);
    let shown = world.refused(write(Object::Service(taken)), &codes::NODE_PORT_TAKEN);
    assert!(shown.contains("held by replica cp-1 at 192.168.1.10:7443"), "{shown}");
    // Chance never picks it: three of the four are left.
    for name in ["default/a", "default/b", "default/c"] {
        world.put_service(node_port(name, 0));
    }
    world.refused(write(Object::Service(node_port("default/d", 0))), &codes::NODE_PORTS_EXHAUSTED);
    let member = member(2, "cp-2", 7_444);
    let shown = world.refused(Action::ChangeMember { member }, &codes::OBJECT_INVALID);
    assert!(shown.contains("port 7444 is a port of the nodes that service default/"), "{shown}");
    fabric.node_port_range = (7_000, 60_000);
    fabric.revision = Revision(0);
    world.put(Object::Fabric(fabric));
    for number in [51_820, 51_821, 10_256] {
        let shown =
            world.refused(write(Object::Service(node_port("default/d", number))), &codes::NODE_PORT_TAKEN);
        assert!(shown.contains("of the nodes (reserved)"), "{shown}");
    }
}

#[test]
fn what_services_hold_keeps_its_place_in_the_fabric() {
    let mut world = world(Families::V4);
    let fabric = weft_model::Fabric { revision: Revision(0), ..world.state.fabric().unwrap().clone() };
    let mut moved = fabric.clone();
    moved.ranges.services = ranges("10.1.1.0/24");
    let shown = world.refused(write(Object::Fabric(moved.clone())), &codes::RANGE_IN_USE);
    assert!(
        shown.contains("service range 10.1.0.0/24 is in use by service default/web (10.1.0.100)"),
        "{shown}"
    );
    // A wider range takes over what lies in it.
    let mut wider = fabric.clone();
    wider.ranges.services = ranges("10.1.0.0/23 10.9.0.0/24");
    world.put(Object::Fabric(wider));
    let mut ports = fabric.clone();
    ports.node_port_range = (31_000, 32_000);
    let shown = world.refused(write(Object::Fabric(ports.clone())), &codes::RANGE_IN_USE);
    assert!(
        shown.contains(
            "node port 30100 is in use by service default/web; object fabric/main; at spec.nodePortRange"
        ),
        "{shown}"
    );
    world.delete(Key::Service("default/web".parse().unwrap()));
    ports.ranges = moved.ranges;
    world.put(Object::Fabric(ports));
    assert_eq!(world.state.fabric().unwrap().node_port_range, (31_000, 32_000));
}

#[test]
fn settings_of_the_outside_are_checked() {
    let mut world = world(Families::V4);
    let fabric = world.state.fabric().unwrap().clone();
    let mut check = |change: &dyn Fn(&mut weft_model::Fabric), words: &str| {
        let mut fabric = fabric.clone();
        change(&mut fabric);
        let shown = world.refused(write(Object::Fabric(fabric)), &codes::OBJECT_INVALID);
        assert!(shown.contains(words), "{shown} lacks {words}");
    };
    check(&|f| f.node_port_range = (2, 1), "2-1 isn't a range of ports");
    check(&|f| f.node_port_range = (0, 9), "spec.nodePortRange");
    check(&|f| f.node_port_addresses = ranges("127.0.0.0/8"), "spec.nodePortAddresses[0]");
    check(
        &|f| f.external_ip_ranges = ranges("10.1.0.0/28"),
        "overlaps 10.1.0.0/24, a range of the fabric itself",
    );
    check(&|f| f.external_ip_ranges = ranges("1.0.0.0/8 1.0.0.0/8"), "spec.externalIPRanges[1]");
    check(&|f| f.external_ip_ranges = ranges("0.0.0.0/0"), "which is reserved");
    world.put(Object::Pool(pool("p", "192.168.9.0/24")));
    let mut fabric = fabric;
    fabric.ranges.load_balancers = ranges("192.168.9.0/28");
    let shown = world.refused(write(Object::Fabric(fabric)), &codes::OBJECT_INVALID);
    assert!(shown.contains("overlaps loadbalancerpool p"), "{shown}");
}
