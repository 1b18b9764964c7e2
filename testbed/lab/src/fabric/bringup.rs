//! The way from bare machines to a ready fabric: the first replica, then the other replicas beside the nodes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::{COMMAND, Fabric, on};
use crate::client::Output;
use crate::protocol::{Place, Request, ServiceSpec};
use crate::topology::{Node, Tunnel};
use crate::wait::until;
use crate::{Refusal, Result};

const CONTROL_PORT: u16 = 7443;
const DATA: &str = "/var/lib/weft";
/// Deadline for one machine to become ready.
const READY: Duration = Duration::from_secs(30);

/// A join token and the hash of the authority it belongs to.
pub(super) struct Token {
    token: String,
    authority: String,
}

pub(super) fn bring_up(fabric: &mut Fabric, say: &mut dyn FnMut(&str)) -> Result {
    let began = Instant::now();
    let replicas = fabric.topology.control_planes.count;
    first_replica(fabric)?;
    say(&format!("cp-1 leads after {} ms", began.elapsed().as_millis()));
    let (joined, nodes) = std::thread::scope(|scope| {
        let others =
            scope.spawn(|| (2..=replicas).try_for_each(|i| join_replica(fabric, &format!("cp-{i}"))));
        let nodes = fabric.topology.node.iter().map(|node| {
            let fabric = &*fabric;
            scope.spawn(move || -> Result {
                join_node(fabric, node, &token(fabric, "node")?)?;
                await_node(fabric, &node.name)
            })
        });
        let nodes: Vec<_> = nodes.collect();
        let outcome = |thread: std::thread::ScopedJoinHandle<'_, Result>| {
            thread.join().map_err(|_| anyhow!("bringing a machine up panicked"))?
        };
        (outcome(others), nodes.into_iter().map(outcome).collect::<Result<Vec<()>>>())
    });
    joined?;
    nodes?;
    name_every_replica(fabric)?;
    await_voters(fabric)?;
    say(&format!(
        "{replicas} replicas and {} nodes are up after {} ms",
        fabric.topology.node.len(),
        began.elapsed().as_millis()
    ));
    if !fabric.topology.node.is_empty() {
        fabric.settle()?;
        say(&format!("every node has the fabric in its kernel after {} ms", began.elapsed().as_millis()));
    }
    for file in &fabric.topology.apply.files {
        let file = file.to_string_lossy();
        fabric.weft(&["apply", "-f", &file, "--wait"])?.success("weft apply")?;
    }
    for pod in &fabric.topology.pod {
        fabric.attach(pod)?;
    }
    Ok(())
}

fn first_replica(fabric: &Fabric) -> Result {
    let plan = fabric.plan()?;
    let machine = plan.machine("cp-1").context("no cp-1")?;
    let listen = SocketAddr::new(plan.address(machine), CONTROL_PORT).to_string();
    let layout = fabric.client.layout();
    let contexts = layout.contexts().to_string_lossy().into_owned();
    let context = layout.context();
    let topology = &fabric.topology;
    let arguments = [
        ["--data-dir", DATA],
        ["--name", "cp-1"],
        ["--listen", &listen],
        ["--family", topology.family.word()],
        ["--overlay", topology.overlay.word()],
        ["--context-file", &contexts],
        ["--context-name", &context],
    ];
    let mut argv = vec!["init"];
    argv.extend(arguments.iter().flatten());
    run(fabric, "cp-1", &fabric.product.weftd, &argv)?.success("weftd init")?;
    start_replica(fabric, "cp-1")
}

fn join_replica(fabric: &Fabric, name: &str) -> Result {
    let token = token(fabric, "replica")?;
    let plan = fabric.plan()?;
    let machine = plan.machine(name).with_context(|| format!("no {name}"))?;
    let listen = SocketAddr::new(plan.address(machine), CONTROL_PORT).to_string();
    let first = endpoints(fabric)?.first().cloned().unwrap_or_default();
    let argv = [
        "join",
        &first,
        "--token",
        &token.token,
        "--ca",
        &token.authority,
        "--data-dir",
        DATA,
        "--name",
        name,
        "--listen",
        &listen,
    ];
    run(fabric, name, &fabric.product.weftd, &argv)?.success(&format!("weftd join on {name}"))?;
    start_replica(fabric, name)
}

fn start_replica(fabric: &Fabric, name: &str) -> Result {
    serve(fabric, name, "weftd", &fabric.product.weftd, &["run", "--data-dir", DATA], &[])?;
    fabric.client.ready(name, "weftd", READY)
}

