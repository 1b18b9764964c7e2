//! Tests of the guard: the rules as text, the elements, and that only differences are sent.

use super::*;

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node with two pods in a fabric of three.
fn input(families: Families) -> GuardInput {
    let pod = |n: u8| GuardPod {
        link: format!("wv0000000{n}"),
        mac: [0x02, 0, 0, 0, 1, n],
        addresses: vec![address(&format!("10.128.1.{n}")), address(&format!("fd5a:7e00:0:1::{n}"))],
    };
    GuardInput {
        families,
        ranges: FabricRanges {
            pods: vec![range("10.128.0.0/14"), range("fd5a:7e00::/48")],
            services: vec![range("10.112.0.0/16"), range("fd5a:7e01::/112")],
            nodes: vec![range("10.111.0.0/16"), range("fd5a:7e02::/64")],
            load_balancers: vec![],
        },
        masquerade_exceptions: vec![range("192.168.0.0/16"), range("192.168.7.0/24")],
        replicas: ["192.0.2.1:7443", "[2001:db8::1]:7443"].iter().map(|r| r.parse().unwrap()).collect(),
        resolver: ["10.112.0.10", "169.254.1.53", "fd5a:7e01::a"].map(address).to_vec(),
        pods: vec![pod(1), pod(2)],
        peers_underlay: vec![address("192.0.2.12"), address("192.0.2.13"), address("2001:db8::12")],
        uplinks: vec!["eth0".into()],
        owners: vec![
            (range("10.128.2.0/24"), [0x02, 0, 0, 0, 0, 0x12]),
            (range("10.111.0.2/32"), [0x02, 0, 0, 0, 0, 0x12]),
            (range("fd5a:7e00:0:2::/64"), [0x02, 0, 0, 0, 0, 0x12]),
        ],
    }
}

fn check_text(overlay: Overlay, golden: &str) {
    let ruleset = Ruleset::new(overlay);
    let text = ruleset.text(&ruleset.elements(&input(Families::Dual)));
    assert_eq!(text, golden, "\n{text}");
}

#[test]
fn the_ruleset_of_the_mesh_reads_as_the_design_says() {
    check_text(Overlay::Wireguard, include_str!("guard/wireguard.nft"));
}

#[test]
fn the_ruleset_of_mode_routed_reads_as_the_design_says() {
    check_text(Overlay::Routed, include_str!("guard/routed.nft"));
}

#[test]
fn each_lookup_has_a_set_of_its_fields_types_and_each_jump_a_chain() {
    use weft_nft::{Statement, Verdict};
    for overlay in [Overlay::Wireguard, Overlay::Routed] {
        for table in Ruleset::new(overlay).tables() {
            let statements = table.chains.iter().flat_map(|c| &c.rules).flat_map(|r| &r.statements);
            for statement in statements {
                if let Statement::Lookup { key, set, .. } = statement {
                    let types: Vec<_> = key.iter().map(|f| f.data_type().unwrap()).collect();
                    assert_eq!(table.set(set).unwrap().key, types, "{statement}");
                }
                if let Statement::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) = statement {
                    assert!(table.chains.iter().any(|c| c.name == *to && c.base.is_none()), "{to}");
                }
            }
        }
    }
}

#[test]
fn a_family_that_the_fabric_lacks_has_no_elements() {
    let ruleset = Ruleset::new(Overlay::Wireguard);
    let count = |families| ruleset.elements(&input(families)).len();
    let names = |families| {
        let elements = ruleset.elements(&input(families));
        elements.iter().map(|(set, _)| set.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names(Families::V4),
        "direct4 fabric4 inner mesh metadata4 near peers4 replicas4 resolver4 sources4 ports4"
    );
    assert_eq!(
        names(Families::V6),
        "fabric6 inner mesh metadata6 near peers6 replicas6 resolver6 sources6 ports6 ports_nd"
    );
    assert_eq!(count(Families::Dual), count(Families::Dual6));
    // Devices are of both.
    assert_eq!(count(Families::Dual), count(Families::V4) + count(Families::V6) - 8);
}

#[test]
fn a_new_pod_is_a_few_elements_in_one_transaction() {
    let ruleset = Ruleset::new(Overlay::Wireguard);
    let before = ruleset.elements(&input(Families::Dual));
    let mut more = input(Families::Dual);
    more.pods.push(GuardPod {
        link: "wv00000003".into(),
        mac: [2, 0, 0, 0, 1, 3],
        addresses: vec![address("10.128.1.3")],
    });
    let after = ruleset.elements(&more);
    let batches = ruleset.update(&after, &before);
    assert_eq!(batches.len(), 1);
    let expected =
        "add element { \"wv00000003\" . 02:00:00:00:01:03 . 10.128.1.3 } of set bridge weft ports4\n";
    assert_eq!(batches[0].to_string(), expected);
    assert_eq!(ruleset.update(&after, &after).len(), 0);
}

#[test]
fn a_large_load_is_split_and_its_first_part_has_all_rules() {
    let ruleset = Ruleset::new(Overlay::Wireguard);
    let mut large = input(Families::Dual);
    large.peers_underlay = (0..30_000_u32).map(|i| IpAddr::V4((0xc612_0000 + i).into())).collect();
    let batches = ruleset.full(&ruleset.elements(&large));
    assert!(batches.len() > 1, "{}", batches.len());
    assert!(batches.iter().all(|b| b.size() <= limits::TRANSACTION_BYTES && b.encode(1, Some(1)).is_ok()));
    let rules = |b: &Batch| b.to_string().lines().filter(|l| l.starts_with("add rule")).count();
    let all: usize = ruleset.tables().iter().flat_map(|t| &t.chains).map(|c| c.rules.len()).sum();
    assert_eq!(rules(&batches[0]), all);
    assert!(batches[1..].iter().all(|b| rules(b) == 0));
}
