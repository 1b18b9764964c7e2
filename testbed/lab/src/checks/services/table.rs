//! Type by traffic policy by who sends: which backend answers, and which client it sees.

use std::net::IpAddr;

use anyhow::{Context, ensure};

use super::Stage;
use crate::checks::{HTTP, TCP, UDP, each, fails, same_family, works_as};
use crate::fabric::on;
use crate::protocol::Place;
use crate::{Result, topology::Subnets};

/// How soon silence counts as silence, in milliseconds.
const SILENCE: &str = "400";
/// How soon a refusal must come, in milliseconds: on a busy machine, and sooner than a sender that heard nothing would try again.
const AT_ONCE: u64 = 900;

/// What is expected of one cell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// An answer, with this client.
    Seen(IpAddr),
    /// Refused at once.
    Refused,
    /// Nothing at all.
    Silence,
}

/// Virtual addresses from pods, from processes of nodes and from outside.
pub fn cluster_addresses(stage: &Stage<'_>) -> Result<String> {
    let mut cells = 0;
    let (a, c) = (&stage.cast.a, &stage.cast.c);
    for name in ["both", "one"] {
        for address in stage.service(name)?.addresses()? {
            for pod in [a, c] {
                let own = same_family(pod, address)?;
                cells += cell(stage, &pod.place(), address, PORTS, Expect::Seen(own))?;
            }
            for node in [a.node(), c.node()] {
                let mesh = stage.mesh(node, address)?;
                cells += cell(stage, &on(node), address, PORTS, Expect::Seen(mesh))?;
            }
            cells += from_outside(stage, address)?;
        }
    }
    for address in stage.service("one-inside")?.addresses()? {
        let own = same_family(a, address)?;
        cells += cell(stage, &a.place(), address, PORTS, Expect::Seen(own))?;
        cells += cell(stage, &c.place(), address, PORTS, Expect::Silence)?;
        cells += cell(stage, &on(c.node()), address, PORTS, Expect::Silence)?;
    }
    Ok(format!("{cells} cells: pods, nodes and outside, each seen with the source that it should have"))
}

/// A virtual address from outside, by a route to one of the nodes: the node is the client that backends see.
fn from_outside(stage: &Stage<'_>, address: IpAddr) -> Result<usize> {
    let node = stage.fabric.machine(stage.cast.a.node())?;
    let via = node.addresses().into_iter().find(|via| via.is_ipv4() == address.is_ipv4());
    let (Some(via), Subnets::Shared) = (via, stage.fabric.topology().underlay.subnets) else { return Ok(0) };
    let outside = on(&stage.fabric.outside());
    let (target, via) = (address.to_string(), via.to_string());
    stage
        .fabric
        .on(outside.clone(), &["ip", "route", "replace", &target, "via", &via])?
        .success("ip route")?;
    let mesh = stage.mesh(stage.cast.a.node(), address)?;
    let seen = cell(stage, &outside, address, PORTS, Expect::Seen(mesh));
    stage.fabric.on(outside, &["ip", "route", "delete", &target])?.success("ip route")?;
    seen
}

/// A pod that reaches itself through its service sees its node's mesh address.
pub fn hairpin(stage: &Stage<'_>) -> Result<String> {
    for address in stage.service("alone")?.addresses()? {
        let mesh = stage.mesh(stage.one.node(), address)?;
        cell(stage, &stage.one.place(), address, PORTS, Expect::Seen(mesh))?;
    }
    Ok(format!("{} reaches itself through its own service", stage.one.name()))
}

/// Node ports of every node from pods, nodes and outside, with both external policies.
pub fn node_ports(stage: &Stage<'_>) -> Result<String> {
    let mut cells = 0;
    let (a, c) = (&stage.cast.a, &stage.cast.c);
    for node in [a.node(), c.node()] {
        let machine = stage.fabric.machine(node)?;
        let with_pods = machine.addresses().into_iter().filter(|address| same_family(a, *address).is_ok());
        for address in with_pods {
            cells += cluster_policy(stage, node, address)?;
            cells += local_policy(stage, node, address)?;
        }
    }
    ensure!(cells > 0, "the underlay has no family of the pods");
    Ok(format!("{cells} cells: policy Cluster and Local, from pods, nodes and outside"))
}

