//! What a node routes, row by row, and that nothing is open that shouldn't be.

use proptest::prelude::*;
use weft_model::Families;

use super::*;
use crate::{
    Tracker,
    world::{Event, delta, events, facts, node, pod, view},
};

/// Steps of a fresh node, as people read them.
fn plan(families: Families, overlay: Overlay, change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = facts();
    let pod = pod(families, 5);
    facts.pods.insert(pod.uid, pod);
    change(&mut facts);
    let mut tracker = Tracker::new();
    tracker.want(Scope::All, Route::desired(&view(families, overlay), &facts, Scope::All));
    tracker.steps::<Route>(Sweep::Forbidden).iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_of_a_mesh() {
    #[rustfmt::skip]
    let expected = [
        "add route 10.1.0.0/16 in main: unreachable",
        "add route 10.111.0.0/24 in main: unreachable",
        "add route 10.112.0.0/16 in main: unreachable",
        "add IPv4 rule 102: iif weftbr0 fwmark 0x0/0x2000000 unreachable: present",
        "add IPv4 rule 103: iif weft0 fwmark 0x0/0x2000000 unreachable: present",
        "add IPv4 rule 104: iif weft1 fwmark 0x0/0x2000000 unreachable: present",
        "add route 10.1.1.5/32 in table 8701: dev weftbr0 src 10.111.0.1",
        "add route 10.1.2.0/24 in table 8701: dev weft0 src 10.111.0.1",
        "add route 10.111.0.2/32 in table 8701: dev weft0 src 10.111.0.1",
        "add route 10.112.0.0/16 in table 8701: dev weftbr0 src 10.111.0.1",
        "add route 192.168.1.12/32 in table 8702: dev weft0 src 10.111.0.1",
        "add IPv4 rule 90: iif weftbr0 fwmark 0x2000000/0x2000000 lookup 8702: present",
        "add IPv4 rule 100: fwmark 0x2000000/0x2000000 lookup 8701: present",
        "add IPv4 rule 101: iif lo lookup 8701: present",
    ];
    assert_eq!(plan(Families::V4, Overlay::Wireguard, |_| ()), expected);
}

#[test]
fn a_node_of_a_routed_fabric() {
    #[rustfmt::skip]
    let expected = [
        "add route fd00::/48 in main: unreachable",
        "add route fd11::/64 in main: unreachable",
        "add route fd12::/112 in main: unreachable",
        "add IPv6 rule 102: iif weftbr0 fwmark 0x0/0x2000000 unreachable: present",
        "add route fd00:0:0:1::5/128 in table 8701: dev weftbr0 src fd11::1 mtu 1440",
        "add route fd00:0:0:2::/64 in table 8701: via fd99::12 dev eth0 onlink src fd11::1",
        "add route fd11::2/128 in table 8701: via fd99::12 dev eth0 onlink src fd11::1",
        "add route fd12::/112 in table 8701: dev weftbr0 src fd11::1",
        "add IPv6 rule 100: fwmark 0x2000000/0x2000000 lookup 8701: present",
        "add IPv6 rule 101: iif lo lookup 8701: present",
    ];
    assert_eq!(plan(Families::V6, Overlay::Routed, |_| ()), expected);
}

#[test]
fn a_route_says_when_its_path_is_narrower() {
    for (what, change, expected) in [
        ("nothing known", None, "dev weft0 src 10.111.0.1"),
        ("probed", Some(1328), "dev weft0 src 10.111.0.1 mtu 1328"),
        ("probed as wide", Some(1440), "dev weft0 src 10.111.0.1"),
        ("probed below the minimum", Some(400), "dev weft0 src 10.111.0.1 mtu 576"),
    ] {
        let lines = plan(Families::V4, Overlay::Wireguard, |facts| {
            facts.probed_mtus.extend(change.map(|mtu| (node(2), mtu)));
        });
        let line = format!("add route 10.1.2.0/24 in table 8701: {expected}");
        assert!(lines.contains(&line), "{what}: {lines:#?}");
    }
    // A peer that is reached over IPv6 has 20 bytes less than the device, which was made for IPv4.
    let mut tracker = Tracker::new();
    let families = Families::V4;
    let mut world = view(families, Overlay::Wireguard);
    let far = crate::world::peer(families, 2, "[fd99::12]:51820");
    world.fold(delta(2, vec![weft_model::Item::Peer(far)], Vec::new())).unwrap();
    tracker.want(Scope::All, Route::desired(&world, &facts(), Scope::All));
    let lines: Vec<String> =
        tracker.steps::<Route>(Sweep::Forbidden).iter().map(ToString::to_string).collect();
    assert!(
        lines.iter().any(|l| l.ends_with("10.1.2.0/24 in table 8701: dev weft0 src 10.111.0.1 mtu 1408")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_missing_leaves_the_way_closed() {
    let open =
        |lines: &[String]| lines.iter().filter(|l| l.contains("weft0 src") || l.contains("via ")).count();
    assert!(open(&plan(Families::Dual, Overlay::Wireguard, |_| ())) > 0);
    let no_device = plan(Families::Dual, Overlay::Wireguard, |facts| facts.mesh.clear());
    assert_eq!(open(&no_device), 0, "{no_device:#?}");
    assert!(no_device.iter().any(|l| l.starts_with("add IPv4 rule 103")), "closed before it appears");
    let no_underlay = plan(Families::Dual, Overlay::Routed, |facts| facts.underlay = None);
    assert_eq!(open(&no_underlay), 0, "{no_underlay:#?}");
    let unknown = plan(Families::Dual, Overlay::Wireguard, |facts| facts.node = node(9));
    assert!(!unknown.iter().any(|l| l.contains("table 87") && l.contains(": dev")), "no source, no route");
    assert!(unknown.iter().any(|l| l.contains("in main: unreachable")));
}

#[test]
fn impossible_fabrics_are_named() {
    let check = |families, overlay, change: fn(&mut Facts), expected: &[&str]| {
        let mut facts = facts();
        change(&mut facts);
        let found = problems(&view(families, overlay), &facts);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    };
    check(Families::Dual, Overlay::Wireguard, |_| (), &[]);
    check(Families::Dual, Overlay::Routed, |_| (), &[]);
    let small: fn(&mut Facts) = |facts| facts.underlay.as_mut().unwrap().mtu = 1300;
    let why = "the underlay's MTU 1300 leaves 1240 bytes to pods, but IPv6 needs 1280 (RFC 8200 section 5)";
    check(Families::Dual, Overlay::Wireguard, small, &[why]);
    check(Families::V4, Overlay::Wireguard, small, &[]);
    let v4_only: fn(&mut Facts) = |facts| facts.underlay.as_mut().unwrap().addresses.truncate(1);
    let why =
        "mode routed: node n1 has no IPv6 underlay address on this link, so its IPv6 pods can't be reached";
    check(Families::Dual, Overlay::Routed, v4_only, &[why]);
    check(Families::Dual, Overlay::Wireguard, v4_only, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_fabrics_table_is_sound(events in events()) {
        let (mut world, mut facts) = (View::default(), facts());
        for (revision, event) in (1..).zip(events) {
            match event {
                Event::Fabric(upserts, deletes) => {
                    world.fold(delta(revision, upserts, deletes)).unwrap();
                }
                Event::Pod(index, _) => {
                    let pod = pod(Families::Dual, index);
                    facts.pods.insert(pod.uid, pod);
                }
            }
        }
        let own = world.peer(&facts.node).map(|peer| peer.mesh);
        for (key, value) in Route::desired(&world, &facts, Scope::All).into_iter().flat_map(|(_, list)| list) {
            let RouteKey::Route { table, destination } = key else { continue };
            let RouteValue::Route { path, source, .. } = value else { continue };
            if table == TABLE_MAIN {
                prop_assert_eq!(path, Path::Unreachable, "main is closed");
                continue;
            }
            let mesh = own.and_then(|mesh| mesh.of(destination.family()).copied());
            prop_assert!(source.is_some() && source == mesh, "{destination} names the mesh address");
            let underlay = ["192.168.1.0/24", "fd99::/64"].iter().any(|range| {
                range.parse::<AddressRange>().unwrap().overlaps(destination)
            });
            prop_assert_eq!(underlay, table == TABLE_UNDERLAY, "underlay addresses in table B only");
        }
    }
}
