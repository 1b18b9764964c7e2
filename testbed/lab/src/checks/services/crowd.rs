//! A full node: 250 pods, each asked for its readiness, and what asking them costs the agent.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::checks::{each, eventually};
use crate::fabric::Pod;
use crate::protocol::Place;
use crate::wait::pass;
use crate::{Fabric, Result};

/// Pods of the node, as many as Kubernetes recommends at most and some more (110, up to 250 on large machines).
const PODS: usize = 250;
/// Attached at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Objects in one command.
const BATCH: usize = 50;
/// For so long it is looked what the agent uses.
const LOOK: Duration = Duration::from_secs(30);
/// All are ready within this.
const READY: Duration = Duration::from_mins(1);
/// How they are asked: one after another differs.
const ASKED: [&str; 3] =
    ["tcpSocket: { port: 9000 }", "httpGet: { port: 80, path: /well }", "grpc: { port: 9003 }"];
/// What each serves.
const SERVED: [&str; 3] = ["tcp:9000", "http:80", "grpc:9003"];
/// Clock ticks per second in `/proc` (proc(5); the same on every Linux that we build for).
const TICKS: f64 = 100.0;

/// What the agent has used.
#[derive(Clone, Copy, Debug)]
struct Used {
    ticks: f64,
    resident_mib: f64,
}

/// Attaches the pods, asks them every ten seconds (what Kubernetes does unless told otherwise) and every second, and measures the agent.
pub fn crowded(fabric: &Fabric, node: &str) -> Result<String> {
    let alone = used(fabric, node)?;
    let names: Vec<String> = (0..PODS).map(|number| format!("crowd-{number}")).collect();
    let all = |period: u32| names.chunks(BATCH).map(move |names| manifest(names, period));
    all(10).try_for_each(|text| fabric.store(&text))?;
    let seats: Vec<Vec<&String>> =
        (0..SIDE_BY_SIDE).map(|seat| names.iter().skip(seat).step_by(SIDE_BY_SIDE).collect()).collect();
    each(&seats, |names| names.iter().try_for_each(|name| fabric.pod(node, name, &SERVED).map(drop)))?;
    let mut seen = Vec::new();
    for period in [10, 1] {
        all(period).try_for_each(|text| fabric.store(&text))?;
        eventually(READY, || ready(fabric, &names))?;
        let before = used(fabric, node)?;
        pass(LOOK);
        let after = used(fabric, node)?;
        let percent = (after.ticks - before.ticks) / TICKS / LOOK.as_secs_f64() * 100.0;
        seen.push(format!("every {period} s {percent:.1} % of a processor, {:.0} MiB", after.resident_mib));
    }
    let pods: Vec<Pod> =
        fabric.pods()?.into_iter().filter(|pod| names.iter().any(|name| name == pod.name())).collect();
    pods.iter().try_for_each(|pod| fabric.detach(pod))?;
    all(1).try_for_each(|text| fabric.erase(&text))?;
    Ok(format!(
        "{PODS} pods on {node}, asked over TCP, HTTP and gRPC: {}; the agent without them {:.0} MiB",
        seen.join(", "),
        alone.resident_mib
    ))
}

fn manifest(names: &[String], period: u32) -> String {
    names.iter().enumerate().fold(String::new(), |mut text, (place, name)| {
        let how = ASKED[place % ASKED.len()];
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name} }}\nspec:\n  containers:\n  - name: main\n    image: example/main:1\n    \
             readinessProbe: {{ {how}, periodSeconds: {period} }}\n---\n"
        );
        text
    })
}

fn ready(fabric: &Fabric, names: &[String]) -> Result {
    let list = fabric.weft_json(&["get", "pods"])?;
    let is_ready = |pod: &&serde_json::Value| {
        let named = pod["metadata"]["name"].as_str().is_some_and(|name| names.iter().any(|own| own == name));
        named && pod["status"]["ready"] == true
    };
    let ready = list["items"].as_array().into_iter().flatten().filter(is_ready).count();
    ensure!(ready == names.len(), "{ready} of {} pods are ready", names.len());
    Ok(())
}

/// The agent's processor time and memory, by the lab's own `/proc`.
fn used(fabric: &Fabric, node: &str) -> Result<Used> {
    let pid = fabric.service(node, "agent")?.pid.context("the agent doesn't run")?;
    let read =
        |file: &str| fabric.on(Place::Switch, &["cat", &format!("/proc/{pid}/{file}")])?.success("cat");
    let stat = read("stat")?;
    // The name in brackets may hold spaces (proc_pid_stat(5)); user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |place: usize| -> Result<f64> { Ok(fields.get(place).context("a shorter line")?.parse()?) };
    let status = read("status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: f64 = resident.context("no VmRSS")?.trim().parse()?;
    Ok(Used { ticks: field(11)? + field(12)?, resident_mib: resident / 1024.0 })
}
