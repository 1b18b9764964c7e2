//! Pods and the world outside the fabric.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::json;

use super::{BULK, Cast, TCP, UDP, eventually, fails, same_family, works, works_as};
use crate::capture::decode;
use crate::capture::pcapng::Record;
use crate::fabric::on;
use crate::plan::Machine;
use crate::{Fabric, Result};

/// A pod's interface, in its namespace.
const POD_LINK: &str = "eth0";
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

/// An ICMP error from outside reaches the pod: port unreachable, as a packet in the pod's own namespace.
pub fn errors_come_back(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let outside = fabric.machine(&fabric.outside())?;
    let node = fabric.machine(cast.a.node())?;
    let capture = fabric.capture(cast.a.place(), POD_LINK, "port-unreachable")?;
    let tried = families_of(&outside, &node, cast);
    for (to, _) in &tried {
        let seen = fails(fabric, &cast.a.place(), &["udp", &to.to_string(), CLOSED])?;
        ensure!(seen["kind"] == "refused", "the pod didn't hear that the port is closed: {seen}");
    }
    let errors = icmp_errors(&capture.frames()?);
    for (to, _) in &tried {
        let expected = IcmpError {
            source: *to,
            destination: same_family(&cast.a, *to)?,
            quoted: *to,
            what: What::PortUnreachable,
        };
        ensure!(errors.contains(&expected), "{expected:?} isn't among what came to the pod: {errors:?}");
    }
    Ok(format!("a closed port outside: {} ICMP errors seen in the pod, one per family", tried.len()))
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

/// A smaller link between router and outside is reported to the pod: the error is seen in the pod's namespace, the pod's kernel
/// keeps the size for that destination, and a large transfer goes through.
pub fn smaller_link(fabric: &Fabric, cast: &Cast, mtu: u32) -> Result<String> {
    let outside = fabric.machine(&fabric.outside())?;
    let node = fabric.machine(cast.a.node())?;
    let server = fabric.background(on(&outside.name), &["serve", "bulk:9002"], &[])?;
    fabric.fail(&format!("mtu {} {mtu}", outside.name))?;
    let capture = fabric.capture(cast.a.place(), POD_LINK, "too-big")?;
    let tried = families_of(&outside, &node, cast);
    for (to, source) in &tried {
        let arguments = ["put", &to.to_string(), BULK, "--within", "15000"];
        eventually(std::time::Duration::from_secs(20), || {
            works_as(fabric, &cast.a.place(), &arguments, *source)
        })
        .with_context(|| format!("10 MB to {to} over a link of {mtu} bytes"))?;
        let route = fabric.on(cast.a.place(), &["ip", "route", "get", &to.to_string()])?;
        let route = route.success("ip route get")?;
        ensure!(
            route.contains(&format!("mtu {mtu} ")),
            "the pod's kernel keeps no size of {mtu} for {to}: {route}"
        );
    }
    fabric.heal()?;
    server.stop().ok();
    let errors = icmp_errors(&capture.frames()?);
    for (to, _) in &tried {
        let pod = same_family(&cast.a, *to)?;
        let told = |e: &&IcmpError| {
            e.destination == pod && e.quoted == *to && e.what == What::TooBig(mtu) && e.source != *to
        };
        ensure!(
            errors.iter().any(|e| told(&e)),
            "no router's \"{mtu} bytes\" about {to} came to the pod: {errors:?}"
        );
    }
    Ok(format!(
        "10 MB to the outside over a link of {mtu} bytes: \"too big\" seen in the pod in {} families",
        tried.len()
    ))
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Port unreachable.
    PortUnreachable,
    /// Fragmentation needed, or packet too big: the bytes that pass.
    TooBig(u32),
}

/// An ICMP error, of either family.
#[derive(Clone, Debug, PartialEq, Eq)]
struct IcmpError {
    source: IpAddr,
    destination: IpAddr,
    /// Where the packet went that it is about.
    quoted: IpAddr,
    what: What,
}

/// ICMP errors of the two sorts in a capture.
fn icmp_errors(frames: &[Record]) -> Vec<IcmpError> {
    let error = |record: &Record| {
        let packet = decode::frame(&record.bytes)?.packet?;
        let (header, quoted) = packet.payload.split_first_chunk::<8>()?;
        // The size is the last field of the header: 16 bits in IPv4, 32 in IPv6 (RFC 1191, RFC 4443).
        let [kind, code, .., a, b, c, d] = *header;
        let what = match (packet.protocol, kind, code) {
            (decode::ICMP, 3, 3) | (decode::ICMPV6, 1, 4) => What::PortUnreachable,
            (decode::ICMP, 3, 4) => What::TooBig(u16::from_be_bytes([c, d]).into()),
            (decode::ICMPV6, 2, 0) => What::TooBig(u32::from_be_bytes([a, b, c, d])),
            _ => return None,
        };
        let quoted = decode::packet(quoted)?.destination;
        Some(IcmpError { source: packet.source, destination: packet.destination, quoted, what })
    };
    frames.iter().filter_map(error).collect()
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
