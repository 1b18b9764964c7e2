//! Processes of a node die, its ruleset is flushed: what goes on, what stays closed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{Cast, TCP, eventually, fails, warm_up, works};
use crate::fabric::on;
use crate::protocol::ServiceState;
use crate::wait::pass;
use crate::{Fabric, Result};

/// Kinds of notification that mean that something of the data path was taken away.
const REMOVALS: [&str; 9] = [
    "link removed",
    "address removed",
    "route removed",
    "rule removed",
    "neighbour removed",
    "table removed",
    "chain removed",
    "nft rule removed",
    "set removed",
];

/// The tunnel process is killed: traffic is back within a second, with the agent running and with it dead.
pub fn tunnel_dies(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.a.node();
    if !fabric.has_service(node, "tunnel")? {
        return Ok("the kernel has WireGuard: there is no tunnel process that could die".to_owned());
    }
    let mut gaps = Vec::new();
    for agent_dead in [false, true] {
        if agent_dead {
            fabric.hold(node, "agent")?;
        }
        let to = cast.c.addresses().first().context("no address")?.to_string();
        let ping = fabric.background(cast.a.place(), &["ping", &to, "--rate", "100"], &[])?;
        pass(Duration::from_millis(300));
        fabric.kill(node, "tunnel")?;
        eventually(Duration::from_secs(10), || {
            works(fabric, &cast.a.place(), &["ping", &to, "--count", "1", "--within", "100"])
        })?;
        pass(Duration::from_millis(200));
        let seen = ping.stop()?;
        if agent_dead {
            fabric.release(node, "agent")?;
            fabric.client().ready(node, "agent", Duration::from_secs(20))?;
        }
        let gap = seen["longest_gap_ms"].as_u64().context("no gap")?;
        ensure!(gap <= 1000, "traffic stood still for {gap} ms after the tunnel process was killed: {seen}");
        gaps.push(format!("{gap} ms"));
    }
    Ok(format!("tunnel process killed: traffic back after {} (agent dead: {})", gaps[0], gaps[1]))
}

/// The agent is killed under a ping at 100/s and a running stream: nothing is lost, nothing in the kernel is removed.
pub fn agent_dies(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.a.node();
    let to = cast.c.addresses().first().context("no address")?.to_string();
    warm_up(fabric, cast, &to)?;
    fabric.settle()?;
    let watch = fabric.background(on(node), &["watch"], &[])?;
    let ping = fabric.background(cast.a.place(), &["ping", &to, "--rate", "100"], &[])?;
    let stream = fabric.background(cast.a.place(), &["stream", &to, TCP], &[])?;
    pass(Duration::from_millis(500));
    let before = service(fabric, node, "agent")?.restarts;
    fabric.kill(node, "agent")?;
    // Its end is noticed before its next readiness can be heard.
    eventually(Duration::from_secs(5), || restarted(fabric, node, "agent", before))?;
    fabric.client().ready(node, "agent", Duration::from_secs(20))?;
    fabric.settle()?;
    pass(Duration::from_millis(500));
    let (ping, stream, watch) = (ping.stop()?, stream.stop()?, watch.stop()?);
    ensure!(ping["ok"] == true, "packets were lost: {ping}");
    ensure!(stream["ok"] == true, "the stream did not survive: {stream}");
    let removed = removals(&watch);
    ensure!(removed.is_empty(), "the restart removed from the kernel: {} {watch}", removed.join(", "));
    Ok(format!(
        "agent killed: {} of {} pings lost, stream went on, nothing removed from the kernel",
        ping["lost"], ping["sent"]
    ))
}

/// The agent is killed right after it answered an ADD: the pod it answered for stays.
pub fn fresh_pod_survives(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.c.node();
    for round in 0..3 {
        let before = service(fabric, node, "agent")?.restarts;
        let pod = fabric.pod(node, &format!("fresh-{round}"), &["tcp:9000"])?;
        fabric.kill(node, "agent")?;
        eventually(Duration::from_secs(5), || restarted(fabric, node, "agent", before))?;
        fabric.client().ready(node, "agent", Duration::from_secs(20))?;
        for address in pod.addresses() {
            works(fabric, &on(node), &["tcp", &address.to_string(), TCP, "--within", "1000"])
                .with_context(|| format!("{} after its agent was killed", pod.name()))?;
        }
        fabric.detach(&pod)?;
    }
    Ok("agent killed right after an ADD: the pod stays, 3 times".to_owned())
}

