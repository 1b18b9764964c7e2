//! Ranges: what is refused and why, what may grow, what must stay.

use weft_errors as codes;
use weft_errors::{Code, Coded};
use weft_model::{
    Answer, Fabric, FabricDraft, FabricRanges, Families, Family, NodeFacts, Object, Overlay, Purpose, Role,
    Written,
};

use super::{World, facts, found, join, name, range, ranges, routed_fabric, small_fabric, write};
use crate::{admit, default_range, dry_run, new_fabric, parse_range};

/// Completes a draft from `pods | services | nodes | load balancers`.
fn check(families: Families, texts: &str, expected: Result<(), (&Code, &str)>) {
    let mut lists = texts.split('|').map(ranges);
    let mut next = || lists.next().unwrap_or_default();
    let ranges = FabricRanges { pods: next(), services: next(), nodes: next(), load_balancers: next() };
    let draft = FabricDraft { families: Some(families), ..FabricDraft::from(ranges) };
    match (new_fabric(draft), expected) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err((code, words))) => {
            assert_eq!(error.code(), code, "{texts}: {error}");
            let shown = error.envelope().to_string();
            assert!(shown.contains(words), "{texts}: {shown:?} lacks {words:?}");
        }
        (got, expected) => panic!("{texts}: {got:?} instead of {expected:?}"),
    }
}

#[test]
#[rustfmt::skip]
fn ranges_are_refused_with_the_reason_and_the_field() {
    use Families::{Dual, V4, V6};
    let reserved = |words| Err((&codes::RANGE_RESERVED, words));
    let overlap = |words| Err((&codes::RANGE_OVERLAP, words));
    let small = |words| Err((&codes::RANGE_TOO_SMALL, words));
    check(Dual, "", Ok(()));
    check(Dual, "10.0.0.0/16 fd00::/48", Ok(()));
    check(V4, "fd00::/48", Err((&codes::RANGE_INVALID, "spec.ranges.pods[0]")));
    check(V4, "127.0.0.0/8", reserved("loopback"));
    check(V4, "0.0.0.0/7", reserved("0.0.0.0/8, which is reserved (this network"));
    check(V4, "10.0.0.0/16 169.254.0.0/17", reserved("spec.ranges.pods[1]"));
    check(V4, "| 203.0.113.0/24", reserved("documentation"));
    check(V4, "|| 224.0.0.0/8", reserved("multicast"));
    check(V4, "240.0.0.0/8", reserved("240.0.0.0/4"));
    check(V4, "0.0.0.0/0", reserved("this network"));
    check(V4, "|||198.51.100.0/28", reserved("spec.ranges.loadBalancers[0]"));
    check(V6, "fe80::/16", reserved("link-local"));
    check(V6, "ff00::/16", reserved("multicast"));
    check(V6, "2001:db8::/48", reserved("documentation"));
    check(V6, "3fff:1000::/48", Ok(()));
    check(V6, "3fff::/48", reserved("documentation"));
    check(V6, "::/48", reserved("unspecified"));
    check(V4, "10.0.0.0/16 10.0.128.0/17", overlap("spec.ranges.pods[0] is 10.0.0.0/16"));
    check(V4, "10.0.0.0/16 | 10.0.1.0/24", overlap("service range 10.0.1.0/24 overlaps pod range 10.0.0.0/16"));
    check(V4, "| 10.0.0.0/16 | 10.0.0.0/20", overlap("node range 10.0.0.0/20 overlaps service range 10.0.0.0/16"));
    check(V4, "10.0.0.0/16 | | | 10.0.0.0/30", overlap("load-balancer range"));
    check(V4, "10.111.0.0/23", overlap("spec.ranges.nodes[0]"));
    check(V4, "10.0.0.0/24", small("two blocks of /24, /23 at most"));
    check(V4, "10.0.0.0/23", Ok(()));
    check(V6, "fd00::/64", small("/63 at most"));
    check(V6, "fd00::/63", Ok(()));
    check(V4, "| 10.0.0.0/29", small("16 service addresses, /28 at most"));
    check(V6, "|| fd00::/127", small("two nodes, /126 at most"));
    check(V4, "|||192.168.7.7/32", Ok(()));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let fabric = new_fabric(FabricDraft::default()).unwrap();
    assert_eq!(fabric.ranges.pods, ranges("10.128.0.0/14 fd5a:7e00::/48"));
    assert_eq!(fabric.ranges.services, ranges("10.112.0.0/16 fd5a:7eff::/112"));
    assert_eq!(fabric.ranges.nodes, ranges("10.111.0.0/20 fd5a:7efe::/64"));
    assert_eq!((fabric.block_prefix_v4, fabric.overlay), (24, Overlay::Wireguard));
    assert_eq!((fabric.domain.as_str(), fabric.families), ("cluster.local", Families::Dual));
    let six = new_fabric(FabricDraft { families: Some(Families::V6), ..FabricDraft::default() }).unwrap();
    assert_eq!(six.ranges.pods, ranges("fd5a:7e00::/48"));
    assert_eq!(default_range(Purpose::LoadBalancers, Family::V4), None);
}

