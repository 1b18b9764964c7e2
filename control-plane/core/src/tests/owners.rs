//! Who answers for load-balancer addresses.

use std::collections::BTreeMap;

use weft_model::{
    Action, AddressOwner, Families, IpMode, ItemKey, Key, NodeName, Object, Pod, Revision, Service,
    ServiceType, TrafficPolicy,
};

use super::{World, address, labels, name, pod, pool, service};
use crate::owners::{Liveness, decide, is_move};

type Alive = BTreeMap<NodeName, Liveness>;

/// Three nodes; `default/web` has 192.168.9.0.
fn world() -> World {
    let mut world = World::small(Families::V4);
    for node in ["n1", "n2", "n3"] {
        world.join(node);
    }
    world.put(Object::Pool(pool("lan", "192.168.9.0/28")));
    world.put_service(web(|_| {}));
    world
}

fn web(change: impl FnOnce(&mut Service)) -> Service {
    service("default/web", |s| {
        s.spec.kind = ServiceType::LoadBalancer;
        s.spec.selector = labels("app=web");
        change(s);
    })
}

fn alive(texts: &str) -> Alive {
    let one = |text: &str| match text.strip_suffix('?') {
        Some(away) => (name(away), Liveness::Away),
        None => (name(text), Liveness::Alive),
    };
    texts.split_whitespace().map(one).collect()
}

/// Decides and applies; what is stored then.
fn settle(world: &mut World, texts: &str) -> Option<AddressOwner> {
    let owners = decide(&world.state, &alive(texts));
    world.good(Action::AssignOwners { owners });
    assert_eq!(decide(&world.state, &alive(texts)), [], "once is enough");
    world.state.owners().get(&address("192.168.9.0")).cloned()
}

#[test]
fn an_owner_stays_while_it_lives_and_its_successor_is_known() {
    let mut world = world();
    assert_eq!(settle(&mut world, ""), None, "nobody there");
    let first = settle(&mut world, "n1 n2 n3").unwrap();
    let second = first.successor.clone().unwrap();
    assert_ne!(first.node, second);
    assert!(world.view.contains_key(&ItemKey::Owner(first.address)));
    let rest: Vec<_> = ["n1", "n2", "n3"].into_iter().filter(|n| name(n) != first.node).collect();
    let away = format!("{}? {}", first.node, rest.join(" "));
    assert_eq!(settle(&mut world, &away), Some(first.clone()), "away for a moment");
    let without_successor = decide(&world.state, &alive(first.node.as_str()));
    assert!(!without_successor.is_empty() && !is_move(&world.state, &without_successor));
    assert!(is_move(&world.state, &decide(&world.state, &alive(&rest.join(" ")))));
    let next = settle(&mut world, &rest.join(" ")).unwrap();
    assert_eq!(next.node, second, "the successor takes over");
    assert!(next.epoch > first.epoch && next.successor.is_some());
    let back = settle(&mut world, "n1 n2 n3").unwrap();
    assert_eq!((back.node, back.epoch), (next.node.clone(), next.epoch), "it doesn't move back");
    world.good(Action::RemoveNode { name: next.node.clone() });
    let third = settle(&mut world, "n1 n2 n3").unwrap();
    assert_ne!(third.node, next.node, "a removed node owns nothing");
}

#[test]
fn an_address_that_nobody_has_any_more_has_no_owner() {
    let mut world = world();
    let first = settle(&mut world, "n1 n2").unwrap();
    world.delete(Key::Service("default/web".parse().unwrap()));
    assert!(world.state.owners().is_empty() && !world.view.contains_key(&ItemKey::Owner(first.address)));
    world.put_service(web(|_| {}));
    let again = settle(&mut world, "n1 n2").unwrap();
    assert!(again.epoch > first.epoch, "an old owner that comes back yields");
    let mut quiet = pool("lan", "192.168.9.0/28");
    quiet.announce = false;
    world.put(Object::Pool(quiet.clone()));
    assert!(world.state.owners().is_empty());
    assert_eq!(settle(&mut world, "n1 n2"), None);
    (quiet.announce, quiet.mode) = (true, IpMode::Proxy);
    world.put(Object::Pool(quiet.clone()));
    assert_eq!(settle(&mut world, "n1 n2"), None, "another machine's");
    quiet.mode = IpMode::Vip;
    world.put(Object::Pool(quiet));
    assert!(settle(&mut world, "n1 n2").is_some());
    // What the state has outrun is passed over.
    let late = AddressOwner {
        address: address("192.168.9.7"),
        node: name("n1"),
        successor: None,
        epoch: 0,
        revision: Revision(0),
    };
    world.good(Action::AssignOwners { owners: vec![late] });
    assert_eq!(world.state.owners().len(), 1);
}

#[test]
fn a_pool_says_which_nodes_may_own_its_addresses() {
    let mut world = world();
    let mut node = world.node("n2").clone();
    node.labels = labels("edge=yes");
    world.put(Object::Node(node));
    let mut edge = pool("lan", "192.168.9.0/28");
    edge.nodes = labels("edge=yes");
    world.put(Object::Pool(edge));
    let owner = settle(&mut world, "n1 n2 n3").unwrap();
    assert_eq!((owner.node, owner.successor), (name("n2"), None));
    assert_eq!(settle(&mut world, "n1 n3").map(|owner| owner.node), Some(name("n2")), "nobody may take over");
}

#[test]
fn with_policy_local_a_node_with_a_ready_endpoint_owns_the_address() {
    let mut world = world();
    world.put_service(web(|s| s.spec.external_policy = TrafficPolicy::Local));
    let before = settle(&mut world, "n1 n2 n3").unwrap();
    for node in ["n1", "n2", "n3"] {
        let block = world.state.node_leases(&name(node)).next().unwrap().block;
        let backend = Pod {
            labels: labels("app=web"),
            ..pod(3, node, "default/p", &block.nth(3).unwrap().to_string(), 1)
        };
        world.publish(node, vec![backend.clone()]);
        let owner = settle(&mut world, "n1 n2 n3").unwrap();
        assert_eq!((owner.node, owner.successor), (name(node), None));
        let others: Vec<_> = ["n1", "n2", "n3"].into_iter().filter(|n| *n != node).collect();
        let owner = settle(&mut world, &others.join(" ")).unwrap();
        assert_ne!(owner.node, name(node), "dead with its endpoint: any other");
        let mut report = world.report(node, Vec::new());
        report.deletes = vec![backend.uid];
        world.good(Action::PublishPods(report));
    }
    assert!(before.epoch > 0);
}

#[test]
fn addresses_are_spread_over_the_nodes() {
    let mut world = World::small(Families::V4);
    for node in ["n1", "n2", "n3"] {
        world.join(node);
    }
    world.put(Object::Pool(pool("lan", "192.168.0.0/24")));
    let service = |n: u32| service(&format!("default/s{n}"), |s| s.spec.kind = ServiceType::LoadBalancer);
    let objects = (0..120).map(|n| Object::Service(service(n))).collect();
    world.good(Action::Write { objects });
    let owners = decide(&world.state, &alive("n1 n2 n3"));
    let mut counts: BTreeMap<NodeName, u32> = BTreeMap::new();
    owners.iter().for_each(|owner| *counts.entry(owner.node.clone()).or_default() += 1);
    assert!(counts.len() == 3 && counts.values().all(|count| (20..=60).contains(count)), "{counts:?}");
}
