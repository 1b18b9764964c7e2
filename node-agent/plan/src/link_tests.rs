//! What a node makes of links, row by row.

use weft_model::{Families, Overlay};

use super::*;
use crate::{
    HostLink, HostRoute, Tracker,
    world::{facts, pod, view},
};

fn steps(families: Families, change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = facts();
    let pod = pod(families, 5);
    facts.pods.insert(pod.uid, pod);
    change(&mut facts);
    let mut tracker = Tracker::new();
    tracker.want(Scope::All, Link::desired(&view(families, Overlay::Wireguard), &facts, Scope::All));
    tracker.steps::<Link>(Sweep::Forbidden).iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_without_ipv6() {
    #[rustfmt::skip]
    let expected = [
        "add bridge weftbr0: mac 02:57:45:46:54:01 mtu 1440 up",
        "add setting net.ipv4.conf.all.send_redirects: 0",
        "add setting net.ipv4.conf.all.src_valid_mark: 1",
        "add setting net.ipv4.conf.weft0.forwarding: 1",
        "add setting net.ipv4.conf.weft0.rp_filter: 2",
        "add setting net.ipv4.conf.weftbr0.forwarding: 1",
        "add setting net.ipv4.conf.weftbr0.rp_filter: 2",
        "add setting net.ipv4.conf.weftbr0.send_redirects: 0",
        "add setting net.ipv4.ip_forward: 1",
        "add address 10.111.0.1/32 on weftbr0: scope global",
        "add address 10.112.0.10/32 on weftbr0: scope link",
        "add address 169.254.1.1/32 on weftbr0: scope link",
        "add address 169.254.1.53/32 on weftbr0: scope link",
        "add port wv08dbfa0f: weft pod 05050505050505050505050505050505 mtu 1440 up isolated",
        "add forwarding entry 0a:05:05:05:05:05: by wv08dbfa0f",
        "add neighbour 10.1.1.5 on weftbr0: at 0a:05:05:05:05:05",
    ];
    let found = steps(Families::V4, |_| ());
    assert_eq!(found, expected);
}

#[test]
fn router_advertisements_are_kept_before_forwarding_begins() {
    let uplink = |accept_ra| {
        move |facts: &mut Facts| {
            facts.host.links.push(HostLink {
                index: 2,
                name: "eth0".to_owned(),
                mac: None,
                mtu: 1500,
                up: true,
                loopback: false,
                kind: String::new(),
                master: None,
                accept_ra,
            });
            let destination = "::/0".parse().unwrap();
            facts.host.routes.push(HostRoute { destination, link: Some(2), gateway: None, metric: 1024 });
        }
    };
    let keeps = "add setting net.ipv6.conf.eth0.accept_ra: 2";
    for (accept_ra, first) in [(Some(1), true), (Some(2), true), (Some(0), false), (None, false)] {
        let found = steps(Families::Dual, uplink(accept_ra));
        assert_eq!(found[0] == keeps, first, "accept_ra {accept_ra:?}: {found:#?}");
        assert_eq!(found.iter().any(|s| s == keeps), first, "a host that is deaf by choice stays deaf");
        assert!(found.iter().any(|s| s == "add setting net.ipv6.conf.all.forwarding: 1"));
        // The node's own devices hear none in any case.
        assert!(found.iter().any(|s| s == "add setting net.ipv6.conf.weftbr0.accept_ra: 0"));
    }
    assert!(!steps(Families::V4, uplink(Some(1))).iter().any(|s| s.contains("ipv6")));
}

#[test]
fn bridged_packets_are_kept_from_the_ip_hooks_where_they_would_meet_them() {
    for (present, count) in [(true, 3), (false, 0)] {
        let found = steps(Families::Dual, |facts| facts.features.bridge_netfilter = present);
        assert_eq!(found.iter().filter(|s| s.contains("net.bridge.bridge-nf-call-")).count(), count);
    }
}

#[test]
fn settings_and_the_bridge_outlive_the_fabric() {
    let facts = facts();
    let view = view(Families::Dual, Overlay::Wireguard);
    let mut tracker = Tracker::new();
    tracker.want(Scope::All, Link::desired(&view, &facts, Scope::All));
    for step in tracker.steps::<Link>(Sweep::Forbidden) {
        Link::effects(&step).into_iter().for_each(|(key, value)| tracker.noticed(key, value));
    }
    tracker.want(Scope::All, Link::desired(&View::default(), &facts, Scope::All));
    let steps = tracker.steps::<Link>(Sweep::Allowed);
    assert_eq!(steps.len(), 8, "the addresses go: {steps:?}");
    assert!(steps.iter().all(|step| matches!(step.key(), LinkKey::Address(..))));
}