#[test]
fn host_bits_are_refused_with_the_range_that_was_meant() {
    let error = parse_range(Purpose::Pods, 1, "10.1.2.3/8").unwrap_err();
    assert_eq!(error.code(), &codes::RANGE_INVALID);
    let shown = error.envelope().to_string();
    assert!(shown.contains("spec.ranges.pods[1]") && shown.contains("10.0.0.0/8"), "{shown}");
    let error = parse_range(Purpose::Pods, 0, "::ffff:10.0.0.0/104").unwrap_err();
    assert!(error.envelope().to_string().contains("write it as IPv4"), "{error}");
    assert_eq!(parse_range(Purpose::Pods, 0, "10.0.0.0/8"), Ok(range("10.0.0.0/8")));
}

#[test]
fn single_values_are_checked_too() {
    let draft = |prefix, domain: &str| FabricDraft {
        block_prefix_v4: Some(prefix),
        domain: Some(domain.to_owned()),
        ..FabricDraft::default()
    };
    assert!(new_fabric(draft(28, "fabric.example")).is_ok());
    for (prefix, domain, field) in
        [(29, "a", "spec.blockPrefixV4"), (19, "a", "spec.blockPrefixV4"), (24, "Not a name", "spec.domain")]
    {
        let error = new_fabric(draft(prefix, domain)).unwrap_err();
        assert_eq!((error.code(), error.envelope().field.as_str()), (&codes::OBJECT_INVALID, field));
    }
}

fn with_pods(fabric: &Fabric, pods: &str) -> Fabric {
    let mut fabric = fabric.clone();
    fabric.ranges.pods = ranges(pods);
    fabric
}

#[test]
fn ranges_may_grow_and_unused_ones_may_go() {
    let fabric = small_fabric(Families::V4);
    let mut world = World::of(fabric.clone());
    world.join("n1");
    let grown = with_pods(&fabric, "10.0.0.0/22 10.9.0.0/22");
    let Answer::Written(written) = world.good(write(Object::Fabric(grown.clone()))) else { panic!() };
    assert_eq!(written[0].1, Written::Changed);
    let Object::Fabric(stored) = &written[0].0 else { panic!() };
    assert_eq!((stored.generation, stored.revision), (2, world.state.meta().revision));

    let revision = world.state.meta().revision;
    let Answer::Written(written) = world.good(write(Object::Fabric(grown))) else { panic!() };
    assert_eq!((written[0].1, world.state.meta().revision), (Written::Unchanged, revision));

    world.good(write(Object::Fabric(with_pods(&fabric, "10.0.0.0/20"))));
    assert_eq!(world.state.leases().len(), 1, "the lease lies in the wider range too");
    let shown = world.refused(write(Object::Fabric(with_pods(&fabric, "10.9.0.0/22"))), &codes::RANGE_IN_USE);
    assert!(shown.contains("pod range 10.0.0.0/20") && shown.contains("node n1"), "{shown}");
    let mut moved = fabric;
    moved.ranges.nodes = ranges("10.3.0.0/29");
    world.refused(write(Object::Fabric(moved)), &codes::RANGE_IN_USE);
}

