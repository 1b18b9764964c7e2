//! Endpoints: from pods by selector, from slices that people wrote, and what is refused of both.

use weft_errors as codes;
use weft_model::{
    Action, AddressType, ClusterAddresses, Conditions, EndpointItem, EndpointSlice, Families, FamilyPolicy,
    Hints, Item, ItemKey, Key, Labels, NamedPort, Object, ObjectUid, Pod, PodDns, PodReport, PodSpec, Probe,
    ProbeHandler, Protocol, Revision, SERVICE_NAME_LABEL, Service, ServiceItem, SliceEndpoint, SlicePort,
    TargetPort, TrafficDistribution, WallTime, ZONE_LABEL,
};

use super::{World, address, labels, name, pod, pool, port, service, write};
use crate::TOPOLOGY_MODE_ANNOTATION;

/// Two nodes in zones `a` and `b`; `default/web` selects `app=web`.
fn world() -> World {
    let mut world = World::small(Families::Dual);
    for (node, zone) in [("n1", "a"), ("n2", "b")] {
        world.join(node);
        label(&mut world, node, zone);
    }
    world.put_service(web(|_| {}));
    world
}

fn label(world: &mut World, node: &str, zone: &str) {
    let mut node = world.node(node).clone();
    node.labels.insert(ZONE_LABEL.to_owned(), zone.to_owned());
    world.put(Object::Node(node));
}

fn web(change: impl FnOnce(&mut Service)) -> Service {
    service("default/web", |s| {
        s.spec.selector = labels("app=web");
        change(s);
    })
}

/// `web(3, "n1")` has the third addresses of the node's first blocks.
fn backend(world: &World, uid: u8, node: &str, text: &str) -> Pod {
    let leases: Vec<_> = world.state.node_leases(&name(node)).map(|lease| lease.block).collect();
    let addresses: Vec<_> =
        leases.iter().map(|block| block.nth(u128::from(uid)).unwrap().to_string()).collect();
    Pod { labels: labels(text), ..pod(uid, node, &format!("default/p{uid}"), &addresses.join(" "), 1) }
}

fn item(world: &World, text: &str) -> ServiceItem {
    let item = &world.view[&ItemKey::Service(text.parse().unwrap())];
    let Item::Service(item) = item else { panic!("{item:?}") };
    item.clone()
}

/// `address ready serving terminating` of each endpoint.
fn shown(item: &ServiceItem) -> Vec<String> {
    let flags =
        |c: Conditions| [c.ready, c.serving, c.terminating].map(|f| if f == Some(true) { 'y' } else { 'n' });
    item.endpoints
        .iter()
        .map(|e| format!("{} {}", e.address, flags(e.conditions).iter().collect::<String>()))
        .collect()
}

fn slice(text: &str, service: &str, addresses: &str) -> EndpointSlice {
    let kind = if addresses.contains(':') { AddressType::V6 } else { AddressType::V4 };
    EndpointSlice {
        name: text.parse().unwrap(),
        uid: ObjectUid([0; 16]),
        labels: Labels::from([(SERVICE_NAME_LABEL.to_owned(), service.to_owned())]),
        address_type: kind,
        ports: vec![SlicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: Some(9000),
            app_protocol: String::new(),
        }],
        endpoints: addresses.split_whitespace().map(endpoint).collect(),
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    }
}

fn endpoint(text: &str) -> SliceEndpoint {
    SliceEndpoint {
        addresses: vec![address(text)],
        fqdn: Vec::new(),
        conditions: Conditions::default(),
        hostname: String::new(),
        node: None,
        zone: String::new(),
        hints: Hints::default(),
        pod: None,
    }
}

fn spec(text: &str) -> PodSpec {
    PodSpec {
        name: text.parse().unwrap(),
        labels: Labels::new(),
        ports: Vec::new(),
        ready: None,
        terminating: false,
        readiness: None,
        startup: None,
        hostname: String::new(),
        subdomain: String::new(),
        dns: PodDns::default(),
        service_links: true,
        annotations: Labels::new(),
        generation: 0,
        revision: Revision(0),
    }
}

