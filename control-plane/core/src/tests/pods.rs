//! Pods: who may publish them, which addresses, who owns a name.

use weft_errors as codes;
use weft_errors::Code;
use weft_model::{
    Action, Families, NamedPort, Pod, PodPhase::Active, PodPhase::Superseded, PodReport, PodUid, Protocol,
};

use super::{World, pod};

fn two_nodes() -> World {
    let mut world = World::small(Families::V4);
    world.join("n1");
    world.join("n2");
    world
}

fn refused(world: &mut World, node: &str, pods: Vec<Pod>, code: &Code) -> String {
    let report = world.report(node, pods);
    world.refused(Action::PublishPods(report), code)
}

#[test]
fn a_pod_lies_in_a_block_of_its_node() {
    let mut world = two_nodes();
    world.publish("n1", vec![pod(1, "n1", "shop/web", "10.0.0.2", 1)]);
    let web = |addresses| vec![pod(2, "n1", "shop/db", addresses, 1)];
    let shown = refused(&mut world, "n1", web("10.0.1.2"), &codes::LEASE_STALE);
    assert!(shown.contains("10.0.1.2") && shown.contains("shop/db"), "{shown}");
    refused(&mut world, "n1", web("10.0.2.2"), &codes::LEASE_STALE);
    refused(&mut world, "n1", web("192.168.1.1"), &codes::LEASE_STALE);
    for addresses in ["", "fd00::2", "10.0.0.3 10.0.0.4"] {
        refused(&mut world, "n1", web(addresses), &codes::OBJECT_INVALID);
    }
    let shown = refused(&mut world, "n1", web("10.0.0.2"), &codes::ADDRESS_TAKEN);
    assert!(shown.contains("10.0.0.2 of pod shop/db is already held by pod shop/web"), "{shown}");
}

#[test]
fn a_dual_pod_has_its_primary_address_first() {
    let mut world = World::small(Families::Dual6);
    world.join("n1");
    let wrong = vec![pod(1, "n1", "shop/web", "10.0.0.2 fd00::2", 1)];
    refused(&mut world, "n1", wrong, &codes::OBJECT_INVALID);
    world.publish("n1", vec![pod(1, "n1", "shop/web", "fd00::2 10.0.0.2", 1)]);
}

#[test]
fn a_report_is_taken_whole_or_not_at_all() {
    let mut world = two_nodes();
    let pods = vec![pod(1, "n1", "shop/web", "10.0.0.2", 1), pod(2, "n1", "shop/db", "10.0.0.2", 1)];
    refused(&mut world, "n1", pods, &codes::ADDRESS_TAKEN);
    assert!(world.state.pods().is_empty());
}

#[test]
fn a_node_touches_only_its_own_pods() {
    let mut world = two_nodes();
    world.publish("n1", vec![pod(1, "n1", "shop/web", "10.0.0.2", 1)]);
    refused(&mut world, "n2", vec![pod(2, "n1", "shop/db", "10.0.0.3", 1)], &codes::ROLE_DENIED);
    refused(&mut world, "n2", vec![pod(1, "n2", "shop/web", "10.0.1.2", 1)], &codes::ROLE_DENIED);
    let report = PodReport { deletes: vec![PodUid([1; 16])], ..world.report("n2", Vec::new()) };
    world.refused(Action::PublishPods(report), &codes::ROLE_DENIED);
    let report = PodReport { uid: weft_model::NodeUid([200; 16]), ..world.report("n1", Vec::new()) };
    world.refused(Action::PublishPods(report), &codes::NODE_REMOVED);
    // Another node's complete report leaves them alone; deleting what isn't there is fine.
    let report = PodReport { complete: true, ..world.report("n2", Vec::new()) };
    world.good(Action::PublishPods(report));
    let report = PodReport { deletes: vec![PodUid([9; 16])], ..world.report("n2", Vec::new()) };
    world.good(Action::PublishPods(report));
    assert_eq!(world.state.pods().len(), 1);
}