#[test]
fn a_freed_block_goes_with_its_range() {
    let fabric = small_fabric(Families::V4);
    let mut world = World::of(with_pods(&fabric, "10.9.0.0/23 10.0.0.0/22"));
    world.join("n1");
    world.good(weft_model::Action::RemoveNode { name: name("n1") });
    assert_eq!(world.state.freed().len(), 1);
    world.good(write(Object::Fabric(fabric)));
    assert!(world.state.freed().is_empty());
    let (_, leases) = world.join("n2");
    assert_eq!(leases[0].block, range("10.0.0.0/24"));
}

#[test]
fn what_a_write_leaves_out_is_kept() {
    let mut world = World::small(Families::Dual);
    let mut wanted = small_fabric(Families::Dual);
    wanted.domain.clear();
    wanted.block_prefix_v4 = 0;
    wanted.ranges = FabricRanges::default();
    wanted.ranges.load_balancers = ranges("192.168.9.0/24");
    let Answer::Written(written) = world.good(write(Object::Fabric(wanted.clone()))) else { panic!() };
    let Object::Fabric(stored) = &written[0].0 else { panic!() };
    let mut expected = small_fabric(Families::Dual).ranges;
    expected.load_balancers = ranges("192.168.9.0/24");
    assert_eq!(stored.ranges, expected);

    // What admit shows is what apply stores.
    let admitted = admit(&world.state, write(Object::Fabric(wanted.clone()))).unwrap();
    assert_eq!(admitted, write(Object::Fabric(stored.clone())));
    wanted.families = Families::V4;
    assert!(admit(&world.state, write(Object::Fabric(wanted))).is_err());
}

#[test]
fn fixed_fields_stay() {
    let mut world = World::small(Families::Dual);
    let fabric = small_fabric(Families::Dual);
    for (changed, field) in [
        (Fabric { families: Families::Dual6, ..fabric.clone() }, "spec.families"),
        (Fabric { overlay: Overlay::Routed, ..fabric.clone() }, "spec.overlay"),
        (Fabric { domain: "other.example".to_owned(), ..fabric.clone() }, "spec.domain"),
        (Fabric { block_prefix_v4: 25, ..fabric }, "spec.blockPrefixV4"),
    ] {
        let shown = world.refused(write(Object::Fabric(changed)), &codes::IMMUTABLE);
        assert!(shown.contains(&format!("at {field}")), "{shown}");
    }
}

