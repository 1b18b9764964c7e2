//! What people wrote, on top of what is there.

use weft_errors::{self as codes, Coded};
use weft_model::{Draft, FabricDraft, Families, Labels, Namespace, NodeDraft, Object, Revision, WallTime};

use super::{World, labels, name, pool, ranges, service};
use crate::merge;

/// What one draft amounts to.
fn one(world: &World, draft: Draft) -> Object {
    merge(&world.state, vec![draft]).expect("a draft of what is there").remove(0)
}

fn namespace(text: &str) -> Namespace {
    let (name, labels) = (text.parse().unwrap(), Labels::new());
    Namespace { name, labels, created: WallTime(0), revision: Revision(0) }
}

#[test]
fn what_a_draft_of_the_fabric_does_not_say_stays() {
    let world = World::small(Families::Dual);
    let now = world.state.fabric().unwrap().clone();
    assert_eq!(one(&world, Draft::Fabric(FabricDraft::default())), Object::Fabric(now.clone()));
    let pods = ranges("10.0.0.0/22 fd00::/62 10.9.0.0/16");
    let draft = FabricDraft { pods: Some(pods.clone()), ..FabricDraft::default() };
    let mut expected = now;
    expected.ranges.pods = pods;
    assert_eq!(one(&world, Draft::Fabric(draft)), Object::Fabric(expected));
}

#[test]
fn a_draft_of_a_node_says_all_its_labels_and_makes_no_node() {
    let mut world = World::small(Families::Dual);
    let (node, _) = world.join("n1");
    let draft = |node: &str| Draft::Node(NodeDraft { name: name(node), labels: labels("rack=a") });
    let Object::Node(merged) = one(&world, draft("n1")) else { panic!("a node") };
    assert_eq!((merged.uid, merged.labels), (node.uid, labels("rack=a")));
    let error = merge(&world.state, vec![draft("n2")]).unwrap_err();
    assert_eq!(error.code(), &codes::NOT_FOUND);
    let shown = error.envelope().to_string();
    assert!(shown.contains("nodes join") && shown.contains("weft token create"), "{shown}");
    let error = merge(&World::empty().state, vec![Draft::Fabric(FabricDraft::default())]).unwrap_err();
    assert_eq!(error.code(), &codes::NOT_INITIALIZED);
}

#[test]
fn a_written_object_keeps_its_life_and_names_the_change_it_is_on_top_of() {
    let mut world = World::small(Families::Dual);
    world.put(Object::Namespace(namespace("shop")));
    let stored = world.put_service(service("shop/web", |_| {}));
    let Object::Service(merged) = one(
        &world,
        Draft::Whole(Object::Service(service("shop/web", |s| {
            s.labels = labels("tier=fe");
        }))),
    ) else {
        panic!("a service")
    };
    assert_eq!((merged.uid, merged.created), (stored.uid, stored.created));
    assert_eq!((merged.generation, merged.revision), (stored.generation, stored.revision));
    assert_eq!(merged.labels, labels("tier=fe"), "what was written is what it says");
    let Object::Service(new) = one(&world, Draft::Whole(Object::Service(service("shop/db", |_| {})))) else {
        panic!("a service")
    };
    assert_eq!(
        (new.revision, new.created),
        (Revision(0), WallTime(0)),
        "one that is new is on top of nothing"
    );
}

#[test]
fn what_others_stand_on_comes_first_however_it_was_written() {
    let world = World::small(Families::Dual);
    let drafts = vec![
        Draft::Whole(Object::Service(service("shop/web", |_| {}))),
        Draft::Whole(Object::NetworkPolicy(super::policies::policy("shop/web", |_| {}))),
        Draft::Whole(Object::Pool(pool("lb", "192.0.2.0/24"))),
        Draft::Whole(Object::Namespace(namespace("shop"))),
        Draft::Fabric(FabricDraft::default()),
    ];
    let kinds: Vec<String> =
        merge(&world.state, drafts).unwrap().iter().map(|object| object.key().to_string()).collect();
    assert_eq!(
        kinds,
        [
            "fabric/main",
            "namespace/shop",
            "loadbalancerpool/lb",
            "service/shop/web",
            "networkpolicy/shop/web"
        ]
    );
}
