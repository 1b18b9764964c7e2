//! M1: every pod has an address of its own and reaches every other pod without NAT.

use anyhow::{Context, ensure};
use weft_e2e::{each_family, in_family};
use weft_lab::checks::{Cast, SERVERS, outside, paths};
use weft_lab::fabric::on;
use weft_lab::topology::{Family, Overlay};
use weft_lab::{Fabric, Result};

#[test]
fn every_pod_reaches_every_other_with_its_own_address() -> Result {
    each_family("small", |fabric, cast| paths::every_pair(fabric, cast).map(drop))
}

#[test]
fn every_pod_reaches_every_other_in_mode_routed() -> Result {
    each_family("routed", |fabric, cast| paths::every_pair(fabric, cast).map(drop))
}

#[test]
fn every_pod_reaches_every_other_over_an_ipv6_underlay_and_between_subnets() -> Result {
    in_family("six-underlay", Family::Dual, |fabric, cast| paths::every_pair(fabric, cast).map(drop))?;
    in_family("two-racks", Family::Dual, |fabric, cast| paths::every_pair(fabric, cast).map(drop))
}

#[test]
fn ten_megabytes_arrive_whole() -> Result {
    each_family("small", |fabric, cast| paths::bulk(fabric, cast).map(drop))?;
    each_family("routed", |fabric, cast| paths::bulk(fabric, cast).map(drop))
}

#[test]
fn nodes_reach_pods_and_pods_their_node() -> Result {
    each_family("small", |fabric, cast| paths::nodes(fabric, cast).map(drop))
}

#[test]
fn pods_reach_the_outside_as_their_node() -> Result {
    each_family("small", |fabric, cast| outside::reached(fabric, cast).map(drop))?;
    each_family("routed", |fabric, cast| outside::reached(fabric, cast).map(drop))
}

#[test]
fn errors_from_outside_reach_the_pod() -> Result {
    each_family("small", |fabric, cast| outside::errors_come_back(fabric, cast).map(drop))?;
    in_family("two-racks", Family::Dual, |fabric, cast| outside::smaller_link(fabric, cast, 1300).map(drop))
}

#[test]
fn the_outside_reaches_no_pod() -> Result {
    each_family("small", |fabric, cast| outside::refused(fabric, cast).map(drop))?;
    each_family("routed", |fabric, cast| outside::refused(fabric, cast).map(drop))
}

#[test]
fn any_reverse_path_filter_of_the_machines_lets_pods_through() -> Result {
    for topology in ["small", "routed"] {
        in_family(topology, Family::Dual, |fabric, cast| {
            let before = strictness(fabric, None)?;
            for filter in ["0", "1", "2"] {
                strictness(fabric, Some(filter))?;
                all_ways(fabric, cast).with_context(|| format!("{topology}, rp_filter {filter}"))?;
                // Nobody has put it back meanwhile: that was the setting under which all of it passed.
                ensure!(strictness(fabric, None)? == filter, "{topology}: rp_filter {filter} didn't stay");
            }
            strictness(fabric, Some(&before)).map(drop)
        })?;
    }
    Ok(())
}

/// Between pods, between pods and nodes, to the outside; also for a pod and its link that come under the present setting.
fn all_ways(fabric: &Fabric, cast: &Cast) -> Result {
    paths::every_pair(fabric, cast)?;
    paths::nodes(fabric, cast)?;
    if fabric.topology().overlay == Overlay::Wireguard {
        paths::other_node(fabric, cast)?;
    }
    outside::reached(fabric, cast)?;
    let fresh = fabric.pod(cast.c.node(), "fresh", &SERVERS)?;
    let with_fresh = Cast { all: vec![cast.a.clone(), fresh.clone()], ..cast.clone() };
    paths::every_pair(fabric, &with_fresh)?;
    fabric.detach(&fresh)
}

/// Sets `net.ipv4.conf.{all,default}.rp_filter` on every node, and tells what it is on the first.
fn strictness(fabric: &Fabric, filter: Option<&str>) -> Result<String> {
    let files = ["all", "default"].map(|scope| format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"));
    let mut found = String::new();
    for node in fabric.nodes()?.iter().rev() {
        if let Some(filter) = filter {
            let script = format!("echo {filter} >{} && echo {filter} >{}", files[0], files[1]);
            fabric.on(on(node), &["sh", "-c", &script])?.success("set rp_filter")?;
        }
        found = fabric.on(on(node), &["cat", &files[0]])?.success("read rp_filter")?.trim().to_owned();
    }
    Ok(found)
}