#[test]
fn machines_in_the_way_are_named() {
    let fabric = small_fabric(Families::V4);
    let mut world = World::of(fabric.clone());
    let token = world.token(Role::Node);
    let on_route = facts("192.168.1.11", "192.168.1.0/24 10.0.2.0/23 0.0.0.0/1");
    let shown = world.refused(join(token, "worker-2", 9, on_route), &codes::RANGE_OVERLAP);
    assert!(
        shown.contains("pod range 10.0.0.0/22 overlaps a route that node worker-2 already has"),
        "{shown}"
    );
    assert!(shown.contains("node worker-2 has a route for 10.0.2.0/23"), "{shown}");
    let inside = facts("10.1.0.5", "");
    let shown = world.refused(join(token, "worker-2", 9, inside), &codes::RANGE_OVERLAP);
    assert!(shown.contains("service range 10.1.0.0/24 holds 10.1.0.5"), "{shown}");
    world.good(join(token, "worker-2", 9, facts("192.168.1.11", "192.168.1.0/24 10.9.0.0/16 0.0.0.0/1")));

    let shown = world
        .refused(write(Object::Fabric(with_pods(&fabric, "10.0.0.0/22 10.9.4.0/22"))), &codes::RANGE_OVERLAP);
    assert!(shown.contains("10.9.0.0/16") && shown.contains("spec.ranges.pods[1]"), "{shown}");
    // A load-balancer range may lie in a connected prefix, but may not hold a machine's address.
    let mut announced = fabric;
    announced.ranges.load_balancers = ranges("192.168.1.128/25");
    world.good(write(Object::Fabric(announced.clone())));
    announced.ranges.load_balancers = ranges("192.168.1.0/28");
    world.refused(write(Object::Fabric(announced.clone())), &codes::RANGE_OVERLAP);
    let mut elsewhere = World::empty();
    let shown = elsewhere.refused(found(announced), &codes::RANGE_OVERLAP);
    assert!(shown.contains("replica cp-1"), "{shown}");
}

#[test]
fn mode_routed_takes_only_nodes_it_can_reach() {
    let mut world = World::of(routed_fabric());
    let token = world.token(Role::Node);
    let refused = [
        (NodeFacts::default(), "it has no IPv4 underlay address"),
        (facts("192.168.1.11", "192.168.1.0/24"), "it has no IPv6 underlay address"),
    ];
    for (facts, words) in refused {
        let shown = world.refused(join(token, "n1", 1, facts), &codes::ROUTED_IMPOSSIBLE);
        assert!(shown.contains(words), "{shown}");
    }
    let link = "192.168.1.0/24 2001:db8:1::/64";
    world.good(join(token, "n1", 1, facts("192.168.1.11 2001:db8:1::11", link)));
    let token = world.token(Role::Node);
    let far = facts("192.168.2.12 2001:db8:2::12", "192.168.2.0/24 2001:db8:2::/64");
    let shown = world.refused(join(token, "n2", 2, far), &codes::ROUTED_IMPOSSIBLE);
    assert!(shown.contains("192.168.1.11 of node n1"), "{shown}");
    world.good(join(token, "n2", 2, facts("192.168.1.12 2001:db8:1::12", link)));
}

#[test]
fn a_fabric_made_from_an_older_revision_is_a_conflict() {
    let mut world = World::small(Families::V4);
    let seen = world.state.fabric().unwrap().clone();
    let one = with_pods(&seen, "10.0.0.0/22 10.9.0.0/22");
    let other = with_pods(&seen, "10.0.0.0/22 10.8.0.0/22");
    let admitted = [one, other].map(|fabric| admit(&world.state, write(Object::Fabric(fabric))).unwrap());
    let [one, other] = admitted;
    world.good(one);
    let shown = world.refused(other, &codes::CONFLICT);
    assert!(shown.contains("fabric main was changed in between"), "{shown}");
    assert_eq!(world.state.fabric().unwrap().ranges.pods.len(), 2, "the first change stands");
}

#[test]
fn a_dry_run_shows_all_and_changes_nothing() {
    let mut world = World::small(Families::V4);
    let before = world.state.clone();
    let grown = with_pods(&small_fabric(Families::V4), "10.0.0.0/22 10.9.0.0/22");
    let command = world.command(write(Object::Fabric(grown)));
    let shown = dry_run(&mut world.state, &command);
    assert_eq!(world.state, before);
    assert_eq!((shown.changes.len(), shown.items.len()), (1, 1));
    let done = world.apply(&command);
    assert_eq!((done.answer, done.items, done.revision), (shown.answer, shown.items, shown.revision));
    let mut empty = World::empty();
    let command = empty.command(found(small_fabric(Families::V4)));
    assert!(dry_run(&mut empty.state, &command).answer.is_ok());
    assert_eq!(empty.state, crate::State::new());
}
