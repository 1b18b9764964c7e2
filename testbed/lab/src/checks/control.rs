//! The control plane: its leader dies, all of it dies, nodes come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;

use super::{Cast, TCP, UDP, eventually, fails, warm_up, works_as};
use crate::fabric::{Pod, on};
use crate::wait::pass;
use crate::{Fabric, Result};

/// Writers at the same time: one that waits for the dead leader doesn't hide that others go on.
const WRITERS: usize = 3;

/// Name of the replica that leads.
pub fn leader(fabric: &Fabric) -> Result<String> {
    let output = fabric.weft(&["status", "-o", "json", "--timeout", "5s"])?;
    let status: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("weft status: {}", output.stderr))?;
    let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
    let leader = replicas.iter().find(|r| r["leader"] == true).and_then(|r| r["name"].as_str());
    leader.map(str::to_owned).ok_or_else(|| anyhow!("no leader: {status}"))
}

/// The leader is killed while writes go on: they go on within two seconds, and none that was acknowledged is lost.
pub fn leader_dies(fabric: &Fabric) -> Result<String> {
    let leader = leader(fabric)?;
    let stop = AtomicBool::new(false);
    let (written, refusals, killed) = std::thread::scope(|scope| -> Result<_> {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| write_until(fabric, &stop))).collect();
        pass(Duration::from_millis(500));
        let killed = Instant::now();
        let failed = fabric.fail(&format!("kill-replica {leader}"));
        pass(Duration::from_millis(3000));
        stop.store(true, Ordering::Relaxed);
        let (mut written, mut refusals) = (Vec::new(), Vec::new());
        for writer in writers {
            let (some, refusal) = writer.join().map_err(|_| anyhow!("a writer panicked"))?;
            written.extend(some);
            refusals.extend(refusal);
        }
        failed?;
        Ok((written, refusals, killed))
    })?;
    let after = written.iter().map(|w| w.at).filter(|at| *at > killed).min();
    let after =
        after.with_context(|| format!("no write was acknowledged after {leader}'s death: {refusals:?}"))?;
    let gap = after.duration_since(killed);
    ensure!(gap <= Duration::from_secs(2), "writes stood still for {gap:?}");
    let kept = tokens(fabric)?;
    fabric.heal()?;
    fabric.client().ready(&leader, "weftd", Duration::from_secs(20))?;
    let lost: Vec<&str> = written.iter().map(|w| w.id.as_str()).filter(|id| !kept.contains(*id)).collect();
    ensure!(lost.is_empty(), "acknowledged writes are lost: {lost:?}");
    Ok(format!(
        "leader {leader} killed: writes go on after {} ms, {} acknowledged, 0 lost",
        gap.as_millis(),
        written.len()
    ))
}

struct Written {
    at: Instant,
    id: String,
}

/// Makes tokens one after the other; what was acknowledged, and when, and what the last refusal said.
fn write_until(fabric: &Fabric, stop: &AtomicBool) -> (Vec<Written>, Option<String>) {
    let (mut written, mut refusal) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let made = fabric.weft_json(&["token", "create", "--role", "viewer", "--timeout", "5s"]);
        match made.map(|document| token_id(&document)) {
            Ok(Some(id)) => written.push(Written { at: Instant::now(), id }),
            Ok(None) => refusal = Some("a token without a name".to_owned()),
            Err(e) => refusal = Some(format!("{e:#}")),
        }
    }
    (written, refusal)
}

/// Public part of a token: as named, or what stands before the dot of the whole token.
fn token_id(document: &Value) -> Option<String> {
    let named = document["id"].as_str().or_else(|| document["metadata"]["name"].as_str());
    let cut = document["token"].as_str().and_then(|t| t.split('.').nth(1));
    named.or(cut).map(str::to_owned)
}

fn tokens(fabric: &Fabric) -> Result<BTreeSet<String>> {
    let list = fabric.weft_json(&["token", "list"])?;
    Ok(list["items"].as_array().into_iter().flatten().filter_map(token_id).collect())
}

