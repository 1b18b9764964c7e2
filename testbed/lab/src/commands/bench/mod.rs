//! `bench`: measurements against a comparison row from the same run, as JSON or a table.

mod dns;
mod fabric;
mod live;
mod names;
mod policy;
mod services;

use std::borrow::Cow;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Format, print, print_json, progress};
use crate::checks::{BULK, TCP};
use crate::fabric::product::{self, Profile};
use crate::fabric::{COMMAND, on};
use crate::layout::{Layout, workspace};
use crate::topology::Topology;
use crate::{Fabric, Refusal, Result, launch, prerequisites};

/// Interleaved rounds of each measurement.
const ROUNDS: usize = 5;
/// Bytes of one throughput round.
const BYTES: &str = "100000000";
/// Attachments of one round.
const ATTACHMENTS: &str = "40";

/// `cargo lab bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which: fabric, tunnel, services, dns, names, policy or cni
    name: Option<String>,
    /// What is measured, against whom
    #[arg(long)]
    list: bool,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

type Measure = fn(&Fabric, Duration) -> Result<Vec<Row>>;
type Entry = (&'static str, &'static str, u16, u16, Measure);

/// Name, what is measured, nodes, replicas, the measurement.
const ALL: [(&str, &str, u16, u16, Measure); 7] = [
    (
        "fabric",
        "start, a change's way into every kernel, memory and idle time, against the same command without a change",
        3,
        3,
        fabric::measure,
    ),
    (
        "tunnel",
        "TCP throughput and echo time between pods of two nodes, against the bare link between the nodes",
        2,
        1,
        tunnel,
    ),
    (
        "services",
        "loading, changing and passing the tables of many services, against kube-proxy's nftables layout; processor time through a \
         service, against straight to the pod; how soon a withdrawn endpoint is out of every kernel, and what many services need",
        3,
        3,
        services::measure,
    ),
    (
        "dns",
        "answers about services and cached foreign names for each second of one core, and their time at 10,000 a second, against \
         unbound, knot, nsd and a bare echo; a hundred thousand services: memory, start, a change",
        1,
        1,
        dns::measure,
    ),
    (
        "names",
        "how soon a change is in every node's answers, and a pod's answers beside a hostile pod, against those when it is alone",
        3,
        3,
        names::measure,
    ),
    (
        "policy",
        "loading, changing and passing the tables of many policies, against a chain for each of them; what a change costs the control \
         plane, and how soon a pod's change is in every kernel",
        3,
        3,
        policy::measure,
    ),
    ("cni", "ADD and DEL through the real plugin, against starting a program that does nothing", 2, 1, cni),
];

/// One line of the result: rounds of one system and metric.
struct Row {
    system: Cow<'static, str>,
    metric: Cow<'static, str>,
    unit: Cow<'static, str>,
    rounds: Vec<f64>,
}

impl Bench {
    pub(crate) fn run(self) -> Result {
        if self.list {
            return ALL.iter().try_for_each(|(name, what, ..)| print(format_args!("{name:<8} {what}")));
        }
        let wanted = self.name.as_deref().unwrap_or_default();
        let known = ALL
            .iter()
            .chain(&services::PARTS)
            .chain(&names::PARTS)
            .chain(&policy::PARTS)
            .find(|(name, ..)| *name == wanted);
        let Some((name, _, nodes, replicas, measure)) = known else {
            bail!(Refusal::Usage(format!("no bench {wanted:?}; cargo lab bench --list names them")));
        };
        prerequisites::check()?;
        let (product, lab) = product::build(Profile::Release)?;
        // What asks, echoes and counts is compiled as what is measured, however this command itself was.
        launch::use_program(lab);
        let layout = Layout::of(&format!("bench-{}", name.replace('/', "-")))?;
        crate::substrate::stop(&layout)?;
        let mut topology = Topology::of_nodes(*nodes);
        topology.control_planes.count = *replicas;
        let begin = Instant::now();
        let fabric = Fabric::tied(&layout, topology.checked()?, product, &mut progress)?;
        let rows = measure(&fabric, begin.elapsed())?;
        fabric.down()?;
        match self.output {
            Format::Json => print_json(&document(name, &rows)),
            Format::Text => rows.iter().try_for_each(|row| print(row.line())),
        }
    }
}

impl Row {
    /// The 99th percentile of the rounds, as a row of its own.
    fn p99(&self, metric: &'static str) -> Self {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.get(sorted.len() * 99 / 100).copied().into_iter().collect();
        Self { rounds, ..Self::new(self.system.clone(), metric, self.unit.clone()) }
    }

    fn new(
        system: impl Into<Cow<'static, str>>,
        metric: impl Into<Cow<'static, str>>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { system: system.into(), metric: metric.into(), unit: unit.into(), rounds: Vec::new() }
    }

    /// As a line of text.
    fn line(&self) -> String {
        let (median, least, most) = self.summary();
        format!(
            "{:<17} {:<28} {median:>9.3} {} ({least:.3} to {most:.3})",
            self.system, self.metric, self.unit
        )
    }

    /// Median, least and most of the rounds.
    fn summary(&self) -> (f64, f64, f64) {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
        (at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)))
    }
}

