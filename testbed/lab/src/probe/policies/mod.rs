//! Loads the tables of many policies into a kernel, follows changes, and sends packets through them between two pods: ours, and beside
//! them a chain for each policy. For `bench policy`.

mod chains;
mod cluster;
mod compile;
mod place;
mod weft;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use serde_json::{Value, json};

pub(super) use compile::run as run_compile;

use super::connects::{at, times};
use super::{Target, bulk, network_threads_us, used_us};
use crate::Result;
use cluster::{Cluster, PODS, PORTS, Peers, SERVER, Spread};

/// Pods added one by one, to time one.
const MORE: u32 = 30;
/// Changes of the policy about a whole namespace.
const CHANGES: u16 = 9;
/// Port of the first of them.
const FIRST_PORT: u16 = 7000;
/// Connections that are timed.
const CONNECTIONS: u32 = 3000;
/// The first ones wait for neighbours and fill caches.
const WARM: u32 = 200;
/// Bytes of one transfer.
const BYTES: u64 = 1_000_000_000;
/// Time for one connection.
const WITHIN: Duration = Duration::from_secs(5);

/// Whose tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum System {
    /// The product's.
    Weft,
    /// A chain per policy.
    Chains,
    /// None at all.
    Nothing,
}

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Whose tables.
    #[arg(value_enum)]
    system: System,
    /// How many policies, over ten thousand pods, a thousand of them on this node.
    #[arg(long)]
    policies: u32,
    /// The node's pods are those of one namespace, and only changes are measured.
    #[arg(long)]
    one_namespace: bool,
    /// There the policy lets in all of the namespace, not one application.
    #[arg(long)]
    all_peers: bool,
    /// Beside the node's other rules: port security, marks, closing drops.
    #[arg(long)]
    guard: bool,
}

/// Time of one change.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// Of whoever computes what the kernel is told.
    agent: Duration,
    /// Until the kernel had taken it.
    kernel: Duration,
}

/// The tables of one system.
trait Tables {
    /// Loads everything into a kernel without them; how long that took.
    fn load(&mut self) -> Result<Duration>;
    /// A pod more, on this node or another one.
    fn add(&mut self, pod: u32, is_local: bool) -> Result<Spent>;
    /// The policy about all pods of the first namespace names this port from now on; whom it lets in stays the same.
    fn change(&mut self, port: u16, peers: Peers) -> Result<Spent>;
}

/// No tables.
struct Nothing;

impl Tables for Nothing {
    fn load(&mut self) -> Result<Duration> {
        Ok(Duration::ZERO)
    }
    fn add(&mut self, _: u32, _: bool) -> Result<Spent> {
        Ok(Spent::default())
    }
    fn change(&mut self, _: u16, _: Peers) -> Result<Spent> {
        Ok(Spent::default())
    }
}

/// Measures.
pub(super) fn run(plan: &Plan) -> Result<Value> {
    let pair = place::Pair::make(plan.guard)?;
    let spread = if plan.one_namespace { Spread::OneNamespace } else { Spread::Even };
    let cluster = Cluster { policies: plan.policies, spread };
    let mut tables: Box<dyn Tables> = match plan.system {
        System::Weft => Box::new(weft::Weft::new(cluster)?),
        System::Chains => Box::new(chains::Chains::new(cluster)),
        System::Nothing => Box::new(Nothing),
    };
    let before = resident_mib()?;
    let load = tables.load()?;
    weft_kernel::give_memory_back();
    let resident = resident_mib()?;
    let mut seen = json!({
        "ok": true, "load_ms": ms(load), "resident_mib": resident, "grown_mib": resident - before,
    });
    if plan.one_namespace {
        let peers = if plan.all_peers { Peers::All } else { Peers::One };
        let all: Vec<Spent> =
            (0..CHANGES).map(|number| tables.change(FIRST_PORT + number, peers)).collect::<Result<_>>()?;
        // The first one makes the policy.
        note(&mut seen, "change", &all[1..]);
        return Ok(seen);
    }
    for (name, first, is_local) in [("remote", PODS, false), ("local", PODS + MORE, true)] {
        let all: Vec<Spent> =
            (first..first + MORE).map(|pod| tables.add(pod, is_local)).collect::<Result<_>>()?;
        note(&mut seen, name, &all);
    }
    let inside = pair.client.run(packets).map_err(|e| anyhow!("{e}"))??;
    for (key, value) in inside.as_object().into_iter().flatten() {
        seen[key] = value.clone();
    }
    Ok(seen)
}

/// Medians of what changes took.
fn note(seen: &mut Value, name: &str, all: &[Spent]) {
    let median = |of: fn(&Spent) -> Duration| {
        let mut times: Vec<Duration> = all.iter().map(of).collect();
        times.sort_unstable();
        at(&times, 50)
    };
    seen[format!("{name}_agent_us")] = json!(median(|spent| spent.agent));
    seen[format!("{name}_kernel_us")] = json!(median(|spent| spent.kernel));
    seen[format!("{name}_us")] = json!(median(|spent| spent.agent + spent.kernel));
}

/// From inside the pod that asks: how long connections take, and what they and bytes cost the processor on both sides.
fn packets() -> Result<Value> {
    let [greeting, bytes] = PORTS;
    let to = SocketAddr::new(cluster::address(SERVER), greeting);
    times(to, WARM, WITHIN)?;
    let before = spent_us()?;
    let mut connects = times(to, CONNECTIONS, WITHIN)?;
    let per_connection = (spent_us()? - before) / f64::from(CONNECTIONS);
    connects.sort_unstable();
    let target = Target { address: cluster::address(SERVER), port: bytes, within: 30_000 };
    let (before, began) = (spent_us()?, Instant::now());
    let put = bulk::put(&target, BYTES)?;
    ensure!(put["ok"] == true, "{put}");
    let per_gb = (spent_us()? - before) / 1e6 / (BYTES as f64 / 1e9);
    Ok(json!({
        "connect_p50_us": at(&connects, 50), "connect_p99_us": at(&connects, 99), "cpu_per_connection_us": per_connection,
        "cpu_per_gb_s": per_gb, "transfer_ms": ms(began.elapsed()),
    }))
}

/// Processor time so far: of this process, which is client and server, and of the kernel's threads that carry packets.
fn spent_us() -> Result<f64> {
    Ok(used_us()? + network_threads_us()?)
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn resident_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