/// Makes the node known and starts its services; [`await_node`] waits for them.
pub(super) fn join_node(fabric: &Fabric, node: &Node, token: &Token) -> Result {
    let name = node.name.as_str();
    let endpoints = endpoints(fabric)?.join(",");
    let labels: Vec<String> = node.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut argv =
        vec!["join", &endpoints, "--token", &token.token, "--ca", &token.authority, "--name", name];
    argv.extend(["--underlay-interface", "eth0"]);
    argv.extend(labels.iter().flat_map(|label| ["--label", label.as_str()]));
    run(fabric, name, &fabric.product.agent, &argv)?.success(&format!("weft-agent join on {name}"))?;
    if fabric.topology.overlay == crate::topology::Overlay::Wireguard && needs_tunnel(fabric, node)? {
        serve(fabric, name, "tunnel", &fabric.product.agent, &["tunnel", "--device", "weft0"], &[])?;
    }
    serve(fabric, name, "dns", &fabric.product.agent, &["dns"], &[])?;
    // The agent takes the kernel's WireGuard where there is one, unless it is told otherwise.
    let told = [("WEFT_AGENT_WIREGUARD_BACKEND", "userspace")];
    let env: &[(&str, &str)] = if node.tunnel == Tunnel::Userspace { &told } else { &[] };
    serve(fabric, name, "agent", &fabric.product.agent, &["run"], env)
}

/// Waits until the node's agent says that it is ready.
pub(super) fn await_node(fabric: &Fabric, name: &str) -> Result {
    fabric.client.ready(name, "agent", READY)
}

/// Whether the kernel lacks WireGuard here, found out by trying.
fn needs_tunnel(fabric: &Fabric, node: &Node) -> Result<bool> {
    if node.tunnel == Tunnel::Userspace {
        return Ok(true);
    }
    let lines = "link add wgprobe type wireguard\nlink delete wgprobe\n".to_owned();
    let place = on(&node.name);
    let tried = fabric.client.run_with(place, &["ip", "-batch", "-"], &[], Some(lines), COMMAND)?;
    match (tried.status == 0, node.tunnel) {
        (false, Tunnel::Kernel) => {
            bail!(Refusal::Usage(format!(
                "node {}: this kernel has no WireGuard (tunnel = \"kernel\")",
                node.name
            )))
        }
        (has, _) => Ok(!has),
    }
}

/// A new join token for `role`.
pub(super) fn token(fabric: &Fabric, role: &str) -> Result<Token> {
    let made = fabric.weft_json(&["token", "create", "--role", role])?;
    let word = |names: &[&str]| -> Result<String> {
        let found = names.iter().find_map(|name| made[*name].as_str());
        found
            .map(str::to_owned)
            .with_context(|| format!("weft token create: no {} in {made}", names.join(" or ")))
    };
    Ok(Token { token: word(&["token"])?, authority: word(&["ca", "authority"])? })
}

/// Waits until every replica has a vote: before that the fabric doesn't survive the end of its first one.
fn await_voters(fabric: &Fabric) -> Result {
    let mut last = Value::Null;
    let all = until(READY, Duration::from_millis(50), || {
        let status = fabric.weft(&["status", "-o", "json"]).ok()?;
        last = serde_json::from_str(&status.stdout).ok()?;
        let replicas = last["replicas"].as_array()?;
        let voters = replicas.iter().filter(|r| r["voter"] == true).count();
        (voters == usize::from(fabric.topology.control_planes.count)).then_some(())
    });
    match all {
        Some(()) => Ok(()),
        None => bail!(Refusal::Timeout(format!(
            "not every replica got a vote within {READY:?}: {}",
            last["replicas"]
        ))),
    }
}

/// `IP:7443` of every replica of the topology.
fn endpoints(fabric: &Fabric) -> Result<Vec<String>> {
    let plan = fabric.plan()?;
    let addresses = (1..=fabric.topology.control_planes.count).filter_map(|i| {
        let machine = plan.machine(&format!("cp-{i}"))?;
        Some::<IpAddr>(plan.address(machine))
    });
    Ok(addresses.map(|ip| SocketAddr::new(ip, CONTROL_PORT).to_string()).collect())
}

/// The command line's context names every replica, so that it works without the first.
fn name_every_replica(fabric: &Fabric) -> Result {
    let path = fabric.client.layout().contexts();
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut contexts: toml::Table = text.parse().context("read the lab's contexts")?;
    let context = fabric.client.layout().context();
    let endpoints = endpoints(fabric)?.into_iter().map(toml::Value::String).collect();
    let one =
        contexts.get_mut("context").and_then(|all| all.get_mut(&context)).and_then(toml::Value::as_table_mut);
    one.with_context(|| format!("no context {context} in {}", path.display()))?
        .insert("endpoints".to_owned(), toml::Value::Array(endpoints));
    std::fs::write(&path, contexts.to_string()).with_context(|| format!("write {}", path.display()))
}

fn run(fabric: &Fabric, machine: &str, program: &std::path::Path, arguments: &[&str]) -> Result<Output> {
    let program = program.to_string_lossy();
    let argv: Vec<&str> = std::iter::once(&*program).chain(arguments.iter().copied()).collect();
    fabric.client.run(Place::Machine(machine.to_owned()), &argv, COMMAND)
}

fn serve(
    fabric: &Fabric,
    machine: &str,
    name: &str,
    program: &std::path::Path,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Result {
    let mut argv = vec![program.to_string_lossy().into_owned()];
    argv.extend(arguments.iter().map(|a| (*a).to_owned()));
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let spec = ServiceSpec { machine: machine.to_owned(), name: name.to_owned(), argv, env };
    fabric.client.call(&Request::Services(vec![spec])).map(drop)
}

/// Reads one JSON document of a program, for messages that name the program.
pub(super) fn read_json(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("{what} printed {:?}", text.trim()))
}
