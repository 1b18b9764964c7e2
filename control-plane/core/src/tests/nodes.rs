//! Nodes and replicas: joining by token, publishing, going.

use weft_errors as codes;
use weft_errors::Coded;
use weft_model::{
    Action, Answer, Families, Item, ItemKey, Key, MemberRole, NodeFacts, NodeState, NodeUid, Object,
    ReplicaId, Revision, Role, WallTime, WireguardKey, Written,
};

use super::{World, address, facts, join, member, name, pod, range, ranges, write};

#[test]
fn a_node_gets_mesh_addresses_and_a_block_of_each_family() {
    let mut world = World::small(Families::Dual6);
    let (node, leases) = world.join("n1");
    assert_eq!(node.mesh.v4(), Some(&address("10.2.0.1")));
    assert_eq!(node.mesh.v6(), Some(&address("fd02::1")));
    let blocks: Vec<_> = leases.iter().map(|lease| lease.block).collect();
    assert_eq!(blocks, ranges("fd00::/64 10.0.0.0/24"), "primary family first");
    let Some(Item::Peer(peer)) = world.view.get(&ItemKey::Peer(name("n1"))) else { panic!() };
    assert_eq!(peer.allowed, ranges("10.0.0.0/24 10.2.0.1/32 fd00::/64 fd02::1/128"));
    let (second, leases) = world.join("n2");
    assert_eq!(second.mesh.v4(), Some(&address("10.2.0.2")));
    assert_eq!(leases[1].block, range("10.0.1.0/24"));
}

#[test]
fn a_token_works_once_for_its_role_in_its_time_and_the_refusal_does_not_say_why() {
    let mut world = World::small(Families::V4);
    let (node, viewer, late, revoked) = (
        world.token(Role::Node),
        world.token(Role::Viewer),
        world.token(Role::Node),
        world.token(Role::Node),
    );
    let revoked_id = world.state.tokens().values().find(|token| token.hash == revoked).unwrap().id.clone();
    world.good(Action::RevokeToken { id: revoked_id });
    world.good(join(node, "n1", 1, NodeFacts::default()));
    let used = world.state.tokens().values().find(|token| token.hash == node).unwrap();
    assert_eq!(used.used_by.as_deref(), Some("node/n1"));
    let mut refusals = vec![
        world.refused(join(node, "n2", 2, NodeFacts::default()), &codes::TOKEN_INVALID),
        world.refused(join(viewer, "n2", 2, NodeFacts::default()), &codes::TOKEN_INVALID),
        world.refused(join([9; 32], "n2", 2, NodeFacts::default()), &codes::TOKEN_INVALID),
        world.refused(join(revoked, "n2", 2, NodeFacts::default()), &codes::TOKEN_INVALID),
    ];
    world.now += 5_000;
    refusals.push(world.refused(join(late, "n2", 2, NodeFacts::default()), &codes::TOKEN_INVALID));
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "all say the same: {refusals:?}");
}

#[test]
fn a_join_that_fails_does_not_spend_its_token() {
    let mut world = World::small(Families::V4);
    let token = world.token(Role::Node);
    world.refused(join(token, "n1", 1, facts("10.0.0.1", "")), &codes::RANGE_OVERLAP);
    world.good(join(token, "n1", 1, NodeFacts::default()));
}

#[test]
fn persons_get_the_role_of_their_token() {
    let mut world = World::small(Families::V4);
    for role in [Role::Admin, Role::Viewer] {
        let token = world.token(role);
        let answer = world.good(Action::JoinPerson { token, name: "eve".to_owned() });
        assert_eq!(answer, Answer::Person(role));
    }
    let token = world.token(Role::Node);
    world.refused(Action::JoinPerson { token, name: "eve".to_owned() }, &codes::TOKEN_INVALID);
    let token = world.token(Role::Admin);
    world.refused(Action::JoinPerson { token, name: "e v e".to_owned() }, &codes::OBJECT_INVALID);
}

#[test]
fn old_tokens_leave_the_list_when_new_ones_are_made() {
    let mut world = World::small(Families::V4);
    world.token(Role::Node);
    world.now += 25 * 60 * 60 * 1000;
    world.token(Role::Node);
    assert_eq!(world.state.tokens().len(), 1);
    let token = world.state.tokens().values().next().unwrap().clone();
    world.refused(Action::CreateToken { token: token.clone() }, &codes::ALREADY_EXISTS);
    let expired =
        weft_model::Token { id: "x".to_owned(), hash: [8; 32], expires: WallTime(world.now), ..token };
    world.refused(Action::CreateToken { token: expired }, &codes::OBJECT_INVALID);
    world.refused(Action::RevokeToken { id: "y".to_owned() }, &codes::NOT_FOUND);
}

