//! The constant rules of policy as the `nft` program would list them.

use weft_nft::table_text;

use super::*;

/// The rules of one family, as the `nft` program lists them but for counters.
fn check(family: Family, golden: &str) {
    let text = table_text(&table(family, NodeEgress::Policy), |_| Vec::new());
    assert_eq!(text, golden, "\n{text}");
}

#[test]
fn the_tables_are_these() {
    check(Family::V4, include_str!("v4.nft"));
    check(Family::V6, include_str!("v6.nft"));
}

#[test]
fn each_judgement_asks_the_one_who_was_asked() {
    let of = |judge: Judge| (judge.name(), judge.pod_sends(), judge.port(), judge.pass());
    let (to, from) = (Field::TransportDestination, Field::TransportSource);
    let expected = [
        ("egress", true, to, "may_leave"),
        ("egress_reply", false, from, "may_enter"),
        ("ingress", false, to, "may_enter"),
        ("ingress_reply", true, from, "may_leave"),
    ];
    assert_eq!(Judge::ALL.map(of), expected);
}

#[test]
fn every_set_is_known_by_its_name() {
    for set in table(Family::V4, NodeEgress::Policy).sets {
        assert_eq!(name_of(&set.name), Some(set.name.as_str()), "what isn't known is never read back");
    }
}
