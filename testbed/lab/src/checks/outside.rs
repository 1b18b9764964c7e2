//! Pods and the world outside the fabric.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::json;

use super::{BULK, Cast, TCP, UDP, eventually, fails, same_family, works, works_as};
use crate::fabric::on;
use crate::plan::Machine;
use crate::{Fabric, Result};

/// A port on which nothing listens.
const CLOSED: &str = "9";

/// Pod to outside and back over TCP, UDP and ICMP, seen with the node's own address.
pub fn reached(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let outside = fabric.machine(&fabric.outside())?;
    let node = fabric.machine(cast.a.node())?;
    let server =
        fabric.background(on(&outside.name), &["serve", "tcp:9000", "udp:9001", "bulk:9002", "icmp"], &[])?;
    let mut families = Vec::new();
    for (to, source) in families_of(&outside, &node, cast) {
        let place = cast.a.place();
        works_as(fabric, &place, &["tcp", &to.to_string(), TCP], source)?;
        works_as(fabric, &place, &["udp", &to.to_string(), UDP], source)?;
        works_as(fabric, &place, &["put", &to.to_string(), BULK, "--within", "15000"], source)?;
        works(fabric, &place, &["ping", &to.to_string(), "--count", "2"])?;
        let heard = server.lines()?;
        ensure!(
            heard.contains(&json!({"heard": source})),
            "outside heard no echo request from {source}: {heard:?}"
        );
        families.push(source.to_string());
    }
    server.stop().ok();
    ensure!(!families.is_empty(), "the underlay has no family of the pods");
    Ok(format!("a pod reaches the outside over TCP, UDP, ICMP as {}", families.join(" and ")))
}

/// An ICMP error from outside reaches the pod: port unreachable.
pub fn errors_come_back(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let outside = fabric.machine(&fabric.outside())?;
    let node = fabric.machine(cast.a.node())?;
    for (to, _) in families_of(&outside, &node, cast) {
        let seen = fails(fabric, &cast.a.place(), &["udp", &to.to_string(), CLOSED])?;
        ensure!(seen["kind"] == "refused", "the pod didn't hear that the port is closed: {seen}");
    }
    Ok("a closed port outside is reported to the pod at once".to_owned())
}

/// What outside sends to a pod's address is refused, though outside has a route.
pub fn refused(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let outside = on(&fabric.outside());
    let node = fabric.machine(cast.a.node())?;
    let mut tried = 0;
    for address in cast.a.addresses() {
        let Some(via) = node.addresses().into_iter().find(|a| a.is_ipv4() == address.is_ipv4()) else {
            continue;
        };
        let gateway = match fabric.topology().underlay.subnets {
            crate::topology::Subnets::Shared => via.to_string(),
            crate::topology::Subnets::PerNode => continue,
        };
        works(fabric, &on(cast.a.node()), &["tcp", &address.to_string(), TCP])?;
        let (target, route) = (address.to_string(), ["ip", "route", "replace"]);
        fabric
            .on(outside.clone(), &[&route[..], &[&target, "via", &gateway]].concat())?
            .success("ip route")?;
        fails(fabric, &outside, &["tcp", &target, TCP, "--within", "400"])?;
        fails(fabric, &outside, &["udp", &target, UDP, "--within", "400"])?;
        fails(fabric, &outside, &["ping", &target, "--count", "2", "--within", "300"])?;
        fabric.on(outside.clone(), &["ip", "route", "delete", &target])?.success("ip route")?;
        tried += 1;
    }
    ensure!(tried > 0, "no address of a pod could be tried from outside");
    Ok(format!("outside reaches none of {tried} addresses of a pod, though it has a route"))
}

/// A smaller link between router and outside is reported to the pod: a large transfer goes through.
pub fn smaller_link(fabric: &Fabric, cast: &Cast, mtu: u32) -> Result<String> {
    let outside = fabric.machine(&fabric.outside())?;
    let node = fabric.machine(cast.a.node())?;
    let server = fabric.background(on(&outside.name), &["serve", "bulk:9002"], &[])?;
    fabric.fail(&format!("mtu {} {mtu}", outside.name))?;
    for (to, source) in families_of(&outside, &node, cast) {
        let arguments = ["put", &to.to_string(), BULK, "--within", "15000"];
        eventually(std::time::Duration::from_secs(20), || {
            works_as(fabric, &cast.a.place(), &arguments, source)
        })
        .with_context(|| format!("10 MB to {to} over a link of {mtu} bytes"))?;
    }
    fabric.heal()?;
    server.stop().ok();
    Ok(format!("10 MB to the outside over a link of {mtu} bytes: \"fragmentation needed\" reached the pod"))
}

/// Addresses of outside and of the node in each family that pods, node and outside share.
fn families_of(outside: &Machine, node: &Machine, cast: &Cast) -> Vec<(IpAddr, IpAddr)> {
    let shared = outside.addresses().into_iter().filter(|to| same_family(&cast.a, *to).is_ok());
    let with_source = shared.filter_map(|to| {
        let source = node.addresses().into_iter().find(|a| a.is_ipv4() == to.is_ipv4())?;
        Some((to, source))
    });
    with_source.collect()
}
