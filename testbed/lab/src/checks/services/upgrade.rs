//! An upgrade as people do it: every process of the product ends and starts anew, one after another, under long connections and new
//! ones.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Stage, stage::Stored};
use crate::Result;
use crate::checks::{HTTP, TCP};
use crate::fabric::{Background, on};
use crate::wait::pass;

/// Before the first and after the last restart.
const AROUND: Duration = Duration::from_millis(300);
/// Connections stand still for so long at most while processes restart that carry no packet, on a machine that does much else.
const STILL: u64 = 500;
/// And while the userspace tunnel does, which carries all of them: as after its death.
const STILL_TUNNEL: u64 = 1_500;

/// Replicas and agents restart one after another, then the userspace tunnels: long connections from pods, from a node's process and
/// from outside live through it, and no new one fails.
pub fn upgraded(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let mut still = Vec::new();
    let mut connections = 0;
    let nodes = fabric.nodes()?;
    let replicas = fabric.replicas()?;
    let mut steps = vec![("weftd", &replicas, STILL), ("agent", &nodes, STILL)];
    if fabric.has_service(stage.cast.a.node(), "tunnel")? {
        steps.push(("tunnel", &nodes, STILL_TUNNEL));
    }
    for (what, machines, most) in steps {
        let under = Under::way(stage)?;
        pass(AROUND);
        let restarted = machines.iter().try_for_each(|machine| {
            fabric.restart(machine, what).with_context(|| format!("restart {what} on {machine}"))
        });
        let restarted = restarted.and_then(|()| fabric.settle_all());
        pass(AROUND);
        let (gap, count) = under.end().with_context(|| format!("while every {what} restarted"))?;
        restarted?;
        ensure!(gap <= most, "connections stood still for {gap} ms while every {what} restarted");
        still.push(format!("{what} {gap} ms"));
        connections += count;
    }
    Ok(format!(
        "{} replicas and {} nodes upgraded one process after another: no connection broken, {connections} new ones, none failed; the \
         longest silence while these restarted: {}",
        replicas.len(),
        nodes.len(),
        still.join(", ")
    ))
}

/// Connections that are under way.
struct Under {
    streams: Vec<Background>,
    clients: Vec<Background>,
}

impl Under {
    fn way(stage: &Stage<'_>) -> Result<Self> {
        let fabric = stage.fabric;
        let service = stage.service("both")?;
        let address = service.addresses()?[0].to_string();
        let (a, c) = (&stage.cast.a, &stage.cast.c);
        let mut streams = Vec::new();
        // Two each: the backends are on both nodes.
        for place in [a.place(), a.place(), c.place(), c.place(), on(a.node())] {
            streams.push(fabric.background(place, &["stream", &address, TCP], &[])?);
        }
        if let Some((node, port)) = node_port(stage, &service)? {
            streams.push(fabric.background(on(&fabric.outside()), &["stream", &node, &port], &[])?);
        }
        let asked = ["clients", &address, "--port", HTTP, "--clients", "4", "--rest", "50"];
        let clients = [a, c].map(|pod| fabric.background(pod.place(), &asked, &[]));
        Ok(Self { streams, clients: clients.into_iter().collect::<Result<_>>()? })
    }

    /// The longest silence of a long connection in milliseconds, and how many new connections there were.
    fn end(self) -> Result<(u64, u64)> {
        let stop =
            |all: Vec<Background>| all.into_iter().map(Background::stop).collect::<Result<Vec<Value>>>();
        let (streams, clients) = (stop(self.streams)?, stop(self.clients)?);
        for seen in streams.iter().chain(&clients) {
            ensure!(seen["ok"] == true, "a connection broke or failed: {seen}");
        }
        let of =
            |all: &[Value], key: &str| all.iter().filter_map(|seen| seen[key].as_u64()).collect::<Vec<_>>();
        let gap = of(&streams, "longest_gap_ms").into_iter().max().context("no connection")?;
        Ok((gap, of(&clients, "connections").into_iter().sum()))
    }
}

/// Where the outside comes in: the second node.
fn node_port(stage: &Stage<'_>, service: &Stored) -> Result<Option<(String, String)>> {
    let all = stage.fabric.machine(stage.cast.c.node())?.addresses();
    let found = all.into_iter().find(|address| crate::checks::same_family(&stage.cast.a, *address).is_ok());
    let port = service.node_port("tcp")?;
    Ok(found.map(|address| (address.to_string(), port)))
}