#[test]
fn a_name_is_taken_until_its_node_is_removed() {
    let mut world = World::small(Families::V4);
    let (first, _) = world.join("n1");
    let token = world.token(Role::Node);
    world.refused(join(token, "n1", 77, NodeFacts::default()), &codes::ALREADY_EXISTS);
    world.good(Action::RemoveNode { name: name("n1") });
    assert_eq!(world.node("n1").state, NodeState::Removed);
    let publish = |uid| Action::PublishNode { node: name("n1"), uid, facts: NodeFacts::default() };
    world.refused(publish(first.uid), &codes::NODE_REMOVED);
    let mut again = join(token, "n1", 77, NodeFacts::default());
    if let Action::JoinNode { uid, .. } = &mut again {
        *uid = first.uid;
    }
    world.refused(again, &codes::OBJECT_INVALID);
    world.good(join(token, "n1", 77, NodeFacts::default()));
    world.refused(publish(first.uid), &codes::NODE_REMOVED);
    world.good(publish(NodeUid([77; 16])));
    world.refused(
        Action::PublishNode { node: name("n9"), uid: first.uid, facts: NodeFacts::default() },
        &codes::NOT_FOUND,
    );
}

#[test]
fn everything_of_a_removed_node_follows() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    let (two, _) = world.join("n2");
    world.publish("n2", vec![pod(1, "n2", "shop/web", "10.0.1.2", 1)]);
    let outcome = world.run(Action::RemoveNode { name: name("n2") });
    let gone = "peer, route, pod, the pod's namespace and its identity go";
    assert_eq!(outcome.items.len(), 5, "{gone}: {:?}", outcome.items);
    assert!(world.state.pods().is_empty() && world.state.leases().len() == 1);
    let revision = world.state.meta().revision;
    world.good(Action::RemoveNode { name: name("n2") });
    assert_eq!(world.state.meta().revision, revision, "again is nothing");
    world.refused(Action::RemoveNode { name: name("n9") }, &codes::NOT_FOUND);
    world.refused(
        Action::LeaseBlock { node: name("n2"), uid: two.uid, family: weft_model::Family::V4 },
        &codes::NODE_REMOVED,
    );
    assert_eq!(world.join("n3").0.mesh, two.mesh, "the lowest free mesh address");
}

#[test]
fn mesh_addresses_run_out_with_a_code() {
    let mut world = World::small(Families::V6);
    // Four blocks, so the blocks go first; then nodes without any.
    for node in ["n1", "n2", "n3", "n4"] {
        world.join(node);
    }
    let token = world.token(Role::Node);
    world.refused(join(token, "n5", 91, NodeFacts::default()), &codes::BLOCKS_EXHAUSTED);
    let mut fabric = super::small_fabric(Families::V6);
    fabric.ranges.nodes = ranges("fd02::/126");
    let mut world = World::of(fabric);
    for node in ["n1", "n2", "n3"] {
        world.join(node);
    }
    let token = world.token(Role::Node);
    world.refused(join(token, "n5", 91, NodeFacts::default()), &codes::NODE_ADDRESSES_EXHAUSTED);
}

