//! Load-balancer addresses as people ask for them: chosen, shared, closed to others, served where a backend is, another machine's.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::owner::{Balanced, EDGES, service};
use crate::Result;
use crate::checks::{HTTP, SERVERS, UDP, eventually, fails, works};
use crate::fabric::on;

/// Chosen and shared addresses, source ranges, the client's address with policy Local, mode Proxy.
pub fn addresses_as_asked(balanced: &Balanced<'_>) -> Result<String> {
    let (fabric, outside) = (balanced.fabric, on(&balanced.fabric.outside()));
    let own = fabric.machine(&fabric.outside())?.addresses();
    let mut seen = BTreeSet::new();
    for family in [true, false] {
        let Some(front) = balanced.addresses.iter().find(|a| a.is_ipv4() == family) else { continue };
        let client = own.iter().find(|a| a.is_ipv4() == family).context("outside lacks a family")?;
        let text = asked(*front, *client);
        fabric.apply(&text)?;
        let tried = asked_for(balanced, *front, *client);
        for name in ["chosen", "shared", "closed", "local"] {
            fabric.weft(&["delete", "service", name])?.success("weft delete service")?;
        }
        seen.insert(tried?);
    }
    let strangers =
        fails(fabric, &outside, &["http", &balanced.addresses[0].to_string(), "81", "--within", "300"])?;
    ensure!(strangers["kind"] == "refused" || strangers["kind"] == "timeout", "{strangers}");
    Ok(seen.into_iter().collect::<Vec<_>>().join("; "))
}

/// A pool in mode Proxy: its addresses are another machine's. No node answers for them, and pods go there by the link.
pub fn proxied(balanced: &Balanced<'_>) -> Result<String> {
    const PROXY: &str = "192.168.66.209";
    let (fabric, pod, outside) = (balanced.fabric, &balanced.backend, on(&balanced.fabric.outside()));
    let pool = "apiVersion: weft.io/v1\nkind: LoadBalancerPool\nmetadata: {name: proxied}\nspec:\n  ranges: [192.168.66.208/30]\n  \
         ipMode: Proxy\n  automatic: false\n";
    let asked = format!("weft.io/load-balancer-ips: {PROXY}");
    let by_proxy =
        service("by-proxy", &asked, "  ipFamilies: [IPv4]\n").replace("PreferDualStack", "SingleStack");
    let device = format!("{PROXY}/32");
    fabric
        .on(outside.clone(), &["ip", "address", "add", &device, "dev", "eth0"])?
        .success("ip address add")?;
    let proxy = fabric.background(outside.clone(), &["serve", "tcp:9009", "http:80"], &[])?;
    fabric.apply(&[pool, &by_proxy].join("---\n"))?;
    let stored = fabric.weft_json(&["get", "service", "by-proxy"])?;
    let seen = works(fabric, &pod.place(), &["http", PROXY, HTTP]);
    let owners = fabric.weft_json(&["get", "owners"])?;
    for object in [["service", "by-proxy"], ["loadbalancerpool", "proxied"]] {
        fabric.weft(&["delete", object[0], object[1]])?.success("weft delete")?;
    }
    proxy.stop().ok();
    fabric.on(outside, &["ip", "address", "delete", &device, "dev", "eth0"])?.success("ip address delete")?;
    let given = &stored["status"]["loadBalancer"]["ingress"][0];
    ensure!(given["ip"] == PROXY && given["ipMode"] == "Proxy", "{given}");
    let seen = seen?;
    ensure!(seen["body"]["pod"] != "balanced", "a node took the short cut: {seen}");
    ensure!(!owners.to_string().contains(PROXY), "a node answers for it: {owners}");
    Ok(format!(
        "{PROXY} in mode Proxy is another machine's: no node answers, a pod is seen there as {}",
        seen["body"]["client"]
    ))
}

/// The last address of the pool of the family of `front`, and the one before it.
fn last_of(front: IpAddr) -> (IpAddr, IpAddr) {
    match front {
        IpAddr::V4(_) => ([192, 168, 66, 238].into(), [192, 168, 66, 237].into()),
        IpAddr::V6(_) => {
            ([0xfd66, 0x66, 0, 0, 0, 0, 0, 0xee].into(), [0xfd66, 0x66, 0, 0, 0, 0, 0, 0xed].into())
        }
    }
}

fn asked(front: IpAddr, client: IpAddr) -> String {
    let (last, before) = last_of(front);
    let family = if front.is_ipv4() { "IPv4" } else { "IPv6" };
    let one = |name: &str, annotations: &str, more: &str| {
        let more = format!("  ipFamilies: [{family}]\n{more}");
        service(name, annotations, &more).replace("PreferDualStack", "SingleStack")
    };
    let chosen = format!("weft.io/load-balancer-ips: \"{last}\", weft.io/allow-shared-ip: both");
    let foreign = if front.is_ipv4() { "203.0.113.0/24" } else { "2001:db8::/32" };
    let width = if front.is_ipv4() { 32 } else { 128 };
    let shared = one("shared", &chosen, "")
        .replace(&format!("port: {HTTP}"), "port: 8080, targetPort: 80")
        .replace(&format!("port: {UDP}"), "port: 8081, targetPort: 9001");
    [
        one("chosen", &chosen, &format!("  loadBalancerSourceRanges: [\"{client}/{width}\"]\n")),
        shared,
        one("closed", "", &format!("  loadBalancerSourceRanges: [\"{foreign}\"]\n")),
        one("local", &format!("weft.io/load-balancer-ips: \"{before}\""), "  externalTrafficPolicy: Local\n"),
    ]
    .join("---\n")
}

fn asked_for(balanced: &Balanced<'_>, front: IpAddr, client: IpAddr) -> Result<String> {
    let (fabric, outside) = (balanced.fabric, on(&balanced.fabric.outside()));
    let (last, local) = last_of(front);
    for name in ["chosen", "shared"] {
        ensure!(balanced.addresses_of(name)? == [last], "{name} has another address");
    }
    for port in [HTTP, "8080"] {
        eventually(Duration::from_secs(5), || {
            works(fabric, &outside, &["http", &last.to_string(), port, "--within", "500"])
        })
        .with_context(|| format!("{last} port {port}"))?;
    }
    let closed = balanced.addresses_of("closed")?[0];
    eventually(Duration::from_secs(5), || balanced.owner(closed))?;
    fails(fabric, &outside, &["http", &closed.to_string(), HTTP, "--within", "400"])?;
    let kept = with_local_backend(balanced, local, client)?;
    Ok(format!(
        "{last} chosen and shared, {closed} open to others alone, {local} served on {kept} with the client's address"
    ))
}

/// With policy Local a node with an endpoint owns the address, if one of those that may own has one.
fn with_local_backend(balanced: &Balanced<'_>, address: IpAddr, client: IpAddr) -> Result<String> {
    let (fabric, outside) = (balanced.fabric, on(&balanced.fabric.outside()));
    for edge in EDGES {
        let pod = fabric.labelled_pod(edge, "near", &[("balanced", "yes")], &SERVERS)?;
        let seen = eventually(Duration::from_secs(10), || {
            let owner = balanced.owner(address)?;
            ensure!(owner.node == edge, "{} owns it", owner.node);
            works(fabric, &outside, &["http", &address.to_string(), HTTP, "--within", "500"])
        });
        fabric.detach(&pod)?;
        let body: Value = seen?["body"].clone();
        ensure!(body["pod"] == "near" && body["client"] == client.to_string(), "{body}");
    }
    Ok(EDGES.join(", then "))
}