#[test]
fn a_complete_report_replaces_and_frees_addresses_first() {
    let mut world = two_nodes();
    world.publish("n1", vec![pod(1, "n1", "shop/a", "10.0.0.2", 1), pod(2, "n1", "shop/b", "10.0.0.3", 1)]);
    let upserts = vec![pod(3, "n1", "shop/c", "10.0.0.2", 2), pod(2, "n1", "shop/b", "10.0.0.3", 1)];
    let report = PodReport { complete: true, ..world.report("n1", upserts) };
    let outcome = world.run(Action::PublishPods(report.clone()));
    assert!(outcome.answer.is_ok());
    assert_eq!(outcome.changes.len(), 4, "one came, one went, client and counters: {:?}", outcome.changes);
    let outcome = world.run(Action::PublishPods(report));
    assert!(outcome.revision < weft_model::Revision(super::index(&world).0), "the same again is nothing");
    assert_eq!(world.state.pod_at(super::address("10.0.0.2")).unwrap().uid, PodUid([3; 16]));
}

#[test]
fn the_younger_pod_owns_the_name_until_it_goes() {
    let mut world = two_nodes();
    world.publish("n1", vec![pod(1, "n1", "shop/web", "10.0.0.2", 10)]);
    world.publish("n2", vec![pod(2, "n2", "shop/web", "10.0.1.2", 20)]);
    assert_eq!((world.phase(1), world.phase(2)), (Superseded, Active));
    let owner = world.state.pod_named(&"shop/web".parse().unwrap()).unwrap();
    assert_eq!(owner.uid, PodUid([2; 16]));
    // One that is older than both comes late; equal ages are decided by uid.
    world.publish(
        "n1",
        vec![pod(3, "n1", "shop/web", "10.0.0.3", 5), pod(4, "n1", "shop/web", "10.0.0.4", 20)],
    );
    let phases = [1, 2, 3, 4].map(|uid| world.phase(uid));
    assert_eq!(phases, [Superseded, Superseded, Superseded, Active]);
    for (node, gone, heir) in [("n1", 4, 2), ("n2", 2, 1), ("n1", 1, 3)] {
        let report = PodReport { deletes: vec![PodUid([gone; 16])], ..world.report(node, Vec::new()) };
        world.good(Action::PublishPods(report));
        assert_eq!(world.phase(heir), Active, "{heir} after {gone}");
    }
    // The superseded one keeps its address all the time.
    world.publish("n2", vec![pod(5, "n2", "shop/web", "10.0.1.2", 30)]);
    refused(&mut world, "n1", vec![pod(6, "n1", "shop/db", "10.0.0.3", 30)], &codes::ADDRESS_TAKEN);
}

#[test]
fn a_pod_that_is_published_again_keeps_its_revision() {
    let mut world = two_nodes();
    world.publish("n1", vec![pod(1, "n1", "shop/web", "10.0.0.2", 1)]);
    world.publish("n1", vec![pod(2, "n1", "shop/web", "10.0.0.3", 2)]);
    let before = world.objects();
    // The owner goes and comes within one report: the older one is Active in between.
    let deletes = vec![PodUid([2; 16])];
    let report = PodReport { deletes, ..world.report("n1", vec![pod(2, "n1", "shop/web", "10.0.0.3", 2)]) };
    world.good(Action::PublishPods(report));
    assert_eq!(world.objects(), before);
}

#[test]
fn fields_of_pods_are_checked() {
    let mut world = two_nodes();
    let base = pod(1, "n1", "shop/web", "10.0.0.2", 1);
    let port = |name: &str, port| NamedPort { name: name.to_owned(), protocol: Protocol::Tcp, port };
    let mut bad = vec![base.clone(); 5];
    bad[0].ports = vec![port("http", 0)];
    bad[1].ports = vec![port("http", 80), port("http", 81)];
    bad[2].attachment.container.clear();
    bad[3].attachment.interface = "eth 0".to_owned();
    bad[4].labels.insert("?".to_owned(), String::new());
    for pod in bad {
        refused(&mut world, "n1", vec![pod], &codes::OBJECT_INVALID);
    }
    let many = (1..=101).map(|n| port(&format!("p{n}"), n)).collect();
    refused(&mut world, "n1", vec![Pod { ports: many, ..base.clone() }], &codes::TOO_LARGE);
    world.publish("n1", vec![Pod { ports: vec![port("http", 80)], ..base.clone() }]);
    let renamed = Pod { name: "shop/other".parse().unwrap(), ..base };
    refused(&mut world, "n1", vec![renamed], &codes::IMMUTABLE);
}