#[test]
fn endpoints_are_the_selected_pods_as_they_are() {
    let mut world = world();
    assert_eq!(shown(&item(&world, "default/web")), Vec::<String>::new());
    let ready = backend(&world, 3, "n1", "app=web");
    let slow = Pod { ready: false, ..backend(&world, 4, "n1", "app=web tier=x") };
    let stranger = backend(&world, 5, "n1", "app=db");
    let leaving = Pod { terminating: true, ..backend(&world, 6, "n2", "app=web") };
    world.publish("n1", vec![ready.clone(), slow, stranger]);
    world.publish("n2", vec![leaving]);
    let it = item(&world, "default/web");
    assert_eq!(shown(&it), ["10.0.0.3 yyn", "10.0.0.4 nnn", "10.0.1.6 nyy"]);
    let first = EndpointItem {
        address: ready.addresses[0],
        ports: vec![8080].into(),
        conditions: Conditions { ready: Some(true), serving: Some(true), terminating: Some(false) },
        node: Some(name("n1")),
        zone: "a".into(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: Some("p3".parse().unwrap()),
    };
    assert_eq!(it.endpoints[0], first);
    world.put_service(web(|s| s.spec.publish_not_ready = true));
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 yyn", "10.0.0.4 ynn", "10.0.1.6 yyy"]);
    world.put_service(web(|s| s.spec.family_policy = Some(FamilyPolicy::PreferDualStack)));
    assert_eq!(item(&world, "default/web").endpoints.len(), 6);
    world.good(Action::RemoveNode { name: name("n1") });
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.1.6 nyy", "fd00:0:0:1::6 nyy"]);
}

#[test]
fn what_people_say_of_a_pod_is_joined_with_the_pod() {
    let mut world = world();
    world.publish("n1", vec![backend(&world, 3, "n1", "app=db")]);
    let mut said = spec("default/p3");
    said.labels = labels("app=web");
    world.put(Object::PodSpec(said.clone()));
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 yyn"], "labels that people say win");
    said.ready = Some(false);
    world.put(Object::PodSpec(said.clone()));
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 nnn"]);
    (said.ready, said.terminating) = (Some(true), true);
    world.put(Object::PodSpec(said.clone()));
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 nyy"]);
    world.publish("n1", vec![Pod { ready: false, ..backend(&world, 3, "n1", "app=db") }]);
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 nny"], "both must say so");
    (said.hostname, said.subdomain) = ("db-0".to_owned(), "web".to_owned());
    world.put(Object::PodSpec(said));
    assert_eq!(item(&world, "default/web").endpoints[0].hostname.to_string(), "db-0");
    world.delete(Key::PodSpec("default/p3".parse().unwrap()));
    assert!(item(&world, "default/web").endpoints.is_empty());
}

#[test]
fn named_target_ports_are_looked_up_on_each_pod() {
    let mut world = world();
    let named = |uid, number: u16, protocol| {
        let ports = vec![NamedPort { name: "http".to_owned(), protocol, port: number }];
        Pod { ports, ..backend(&world, uid, "n1", "app=web") }
    };
    let pods =
        vec![named(3, 8000, Protocol::Tcp), named(4, 9000, Protocol::Tcp), named(5, 53, Protocol::Udp)];
    world.publish("n1", pods);
    world.put_service(web(|s| {
        s.spec.ports = vec![port("a", 80), port("b", 81)];
        s.spec.ports[0].target = TargetPort::Name("http".to_owned());
    }));
    let numbers = |world: &World| -> Vec<_> {
        item(world, "default/web").endpoints.iter().map(|e| e.ports.to_vec()).collect()
    };
    assert_eq!(numbers(&world), [[8000, 8080], [9000, 8080], [0, 8080]]);
    let mut said = spec("default/p5");
    said.ports = vec![NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 7000 }];
    world.put(Object::PodSpec(said));
    assert_eq!(numbers(&world)[2], [7000, 8080], "ports that people say");
}

#[test]
fn an_address_that_a_pod_of_another_namespace_gets_later_is_no_endpoint_any_more() {
    let mut world = world();
    world.put(Object::Slice(slice("default/one", "web", "10.0.0.5 10.0.0.6 192.0.2.7")));
    let all = ["10.0.0.5 yyn", "10.0.0.6 yyn", "192.0.2.7 yyn"];
    assert_eq!(shown(&item(&world, "default/web")), all);
    let foreign = Pod { name: "shop/db".parse().unwrap(), ..backend(&world, 5, "n1", "") };
    world.publish("n1", vec![foreign.clone(), backend(&world, 6, "n1", "")]);
    assert_eq!(shown(&item(&world, "default/web")), all[1..], "only the foreign one goes");
    let report = PodReport { deletes: vec![foreign.uid], ..world.report("n1", Vec::new()) };
    world.good(Action::PublishPods(report));
    assert_eq!(shown(&item(&world, "default/web")), all, "nobody has it");
    world.publish("n1", vec![Pod { name: "default/db".parse().unwrap(), ..foreign }]);
    assert_eq!(shown(&item(&world, "default/web")), all, "one of its own namespace has it");
}

