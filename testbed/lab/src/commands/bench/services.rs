//! `bench services`: loading, changing and passing the tables of many services, beside kube-proxy's layout; what a packet costs
//! through a service and straight to the pod; and the way of changes in a fabric (`live.rs`).

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Entry, Row, live, measure_parts};
use crate::checks::{BULK, TCP};
use crate::fabric::{Pod, on};
use crate::probe::network_threads_us;
use crate::{Fabric, Result};

/// Sizes at which ours is measured.
const OURS: [(&str, [&str; 4]); 4] = [
    ("10", ["load_10", "add_at_10", "connect_p50_at_10", "connect_p99_at_10"]),
    ("1000", ["load_1000", "add_at_1000", "connect_p50_at_1000", "connect_p99_at_1000"]),
    ("10000", ["load_10000", "add_at_10000", "connect_p50_at_10000", "connect_p99_at_10000"]),
    ("30000", ["load_30000", "add_at_30000", "connect_p50_at_30000", "connect_p99_at_30000"]),
];
/// What a round of a size says, in the order of the metrics.
const KEYS: [(&str, &str); 4] =
    [("load_ms", "ms"), ("add_p50_ms", "ms"), ("connect_p50_us", "us"), ("connect_p99_us", "us")];
/// Sizes at which the other layout can be loaded in reasonable time.
const PEERS: usize = 2;
/// Deadline of a round: the other layout needs long to load and to clear.
const ROUND: Duration = Duration::from_secs(120);
/// Rounds of tables: what a connection takes scatters.
const TABLE_ROUNDS: usize = 9;
/// Rounds of what costs processor time.
const COST_ROUNDS: usize = 9;
/// Bytes of one such round.
const BYTES: f64 = 1e9;
/// Connections of one such round.
const CONNECTIONS: &str = "5000";
/// Where the server tells what it has cost.
const USAGE: &str = "9009";

/// Its parts, which can be asked for alone.
pub(super) const PARTS: [Entry; 3] = [
    ("services/tables", "loading, changing and passing tables", 3, 3, |fabric, _| tables(fabric)),
    ("services/cost", "processor time of packets", 3, 3, |fabric, _| cost(fabric)),
    ("services/live", "withdrawn endpoints, and what many services need", 3, 3, |fabric, _| {
        live::measure(fabric)
    }),
];

/// Measures everything.
pub(super) fn measure(fabric: &Fabric, ready: Duration) -> Result<Vec<Row>> {
    measure_parts(&PARTS, fabric, ready)
}

/// On a machine that is no node: its kernel has no tables of ours but those of the probe. Sizes take turns in each round.
fn tables(fabric: &Fabric) -> Result<Vec<Row>> {
    let outside = on(&fabric.outside());
    let backend = fabric.machine("n2")?.v4.context("n2 has no IPv4 address")?;
    let server = fabric.background(on("n2"), &["serve", "tcp:9000"], &[])?;
    fabric
        .on(outside.clone(), &["ip", "route", "replace", "10.112.0.0/14", "dev", "eth0"])?
        .success("ip route")?;
    let target = format!("{backend}:{TCP}");
    let mut runs = Vec::new();
    for (place, (size, metrics)) in OURS.into_iter().enumerate() {
        runs.push(Run::new("weft", "weft", size, metrics));
        if place < PEERS {
            runs.push(Run::new("kube-proxy-layout", "kube-proxy", size, metrics));
        }
    }
    let mut flat = Row::new("weft", "connect_p50_30000_by_10", "x");
    for _ in 0..TABLE_ROUNDS {
        for run in &mut runs {
            run.round(fabric, &target)?;
        }
        let last = |size: &str| {
            let run = runs.iter().find(|run| run.system == "weft" && run.size == size)?;
            run.rows[2].rounds.last().copied()
        };
        let (few, many) = (last("10").context("no round")?, last("30000").context("no round")?);
        flat.rounds.push(many / few);
    }
    server.stop().ok();
    Ok(runs.into_iter().flat_map(|run| run.rows).chain([flat]).collect())
}

/// One system at one size.
struct Run {
    system: &'static str,
    size: &'static str,
    rows: Vec<Row>,
}

impl Run {
    fn new(name: &'static str, system: &'static str, size: &'static str, metrics: [&'static str; 4]) -> Self {
        let rows = metrics.into_iter().zip(KEYS).map(|(metric, (_, unit))| Row::new(name, metric, unit));
        Self { system, size, rows: rows.collect() }
    }

    fn round(&mut self, fabric: &Fabric, target: &str) -> Result {
        let arguments = ["tables", self.system, "--services", self.size, "--backend", target];
        let seen = fabric.long_probe(on(&fabric.outside()), &arguments, ROUND)?;
        for (row, (key, _)) in self.rows.iter_mut().zip(KEYS) {
            row.rounds.push(seen[key].as_f64().with_context(|| format!("no {key} in {seen}"))?);
        }
        Ok(())
    }
}

