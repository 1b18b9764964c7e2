//! A policy from before it is applied until it is rolled back, as its author sees it: what it would close is told, it closes that, what
//! it denies is explained and told packet by packet, and what it cut lives again.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::recipes::{Scene, TIERS, block};
use crate::wait::until;
use crate::{Fabric, Result};

/// What may not reach the database once the policy is there.
const FROM: &str = "shop/log-0";
const TO: &str = "shop/db-0";
const WAY: &str = "shop/db-0:5432";
/// Until something that a process begins in its own time can be seen.
const SOON: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `weft diff` of the policy.
fn difference(fabric: &Fabric, policies: &str) -> Result<Value> {
    let said = fabric.weft_told(&["diff", "-f", "-", "-o", "json"], policies)?;
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))
}

/// Before it is applied, `weft diff` names who loses what, and the connection that would end; nothing changes by that. Applied, it ends
/// that connection, and deleted, it lets it on.
pub fn told_before(scene: &Scene<'_>) -> Result<String> {
    let (fabric, policies) = (scene.fabric(), block(TIERS)?);
    let address = scene.database().to_string();
    let stream = fabric.background(scene.log().place(), &["stream", &address, "5432"], &[])?;
    let one = |told: &Value| told.pointer("/policyChange/live/connections") == Some(&Value::from(1));
    let told = until(SOON, PAUSE, || difference(fabric, policies).ok().filter(one))
        .context("weft diff tells one live connection")?;
    let cut = &told["policyChange"]["live"]["cuts"][0];
    ensure!(text(cut, "/from") == FROM && text(cut, "/to") == TO, "another connection: {cut}");
    let closes = told["policyChange"]["shifts"].as_array().map_or(0, Vec::len);
    ensure!(closes > 0, "nothing closes: {told}");
    let applied = fabric.weft_told(&["apply", "-f", "-", "--wait"], policies)?.success("weft apply")?;
    ensure!(applied.contains("1 live connection is cut"), "{applied}");
    let node = scene.database_node();
    let before = fabric.drops(node)?;
    until(SOON, PAUSE, || {
        let came = fabric.drops(node).ok()?.since(&before);
        (came.because("policy-ingress") > 0).then_some(())
    })
    .context("packets of the connection are denied")?;
    fabric.erase(policies)?;
    let seen = stream.stop()?;
    ensure!(seen["ok"] == true, "the connection should live again: {seen}");
    Ok(format!(
        "weft diff: {closes} ways close, 1 live connection of {FROM} ends; it did, and lived again after the deletion"
    ))
}

/// While it is in force, `weft trace` says at which step it denies and why, and its packet meets that.
pub fn explained(scene: &Scene<'_>) -> Result<String> {
    let (fabric, policies) = (scene.fabric(), block(TIERS)?);
    fabric.apply(policies)?;
    for (from, verdict, status) in [(FROM, "Denied", 1), ("shop/web-0", "Allowed", 0)] {
        let said = fabric.weft(&["trace", from, WAY, "--probe", "-o", "json"])?;
        ensure!(said.status == status, "weft trace {from} {WAY}: {said:?}");
        let told: Value = serde_json::from_str(&said.stdout)?;
        for path in told["paths"].as_array().context("no paths")? {
            ensure!(path["verdict"] == verdict && path["probe"]["agrees"] == true, "{from}: {path}");
        }
    }
    let why = fabric.weft(&["policy", "why", FROM, WAY])?;
    let line = why.stdout.lines().find(|line| line.starts_with("ingress")).unwrap_or_default();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(why.status == 1 && line.contains("shop/db"), "{why:?}");
    fabric.erase(policies)?;
    Ok(format!("trace and its packets agree both ways; {line}"))
}

/// While it is in force, a packet that it denies is told with both names and the policy.
pub fn drops_told(scene: &Scene<'_>) -> Result<String> {
    let (fabric, policies) = (scene.fabric(), block(TIERS)?);
    fabric.apply(policies)?;
    let address = scene.database().to_string();
    let watch = ["flows", "--for", "2s", "--verdict", "dropped", "--pod", TO, "-o", "json"];
    let said = thread::scope(|scope| {
        let watching = scope.spawn(|| fabric.weft(&watch));
        while !watching.is_finished() {
            let seen = fabric.probe(scene.log().place(), &["tcp", &address, "5432", "--within", "100"])?;
            ensure!(seen["ok"] != true, "{FROM} reached {TO}: {seen}");
        }
        watching.join().map_err(|_| anyhow::anyhow!("the watcher failed"))?
    })?;
    fabric.erase(policies)?;
    let of_log = |line: &&str| line.contains(FROM) && line.contains("shop/db");
    let line = said.stdout.lines().find(of_log).with_context(|| format!("no such drop: {said:?}"))?;
    let told: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
    ensure!(text(&told, "/reason") == "policy-ingress", "{told}");
    Ok(format!("weft flows --verdict dropped: {} -> {}, {}", FROM, TO, text(&told, "/why")))
}