#[test]
fn written_slices_join_the_pods_and_each_address_stands_once() {
    let mut world = world();
    world.publish("n1", vec![backend(&world, 3, "n1", "app=web")]);
    world.put(Object::Slice(slice("default/one", "web", "192.0.2.7 10.0.0.3")));
    let mut two = slice("default/two", "web", "192.0.2.7 192.0.2.8");
    two.endpoints[1].conditions.ready = Some(false);
    two.ports[0].port = None;
    world.put(Object::Slice(two));
    world.put(Object::Slice(slice("default/six", "web", "2001:db8::7")));
    let it = item(&world, "default/web");
    assert_eq!(shown(&it), ["10.0.0.3 yyn", "192.0.2.7 yyn", "192.0.2.8 nnn"], "the service has no IPv6");
    let ports: Vec<_> = it.endpoints.iter().map(|e| e.ports[0]).collect();
    assert_eq!(ports, [8080, 9000, 80], "a slice without a number has the service's own");
    let other = slice("default/two", "elsewhere", "192.0.2.8");
    world.put(Object::Slice(other));
    assert_eq!(item(&world, "default/web").endpoints.len(), 2);
    world.delete(Key::Slice("default/one".parse().unwrap()));
    assert_eq!(shown(&item(&world, "default/web")), ["10.0.0.3 yyn"]);
}

