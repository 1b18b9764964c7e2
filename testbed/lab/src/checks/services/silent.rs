//! A node loses its power: connections to its backends fail until the grace has passed, and none does afterwards. It comes back, and
//! serves again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::checks::{Cast, HTTP, SERVERS, eventually, works};
use crate::{Fabric, Result};

/// The node that dies.
const NODE: &str = "n3";
/// Another one with a backend.
const OTHER: &str = "n2";
/// Seconds that the control plane waits, the least it may.
const GRACE: u64 = 5;
/// What it takes after the grace until every node has it in its kernel, on a machine that does much else.
const AFTER: Duration = Duration::from_secs(6);
/// What a node's return takes.
const BACK: Duration = Duration::from_secs(20);
/// Connections that are tried.
const TRIES: &str = "60";

/// Sets everything, cuts the power, and gives it back; what was seen.
pub fn node_falls_silent(fabric: &Fabric, cast: &Cast) -> Result<String> {
    grace(fabric, GRACE)?;
    let seen = both_ways(fabric, cast);
    grace(fabric, 20)?;
    seen
}

fn both_ways(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let labels = [("silent", "both")];
    let other = fabric.labelled_pod(OTHER, "lasting", &labels, &SERVERS)?;
    fabric.labelled_pod(NODE, "passing", &[("silent", "both"), ("alone", "yes")], &SERVERS)?;
    fabric.apply(&[service("both", "silent: both"), service("alone", "alone: \"yes\"")].join("---\n"))?;
    let address = eventually(Duration::from_secs(5), || {
        ready(fabric, "both", 2)?;
        let service = fabric.weft_json(&["get", "service", "both"])?;
        service["spec"]["clusterIP"].as_str().map(str::to_owned).context("no address")
    })?;
    fabric.settle_all()?;
    let before = tried(fabric, cast, &address)?;
    ensure!(before["ok"] == true && answered(&before).len() == 2, "both backends serve: {before}");

    fabric.fail(&format!("kill-node {NODE}"))?;
    let died = Instant::now();
    let dead = tried(fabric, cast, &address)?;
    ensure!(dead["failed"].as_u64() > Some(0), "nobody met the dead backend, so nothing is proved: {dead}");
    let bound = Duration::from_secs(GRACE) + AFTER;
    eventually(bound, || {
        let seen = works(
            fabric,
            &cast.a.place(),
            &["clients", &address, "--clients", "8", "--count", "24", "--within", "300"],
        )?;
        ensure!(seen["failed"] == 0, "{seen}");
        ready(fabric, "both", 1)
    })?;
    let took = died.elapsed();
    let after = tried(fabric, cast, &address)?;
    ensure!(after["ok"] == true && answered(&after) == ["lasting"], "only the living serve: {after}");
    told(fabric)?;

    fabric.heal()?;
    let returned = Instant::now();
    eventually(BACK, || {
        let node = fabric.weft_json(&["get", "node", NODE])?;
        ensure!(node["status"]["state"] == "Active", "{NODE} is {}", node["status"]["state"]);
        Ok(())
    })?;
    let back = returned.elapsed();
    fabric.client().ready(NODE, "agent", BACK)?;
    // Its pods of before the loss of power are gone; a new one takes their place.
    let again = fabric.labelled_pod(NODE, "again", &labels, &SERVERS)?;
    eventually(BACK, || ready(fabric, "both", 2))?;
    fabric.settle_all()?;
    let whole = tried(fabric, cast, &address)?;
    ensure!(whole["ok"] == true && answered(&whole) == ["again", "lasting"], "both serve again: {whole}");
    ["both", "alone"]
        .iter()
        .try_for_each(|name| fabric.weft(&["delete", "service", name])?.success("weft delete").map(drop))?;
    [other, again].iter().try_for_each(|pod| fabric.detach(pod))?;
    Ok(format!(
        "{NODE} lost its power: {} of {TRIES} connections failed at once, none later than {:.1} s (grace {GRACE} s); heard again {:.1} s after its power came back",
        dead["failed"],
        took.as_secs_f64(),
        back.as_secs_f64()
    ))
}

/// Where people look, they are told.
fn told(fabric: &Fabric) -> Result {
    let says = |arguments: &[&str], words: &[&str]| -> Result {
        let text = fabric.weft(arguments)?.stdout;
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        ensure!(missing.is_empty(), "`weft {}` doesn't say {missing:?}: {text}", arguments.join(" "));
        Ok(())
    };
    says(&["get", "nodes"], &["Silent"])?;
    says(&["node", "show", NODE], &["Silent (nothing heard for"])?;
    says(&["describe", "node", NODE], &["silentSince", "NodeNotReady"])?;
    says(&["get", "events"], &["NodeNotReady", "node/n3"])?;
    says(&["describe", "svc", "both"], &["not ready: node n3 is silent"])?;
    says(&["get", "endpoints", "alone", "-o", "wide"], &["ready, though node n3 is silent: nobody else is"])?;
    says(&["status"], &["out of services that others serve"])?;
    ready(fabric, "alone", 1)
}

fn service(name: &str, selector: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ {selector} }}\n  ports:\n  - {{ name: http, port: {HTTP} }}\n"
    )
}

fn grace(fabric: &Fabric, seconds: u64) -> Result {
    fabric.store(&format!(
        "apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {{ name: main }}\nspec: {{ nodeGraceSeconds: {seconds} }}\n"
    ))
}

/// A service has so many ready endpoints.
fn ready(fabric: &Fabric, name: &str, expected: usize) -> Result {
    let item = fabric.weft_json(&["get", "endpoints", name])?;
    let all = item["endpoints"].as_array();
    let ready = all.map_or(0, |all| all.iter().filter(|endpoint| endpoint["ready"] == true).count());
    ensure!(ready == expected, "{name} has {ready} ready endpoints, not {expected}: {item}");
    Ok(())
}

/// Some connections to a service, whatever comes of them.
fn tried(fabric: &Fabric, cast: &Cast, address: &str) -> Result<Value> {
    let arguments = ["clients", address, "--clients", "12", "--count", TRIES, "--within", "400"];
    fabric.probe(cast.a.place(), &arguments)
}

/// Which pods answered.
fn answered(seen: &Value) -> Vec<&str> {
    seen["answers"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}
