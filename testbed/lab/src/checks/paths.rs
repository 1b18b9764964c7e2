//! Pod to pod, node to pod, and inside a pod.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::json;

use super::{BULK, Cast, HTTP, TCP, UDP, each, same_family, works, works_as};
use crate::capture::decode::frame;
use crate::fabric::{Pod, on};
use crate::protocol::Place;
use crate::{Fabric, Result};

/// Every ordered pair of pods talks over TCP, UDP and ICMP, and the receiver sees the sender's own address.
pub fn every_pair(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let hearing: Vec<_> = cast
        .all
        .iter()
        .map(|pod| fabric.serve_in(pod, &["icmp"]).map(|b| (pod, b)))
        .collect::<Result<_>>()?;
    each(&cast.all, |from| {
        let others = cast.all.iter().filter(|to| to.record.container != from.record.container);
        others.flat_map(|to| to.addresses()).try_for_each(|to| pair(fabric, from, *to))
    })?;
    let mut paths = 0;
    for (to, background) in &hearing {
        let heard = background.lines()?;
        for from in cast.all.iter().filter(|from| from.record.container != to.record.container) {
            for address in from.addresses() {
                ensure!(
                    heard.contains(&json!({"heard": address})),
                    "{} heard no echo request from {} as {address}: {heard:?}",
                    to.name(),
                    from.name()
                );
                paths += 1;
            }
        }
    }
    for (_, background) in hearing {
        background.stop().ok();
    }
    Ok(format!("{paths} paths x TCP, UDP, ICMP: each seen with the sender's own address"))
}

fn pair(fabric: &Fabric, from: &Pod, to: IpAddr) -> Result {
    let (source, place, to) = (same_family(from, to)?, from.place(), to.to_string());
    works_as(fabric, &place, &["tcp", &to, TCP], source)?;
    works_as(fabric, &place, &["udp", &to, UDP], source)?;
    works(fabric, &place, &["ping", &to, "--count", "2"]).map(drop).context("ICMP")
}

/// Two processes of one pod talk over 127.0.0.1 and ::1.
pub fn localhost(fabric: &Fabric, cast: &Cast) -> Result<String> {
    for address in ["127.0.0.1", "::1"] {
        works_as(fabric, &cast.a.place(), &["tcp", address, TCP], address.parse()?)?;
        works_as(fabric, &cast.a.place(), &["udp", address, UDP], address.parse()?)?;
    }
    Ok("two processes of one pod over 127.0.0.1 and ::1".to_owned())
}

/// Two pods of one node both serve port 80, and each answers for itself.
pub fn same_port(fabric: &Fabric, cast: &Cast) -> Result<String> {
    for pod in [&cast.a, &cast.b] {
        for address in pod.addresses() {
            let seen = works(fabric, &cast.c.place(), &["http", &address.to_string(), HTTP])?;
            ensure!(seen["body"]["pod"] == pod.name(), "{address} answered as {}", seen["body"]["pod"]);
        }
    }
    Ok(format!("{} and {} on {} both serve port {HTTP}", cast.a.name(), cast.b.name(), cast.a.node()))
}

/// 10 MB over TCP with equal hashes on both sides, same node and other node.
pub fn bulk(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let mut times = Vec::new();
    for to in [&cast.b, &cast.c] {
        for address in to.addresses() {
            let source = same_family(&cast.a, *address)?;
            let arguments = ["put", &address.to_string(), BULK, "--within", "15000"];
            let seen = works_as(fabric, &cast.a.place(), &arguments, source)?;
            times.push(format!("{} ms", seen["us"].as_u64().unwrap_or(0) / 1000));
        }
    }
    Ok(format!("10 MB to {} and {} with equal hashes in {}", cast.b.name(), cast.c.name(), times.join(", ")))
}

/// A node reaches its own pod and another node's pod; a pod reaches its own node.
pub fn nodes(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = on(cast.a.node());
    for address in cast.a.addresses().iter().chain(cast.c.addresses()) {
        works(fabric, &node, &["tcp", &address.to_string(), TCP])?;
        works(fabric, &node, &["ping", &address.to_string(), "--count", "2"])?;
    }
    let machine = fabric.machine(cast.a.node())?;
    for address in machine.addresses() {
        if same_family(&cast.a, address).is_ok() {
            works(fabric, &cast.a.place(), &["ping", &address.to_string(), "--count", "2"])?;
        }
    }
    Ok(format!("{} reaches its pod and {}'s; a pod reaches its own node", cast.a.node(), cast.c.node()))
}

/// Packets between pods of one node pass the bridge and never `lo`.
pub fn through_the_bridge(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = on(cast.a.node());
    let bridge = fabric.capture(node.clone(), "weftbr0", "bridge")?;
    let lo = fabric.capture(node, "lo", "lo")?;
    for address in cast.b.addresses() {
        works(fabric, &cast.a.place(), &["tcp", &address.to_string(), TCP])?;
    }
    let between = |frames: &[crate::capture::pcapng::Record]| {
        let pods: Vec<IpAddr> = cast.addresses();
        let hit = |bytes: &[u8]| {
            frame(bytes)
                .and_then(|f| f.packet.map(|p| pods.contains(&p.source) || pods.contains(&p.destination)))
        };
        frames.iter().filter(|record| hit(&record.bytes) == Some(true)).count()
    };
    let (on_bridge, on_lo) = (between(&bridge.frames()?), between(&lo.frames()?));
    ensure!(on_bridge > 0, "no packet of the pods was seen on weftbr0");
    ensure!(on_lo == 0, "{on_lo} packets of the pods were seen on lo");
    Ok(format!("{on_bridge} packets on weftbr0, none on lo"))
}

/// No pod has received a redirect.
pub fn no_redirects(fabric: &Fabric, cast: &Cast) -> Result<String> {
    for pod in &cast.all {
        let seen = fabric.probe(pod.place(), &["redirects"])?;
        ensure!(seen == json!({"v4": 0, "v6": 0}), "{} received redirects: {seen}", pod.name());
    }
    Ok(format!("0 redirects received by {} pods", cast.all.len()))
}

/// A pod reaches another node's own addresses (through the mesh in mode wireguard; the capture of `wire` tells).
pub fn other_node(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let machine = fabric.machine(cast.c.node())?;
    let server = fabric.background(Place::Machine(cast.c.node().to_owned()), &["serve", "tcp:9100"], &[])?;
    let mut reached = Vec::new();
    for address in machine.addresses() {
        if let Ok(source) = same_family(&cast.a, address) {
            works_as(fabric, &cast.a.place(), &["tcp", &address.to_string(), "9100"], source)?;
            works(fabric, &cast.a.place(), &["ping", &address.to_string(), "--count", "2"])?;
            reached.push(address.to_string());
        }
    }
    server.stop().ok();
    Ok(format!("{} reaches {} itself at {}", cast.a.name(), cast.c.node(), reached.join(", ")))
}