/// Everybody reaches every backend; from outside and from nodes the client that backends see is a node.
fn cluster_policy(stage: &Stage<'_>, node: &str, address: IpAddr) -> Result<usize> {
    let mut cells = 0;
    let ports = node_ports_of(stage, "both")?;
    let ports = [ports[0].as_str(), ports[1].as_str(), ports[2].as_str()];
    let mesh = stage.mesh(node, address)?;
    cells += cell(stage, &on(&stage.fabric.outside()), address, ports, Expect::Seen(mesh))?;
    cells += inside(stage, address, ports)?;
    Ok(cells)
}

/// From outside only a node with a backend answers, and the backend sees the client's own address; inside all is as with Cluster.
fn local_policy(stage: &Stage<'_>, node: &str, address: IpAddr) -> Result<usize> {
    let mut cells = 0;
    let ports = node_ports_of(stage, "one-outside")?;
    let ports = [ports[0].as_str(), ports[1].as_str(), ports[2].as_str()];
    let outside = stage.fabric.machine(&stage.fabric.outside())?;
    let own = outside.addresses().into_iter().find(|a| a.is_ipv4() == address.is_ipv4());
    let own = own.context("outside has no address of the family")?;
    let expected = if node == stage.one.node() { Expect::Seen(own) } else { Expect::Silence };
    cells += cell(stage, &on(&outside.name), address, ports, expected)?;
    cells += inside(stage, address, ports)?;
    Ok(cells)
}

/// Node ports from pods, which are seen as themselves, and from processes of nodes, seen with their node's mesh address.
fn inside(stage: &Stage<'_>, address: IpAddr, ports: [&str; 3]) -> Result<usize> {
    let mut cells = 0;
    for pod in [&stage.cast.a, &stage.cast.c] {
        cells += cell(stage, &pod.place(), address, ports, Expect::Seen(same_family(pod, address)?))?;
        let mesh = stage.mesh(pod.node(), address)?;
        cells += cell(stage, &on(pod.node()), address, ports, Expect::Seen(mesh))?;
    }
    Ok(cells)
}

fn node_ports_of(stage: &Stage<'_>, name: &str) -> Result<[String; 3]> {
    let service = stage.service(name)?;
    Ok([service.node_port("http")?, service.node_port("tcp")?, service.node_port("udp")?])
}

const PORTS: [&str; 3] = [HTTP, TCP, UDP];

/// One sender, one address, over HTTP, TCP and UDP; how many probes that were.
pub(super) fn cell(
    stage: &Stage<'_>,
    from: &Place,
    address: IpAddr,
    ports: [&str; 3],
    expect: Expect,
) -> Result<usize> {
    let to = address.to_string();
    let [http, tcp, udp] = ports;
    let probes = [["http", &to, http], ["tcp", &to, tcp], ["udp", &to, udp]];
    let check = |probe: &[&str; 3]| -> Result {
        match expect {
            Expect::Seen(client) if probe[0] == "http" => {
                let (_, seen) = stage.ask(from, address, http)?;
                ensure!(seen == client, "the backend saw {seen} instead of {client}");
            }
            Expect::Seen(client) => works_as(stage.fabric, from, probe, client).map(drop)?,
            Expect::Refused => {
                let seen = fails(stage.fabric, from, probe)?;
                ensure!(is(&seen, "refused", from, probe[0]), "{probe:?} isn't refused: {seen}");
                let took = seen["ms"].as_u64().context("no time")?;
                ensure!(took < AT_ONCE, "{probe:?} was refused only after {took} ms");
            }
            Expect::Silence => {
                let seen = fails(stage.fabric, from, &[&probe[..], &["--within", SILENCE]].concat())?;
                ensure!(is(&seen, "timeout", from, probe[0]), "{probe:?} isn't dropped: {seen}");
            }
        }
        Ok(())
    };
    let probes = match expect {
        Expect::Seen(_) => &probes[..],
        Expect::Refused | Expect::Silence => &probes[1..],
    };
    each(probes, check)
        .with_context(|| format!("from {from:?} to {address} ports {ports:?}, expected {expect:?}"))?;
    Ok(probes.len())
}

/// Whether a probe ended so; a datagram that a machine's own rules keep back fails in its sender's call instead.
fn is(seen: &serde_json::Value, kind: &str, from: &Place, protocol: &str) -> bool {
    let own = matches!(from, Place::Machine(_)) && protocol == "udp" && seen["kind"] == "denied";
    seen["kind"] == kind || own
}