/// Processor time of client, server and the kernel's network threads, through a virtual address and straight to the pod behind it,
/// on one node.
fn cost(fabric: &Fabric) -> Result<Vec<Row>> {
    let client = fabric.pod("n1", "client", &[])?;
    let serve = ["tcp:9000", "bulk:9002", "usage:9009"];
    let server = fabric.labelled_pod("n1", "server", &[("bench", "services")], &serve)?;
    fabric.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: bench}\nspec:\n  selector: {bench: services}\n  ports:\n  \
         - {name: tcp, port: 9000}\n  - {name: bulk, port: 9002}\n",
    )?;
    let service = fabric.weft_json(&["get", "service", "bench"])?;
    let through = service["spec"]["clusterIP"].as_str().context("no clusterIP")?.to_owned();
    let straight = server.addresses().iter().find(|a| a.is_ipv4()).context("no IPv4 address")?.to_string();
    let sides = Sides { fabric, client: &client, server: &straight };
    let mut rows = Vec::new();
    for system in ["weft", "straight"] {
        rows.push(Row::new(system, "cpu_per_gb", "s"));
        rows.push(Row::new(system, "kernel_cpu_per_gb", "s"));
        rows.push(Row::new(system, "cpu_per_connection", "us"));
        rows.push(Row::new(system, "kernel_cpu_per_connection", "us"));
    }
    for round in 0..COST_ROUNDS {
        let mut order = [(0, &through), (4, &straight)];
        if round % 2 == 1 {
            order.reverse();
        }
        for (first, to) in order {
            let bulk = sides.bulk(to)?;
            let connections = sides.connections(to)?;
            let values = [bulk.all, bulk.kernel, connections.all, connections.kernel];
            rows[first..].iter_mut().zip(values).for_each(|(row, value)| row.rounds.push(value));
        }
    }
    fabric.weft(&["delete", "service", "bench"])?.success("weft delete service")?;
    fabric.detach(&client)?;
    fabric.detach(&server)?;
    Ok(rows)
}

/// Processor time.
#[derive(Clone, Copy, Debug)]
struct Spent {
    all: f64,
    kernel: f64,
}

/// Two pods of a node.
struct Sides<'a> {
    fabric: &'a Fabric,
    client: &'a Pod,
    /// Straight address of the server.
    server: &'a str,
}

impl Sides<'_> {
    /// Seconds per gigabyte.
    fn bulk(&self, to: &str) -> Result<Spent> {
        let bytes = format!("{BYTES:.0}");
        let us = self.spent(&["put", to, BULK, "--bytes", &bytes, "--within", "30000"])?;
        let scale = 1e-6 / (BYTES / 1e9);
        Ok(Spent { all: us.all * scale, kernel: us.kernel * scale })
    }

    /// Microseconds per connection.
    fn connections(&self, to: &str) -> Result<Spent> {
        let us = self.spent(&["connects", to, TCP, "--count", CONNECTIONS])?;
        let count = CONNECTIONS.parse::<f64>()?;
        Ok(Spent { all: us.all / count, kernel: us.kernel / count })
    }

    /// Microseconds of processor time of both sides; packets of pods of one node are carried by whoever sends them, or by the kernel's
    /// own thread when there are too many.
    fn spent(&self, arguments: &[&str]) -> Result<Spent> {
        let (server, threads) = (self.server_usage()?, network_threads_us()?);
        let seen = self.fabric.long_probe(self.client.place(), arguments, ROUND)?;
        ensure!(seen["ok"] == true, "{arguments:?} failed: {seen}");
        let client = usage(&seen["usage"])?;
        let (server_after, threads_after) = (self.server_usage()?, network_threads_us()?);
        let kernel = client.kernel + server_after.kernel - server.kernel + threads_after - threads;
        let all = client.all + server_after.all - server.all + threads_after - threads;
        Ok(Spent { all, kernel })
    }

    fn server_usage(&self) -> Result<Spent> {
        let seen = self.fabric.probe(self.client.place(), &["http", self.server, USAGE])?;
        usage(&seen["body"])
    }
}

fn usage(value: &Value) -> Result<Spent> {
    let of = |key: &str| value[key].as_f64().with_context(|| format!("no {key} in {value}"));
    let (user, kernel) = (of("user_us")?, of("system_us")?);
    Ok(Spent { all: user + kernel, kernel })
}
