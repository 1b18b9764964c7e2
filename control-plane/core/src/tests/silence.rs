//! Silent nodes: what is written down of them, and what becomes of the services that select their pods.

use weft_model::{
    Action, AddressType, Conditions, EndpointItem, EndpointSlice, Families, Family, FamilyPolicy, Hints,
    Item, ItemKey, Labels, NodeSilence, NodeUid, Object, ObjectUid, Pod, PodReport, Protocol, Revision,
    SERVICE_NAME_LABEL, Service, SliceEndpoint, SlicePort, WallTime, ZONE_LABEL,
};

use super::{World, address, index, labels, name, pod, port, service, small_fabric};
use crate::{State, TOPOLOGY_MODE_ANNOTATION, apply};

/// Three nodes with a backend each, of `default/web`.
fn world(change: impl FnOnce(&mut Service)) -> World {
    let mut world = World::small(Families::Dual);
    for (uid, node) in [(3, "n1"), (4, "n2"), (5, "n3")] {
        world.join(node);
        let pod = backend(&world, uid, node);
        world.publish(node, vec![pod]);
    }
    put_web(&mut world, change);
    world
}

fn put_web(world: &mut World, change: impl FnOnce(&mut Service)) {
    world.put_service(service("default/web", |s| {
        s.spec.selector = labels("app=web");
        s.spec.family_policy = Some(FamilyPolicy::PreferDualStack);
        change(s);
    }));
}

fn backend(world: &World, uid: u8, node: &str) -> Pod {
    let leases = world.state.node_leases(&name(node));
    let addresses: Vec<_> =
        leases.map(|lease| lease.block.nth(u128::from(uid)).unwrap().to_string()).collect();
    Pod { labels: labels("app=web"), ..pod(uid, node, &format!("default/p{uid}"), &addresses.join(" "), 1) }
}

impl World {
    /// Since 500 nothing was heard of these nodes, and all others are heard.
    fn silence(&mut self, silent: &str) {
        let is_silent =
            |node: &weft_model::Node| silent.split_whitespace().any(|name| name == node.name.as_str());
        let nodes = self.state.nodes().values().map(|node| NodeSilence {
            node: node.name.clone(),
            uid: node.uid,
            since: is_silent(node).then_some(WallTime(500)),
        });
        let nodes = nodes.collect();
        self.good(Action::NoteSilence { nodes });
    }

    fn endpoints(&self) -> &[EndpointItem] {
        let Some(Item::Service(item)) = self.view.get(&ItemKey::Service("default/web".parse().unwrap()))
        else {
            panic!("no service")
        };
        &item.endpoints
    }

    /// Nodes of the IPv4 endpoints with ready, serving, terminating.
    #[track_caller]
    fn check_endpoints(&self, expected: &str) {
        let flags = |c: Conditions| {
            [c.ready, c.serving, c.terminating].map(|f| if f == Some(true) { 'y' } else { 'n' })
        };
        let of = |family| {
            let all = self.endpoints().iter().filter(move |e| Family::of(e.address) == family);
            let words = all.map(|e| {
                let node = e.node.as_ref().map_or("-", |node| node.as_str());
                format!("{node}:{}", flags(e.conditions).iter().collect::<String>())
            });
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(Family::V4), expected);
        if self.endpoints().iter().all(|e| e.pod.is_some()) {
            assert_eq!(of(Family::V6), expected, "both families alike");
        }
    }
}

#[test]
fn pods_of_silent_nodes_take_no_new_connections_until_they_are_heard() {
    let mut world = world(|_| {});
    world.check_endpoints("n1:yyn n2:yyn n3:yyn");
    world.silence("n2");
    assert_eq!(world.node("n2").silent, Some(WallTime(500)));
    world.check_endpoints("n1:yyn n2:nnn n3:yyn");
    world.silence("n2 n3");
    world.check_endpoints("n1:yyn n2:nnn n3:nnn");
    world.silence("n3");
    world.check_endpoints("n1:yyn n2:yyn n3:nnn");
    world.silence("");
    world.check_endpoints("n1:yyn n2:yyn n3:yyn");
}