#[test]
fn facts_are_published_whole_and_claims_of_others_are_refused() {
    let mut world = World::small(Families::V4);
    let (one, _) = world.join("n1");
    let (two, _) = world.join("n2");
    let publish = |node: &weft_model::Node, facts| Action::PublishNode {
        node: node.name.clone(),
        uid: node.uid,
        facts,
    };
    let key = |byte, facts| NodeFacts { wireguard_key: Some(WireguardKey([byte; 32])), ..facts };
    let outcome = world.run(publish(&one, key(1, facts("192.168.1.11 2001:db8::11", "192.168.1.0/24"))));
    assert_eq!(outcome.items.len(), 1);
    let outcome = world.run(publish(&one, key(1, facts("192.168.1.11 2001:db8::11", "192.168.1.0/24"))));
    assert!(outcome.items.is_empty() && outcome.answer.is_ok(), "the same again is nothing");
    assert!(outcome.revision < Revision(super::index(&world).0));

    let shown = world.refused(publish(&two, facts("192.168.1.11", "")), &codes::ADDRESS_TAKEN);
    assert!(shown.contains("192.168.1.11 of node n2 is already held by node n1"), "{shown}");
    world.refused(publish(&two, key(1, NodeFacts::default())), &codes::OBJECT_INVALID);
    for bad in ["127.0.0.1", "fe80::1", "0.0.0.0", "::ffff:192.168.1.1", "192.168.1.7 192.168.1.7"] {
        world.refused(publish(&two, facts(bad, "")), &codes::OBJECT_INVALID);
    }
    let elsewhere =
        NodeFacts { endpoint: Some(([192, 168, 1, 9], 51820).into()), ..facts("192.168.1.12", "") };
    world.refused(publish(&two, elsewhere), &codes::OBJECT_INVALID);
    let many = NodeFacts { host_routes: vec![range("192.168.0.0/24"); 4097], ..NodeFacts::default() };
    world.refused(publish(&two, many), &codes::TOO_LARGE);
    // What one gives up, another may have.
    world.good(publish(&one, facts("192.168.1.13", "")));
    world.good(publish(&two, key(1, facts("192.168.1.11", ""))));
    let Some(Item::Peer(peer)) = world.view.get(&ItemKey::Peer(name("n2"))) else { panic!() };
    assert_eq!(peer.allowed, ranges("10.0.1.0/24 10.2.0.2/32 192.168.1.11/32"));
}

#[test]
fn underlay_addresses_lie_in_networks_of_the_node() {
    let mut world = World::small(Families::V4);
    let (one, _) = world.join("n1");
    let publish = |facts| Action::PublishNode { node: one.name.clone(), uid: one.uid, facts };
    // The address of a replica on another machine, of another node's network, of anybody.
    for (underlay, routes, foreign) in [
        ("192.168.1.11 192.168.2.10", "192.168.1.0/24", "status.underlay[1]"),
        ("192.168.1.11 2001:db8::1 2001:db9::1", "192.168.1.0/24 2001:db8::/64", "status.underlay[2]"),
        ("192.168.1.11 8.8.8.8", "0.0.0.0/1 192.168.1.0/24", "status.underlay[1]"),
        ("192.168.1.11 192.168.1.12", "", "status.underlay[1]"),
    ] {
        let shown = world.refused(publish(facts(underlay, routes)), &codes::OBJECT_INVALID);
        assert!(shown.contains(foreign) && shown.contains("connected to"), "{shown}");
    }
    for (underlay, routes) in [
        ("192.168.1.11 192.168.1.12", "192.168.1.0/24"),
        ("192.168.1.11 172.20.0.2 2001:db8::1", "172.20.0.0/16"),
        // The replica cp-1 runs on the same machine.
        ("192.168.1.10 172.20.0.2", "192.168.1.0/24 172.20.0.0/16"),
    ] {
        world.good(publish(facts(underlay, routes)));
    }
}

#[test]
fn a_write_made_from_an_older_revision_is_a_conflict_and_may_come_again() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    let seen = world.node("n1").clone();
    let object = |node: &weft_model::Node, zone: &str| {
        let mut node = node.clone();
        node.labels.insert("zone".to_owned(), zone.to_owned());
        Object::Node(node)
    };
    let labelled = |node: &weft_model::Node, zone: &str| write(object(node, zone));
    let (first, second) = (labelled(&seen, "a"), labelled(&seen, "b"));
    world.good(first);
    let shown = world.refused(second.clone(), &codes::CONFLICT);
    assert!(shown.contains("node n1 was changed in between"), "{shown}");
    assert_eq!(crate::admit(&world.state, second).unwrap_err().code(), &codes::CONFLICT);
    // The refused command spent no sequence: made anew it is taken under the same one.
    let again = labelled(world.node("n1"), "b");
    world.sequence -= 1;
    world.good(again);
    assert_eq!(world.node("n1").labels["zone"], "b");
    // Whoever names no revision doesn't mind.
    let blind = weft_model::Node { revision: Revision(0), ..seen };
    world.good(labelled(&blind, "c"));
    // One object twice in one write is no conflict with itself.
    let now = world.node("n1").clone();
    let objects = vec![object(&now, "d"), object(&now, "e")];
    world.good(Action::Write { objects });
    assert_eq!(world.node("n1").labels["zone"], "e");
}

