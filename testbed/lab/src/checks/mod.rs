//! What is proved of a fabric, with real packets: used by the end-to-end suite and the demonstration alike.
//!
//! Each check ends with a sentence of evidence, or with an error that says what was seen instead.

pub mod control;
pub mod faults;
pub mod mesh;
pub mod names;
pub mod outside;
pub mod paths;
pub mod policy;
pub mod recipes;
pub mod rollout;
pub mod services;
pub mod wire;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::fabric::Pod;
use crate::protocol::Place;
use crate::wait::until;
use crate::{Fabric, Result};

/// Ports that every pod of a [`Cast`] serves.
pub const HTTP: &str = "80";
/// TCP echo.
pub const TCP: &str = "9000";
/// UDP echo.
pub const UDP: &str = "9001";
/// Bulk transfers.
pub const BULK: &str = "9002";
/// All of them, as `serve` takes them.
pub const SERVERS: [&str; 4] = ["http:80", "tcp:9000", "udp:9001", "bulk:9002"];

/// Pods that checks play with: two on the first node, one on every other.
#[derive(Clone, Debug)]
pub struct Cast {
    /// On the first node.
    pub a: Pod,
    /// On the first node too.
    pub b: Pod,
    /// On the second node.
    pub c: Pod,
    /// All of them.
    pub all: Vec<Pod>,
}

impl Cast {
    /// Attaches the pods.
    pub fn attach(fabric: &Fabric) -> Result<Self> {
        let nodes = fabric.nodes()?;
        ensure!(nodes.len() >= 2, "checks need two nodes");
        let mut all = vec![fabric.pod(&nodes[0], "a", &SERVERS)?, fabric.pod(&nodes[0], "b", &SERVERS)?];
        for (node, name) in nodes[1..].iter().zip(["c", "d", "e", "f"]) {
            all.push(fabric.pod(node, name, &SERVERS)?);
        }
        Ok(Self { a: all[0].clone(), b: all[1].clone(), c: all[2].clone(), all })
    }

    /// Detaches them.
    pub fn detach(&self, fabric: &Fabric) -> Result {
        self.all.iter().try_for_each(|pod| fabric.detach(pod))
    }

    /// Addresses of all pods.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.all.iter().flat_map(|pod| pod.addresses().to_vec()).collect()
    }
}

/// A probe that must work; its document.
pub(crate) fn works(fabric: &Fabric, place: &Place, arguments: &[&str]) -> Result<Value> {
    let seen = fabric.probe(place.clone(), arguments)?;
    ensure!(seen["ok"] == true, "{arguments:?} at {place:?} did not work: {seen}");
    Ok(seen)
}

/// A probe that must not work; its document.
pub(crate) fn fails(fabric: &Fabric, place: &Place, arguments: &[&str]) -> Result<Value> {
    let seen = fabric.probe(place.clone(), arguments)?;
    ensure!(seen["ok"] == false, "{arguments:?} at {place:?} worked and must not: {seen}");
    Ok(seen)
}

/// A probe works that sees the client as `source`.
pub(crate) fn works_as(fabric: &Fabric, place: &Place, arguments: &[&str], source: IpAddr) -> Result<Value> {
    let seen = works(fabric, place, arguments)?;
    ensure!(
        seen["seen"] == source.to_string(),
        "{arguments:?}: the server saw {} instead of {source}",
        seen["seen"]
    );
    Ok(seen)
}

/// The address of `pod` in the family of `other`.
pub(crate) fn same_family(pod: &Pod, other: IpAddr) -> Result<IpAddr> {
    let found = pod.addresses().iter().find(|a| a.is_ipv4() == other.is_ipv4());
    found.copied().with_context(|| format!("{} has no address of the family of {other}", pod.name()))
}

/// Pings until answers come: the first packets between two nodes wait for a handshake, and are not what a check counts.
pub(crate) fn warm_up(fabric: &Fabric, cast: &Cast, to: &str) -> Result {
    let ping = ["ping", to, "--count", "3", "--within", "300"];
    eventually(Duration::from_secs(5), || works(fabric, &cast.a.place(), &ping)).map(drop)
}

/// Repeats a check until it holds; its last error if it doesn't `within`.
pub(crate) fn eventually<T>(within: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let held = until(within, Duration::from_millis(20), || match check() {
        Ok(value) => Some(value),
        Err(e) => {
            last = Some(e);
            None
        }
    });
    match (held, last) {
        (Some(value), _) => Ok(value),
        (None, Some(e)) => Err(e.context(format!("still so after {within:?}"))),
        (None, None) => bail!("nothing was checked"),
    }
}

/// Runs `work` for each item at the same time.
pub(crate) fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result + Sync) -> Result {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| bail!("a check panicked")))
    })
}