#[test]
fn who_comes_back_without_its_pods_serves_with_none_of_them_for_a_moment() {
    let mut world = world(|_| {});
    world.silence("n2");
    world.check_endpoints("n1:yyn n2:nnn n3:yyn");
    // Single changes say nothing of the others.
    world.publish("n2", vec![backend(&world, 7, "n2")]);
    world.check_endpoints("n1:yyn n2:nnn n2:nnn n3:yyn");
    let left = PodReport { complete: true, ..world.report("n2", vec![backend(&world, 7, "n2")]) };
    world.good(Action::PublishPods(left));
    assert_eq!(world.node("n2").silent, None);
    world.check_endpoints("n1:yyn n2:yyn n3:yyn");
    world.silence("n2");
    let none = PodReport { complete: true, ..world.report("n2", Vec::new()) };
    world.good(Action::PublishPods(none));
    assert_eq!(world.node("n2").silent, None);
    world.check_endpoints("n1:yyn n3:yyn");
}

#[test]
fn silence_alone_leaves_no_service_without_a_backend() {
    let mut world = world(|_| {});
    world.silence("n1 n2 n3");
    world.check_endpoints("n1:yyn n2:yyn n3:yyn");
    // A pod that says of itself that it isn't ready is nobody to fall back on, wherever it is.
    world.silence("n1 n2");
    let unready = Pod { ready: false, ..backend(&world, 5, "n3") };
    world.publish("n3", vec![unready]);
    world.check_endpoints("n1:yyn n2:yyn n3:nnn");
    // One that ends still serves: the last resort of those that are heard comes first.
    let ending = Pod { terminating: true, ..backend(&world, 5, "n3") };
    world.publish("n3", vec![ending]);
    world.check_endpoints("n1:nnn n2:nnn n3:nyy");
    world.good(Action::RemoveNode { name: name("n3") });
    world.check_endpoints("n1:yyn n2:yyn");
}

#[test]
fn who_wants_pods_before_they_are_ready_gets_them_silent_too() {
    let mut world = world(|s| s.spec.publish_not_ready = true);
    world.silence("n1");
    world.check_endpoints("n1:ynn n2:yyn n3:yyn");
}

#[test]
fn a_port_that_only_silent_pods_have_keeps_them() {
    let mut world = world(|_| {});
    put_web(&mut world, |s| {
        s.spec.ports = vec![port("http", 80), port("extra", 81)];
        s.spec.ports[1].target = weft_model::TargetPort::Name("extra".to_owned());
    });
    let extra = weft_model::NamedPort { name: "extra".to_owned(), protocol: Protocol::Tcp, port: 9000 };
    let with = Pod { ports: vec![extra], ..backend(&world, 3, "n1") };
    world.publish("n1", vec![with.clone()]);
    world.silence("n1 n2");
    world.check_endpoints("n1:yyn n2:nnn n3:yyn");
    let other = Pod { ports: with.ports, ..backend(&world, 5, "n3") };
    world.publish("n3", vec![other]);
    world.check_endpoints("n1:nnn n2:nnn n3:yyn");
}

#[test]
fn what_people_wrote_stays_as_it_is_and_others_may_fall_back_on_it() {
    let mut world = world(|_| {});
    let endpoint = |text: &str, node: Option<&str>| SliceEndpoint {
        addresses: vec![address(text)],
        fqdn: Vec::new(),
        conditions: Conditions::default(),
        hostname: String::new(),
        node: node.map(name),
        zone: String::new(),
        hints: Hints::default(),
        pod: None,
    };
    let mut slice = EndpointSlice {
        name: "default/more".parse().unwrap(),
        uid: ObjectUid([0; 16]),
        labels: Labels::from([(SERVICE_NAME_LABEL.to_owned(), "web".to_owned())]),
        address_type: AddressType::V4,
        ports: vec![SlicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: None,
            app_protocol: String::new(),
        }],
        endpoints: vec![endpoint("192.0.2.1", Some("n1"))],
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    };
    slice.endpoints[0].conditions.ready = Some(false);
    world.put(Object::Slice(slice.clone()));
    world.silence("n1 n2 n3");
    world.check_endpoints("n1:yyn n2:yyn n3:yyn n1:nnn");
    slice.endpoints.push(endpoint("192.0.2.2", Some("n2")));
    world.put(Object::Slice(slice));
    world.check_endpoints("n1:nnn n2:nnn n3:nnn n1:nnn n2:yyn");
}