#[test]
fn people_write_labels_of_nodes_and_nothing_else() {
    let mut world = World::small(Families::V4);
    let (node, _) = world.join("n1");
    let mut wanted = node.clone();
    wanted.revision = Revision(0);
    wanted.labels.insert("zone".to_owned(), "a".to_owned());
    wanted.uid = NodeUid([99; 16]);
    wanted.mesh = weft_model::Dual::new(Some(address("10.2.0.5")), None).unwrap();
    let Answer::Written(written) = world.good(write(Object::Node(wanted.clone()))) else { panic!() };
    assert_eq!(written[0].1, Written::Changed);
    let stored = world.node("n1");
    assert_eq!((stored.uid, stored.mesh, stored.labels.len()), (node.uid, node.mesh, 1));
    wanted.labels.insert("zone".to_owned(), "not valid!".to_owned());
    world.refused(write(Object::Node(wanted.clone())), &codes::OBJECT_INVALID);
    wanted.name = name("n9");
    wanted.labels.clear();
    world.refused(write(Object::Node(wanted)), &codes::NOT_FOUND);
    let lease = world.state.leases().values().next().unwrap().clone();
    world.refused(write(Object::Lease(lease)), &codes::READ_ONLY_KIND);
    world.refused(write(Object::Member(member(1, "cp-1", 7443))), &codes::READ_ONLY_KIND);
}

#[test]
fn a_write_is_all_or_nothing() {
    let mut world = World::small(Families::V4);
    let (mut node, _) = world.join("n1");
    node.labels.insert("zone".to_owned(), "a".to_owned());
    let web = pod(1, "n1", "shop/web", "10.0.0.2", 1);
    let objects = vec![Object::Node(node.clone()), Object::Pod(web)];
    world.refused(Action::Write { objects }, &codes::READ_ONLY_KIND);
    assert!(world.node("n1").labels.is_empty());
    let too_many = vec![Object::Node(node.clone()); 1001];
    world.refused(Action::Write { objects: too_many }, &codes::TOO_LARGE);
    world.good(Action::Write { objects: vec![Object::Node(node)] });
}

#[test]
fn replicas_get_ids_that_are_never_used_again() {
    let mut world = World::small(Families::V4);
    let join = |token, text: &str, port| Action::JoinReplica {
        token,
        name: text.parse().unwrap(),
        address: ([192, 168, 1, 10], port).into(),
    };
    let token = world.token(Role::Replica);
    world.refused(join(token, "cp-1", 8000), &codes::ALREADY_EXISTS);
    world.refused(join(token, "cp-2", 7443), &codes::ALREADY_EXISTS);
    let Answer::Member(two) = world.good(join(token, "cp-2", 8000)) else { panic!() };
    assert_eq!((two.id, two.role), (ReplicaId(2), MemberRole::Learner));
    let revision = world.state.meta().revision;
    world.good(Action::ChangeMember { member: two.clone() });
    assert_eq!(world.state.meta().revision, revision, "it was a learner already");
    let replicas = |world: &World| match world.state.items().first() {
        Some(Item::Fabric(fabric)) => fabric.replicas.iter().map(|address| address.port()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(replicas(&world), [7443], "nodes follow voters");
    let voter = weft_model::Member { role: MemberRole::Voter, ..two };
    world.good(Action::ChangeMember { member: voter });
    assert_eq!(world.state.members()[&ReplicaId(2)].role, MemberRole::Voter);
    assert_eq!(replicas(&world), [7443, 8000]);
    world.good(Action::RemoveMember { id: ReplicaId(2) });
    assert_eq!(replicas(&world), [7443]);
    assert!(world.state.object(&Key::Member(ReplicaId(2))).is_none());
    world.good(Action::RemoveMember { id: ReplicaId(2) });
    let token = world.token(Role::Replica);
    let Answer::Member(three) = world.good(join(token, "cp-2", 8000)) else { panic!() };
    assert_eq!(three.id, ReplicaId(3));
    world.refused(Action::ChangeMember { member: member(0, "cp-9", 9000) }, &codes::OBJECT_INVALID);
    world.good(Action::ChangeMember { member: member(8, "cp-9", 9000) });
    assert_eq!(world.state.meta().next_replica, ReplicaId(9));
}