fn document(name: &str, rows: &[Row]) -> Value {
    let lines = rows.iter().map(|row| {
        let (value, min, max) = row.summary();
        json!({"system": row.system, "metric": row.metric, "unit": row.unit, "value": value, "n": row.rounds.len(), "min": min, "max": max})
    });
    let ratios = ratios(rows).into_iter().map(|row| {
        let (value, min, max) = row.summary();
        json!({"metric": row.metric, "of": "weft", "to": row.system, "value": value, "min": min, "max": max})
    });
    json!({"name": name, "machine": machine(), "rows": lines.collect::<Vec<_>>(), "ratios": ratios.collect::<Vec<_>>()})
}

/// All parts of a measurement, one after the other.
fn measure_parts(parts: &[Entry], fabric: &Fabric, ready: Duration) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (.., part) in parts {
        let more = part(fabric, ready)?;
        // It takes minutes: what is known is told, whatever comes of the rest.
        more.iter().for_each(|row| progress(&row.line()));
        rows.extend(more);
    }
    Ok(rows)
}

/// Ours to each other system's, round by round; rounds in which both have nothing (no question lost) say nothing.
fn ratios(rows: &[Row]) -> Vec<Row> {
    let own = rows.iter().filter(|row| row.system == "weft");
    let pairs = own.flat_map(|own| {
        let others = rows.iter().filter(|other| other.system != "weft" && other.metric == own.metric);
        others.map(move |other| (own, other))
    });
    let ratio = |(own, other): (&Row, &Row)| Row {
        rounds: own
            .rounds
            .iter()
            .zip(&other.rounds)
            .map(|(a, b)| a / b)
            .filter(|ratio| ratio.is_finite())
            .collect(),
        ..Row::new(other.system.clone(), own.metric.clone(), "x")
    };
    pairs.map(ratio).filter(|row| !row.rounds.is_empty()).collect()
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned));
    let kib = read("/proc/meminfo")
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    let git = Command::new("git").current_dir(workspace()).args(["rev-parse", "--short", "HEAD"]).output();
    let commit = git.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    json!({
        "cpus": std::thread::available_parallelism().map_or(0, usize::from), "cpu": cpu, "memory_gib": kib.map(|k| k >> 20),
        "kernel": read("/proc/sys/kernel/osrelease").trim(), "load": read("/proc/loadavg").trim(), "commit": commit,
    })
}

fn tunnel(fabric: &Fabric, _: Duration) -> Result<Vec<Row>> {
    let (a, b) = (fabric.pod("n1", "a", &[])?, fabric.pod("n2", "b", &["tcp:9000", "bulk:9002"])?);
    let server = fabric.background(on("n2"), &["serve", "tcp:9000", "bulk:9002"], &[])?;
    let link = fabric.machine("n2")?.addresses().first().context("no address")?.to_string();
    let pod = b.addresses().first().context("no address")?.to_string();
    let mut rows = vec![
        Row::new("link", "tcp_throughput", "Gbit/s"),
        Row::new("link", "echo_p50", "us"),
        Row::new("weft", "tcp_throughput", "Gbit/s"),
        Row::new("weft", "echo_p50", "us"),
    ];
    for round in 0..ROUNDS {
        let mut order = [(0, on("n1"), &link), (2, a.place(), &pod)];
        // A B B A: neither always runs first.
        if round % 2 == 1 {
            order.reverse();
        }
        for (first, place, to) in order {
            let put =
                fabric.probe(place.clone(), &["put", to, BULK, "--bytes", BYTES, "--within", "15000"])?;
            let (bytes, us) =
                (put["bytes"].as_f64().unwrap_or(0.0), put["us"].as_f64().context("the transfer failed")?);
            rows[first].rounds.push(bytes * 8.0 / us / 1000.0);
            let echo = fabric.probe(place, &["ping", to, "--count", "200", "--rate", "500"])?;
            rows[first + 1].rounds.push(echo["p50_us"].as_f64().context("no echo")?);
        }
    }
    let alive = fabric.probe(on("n1"), &["tcp", &link, TCP])?;
    if alive["ok"] != true {
        bail!("the server died during the measurement: {alive}");
    }
    server.stop().ok();
    Ok(rows)
}

fn cni(fabric: &Fabric, _: Duration) -> Result<Vec<Row>> {
    let mut rows = vec![
        Row::new("start", "p50", "ms"),
        Row::new("weft", "add_p50", "ms"),
        Row::new("weft", "add_p99", "ms"),
        Row::new("weft", "del_p50", "ms"),
        Row::new("weft", "del_p99", "ms"),
    ];
    let (program, config) = (fabric.cni_program(), fabric.cni_config("n1", &[])?);
    for _ in 0..ROUNDS {
        let lab = launch::own_program()?.to_string_lossy().into_owned();
        let argv = [&lab, "probe", "attach", &program, "--count", ATTACHMENTS];
        let output = fabric.client().run_with(on("n1"), &argv, &[], Some(config.clone()), COMMAND * 2)?;
        let seen: Value = serde_json::from_str(output.success("probe attach")?.trim())?;
        for (row, name) in
            rows.iter_mut().zip(["start_p50_us", "add_p50_us", "add_p99_us", "del_p50_us", "del_p99_us"])
        {
            row.rounds.push(seen[name].as_f64().context("no time")? / 1000.0);
        }
        // The kernel's own removal of the links goes on behind the answers.
        crate::wait::pass(Duration::from_millis(500));
    }
    Ok(rows)
}
