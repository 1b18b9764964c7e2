//! Of `bench services`: how soon a withdrawn endpoint is out of the kernels of all nodes, with few services and with ten thousand
//! of ten backends each, and what those need.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Row;
use super::fabric::look;
use crate::checks::eventually;
use crate::commands::progress;
use crate::fabric::{Background, on};
use crate::probe::now_us;
use crate::wait::pass;
use crate::{Fabric, Result};

/// Withdrawals that are timed.
const WITHDRAWALS: usize = 60;
/// A withdrawal that takes longer is told, with its moment.
const LATE_MS: f64 = 50.0;
/// Verdicts that are waited for: one comes every other second.
const VERDICTS: usize = 15;
/// Services of the large fabric; with the one whose endpoints are withdrawn they are ten thousand, and their endpoints as many as a
/// cluster may have.
const MANY: u32 = 9_999;
/// Endpoints of each.
const ENDPOINTS: u32 = 10;
/// Services in one command.
const BATCH: u32 = 400;
/// Where readiness is asked.
const READINESS: u16 = 9100;

/// Measures.
pub(super) fn measure(fabric: &Fabric) -> Result<Vec<Row>> {
    let mut rows = withdrawals(fabric, ["withdraw", "withdraw_p99", "store_withdrawal"])?;
    rows.extend(verdicts(fabric)?);
    rows.extend(many(fabric)?);
    rows.extend(withdrawals(
        fabric,
        ["withdraw_at_10000", "withdraw_p99_at_10000", "store_withdrawal_at_10000"],
    )?);
    Ok(rows)
}

/// What the kernels of all nodes tell of elements.
pub(super) struct Kernels(Vec<(String, Background)>);

impl Kernels {
    pub(super) fn watch(fabric: &Fabric) -> Result<Self> {
        let watch = |node: String| Ok((node.clone(), fabric.background(on(&node), &["moments"], &[])?));
        fabric.nodes()?.into_iter().map(watch).collect::<Result<_>>().map(Self)
    }

    /// When each node's kernel was last changed between two moments, in milliseconds after the first. Every node must have been.
    pub(super) fn last_between(&self, from: u64, to: u64) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for (node, job) in &self.0 {
            let lines = job.lines()?;
            let moments = lines.iter().filter_map(|line| line["at_us"].as_u64());
            let last = moments.filter(|at| (from..to).contains(at)).max();
            let last = last.with_context(|| format!("the kernel of {node} was not changed"))?;
            all.push(f64::from(u32::try_from(last - from)?) / 1000.0);
        }
        Ok(all)
    }

    pub(super) fn stop(self) -> Result {
        self.0.into_iter().try_for_each(|(_, job)| job.stop().map(drop))
    }
}

/// From the moment when the change of an endpoint is sent to the control plane until the last element has changed, for each node; and
/// until the control plane has stored it.
fn withdrawals(fabric: &Fabric, [metric, worst, stored]: [&'static str; 3]) -> Result<Vec<Row>> {
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: withdrawn}\nspec:\n  ports: [{port: 80}]\n";
    let all = slice("withdrawn", &[80], 0, ENDPOINTS, None)?;
    fabric.apply(&format!("{service}---\n{all}"))?;
    let kernels = Kernels::watch(fabric)?;
    let (mut way, mut answer) = (Row::new("weft", metric, "ms"), Row::new("weft", stored, "ms"));
    for round in 0..WITHDRAWALS {
        let out = u32::try_from(round)? % ENDPOINTS;
        let fewer = slice("withdrawn", &[80], 0, ENDPOINTS, Some(out))?;
        let seen = fabric.write_all(&[vec![fewer]], 100.0, Duration::from_secs(10))?;
        let from = seen["sent_us"][0].as_u64().with_context(|| format!("no moment in {seen}"))?;
        answer.rounds.push(seen["longest_us"].as_f64().context("no time")? / 1e3);
        fabric.settle()?;
        let to = now_us();
        let last = eventually(Duration::from_secs(2), || kernels.last_between(from, to))?;
        if last.iter().any(|ms| *ms > LATE_MS) {
            progress(&format!(
                "{metric}: round {round}, sent at {from} us, stored after {seen}: {last:?} ms"
            ));
        }
        way.rounds.extend(last);
        fabric.apply(&all)?;
    }
    kernels.stop()?;
    fabric.erase(&format!("{service}---\n{all}"))?;
    let worst = way.p99(worst);
    Ok(vec![way, worst, answer])
}