#[test]
fn a_slice_is_refused_for_what_no_packet_may_reach() {
    let mut world = world();
    world.put(Object::Pool(pool("balancers", "192.168.9.0/24")));
    let check = |world: &mut World, change: &dyn Fn(&mut EndpointSlice), words: &str| {
        let mut slice = slice("default/s", "web", "192.0.2.7");
        change(&mut slice);
        let shown = world.refused(write(Object::Slice(slice)), &codes::OBJECT_INVALID);
        assert!(shown.contains(words), "{shown} lacks {words}");
    };
    for (text, words) in [
        ("127.0.0.1", "may not be in the loopback range"),
        ("169.254.1.1", "link-local"),
        ("224.0.0.5", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("100.100.100.200", "where a cloud hands out its machines' credentials"),
        ("10.1.0.77", "it lies in the service range 10.1.0.0/24"),
        ("192.168.9.4", "it lies in loadbalancerpool balancers"),
        ("fd00::1", "must be of the slice's type, IPv4"),
    ] {
        check(
            &mut world,
            &|s| s.endpoints[0].addresses = vec![address(text)],
            &format!("endpoints[0].addresses[0]: Invalid value: \"{text}\""),
        );
        check(&mut world, &|s| s.endpoints[0].addresses = vec![address(text)], words);
    }
    check(&mut world, &|s| s.endpoints[0].addresses.clear(), "endpoints[0].addresses: Required value");
    check(&mut world, &|s| s.endpoints[0].hostname = "A".to_owned(), "endpoints[0].hostname");
    check(&mut world, &|s| s.endpoints[0].zone = "a b".to_owned(), "endpoints[0].zone");
    check(
        &mut world,
        &|s| s.endpoints[0].hints.zones = vec!["a".to_owned(); 2],
        "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"",
    );
    check(
        &mut world,
        &|s| s.endpoints[0].hints.nodes = (0..9).map(|n| name(&format!("n{n}"))).collect(),
        "endpoints[0].hints.forNodes: Too many: 9",
    );
    check(&mut world, &|s| s.endpoints[0].fqdn = vec!["a.example".to_owned()], "must be of the slice's type");
    check(&mut world, &|s| s.ports.push(s.ports[0].clone()), "ports[1].name: Duplicate value: \"\"");
    check(&mut world, &|s| s.ports[0].port = Some(0), "ports[0].port: Invalid value: 0");
    check(
        &mut world,
        &|s| s.ports = vec![s.ports[0].clone(); 101],
        "ports: Too many: 101: must have at most 100 items",
    );
    check(
        &mut world,
        &|s| s.endpoints = vec![s.endpoints[0].clone(); 1001],
        "endpoints: Too many: 1001: must have at most 1000 items",
    );
    check(
        &mut world,
        &|s| s.endpoints[0].addresses = vec![address("192.0.2.7"); 101],
        "endpoints[0].addresses: Too many: 101",
    );
    world.put(Object::Slice(slice("default/s", "web", "192.0.2.7")));
    check(
        &mut world,
        &|s| (s.address_type, s.endpoints) = (AddressType::V6, Vec::new()),
        "addressType: Invalid value: \"IPv6\": field is immutable",
    );
    let mut names = slice("default/names", "web", "");
    names.address_type = AddressType::Fqdn;
    names.endpoints = vec![SliceEndpoint {
        addresses: Vec::new(),
        fqdn: vec!["db.example.com".to_owned()],
        ..endpoint("::1")
    }];
    world.put(Object::Slice(names));
    assert_eq!(shown(&item(&world, "default/web")), ["192.0.2.7 yyn"]);
}

#[test]
fn a_slice_leads_nobody_to_pods_of_another_namespace() {
    let mut world = world();
    world.publish("n1", vec![backend(&world, 3, "n1", "app=web")]);
    let other = Pod { name: "shop/db".parse().unwrap(), ..backend(&world, 4, "n1", "app=db") };
    world.publish("n1", vec![other]);
    world.put(Object::Slice(slice("default/own", "web", "10.0.0.3")));
    let foreign = slice("default/foreign", "web", "10.0.0.3 10.0.0.4");
    let shown = world.refused(write(Object::Slice(foreign)), &codes::OBJECT_INVALID);
    let words = "endpoints[1].addresses[0]: Invalid value: \"10.0.0.4\": is held by pod shop/db, which is of another namespace";
    assert!(shown.contains(words), "{shown}");
}

#[test]
fn slices_hold_a_hundred_thousand_endpoints_and_no_more() {
    let mut world = World::small(Families::V4);
    // Straight into the rows: only the count matters here.
    let mut full = slice("default/full", "web", "192.0.2.7");
    full.endpoints = vec![endpoint("192.0.2.7"); 99_999];
    let mut state = world.state.clone();
    state.insert(weft_model::Record::Object(Object::Slice(full)));
    let last = slice("default/last", "web", "192.0.2.8");
    let action = |slice: &EndpointSlice| write(Object::Slice(slice.clone()));
    assert!(crate::admit(&state, action(&last)).is_ok());
    let mut over = last;
    over.endpoints.push(endpoint("192.0.2.9"));
    let error = crate::admit(&state, action(&over)).unwrap_err();
    assert_eq!(weft_errors::Coded::code(&error), &codes::TOO_LARGE);
    world.put(Object::Slice(over));
}

#[test]
fn endpoints_are_meant_for_their_own_zone_or_node_if_the_service_says_so() {
    let mut world = world();
    let gone = Pod { ready: false, ..backend(&world, 4, "n1", "app=web") };
    world.publish("n1", vec![backend(&world, 3, "n1", "app=web"), gone]);
    world.publish("n2", vec![backend(&world, 6, "n2", "app=web")]);
    let hints = |world: &World| -> Vec<String> {
        let text = |e: EndpointItem| {
            let nodes: Vec<_> = e.hints.nodes.iter().map(ToString::to_string).collect();
            format!("{}|{}", e.hints.zones.join(","), nodes.join(","))
        };
        item(world, "default/web").endpoints.into_iter().map(text).collect()
    };
    assert_eq!(hints(&world), ["|", "|", "|"]);
    world.put_service(web(|s| s.spec.distribution = Some(TrafficDistribution::PreferSameZone)));
    assert_eq!(hints(&world), ["a|", "|", "b|"]);
    world.put_service(web(|s| s.spec.distribution = Some(TrafficDistribution::PreferSameNode)));
    assert_eq!(hints(&world), ["a|n1", "|", "b|n2"]);
    label(&mut world, "n2", "c");
    assert_eq!(hints(&world), ["a|n1", "|", "c|n2"], "a node's zone reaches its endpoints");
    let automatic = |s: &mut Service| {
        s.annotations.insert(TOPOLOGY_MODE_ANNOTATION.to_owned(), "Auto".to_owned());
        s.spec.distribution = Some(TrafficDistribution::PreferSameNode);
    };
    world.put_service(web(automatic));
    assert_eq!(hints(&world), ["a|", "|", "c|"], "the annotation wins");
    world.join("n3");
    label(&mut world, "n3", "d");
    assert_eq!(hints(&world), ["|", "|", "|"], "a zone would have none: nobody has hints");
}

#[test]
fn probes_go_to_nodes_and_are_checked() {
    let mut world = world();
    let probe = Probe {
        handler: ProbeHandler::Http {
            port: 80,
            path: "/ready".to_owned(),
            tls: false,
            host: String::new(),
            headers: vec![("X-A".to_owned(), "b c".to_owned())],
        },
        initial_delay_ms: 0,
        period_ms: 100,
        timeout_ms: 1000,
        success_threshold: 1,
        failure_threshold: 3,
    };
    let mut said = spec("default/later");
    said.readiness = Some(probe.clone());
    world.put(Object::PodSpec(said.clone()));
    let key = ItemKey::Probe("default/later".parse().unwrap());
    assert!(world.view.contains_key(&key), "before the pod is there");
    let check = |world: &mut World, change: &dyn Fn(&mut PodSpec), words: &str| {
        let mut said = said.clone();
        change(&mut said);
        let shown = world.refused(write(Object::PodSpec(said)), &codes::OBJECT_INVALID);
        assert!(shown.contains(words), "{shown} lacks {words}");
    };
    let set =
        |change: &'static dyn Fn(&mut Probe)| move |s: &mut PodSpec| s.readiness.iter_mut().for_each(change);
    check(
        &mut world,
        &set(&|p| p.period_ms = 99),
        "spec.readinessProbe.periodMillis: Invalid value: 99: must be between 100 and 3600000",
    );
    check(&mut world, &set(&|p| p.failure_threshold = 0), "spec.readinessProbe.failureThreshold");
    check(&mut world, &set(&|p| p.timeout_ms = 0), "spec.readinessProbe.timeoutMillis");
    check(
        &mut world,
        &set(&|p| p.handler = ProbeHandler::Tcp { port: 0 }),
        "spec.readinessProbe.tcpSocket.port",
    );
    check(
        &mut world,
        &set(&|p| p.handler = ProbeHandler::Grpc { port: 1, service: "a b".to_owned() }),
        "spec.readinessProbe.grpc.service",
    );
    let http = |path: &str, header: &str| ProbeHandler::Http {
        port: 1,
        path: path.to_owned(),
        tls: true,
        host: String::new(),
        headers: vec![(header.to_owned(), "x".to_owned())],
    };
    check(&mut world, &|s| s.readiness.as_mut().unwrap().handler = http("x", "A"), "must begin with '/'");
    check(
        &mut world,
        &|s| s.readiness.as_mut().unwrap().handler = http("/ HTTP/1.1\r\nX: y", "A"),
        "without spaces",
    );
    check(
        &mut world,
        &|s| s.readiness.as_mut().unwrap().handler = http("/", "A:"),
        "httpGet.httpHeaders[0].name",
    );
    check(
        &mut world,
        &|s| s.startup = Some(Probe { success_threshold: 2, ..probe.clone() }),
        "spec.startupProbe.successThreshold: Invalid value: 2: must be 1",
    );
    check(
        &mut world,
        &|s| s.ports = vec![NamedPort { name: "A".to_owned(), protocol: Protocol::Tcp, port: 0 }],
        "spec.ports[0].containerPort",
    );
    check(&mut world, &|s| s.subdomain = "a.b".to_owned(), "spec.subdomain");
    world.put(Object::PodSpec(spec("default/later")));
    assert!(!world.view.contains_key(&key));
}

#[test]
fn aliases_have_no_endpoints_and_headless_services_have() {
    let mut world = world();
    world.publish("n1", vec![backend(&world, 3, "n1", "app=web")]);
    world.put_service(service("default/alias", |s| {
        s.spec.kind = weft_model::ServiceType::ExternalName;
        s.spec.external_name = "web.example".to_owned();
        s.spec.selector = labels("app=web");
    }));
    let it = item(&world, "default/alias");
    assert_eq!((it.endpoints.len(), it.external_name.as_str(), it.addresses.len()), (0, "web.example", 0));
    world.put_service(service("default/headless", |s| {
        s.spec.selector = labels("app=web");
        s.spec.addresses = ClusterAddresses::None;
    }));
    assert_eq!(shown(&item(&world, "default/headless")), ["10.0.0.3 yyn"]);
}

#[test]
fn a_pods_change_touches_only_the_services_that_select_it() {
    let mut world = world();
    for n in 0..50 {
        world.put_service(service(&format!("default/s{n}"), |s| {
            s.spec.selector = labels(&format!("app=web n={n}"))
        }));
    }
    let report = world.report("n1", vec![backend(&world, 3, "n1", "app=web n=7")]);
    let outcome = world.run(Action::PublishPods(report));
    let keys: Vec<_> = outcome
        .items
        .iter()
        .map(|change| match change {
            crate::ItemChange::Upsert(item) => item.key().to_string(),
            crate::ItemChange::Delete(key) => key.to_string(),
        })
        .filter(|key| !key.starts_with("identity/"))
        .collect();
    assert_eq!(keys, ["service/default/s7", "service/default/web", "pod/default/p3"]);
    let touched = world.state.selecting_services(&"default".parse().unwrap(), &labels("app=web n=7"));
    assert_eq!(touched.len(), 2);
}
