//! `bench policy`: loading, changing and passing the tables of many policies, beside a chain for each policy; what a change costs the
//! control plane; and the way of a pod's change into every kernel.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::live::Kernels;
use super::{Entry, Row, measure_parts};
use crate::checks::eventually;
use crate::fabric::{Pod, on};
use crate::probe::now_us;
use crate::{Fabric, Result};

/// Rounds of tables and packets: what packets cost scatters.
const ROUNDS: usize = 9;
/// Deadline of a round: the other layout needs long to load.
const ROUND: Duration = Duration::from_secs(180);
/// Each run: its name in the rows, the probe's name of whose tables, how many policies. Those beside the guard, as on a node, say what
/// policies cost it; the others compare layouts.
const RUNS: [(&str, &str, &str); 9] = [
    ("weft-and-guard", "guarded", "0"),
    ("weft-and-guard", "guarded", "1000"),
    ("no-tables", "nothing", "0"),
    ("weft", "weft", "0"),
    ("weft", "weft", "1"),
    ("weft", "weft", "1000"),
    ("weft", "weft", "10000"),
    ("chain-per-policy", "chains", "1"),
    ("chain-per-policy", "chains", "1000"),
];
/// What a run says: key, metric, unit.
const KEYS: [(&str, &str, &str); 14] = [
    ("load_ms", "load", "ms"),
    ("remote_agent_us", "pod_elsewhere_agent", "us"),
    ("remote_kernel_us", "pod_elsewhere_kernel", "us"),
    ("remote_us", "pod_elsewhere", "us"),
    ("local_agent_us", "pod_here_agent", "us"),
    ("local_kernel_us", "pod_here_kernel", "us"),
    ("local_us", "pod_here", "us"),
    ("connect_p50_us", "connect_p50", "us"),
    ("connect_p99_us", "connect_p99", "us"),
    ("cpu_per_connection_us", "cpu_per_connection", "us"),
    ("cpu_per_gb_s", "cpu_per_gb", "s"),
    ("transfer_ms", "transfer", "ms"),
    ("resident_mib", "resident", "MiB"),
    ("grown_mib", "grown", "MiB"),
];
/// Of a change of the policy about a thousand pods of the node.
const CHANGE_KEYS: [(&str, &str); 3] =
    [("change_us", "change"), ("change_agent_us", "change_agent"), ("change_kernel_us", "change_kernel")];
/// Ratios, each of two runs in the same round: metric, key, run above, run below.
const RATIOS: [(&str, &str, [&str; 2], [&str; 2]); 6] = [
    ("cpu_per_gb_1000_to_none", "cpu_per_gb_s", ["guarded", "1000"], ["guarded", "0"]),
    ("cpu_per_connection_1000_to_none", "cpu_per_connection_us", ["guarded", "1000"], ["guarded", "0"]),
    ("connect_p50_10000_to_1", "connect_p50_us", ["weft", "10000"], ["weft", "1"]),
    ("connect_p50_1000_to_none", "connect_p50_us", ["guarded", "1000"], ["guarded", "0"]),
    ("cpu_per_gb_none_to_no_tables", "cpu_per_gb_s", ["weft", "0"], ["nothing", "0"]),
    ("cpu_per_connection_none_to_no_tables", "cpu_per_connection_us", ["weft", "0"], ["nothing", "0"]),
];
/// Rounds of the control plane's part.
const COMPILE_ROUNDS: usize = 5;
/// Pods of the fabric whose labels change, and how often each does.
const PODS: usize = 6;
const TURNS: usize = 10;
/// Policies of the fabric, and in one command.
const POLICIES: usize = 1_000;
const BATCH: usize = 250;

/// Its parts, which can be asked for alone.
pub(super) const PARTS: [Entry; 3] = [
    ("policy/tables", "loading, changing and passing tables", 1, 1, |fabric, _| tables(fabric)),
    ("policy/compile", "a change in the control plane, and a matrix", 1, 1, |fabric, _| compile(fabric)),
    ("policy/live", "a pod's change into every kernel", 3, 3, |fabric, _| live(fabric)),
];

/// Measures everything.
pub(super) fn measure(fabric: &Fabric, ready: Duration) -> Result<Vec<Row>> {
    measure_parts(&PARTS, fabric, ready)
}