#[test]
fn a_silent_node_carries_no_part_of_its_zone() {
    let mut world = world(|s| {
        s.annotations.insert(TOPOLOGY_MODE_ANNOTATION.to_owned(), "Auto".to_owned());
    });
    for (node, zone) in [("n1", "a"), ("n2", "b"), ("n3", "b")] {
        let mut node = world.node(node).clone();
        node.labels.insert(ZONE_LABEL.to_owned(), zone.to_owned());
        world.put(Object::Node(node));
    }
    let hints = |world: &World| -> Vec<String> {
        let all = world.endpoints().iter().filter(|e| e.address.is_ipv4());
        all.map(|e| e.hints.zones.join(",")).collect()
    };
    assert_eq!(hints(&world), ["a", "b", "b"]);
    world.silence("n3");
    assert_eq!(hints(&world), ["a", "b", ""], "one node and one backend in each zone");
    world.silence("n2 n3");
    assert_eq!(hints(&world), ["", "", ""], "one zone is left");
}

#[test]
fn what_is_known_or_of_another_life_changes_nothing() {
    let mut world = world(|_| {});
    world.silence("n2");
    let (before, revision) = (world.objects(), world.state.meta().revision);
    let known = world.node("n2").uid;
    for (node, uid, since) in [
        ("n2", known, Some(WallTime(900))),
        ("n2", NodeUid([99; 16]), None),
        ("n9", known, Some(WallTime(900))),
        ("n1", world.node("n1").uid, None),
    ] {
        world.good(Action::NoteSilence { nodes: vec![NodeSilence { node: name(node), uid, since }] });
        assert_eq!((world.objects(), world.state.meta().revision), (before.clone(), revision), "{node}");
    }
    // Labels and facts come and go beside it; a removed node is silent for ever, and isn't called so.
    let mut node = world.node("n2").clone();
    node.labels = labels("a=b");
    (node.silent, node.revision) = (None, Revision(0));
    world.put(Object::Node(node));
    assert_eq!(world.node("n2").silent, Some(WallTime(500)));
    world.good(Action::RemoveNode { name: name("n2") });
    assert_eq!((world.node("n2").silent, world.state.silent_nodes().len()), (None, 0));
}

#[test]
fn a_fabric_says_how_long_it_waits_within_bounds() {
    let mut world = World::small(Families::V4);
    let fabric = world.state.fabric().unwrap().clone();
    assert_eq!(fabric.node_grace, weft_model::DEFAULT_NODE_GRACE);
    for (seconds, good) in [(5, true), (600, true), (4, false), (601, false), (0, false)] {
        let wanted = weft_model::Fabric { node_grace: seconds, ..small_fabric(Families::V4) };
        let answer = world.run(super::write(Object::Fabric(wanted))).answer;
        assert_eq!(answer.is_ok(), good, "{seconds}: {answer:?}");
        let stored = world.state.fabric().unwrap().node_grace;
        assert_eq!(stored == seconds, good, "{seconds}");
    }
}

/// Whoever would have a backend if every node were heard has one: by family and port, straight from the items.
pub(super) fn check_nobody_is_left_alone(state: &State) {
    if state.silent_nodes().is_empty() {
        return;
    }
    let mut heard = state.clone();
    let nodes = state.silent_nodes().iter().map(|node| NodeSilence {
        node: node.clone(),
        uid: state.nodes()[node].uid,
        since: None,
    });
    let command = weft_model::Command {
        client: weft_model::ClientId([77; 16]),
        sequence: weft_model::Sequence(state.meta().applied.0),
        stamp: weft_model::Stamp::default(),
        action: Action::NoteSilence { nodes: nodes.collect() },
    };
    let at = state.meta().applied.next();
    assert_eq!(apply(&mut heard, at, weft_model::Term(1), &command).answer, Ok(weft_model::Answer::Done));
    let takers = |state: &State, name: &weft_model::ServiceName| {
        let Some(Item::Service(item)) = state.item(&ItemKey::Service(name.clone())) else { panic!("{name}") };
        let takes = |e: &&EndpointItem| {
            e.conditions.is_ready() || (e.conditions.is_serving() && e.conditions.is_terminating())
        };
        let ports = |e: &EndpointItem| {
            let family = Family::of(e.address);
            let ports = e.ports.iter().enumerate().filter(|(_, port)| **port != 0);
            ports.map(|(place, _)| (family, place)).collect::<Vec<_>>()
        };
        let all = item.endpoints.iter().filter(takes).flat_map(ports);
        all.collect::<std::collections::BTreeSet<_>>()
    };
    for name in state.services().keys() {
        assert_eq!(takers(state, name), takers(&heard, name), "{name} at {}", state.meta().applied);
    }
}

#[test]
fn a_command_about_many_nodes_is_one_entry() {
    let mut world = world(|_| {});
    let before = index(&world);
    world.silence("n1 n3");
    assert_eq!(index(&world), before.next());
    check_nobody_is_left_alone(&world.state);
}
