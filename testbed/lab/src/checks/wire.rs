//! What the links between the machines carry.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{BULK, Cast, TCP, UDP, eventually, same_family, works, works_as};
use crate::capture::verdict::{Class, Verdict};
use crate::topology::Overlay;
use crate::{Fabric, Result};

/// Captures every link of replicas and nodes while `during` runs, and judges it: clean in mode wireguard; in mode routed the same judge must find
/// pods and marker.
pub fn captured(
    fabric: &Fabric,
    cast: &Cast,
    label: &str,
    during: impl FnOnce() -> Result,
) -> Result<String> {
    let mut machines = fabric.nodes()?;
    machines.extend(fabric.replicas()?);
    let capture = fabric.capture_links(&machines, label)?;
    let ran = during();
    let (verdict, captured) = capture.judge(&cast.addresses())?;
    ran?;
    let missed = if captured.missed > 0 {
        format!(" ({} missed by the capture)", captured.missed)
    } else {
        String::new()
    };
    let sentence = match fabric.topology().overlay {
        Overlay::Wireguard => clean(&verdict)?,
        Overlay::Routed => found(&verdict)?,
    };
    Ok(format!("{sentence}{missed}"))
}

fn clean(verdict: &Verdict) -> Result<String> {
    ensure!(verdict.count(Class::WireGuard) > 0, "no WireGuard was seen: {verdict:?}");
    ensure!(verdict.is_clean(), "the links carried what they must not: {verdict:?}");
    let [wireguard, control] = [Class::WireGuard, Class::ControlPlane].map(|class| verdict.count(class));
    Ok(format!(
        "{} frames on all links: {wireguard} WireGuard, {control} TLS, {} ARP, ND, MLD; no pod address, no payload",
        verdict.frames,
        verdict.frames - wireguard - control
    ))
}

fn found(verdict: &Verdict) -> Result<String> {
    ensure!(
        verdict.markers > 0 && !verdict.addresses.is_empty(),
        "the judge finds nothing in clear traffic: {verdict:?}"
    );
    Ok(format!(
        "{} frames on all links: pod addresses and payload are found, as they must be in mode routed",
        verdict.frames
    ))
}

/// TCP, UDP, ICMP and 10 MB between nodes: what is captured.
pub fn traffic(fabric: &Fabric, cast: &Cast) -> Result {
    for address in cast.c.addresses() {
        let (source, place, to) = (same_family(&cast.a, *address)?, cast.a.place(), address.to_string());
        works_as(fabric, &place, &["tcp", &to, TCP], source)?;
        works_as(fabric, &place, &["udp", &to, UDP], source)?;
        works(fabric, &place, &["ping", &to, "--count", "5"])?;
        works_as(fabric, &place, &["put", &to, BULK, "--within", "15000"], source)?;
    }
    Ok(())
}

/// A link that is smaller than its ends believe still carries 10 MB between nodes, once the path is probed.
pub fn smaller_path(fabric: &Fabric, cast: &Cast, mtu: u32) -> Result<String> {
    fabric.fail(&format!("mtu {} {mtu}", cast.c.node()))?;
    let began = std::time::Instant::now();
    for address in cast.c.addresses() {
        let source = same_family(&cast.a, *address)?;
        let arguments = ["put", &address.to_string(), BULK, "--within", "8000"];
        eventually(Duration::from_secs(30), || works_as(fabric, &cast.a.place(), &arguments, source))
            .with_context(|| format!("10 MB to {address} over a link of {mtu} bytes"))?;
    }
    let took = began.elapsed().as_millis();
    fabric.heal()?;
    Ok(format!("10 MB over a link of {mtu} bytes that drops larger frames in silence, after {took} ms"))
}