/// On a machine that is no node, in a namespace of the probe's own. Runs take turns in each round, and every other round backwards.
fn tables(fabric: &Fabric) -> Result<Vec<Row>> {
    let outside = on(&fabric.outside());
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..RUNS.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let mut seen: Vec<Value> = vec![Value::Null; RUNS.len()];
        for at in order {
            let (_, system, policies) = RUNS[at];
            let arguments: &[&str] = match system {
                "guarded" => &["policies", "weft", "--policies", policies, "--guard"],
                _ => &["policies", system, "--policies", policies],
            };
            seen[at] = fabric.long_probe(outside.clone(), arguments, ROUND)?;
        }
        for ((name, _, policies), seen) in RUNS.iter().zip(&seen) {
            for (key, metric, unit) in KEYS {
                note(&mut rows, name, format!("{metric}_{policies}"), unit, number(seen, key)?);
            }
        }
        let run = |[system, policies]: [&str; 2]| {
            let at = RUNS.iter().position(|(_, s, p)| *s == system && *p == policies);
            at.and_then(|at| seen.get(at)).context("no such run")
        };
        for (metric, key, above, below) in RATIOS {
            let ratio = number(run(above)?, key)? / number(run(below)?, key)?;
            note(&mut rows, "weft", metric.to_owned(), "x", ratio);
        }
        let more =
            number(run(["weft", "1000"])?, "resident_mib")? - number(run(["weft", "0"])?, "resident_mib")?;
        note(&mut rows, "weft", "resident_1000_over_none".to_owned(), "MiB", more);
        for (name, system) in [("weft", "weft"), ("chain-per-policy", "chains")] {
            for (peers, more) in
                [("of_one_application", &[][..]), ("of_their_namespace", &["--all-peers"][..])]
            {
                let arguments =
                    [&["policies", system, "--policies", "1000", "--one-namespace"], more].concat();
                let seen = fabric.long_probe(outside.clone(), &arguments, ROUND)?;
                for (key, metric) in CHANGE_KEYS {
                    let metric = format!("{metric}_1000_pods_{peers}");
                    note(&mut rows, name, metric, "ms", number(&seen, key)? / 1e3);
                }
            }
        }
    }
    Ok(rows)
}

fn compile(fabric: &Fabric) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for _ in 0..COMPILE_ROUNDS {
        let seen = fabric.long_probe(on(&fabric.outside()), &["policy-compile"], ROUND)?;
        for (key, metric, unit) in [
            ("change_p50_us", "control_change_p50", "us"),
            ("change_p99_us", "control_change_p99", "us"),
            ("label_p50_us", "control_label_p50", "us"),
            ("label_p99_us", "control_label_p99", "us"),
            ("word_p50_us", "control_word_of_1000_pods_p50", "us"),
            ("matrix_ms", "matrix_2000_pods", "ms"),
        ] {
            note(&mut rows, "weft", metric.to_owned(), unit, number(&seen, key)?);
        }
    }
    Ok(rows)
}

/// A thousand policies, and pods that change from one application to another: from when that is sent to the control plane until the last
/// element has changed, for each node.
fn live(fabric: &Fabric) -> Result<Vec<Row>> {
    let texts = policies()?;
    texts.iter().try_for_each(|text| fabric.store(text))?;
    let nodes = fabric.nodes()?;
    let mut pods: Vec<Pod> = Vec::new();
    for number in 0..PODS {
        let node = &nodes[number % nodes.len()];
        pods.push(fabric.labelled_pod(node, &format!("changes-{number}"), &[("app", "a0")], &[])?);
    }
    fabric.settle()?;
    let kernels = Kernels::watch(fabric)?;
    let (mut way, mut stored) =
        (Row::new("weft", "pod_change", "ms"), Row::new("weft", "store_change", "ms"));
    for turn in 0..TURNS {
        for pod in &pods {
            // Another application each time: what the pod may do changes on its own node too.
            let text = pod_spec(pod.name(), turn * 7 + 1);
            let seen = fabric.write_all(&[vec![text]], 100.0, Duration::from_secs(10))?;
            let from = seen["sent_us"][0].as_u64().with_context(|| format!("no moment in {seen}"))?;
            stored.rounds.push(number(&seen, "longest_us")? / 1e3);
            fabric.settle()?;
            let to = now_us();
            way.rounds.extend(eventually(Duration::from_secs(2), || kernels.last_between(from, to))?);
        }
    }
    kernels.stop()?;
    for pod in pods {
        fabric.weft(&["delete", "pod", pod.name()])?.success("weft delete pod")?;
        fabric.detach(&pod)?;
    }
    texts.iter().try_for_each(|text| fabric.erase(text))?;
    let worst = way.p99("pod_change_p99");
    ensure!(way.rounds.len() == PODS * TURNS * nodes.len(), "not every change was seen");
    Ok(vec![way, worst, stored])
}

/// Policies about applications that stand in a ring, as the probe's.
fn policies() -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for first in (0..POLICIES).step_by(BATCH) {
        let mut text = String::new();
        for number in first..(first + BATCH).min(POLICIES) {
            let (next, previous) = ((number + 1) % POLICIES, (number + POLICIES - 1) % POLICIES);
            write!(
                text,
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: bench-{number}}}\nspec:\n  \
                 podSelector: {{matchLabels: {{app: a{number}}}}}\n  policyTypes: [Ingress, Egress]\n  ingress:\n  \
                 - {{from: [{{podSelector: {{matchLabels: {{app: a{next}}}}}}}], ports: [{{port: 9000}}]}}\n  egress:\n  \
                 - {{to: [{{podSelector: {{matchLabels: {{app: a{previous}}}}}}}], ports: [{{port: 9000}}]}}\n---\n"
            )?;
        }
        texts.push(text);
    }
    Ok(texts)
}

fn pod_spec(name: &str, app: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: a{app}}}}}\nspec:\n  containers:\n  - {{name: main, image: main}}\n"
    )
}

fn number(seen: &Value, key: &str) -> Result<f64> {
    seen[key].as_f64().with_context(|| format!("no {key} in {seen}"))
}

fn note(rows: &mut Vec<Row>, system: &'static str, metric: String, unit: &'static str, value: f64) {
    match rows.iter_mut().find(|row| row.system == system && row.metric == metric) {
        Some(row) => row.rounds.push(value),
        None => rows.push(Row { rounds: vec![value], ..Row::new(system, metric, unit) }),
    }
}
