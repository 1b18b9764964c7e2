//! M1: every pod has an address of its own and reaches every other pod without NAT.

use weft_e2e::{each_family, in_family};
use weft_lab::Result;
use weft_lab::checks::{outside, paths};
use weft_lab::topology::Family;

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