/// From the answer that makes a pod unready until the last element has changed, for each node.
fn verdicts(fabric: &Fabric) -> Result<Vec<Row>> {
    fabric.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: doubted, labels: {{bench: verdicts}}}}\nspec:\n  containers:\n  - name: main\n    \
         image: main\n    readinessProbe: {{httpGet: {{port: {READINESS}}}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{name: doubted}}\nspec:\n  selector: {{bench: verdicts}}\n  \
         ports: [{{port: 80}}]\n"
    ))?;
    let doubted = fabric.labelled_pod("n1", "doubted", &[("bench", "verdicts")], &[])?;
    let sure = fabric.labelled_pod("n2", "sure", &[("bench", "verdicts")], &[])?;
    let kernels = Kernels::watch(fabric)?;
    let server = fabric.serve_in(&doubted, &[&format!("alternate:{READINESS}")])?;
    let ill = || -> Result<Vec<u64>> {
        let lines = server.lines()?;
        Ok(lines
            .iter()
            .filter(|line| line["well"] == false)
            .filter_map(|line| line["at_us"].as_u64())
            .collect())
    };
    // The first answers come before the pod is published as ready, or not at all.
    let wanted = VERDICTS + 2;
    let all = eventually(Duration::from_secs(4 * wanted as u64), || {
        let all = ill()?;
        ensure!(all.len() > wanted, "{} of {wanted} verdicts", all.len());
        Ok(all)
    })?;
    let mut way = Row::new("weft", "withdraw_after_verdict", "ms");
    for at in &all[1..=VERDICTS] {
        // The next verdict, the other way, comes a second later.
        way.rounds.extend(kernels.last_between(*at, at + 900_000)?);
    }
    kernels.stop()?;
    server.stop().ok();
    for kind in ["service", "pod"] {
        fabric.weft(&["delete", kind, "doubted"])?.success("weft delete")?;
    }
    fabric.detach(&doubted)?;
    fabric.detach(&sure)?;
    let worst = way.p99("withdraw_after_verdict_p99");
    Ok(vec![way, worst])
}

/// Ten thousand services of two ports and ten backends: the time until all are in the kernels of all nodes, and what daemons need.
fn many(fabric: &Fabric) -> Result<Vec<Row>> {
    let mut stored = Row::new("weft", "store_10000_by_10", "s");
    let mut agent = Row::new("weft", "agent_resident_10000_by_10", "MiB");
    let mut agent_most = Row::new("weft", "agent_most_10000_by_10", "MiB");
    let mut replica = Row::new("weft", "weftd_resident_10000_by_10", "MiB");
    let mut again = Row::new("weft", "agent_restart_10000_by_10", "s");
    let began = Instant::now();
    let mut number = 0;
    while number < MANY {
        let mut text = String::new();
        for service in number..(number + BATCH).min(MANY) {
            write!(
                text,
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{service}}}\nspec:\n  ports:\n  - {{name: a, port: 80}}\n  \
                 - {{name: b, port: 81}}\n---\n{}---\n",
                slice(&format!("s{service}"), &[80, 81], service * ENDPOINTS, ENDPOINTS, None)?
            )?;
        }
        fabric.store(&text)?;
        number += BATCH;
    }
    fabric.settle()?;
    stored.rounds.push(began.elapsed().as_secs_f64());
    // What was only needed on the way is given back, and the View is written.
    pass(Duration::from_secs(12));
    for node in fabric.nodes()? {
        let seen = look(fabric, &node, "weft-agent")?;
        agent.rounds.push(seen.resident);
        agent_most.rounds.push(seen.most);
    }
    for machine in fabric.replicas()? {
        replica.rounds.push(look(fabric, &machine, "weftd")?.resident);
    }
    // The last node's agent starts anew: with the View of its disk, and tables in the kernel that are right.
    let node = fabric.nodes()?.pop().context("no node")?;
    let began = Instant::now();
    fabric.kill(&node, "agent")?;
    eventually(Duration::from_secs(5), || {
        let description = fabric.client().describe()?;
        let machine = description.machines.iter().find(|m| m.machine.name == node);
        let agent = machine.and_then(|m| m.services.iter().find(|service| service.name == "agent"));
        ensure!(agent.is_some_and(|agent| agent.restarts > 0), "the agent of {node} was not started anew");
        Ok(())
    })?;
    fabric.client().ready(&node, "agent", Duration::from_secs(20))?;
    again.rounds.push(began.elapsed().as_secs_f64());
    Ok(vec![stored, agent, agent_most, replica, again])
}

/// A slice with `count` endpoints from the one of this number on, all ready but one.
fn slice(service: &str, ports: &[u16], first: u32, count: u32, out: Option<u32>) -> Result<String> {
    let names: &[&str] = if ports.len() == 1 { &[""] } else { &["a", "b"] };
    let ports: Vec<String> = names
        .iter()
        .zip(ports)
        .map(|(name, port)| match *name {
            "" => format!("{{port: {port}}}"),
            name => format!("{{name: {name}, port: {port}}}"),
        })
        .collect();
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-1, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nports: [{}]\nendpoints:\n",
        ports.join(", ")
    );
    for place in 0..count {
        // The range for benchmarks (RFC 2544).
        let address =
            std::net::Ipv4Addr::from(u32::from(std::net::Ipv4Addr::new(198, 18, 0, 1)) + first + place);
        let ready = out != Some(place);
        writeln!(text, "- {{addresses: [{address}], conditions: {{ready: {ready}}}}}")?;
    }
    Ok(text)
}
