//! A node against what somebody does to its tables, and against a control plane that doesn't hear of its pods.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Stage;
use crate::checks::eventually;
use crate::fabric::{Background, on};
use crate::wait::pass;
use crate::{Fabric, Result};

/// Changes by somebody else that harm no packet by themselves, for the table of one family.
const CHANGES: [&[&str]; 4] = [
    &["flush", "chain", "FAMILY", "weft", "unserved"],
    &["add", "chain", "FAMILY", "weft", "stranger", "{ type filter hook input priority 5; }"],
    &["insert", "rule", "FAMILY", "weft", "from_pods", "meta mark 0x77 drop"],
    &["add", "element", "FAMILY", "weft", "backends", "{ 0x00000100 . 0x00000000 : ADDRESS . 9 }"],
];
/// A look follows a foreign commit within this on any machine.
const SOON: Duration = Duration::from_secs(20);

/// Rules and elements are changed under clients: none of these fails, all is repaired, and `weft check` tells it.
pub fn rules_tampered(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let addresses: Vec<String> =
        stage.service("both")?.addresses()?.iter().map(ToString::to_string).collect();
    let node = stage.cast.a.node();
    let address = stage.one.addresses()[0];
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let nft = |words: &[&str]| fabric.on(on(node), &[&["nft"], words].concat());
    let whole = shape(&nft(&["list", "table", family, "weft"])?.success("nft list")?);
    let mut arguments = vec!["clients", "--clients", "10", "--rest", "5"];
    arguments.extend(addresses.iter().map(String::as_str));
    let clients = fabric.background(stage.cast.a.place(), &arguments, &[])?;
    let tamper = || -> Result<usize> {
        let mut repaired = 0;
        for change in CHANGES {
            let stray = address.to_string();
            let words: Vec<String> =
                change.iter().map(|word| word.replace("FAMILY", family).replace("ADDRESS", &stray)).collect();
            nft(&words.iter().map(String::as_str).collect::<Vec<_>>())?.success("nft")?;
            eventually(SOON, || {
                let now = shape(&nft(&["list", "table", family, "weft"])?.success("nft list")?);
                ensure!(now == whole, "{words:?} isn't repaired: {}", differing(&whole, &now));
                Ok(())
            })?;
            repaired += told(fabric, node)?;
        }
        Ok(repaired)
    };
    let repaired = tamper();
    let seen = clients.stop()?;
    let repaired = repaired?;
    ensure!(seen["failed"] == 0 && seen["connections"].as_u64() > Some(20), "under the changes: {seen}");
    ensure!(repaired >= CHANGES.len(), "weft check tells of {repaired} repairs");
    Ok(format!(
        "{} changes by others repaired under {} connections, 0 failed",
        CHANGES.len(),
        seen["connections"]
    ))
}

/// Repairs that `weft check` tells of last.
fn told(fabric: &Fabric, node: &str) -> Result<usize> {
    let said = fabric.weft(&["check", "--node", node, "-o", "json"])?;
    let list: Value = serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))?;
    let found = list["items"].as_array().into_iter().flatten().find(|item| item["check"] == "services");
    let detail = found.and_then(|item| item["detail"].as_str()).unwrap_or_default();
    let count = detail.split("; ").find(|part| part.contains(" repaired ")).and_then(|p| p.split(' ').next());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("{node} tells of no repair: {detail}"))
}

/// What `nft` lists, without what counts packets and without what packets leave behind.
fn shape(listed: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_memory = false;
    for line in listed.lines() {
        is_memory |= line.trim() == "map affinity {";
        is_memory &= line != "\t}";
        let line = match line.split_once("counter packets") {
            Some((before, after)) => {
                let rest = after.split_once(" bytes ").map_or("", |(_, rest)| rest);
                format!("{before}counter{}", rest.trim_start_matches(char::is_numeric))
            }
            None => line.to_owned(),
        };
        if !is_memory {
            lines.push(line);
        }
    }
    // Elements and chains come in the order in which they were made.
    lines.sort_unstable();
    lines
}

fn differing(whole: &[String], now: &[String]) -> String {
    let only = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|line| !others.contains(line)).map(|line| line.trim().to_owned()).collect()
    };
    format!("lost {:?}, came {:?}", only(whole, now), only(now, whole))
}

/// A backend ends while no replica answers: clients on its own node soon reach the others alone.
pub fn gone_unheard(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let labels = [("stage", "yes")];
    let leaving = fabric.labelled_pod(stage.cast.a.node(), "leaving", &labels, &["http:80"])?;
    stage.wait_for("both", 3)?;
    let addresses: Vec<String> =
        stage.service("both")?.addresses()?.iter().map(ToString::to_string).collect();
    let replicas = fabric.replicas()?;
    replicas.iter().try_for_each(|replica| fabric.hold(replica, "weftd"))?;
    let connect = || -> Result<Value> {
        let mut arguments = vec!["clients", "--clients", "4", "--rest", "5"];
        arguments.extend(addresses.iter().map(String::as_str));
        let clients: Background = fabric.background(stage.cast.a.place(), &arguments, &[])?;
        pass(Duration::from_secs(2));
        clients.stop()
    };
    let gone = || -> Result<Value> {
        fabric.detach(&leaving)?;
        // The maps come first, unless the machine is so busy that they take longer than a link waits for them.
        eventually(SOON, || {
            let seen = connect()?;
            ensure!(seen["failed"] == 0 && seen["answers"]["leaving"].is_null(), "without the pod: {seen}");
            Ok(seen)
        })
    };
    let seen = gone();
    for replica in &replicas {
        fabric.release(replica, "weftd")?;
        fabric.client().ready(replica, "weftd", Duration::from_secs(20))?;
    }
    fabric.settle_all()?;
    let seen = seen?;
    ensure!(seen["connections"].as_u64() > Some(20), "without the pod: {seen}");
    stage.wait_for("both", 2)?;
    Ok(format!("a backend went unheard: {} connections from its node, 0 failed", seen["connections"]))
}
