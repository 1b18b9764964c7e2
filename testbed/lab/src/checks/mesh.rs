//! The mesh on the kernel's own WireGuard; and nodes that lose their device, or their power.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Cast, SERVERS, TCP, eventually, same_family, works, works_as};
use crate::fabric::{COMMAND, on};
use crate::protocol::JobSpec;
use crate::{Fabric, Result};

/// Longest time for a slow node to be what it was.
const AGAIN: Duration = Duration::from_secs(60);

/// Every node's mesh device is a WireGuard of its kernel, with all other nodes as peers, and nowhere runs a tunnel process.
pub fn in_kernel(fabric: &Fabric) -> Result<String> {
    let nodes = fabric.nodes()?;
    for node in &nodes {
        let kind = kind_of_device(fabric, node)?;
        ensure!(kind == "wireguard", "weft0 on {node} is of kind {kind:?}");
        ensure!(!fabric.has_service(node, "tunnel")?, "{node} has a tunnel service");
        let processes = fabric.on(on(node), &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])?.stdout;
        ensure!(processes.contains("weft-agent run"), "no agent among the processes of {node}: {processes}");
        ensure!(!processes.contains("weft-agent tunnel"), "a tunnel process runs on {node}: {processes}");
    }
    let pairs = nodes.len() * nodes.len().saturating_sub(1);
    Ok(format!("{} nodes with weft0 of kind wireguard, {pairs} peers, no tunnel process", nodes.len()))
}

/// A tunnel process beside the kernel's device, as the shipped units start it on every node, waits and harms nothing.
pub fn tunnel_waits(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.a.node();
    let job = fabric.client().spawn(JobSpec {
        place: on(node),
        argv: vec![fabric.agent_program(), "tunnel".to_owned(), "--device".to_owned(), "weft0".to_owned()],
        env: Default::default(),
        stdin: None,
    })?;
    eventually(AGAIN, || {
        let said = job.output()?.stderr;
        ensure!(said.contains("waiting for the device"), "it says {said:?}");
        Ok(())
    })?;
    both_ways(fabric, cast)?;
    let ended = job.stop()?;
    ensure!(ended.status == 0, "the tunnel process ended with {}: {}", ended.status, ended.stderr);
    Ok(format!("a tunnel process beside the kernel's weft0 on {node} waits"))
}

fn kind_of_device(fabric: &Fabric, node: &str) -> Result<String> {
    let shown = fabric.on(on(node), &["ip", "-details", "-json", "link", "show", "dev", "weft0"])?;
    let shown: Value = serde_json::from_str(&shown.success("ip link show")?).context("read what ip says")?;
    Ok(shown[0]["linkinfo"]["info_kind"].as_str().unwrap_or_default().to_owned())
}

/// Somebody deletes the mesh device: the agent makes it again, of the same kind, and pods reach each other again.
pub fn device_deleted(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = cast.a.node();
    let began = Instant::now();
    fabric.fail(&format!("delete-link {node} weft0"))?;
    eventually(AGAIN, || both_ways(fabric, cast))?;
    let took = began.elapsed();
    let kind = kind_of_device(fabric, node)?;
    ensure!(kind == "wireguard", "weft0 on {node} came back as {kind:?}");
    Ok(format!("weft0 on {node} deleted: pods reach each other after {} ms", took.as_millis()))
}

fn both_ways(fabric: &Fabric, cast: &Cast) -> Result {
    for (from, to) in [(&cast.a, &cast.c), (&cast.c, &cast.a)] {
        for address in to.addresses() {
            let source = same_family(from, *address)?;
            let to = address.to_string();
            works_as(fabric, &from.place(), &["tcp", &to, TCP, "--within", "1000"], source)?;
        }
    }
    Ok(())
}

/// A node that joins now loses its power and boots again: it is back in the mesh by itself, and has not forgotten what it answered
/// a moment before.
pub fn power_cut(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let node = "late".to_owned();
    fabric.add_node(&node)?;
    let last = fabric.pod(&node, "last", &[])?;
    fabric.fail(&format!("kill-node {node}"))?;
    let began = Instant::now();
    fabric.heal()?;
    fabric.client().ready(&node, "agent", AGAIN)?;
    let pod = fabric.pod(&node, "afterwards", &SERVERS)?;
    let reused = pod.addresses().iter().find(|address| last.addresses().contains(address));
    ensure!(reused.is_none(), "{reused:?} was given to {} a moment before the power went", last.name());
    for address in pod.addresses() {
        let to = address.to_string();
        eventually(AGAIN, || works(fabric, &cast.a.place(), &["tcp", &to, TCP, "--within", "1000"]))?;
    }
    let took = began.elapsed();
    fabric.detach(&pod)?;
    Ok(format!("{node} lost its power: a new pod on it is reached after {:.1} s", took.as_secs_f64()))
}

/// Runs a test program of a crate on the first node; returns its last line.
pub fn test_program(fabric: &Fabric, program: &str, env: &[(&str, &str)]) -> Result<String> {
    let node = fabric.nodes()?.into_iter().next().context("no nodes")?;
    let output = fabric.client().run_with(on(&node), &[program], env, None, COMMAND * 3)?;
    let text = output.success(program)?;
    Ok(text.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned())
}