/// Every replica is killed: traffic flows, pods come and go; after the restart the control plane agrees with the nodes.
pub fn all_replicas_die(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let replicas = fabric.replicas()?;
    let to = cast.c.addresses().first().context("no address")?.to_string();
    warm_up(fabric, cast, &to)?;
    let ping = fabric.background(cast.a.place(), &["ping", &to, "--rate", "100"], &[])?;
    for replica in &replicas {
        fabric.fail(&format!("kill-replica {replica}"))?;
    }
    let born = fabric.pod(cast.c.node(), "orphan", &["tcp:9000", "udp:9001"])?;
    let gone = fabric.pod(cast.a.node(), "fleeting", &[])?;
    for address in born.addresses() {
        let source = super::same_family(&cast.a, *address)?;
        works_as(fabric, &cast.a.place(), &["tcp", &address.to_string(), TCP], source)?;
        works_as(fabric, &cast.a.place(), &["udp", &address.to_string(), UDP], source)?;
    }
    fabric.detach(&gone)?;
    for address in gone.addresses() {
        fails(fabric, &cast.b.place(), &["ping", &address.to_string(), "--count", "2", "--within", "150"])?;
    }
    let seen = ping.stop()?;
    ensure!(seen["ok"] == true, "packets were lost while the control plane died: {seen}");
    let began = Instant::now();
    fabric.heal()?;
    for replica in &replicas {
        fabric.client().ready(replica, "weftd", Duration::from_secs(20))?;
    }
    eventually(Duration::from_secs(20), || agrees(fabric))?;
    fabric.detach(&born)?;
    Ok(format!(
        "all replicas killed: 0 of {} pings lost, a pod added and reached, one removed; all agree {} ms after the restart",
        seen["sent"],
        began.elapsed().as_millis()
    ))
}

/// `weft get pods` lists exactly the pods that are attached, with their addresses.
pub fn agrees(fabric: &Fabric) -> Result {
    let list = fabric.weft_json(&["get", "pods", "-A"])?;
    let items = list["items"].as_array().context("no items")?;
    let name = |v: &Value| {
        Some(format!("{}/{}", v["metadata"]["namespace"].as_str()?, v["metadata"]["name"].as_str()?))
    };
    let known: BTreeSet<String> = items.iter().filter_map(name).collect();
    let pods = fabric.pods()?;
    let attached: BTreeSet<String> =
        pods.iter().map(|p| format!("{}/{}", p.record.namespace, p.name())).collect();
    ensure!(known == attached, "the control plane knows {known:?}, attached are {attached:?}");
    for pod in &pods {
        let item = items
            .iter()
            .find(|i| i["metadata"]["name"] == pod.name())
            .map(Value::to_string)
            .unwrap_or_default();
        for address in pod.addresses() {
            ensure!(
                item.contains(&format!("\"{address}")),
                "{} has {address}, the control plane says {item}",
                pod.name()
            );
        }
    }
    Ok(())
}

/// No address is held twice and none is lost.
pub fn addresses_add_up(fabric: &Fabric) -> Result<String> {
    let check = || -> Result<Value> {
        let document = fabric.weft_json(&["ipam", "check"])?;
        let empty = |key: &str| document[key].as_array().is_some_and(Vec::is_empty);
        ensure!(empty("unreachable"), "not every node answers: {document}");
        ensure!(empty("items"), "addresses don't add up: {document}");
        Ok(document)
    };
    let document = eventually(Duration::from_secs(10), check)?;
    Ok(format!(
        "{} addresses on {} nodes: none held twice, none lost",
        document["addresses"], document["nodes"]
    ))
}

/// A node joins a running fabric and is removed for good: peers follow everywhere, and then it can talk to nobody.
pub fn node_comes_and_goes(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let began = Instant::now();
    fabric.add_node("late")?;
    let pod = fabric.pod("late", "late", &["tcp:9000"])?;
    for other in &cast.all {
        for address in pod.addresses() {
            let source = super::same_family(other, *address)?;
            eventually(Duration::from_secs(10), || {
                works_as(
                    fabric,
                    &other.place(),
                    &["tcp", &address.to_string(), TCP, "--within", "500"],
                    source,
                )
            })?;
        }
    }
    let joined = began.elapsed();
    let removed = Instant::now();
    fabric.weft(&["node", "remove", "late", "--yes"])?.success("weft node remove")?;
    eventually(Duration::from_secs(5), || cut_off(fabric, &pod, cast))?;
    let cut = removed.elapsed();
    let left = fabric.weft_json(&["get", "nodes"])?;
    let mut late = left["items"].as_array().into_iter().flatten().filter(|n| n["metadata"]["name"] == "late");
    // Its name stays as long as its addresses must not be given again.
    if let Some(node) = late.find(|n| n["status"]["state"] != "Removed") {
        bail!("weft get nodes lists the removed node as if it were there: {node}");
    }
    fabric.fail("kill-node late")?;
    Ok(format!(
        "a fourth node joined and reached all in {} ms; removed, it talks to nobody after {} ms",
        joined.as_millis(),
        cut.as_millis()
    ))
}

/// Nobody reaches the removed node's pod, nor it anybody.
fn cut_off(fabric: &Fabric, pod: &Pod, cast: &Cast) -> Result {
    for address in cast.c.addresses() {
        fails(fabric, &pod.place(), &["ping", &address.to_string(), "--count", "1", "--within", "150"])?;
        fails(fabric, &on("late"), &["ping", &address.to_string(), "--count", "1", "--within", "150"])?;
    }
    for address in pod.addresses() {
        fails(fabric, &cast.c.place(), &["ping", &address.to_string(), "--count", "1", "--within", "150"])?;
    }
    Ok(())
}
