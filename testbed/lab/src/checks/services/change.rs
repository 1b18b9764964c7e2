//! Which backend is picked, and what happens when backends come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Stage;
use super::table::{Expect, cell};
use crate::checks::{HTTP, SERVERS, TCP, UDP, eventually};
use crate::fabric::on;
use crate::{Result, fabric::Pod};

/// Both backends get their share of many connections.
pub fn spread(stage: &Stage<'_>) -> Result<String> {
    const CONNECTIONS: usize = 60;
    let address = stage.service("both")?.addresses()?[0];
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..CONNECTIONS {
        *answers.entry(stage.ask(&stage.cast.a.place(), address, HTTP)?.0).or_default() += 1;
    }
    // A fair coin leaves this corridor once in 10^7 runs.
    ensure!(answers.len() == 2 && answers.values().all(|n| *n >= 10), "not spread: {answers:?}");
    Ok(format!("{CONNECTIONS} connections: {}", list(&answers)))
}

/// A client with affinity stays with its backend, at each of the service's addresses, whichever node it is on.
pub fn affinity(stage: &Stage<'_>) -> Result<String> {
    let mut seen = Vec::new();
    for address in stage.service("sticky")?.addresses()? {
        for client in [&stage.cast.a, &stage.cast.c] {
            let mut backends = BTreeSet::new();
            for _ in 0..12 {
                backends.insert(stage.ask(&client.place(), address, HTTP)?.0);
            }
            ensure!(backends.len() == 1, "{} met {backends:?} behind {address}", client.name());
            seen.push(format!("{} -> {}", client.name(), backends.into_iter().collect::<String>()));
        }
    }
    Ok(format!("12 connections each: {}", seen.join(", ")))
}

/// A service that has no endpoint is refused at once, over TCP and UDP, from pods, nodes and outside.
pub fn nobody_there(stage: &Stage<'_>) -> Result<String> {
    let service = stage.service("nobody")?;
    let mut cells = 0;
    for address in service.addresses()? {
        for from in [stage.cast.a.place(), stage.cast.c.place(), on(stage.cast.a.node())] {
            cells += cell(stage, &from, address, [HTTP, TCP, UDP], Expect::Refused)?;
        }
    }
    let ports = [service.node_port("http")?, service.node_port("tcp")?, service.node_port("udp")?];
    for address in stage.fabric.machine(stage.cast.c.node())?.addresses() {
        if super::super::same_family(&stage.cast.a, address).is_ok() {
            let ports = [ports[0].as_str(), ports[1].as_str(), ports[2].as_str()];
            cells += cell(stage, &on(&stage.fabric.outside()), address, ports, Expect::Refused)?;
        }
    }
    Ok(format!("{cells} probes refused at once"))
}

/// A backend that comes gets connections, one that goes gets none any more, and none is lost meanwhile.
pub fn backends_come_and_go(stage: &Stage<'_>) -> Result<String> {
    let address = stage.service("both")?.addresses()?[0];
    let from = stage.cast.c.place();
    let began = Instant::now();
    let labels = [("stage", "yes"), ("one", "no")];
    let three = stage.fabric.labelled_pod(stage.cast.a.node(), "three", &labels, &SERVERS)?;
    let came = answers_as(stage, &three, address)?;
    stage.fabric.detach(&three)?;
    stage.wait_for("both", 2)?;
    for _ in 0..30 {
        let (pod, _) = stage.ask(&from, address, HTTP)?;
        ensure!(pod != three.name(), "{pod} is gone and still gets connections");
    }
    Ok(format!(
        "a third backend had its first connection {} ms after its attach began; gone, it gets none ({} ms in all)",
        came.as_millis(),
        began.elapsed().as_millis()
    ))
}

fn answers_as(stage: &Stage<'_>, pod: &Pod, address: std::net::IpAddr) -> Result<Duration> {
    let began = Instant::now();
    eventually(Duration::from_secs(5), || {
        let (answered, _) = stage.ask(&stage.cast.c.place(), address, HTTP)?;
        ensure!(answered == pod.name(), "{answered} answers");
        Ok(())
    })?;
    Ok(began.elapsed())
}

fn list(answers: &BTreeMap<String, usize>) -> String {
    answers.iter().map(|(pod, n)| format!("{pod} {n}")).collect::<Vec<_>>().join(", ")
}
