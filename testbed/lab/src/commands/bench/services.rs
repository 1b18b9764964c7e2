//! `bench services`: loading, changing and passing the tables of many services, beside kube-proxy's layout; and what a packet
//! costs through a service and straight to the pod.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{ROUNDS, Row};
use crate::checks::{BULK, TCP};
use crate::fabric::{Pod, on};
use crate::{Fabric, Result};

/// Sizes at which ours is measured.
const OURS: [(&str, [&str; 4]); 4] = [
    ("10", ["load_10", "add_at_10", "connect_p50_at_10", "connect_p99_at_10"]),
    ("1000", ["load_1000", "add_at_1000", "connect_p50_at_1000", "connect_p99_at_1000"]),
    ("10000", ["load_10000", "add_at_10000", "connect_p50_at_10000", "connect_p99_at_10000"]),
    ("30000", ["load_30000", "add_at_30000", "connect_p50_at_30000", "connect_p99_at_30000"]),
];
/// Sizes at which the other layout can be loaded in reasonable time.
const PEERS: usize = 2;
/// Rounds of what costs processor time.
const COST_ROUNDS: usize = 9;
/// Bytes of one such round.
const BYTES: f64 = 1e9;
/// Connections of one such round.
const CONNECTIONS: &str = "3000";

/// Measures.
pub(super) fn measure(fabric: &Fabric, _: Duration) -> Result<Vec<Row>> {
    let mut rows = tables(fabric)?;
    rows.extend(cost(fabric)?);
    Ok(rows)
}

/// On a machine that is no node: its kernel has no tables of ours but those of the probe.
fn tables(fabric: &Fabric) -> Result<Vec<Row>> {
    let outside = on(&fabric.outside());
    let backend = fabric.machine("n2")?.v4.context("n2 has no IPv4 address")?;
    let server = fabric.background(on("n2"), &["serve", "tcp:9000"], &[])?;
    fabric
        .on(outside.clone(), &["ip", "route", "replace", "10.112.0.0/14", "dev", "eth0"])?
        .success("ip route")?;
    let target = format!("{backend}:{TCP}");
    let mut rows = Vec::new();
    for (position, (size, metrics)) in OURS.into_iter().enumerate() {
        let systems: &[(&'static str, &str)] = if position < PEERS {
            &[("weft", "weft"), ("kube-proxy-layout", "kube-proxy")]
        } else {
            &[("weft", "weft")]
        };
        let mut of_size: Vec<Row> = systems
            .iter()
            .flat_map(|(system, _)| {
                let units = ["ms", "ms", "us", "us"];
                metrics.into_iter().zip(units).map(|(metric, unit)| Row::new(system, metric, unit))
            })
            .collect();
        for _ in 0..ROUNDS {
            for (index, (_, word)) in systems.iter().enumerate() {
                let seen = fabric
                    .probe(outside.clone(), &["tables", word, "--services", size, "--backend", &target])?;
                for (column, key) in
                    ["load_ms", "add_p50_ms", "connect_p50_us", "connect_p99_us"].iter().enumerate()
                {
                    let value = seen[key].as_f64().with_context(|| format!("no {key} in {seen}"))?;
                    of_size[index * 4 + column].rounds.push(value);
                }
            }
        }
        rows.extend(of_size);
    }
    server.stop().ok();
    Ok(rows)
}

/// Processor time of the whole machine, through a virtual address and straight to the pod behind it, on one node.
fn cost(fabric: &Fabric) -> Result<Vec<Row>> {
    let client = fabric.pod("n1", "client", &[])?;
    let server = fabric.labelled_pod("n1", "server", &[("bench", "services")], &["tcp:9000", "bulk:9002"])?;
    fabric.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: bench}\nspec:\n  selector: {bench: services}\n  ports:\n  \
         - {name: tcp, port: 9000}\n  - {name: bulk, port: 9002}\n",
    )?;
    let service = fabric.weft_json(&["get", "service", "bench"])?;
    let through = service["spec"]["clusterIP"].as_str().context("no clusterIP")?.to_owned();
    let straight = server.addresses().iter().find(|a| a.is_ipv4()).context("no IPv4 address")?.to_string();
    let mut rows = vec![
        Row::new("weft", "cpu_per_gb", "s"),
        Row::new("weft", "cpu_per_connection", "us"),
        Row::new("straight", "cpu_per_gb", "s"),
        Row::new("straight", "cpu_per_connection", "us"),
    ];
    for round in 0..COST_ROUNDS {
        let mut order = [(0, &through), (2, &straight)];
        if round % 2 == 1 {
            order.reverse();
        }
        for (first, to) in order {
            rows[first].rounds.push(bulk(fabric, &client, to)?);
            rows[first + 1].rounds.push(connections(fabric, &client, to)?);
        }
    }
    Ok(rows)
}

fn bulk(fabric: &Fabric, client: &Pod, to: &str) -> Result<f64> {
    let bytes = format!("{BYTES:.0}");
    let (seen, seconds) =
        spent(|| fabric.probe(client.place(), &["put", to, BULK, "--bytes", &bytes, "--within", "30000"]))?;
    ensure!(seen["ok"] == true, "the transfer failed: {seen}");
    Ok(seconds / (BYTES / 1e9))
}

fn connections(fabric: &Fabric, client: &Pod, to: &str) -> Result<f64> {
    let (seen, seconds) =
        spent(|| fabric.probe(client.place(), &["connects", to, TCP, "--count", CONNECTIONS]))?;
    ensure!(seen["ok"] == true, "connections failed: {seen}");
    Ok(seconds * 1e6 / CONNECTIONS.parse::<f64>()?)
}

/// Runs `work`; its value and the processor time that the machine spent meanwhile, in seconds.
fn spent(work: impl FnOnce() -> Result<Value>) -> Result<(Value, f64)> {
    let before = busy()?;
    let value = work()?;
    Ok((value, busy()? - before))
}

/// Seconds that all processors were busy since boot: all columns of `/proc/stat` but idle and iowait.
fn busy() -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty /proc/stat")?;
    let columns: Vec<f64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let busy: f64 = columns.iter().enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, n)| n).sum();
    Ok(busy / TICKS_PER_SECOND)
}