fn restarted(fabric: &Fabric, machine: &str, name: &str, before: u32) -> Result {
    let state = service(fabric, machine, name)?;
    ensure!(state.restarts > before && state.pid.is_some(), "{name} on {machine} has not been started again");
    Ok(())
}

fn service(fabric: &Fabric, machine: &str, name: &str) -> Result<ServiceState> {
    let description = fabric.client().describe()?;
    let state = description.machines.iter().find(|m| m.machine.name == machine);
    let state = state.and_then(|m| m.services.iter().find(|s| s.name == name));
    state.cloned().with_context(|| format!("{machine} runs no {name}"))
}

fn removals(watch: &Value) -> Vec<String> {
    let count =
        |kind: &&str| watch["counts"][*kind].as_u64().filter(|n| *n > 0).map(|n| format!("{n} x {kind}"));
    REMOVALS.iter().filter_map(count).collect()
}

/// The whole ruleset is flushed with the agent stopped: nothing passes any more. With the agent running it is repaired.
pub fn ruleset_flushed(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.a.node();
    let outside = fabric.machine(&fabric.outside())?;
    let other = fabric.machine(cast.c.node())?;
    let targets = cast.b.addresses().iter().chain(cast.c.addresses()).copied();
    let reachable = |a: &std::net::IpAddr| cast.a.addresses().iter().any(|own| own.is_ipv4() == a.is_ipv4());
    let targets: Vec<String> = targets
        .chain(outside.addresses().into_iter().filter(reachable))
        .chain(other.addresses().into_iter().filter(reachable))
        .map(|a| a.to_string())
        .collect();
    let place = cast.a.place();
    for to in &targets {
        works(fabric, &place, &["ping", to, "--count", "1"]).context("before the flush")?;
    }
    fabric.hold(node, "agent")?;
    fabric.fail(&format!("flush-nft {node}"))?;
    let closed = targets.iter().try_for_each(|to| {
        fails(fabric, &place, &["ping", to, "--count", "2", "--within", "150"])
            .map(drop)
            .context("after the flush")
    });
    fabric.release(node, "agent")?;
    closed?;
    let began = Instant::now();
    fabric.client().ready(node, "agent", Duration::from_secs(20))?;
    for to in &targets {
        eventually(Duration::from_secs(10), || {
            works(fabric, &place, &["ping", to, "--count", "1", "--within", "300"])
        })
        .context("after the agent's return")?;
    }
    fabric.fail(&format!("flush-nft {node}"))?;
    let flushed = Instant::now();
    for to in &targets {
        eventually(Duration::from_secs(10), || {
            works(fabric, &place, &["ping", to, "--count", "1", "--within", "300"])
        })
        .context("after a flush under a running agent")?;
    }
    Ok(format!(
        "ruleset flushed, agent stopped: 0 of {} targets reachable; repaired {} ms after a flush under a running agent ({} ms after the agent's return)",
        targets.len(),
        flushed.elapsed().as_millis(),
        (flushed - began).as_millis()
    ))
}

/// A node loses power and comes back with its disk: its old pods are gone, new ones reach everybody.
pub fn node_dies(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.c.node().to_owned();
    fabric.fail(&format!("kill-node {node}"))?;
    for to in cast.c.addresses() {
        fails(fabric, &cast.a.place(), &["ping", &to.to_string(), "--count", "2", "--within", "150"])?;
    }
    let began = Instant::now();
    fabric.heal()?;
    fabric.client().ready(&node, "agent", Duration::from_secs(20))?;
    let back = Instant::now();
    eventually(Duration::from_secs(5), || {
        let list = fabric.weft_json(&["get", "pods", "-A"])?;
        let listed =
            list["items"].as_array().into_iter().flatten().any(|pod| pod["spec"]["nodeName"] == node);
        ensure!(!listed, "pods of before the crash are still listed");
        Ok(())
    })?;
    let forgotten = back.elapsed();
    let pod = fabric.pod(&node, "again", &["tcp:9000"])?;
    if cast.c.addresses().iter().any(|a| pod.addresses().contains(a)) {
        bail!("an address was given again before its quarantine ended: {:?}", pod.addresses());
    }
    for to in pod.addresses() {
        eventually(Duration::from_secs(10), || {
            works(fabric, &cast.a.place(), &["tcp", &to.to_string(), TCP, "--within", "500"])
        })?;
    }
    fabric.detach(&pod)?;
    Ok(format!(
        "{node} killed and back with its disk: its pods of before are forgotten {} ms after the agent's return, a new one is reached {} ms after the heal",
        forgotten.as_millis(),
        began.elapsed().as_millis()
    ))
}
