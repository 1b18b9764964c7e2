//! Nodes come, go, lose power, grow old, and are told wrong things.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use weft_e2e::in_family;
use weft_lab::checks::{control, faults};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result, wait::until};
use weft_rpc::{FileNames, Identity};

/// How long a node has for what should take it a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

#[test]
fn a_fourth_node_joins_and_a_removed_one_talks_to_nobody() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, cast| {
        control::node_comes_and_goes(fabric, cast).map(drop)
    })
}

#[test]
fn a_node_that_lost_power_comes_back_with_its_disk() -> Result {
    in_family("three-nodes", Family::Dual6, |fabric, cast| faults::node_dies(fabric, cast).map(drop))
}

#[test]
fn a_nodes_certificate_renews_when_it_is_due_and_when_it_has_expired() -> Result {
    in_family("small", Family::V4, |fabric, _| {
        let layout = fabric.client().layout();
        let authority = weft_trust::Authority::load(&layout.disk("cp-1").join("var-lib-weft"))?;
        let files = FileNames::in_directory(&layout.disk("n1").join("var-lib-weft/agent/identity"));
        let day = Duration::from_secs(86_400);
        for age in [2 * day, 12 * day] {
            let present = Identity::load(&files)?;
            let then = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)? - age;
            let then = weft_model::WallTime(u64::try_from(then.as_millis())?);
            let old = authority.issue(&present.key().request()?.0, present.holder(), then)?;
            let old = present.with_certificate(old)?;
            old.save(&files)?;
            fabric.kill("n1", "agent")?;
            until(PATIENCE, LOOK, || (Identity::load(&files).ok()?.expires() > old.expires()).then_some(()))
                .with_context(|| format!("a certificate of {age:?} ago isn't renewed"))?;
            connected(fabric, "n1")?;
        }
        Ok(())
    })
}

#[test]
fn an_agent_that_was_told_another_primary_family_refuses_to_start_and_says_why() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let layout = fabric.client().layout();
        let (file, log) = (layout.disk("n2").join("etc-weft/agent.toml"), layout.log("n2", "agent"));
        let before = fs::read_to_string(&log)?.len();
        let tail =
            || fs::read_to_string(&log).unwrap_or_default().get(before..).unwrap_or_default().to_owned();
        fs::write(&file, "primary-family = \"v6\"\n")?;
        fabric.kill("n2", "agent")?;
        let refused = until(PATIENCE, LOOK, || tail().contains("W4201").then(tail));
        fs::remove_file(&file)?;
        let said = refused.with_context(|| format!("nothing was refused: {}", tail()))?;
        ensure!(said.contains("IPv6") && said.contains("IPv4"), "both families are named: {said}");
        connected(fabric, "n2")
    })
}

/// Waits until a node's agent follows a replica and has all in its kernel.
fn connected(fabric: &Fabric, node: &str) -> Result {
    let well = || {
        let status = fabric.weft(&["node", "show", node, "-o", "json"]).ok()?;
        status.stdout.contains("\"connected\": true").then_some(())
    };
    until(PATIENCE, LOOK, well).with_context(|| format!("node {node} isn't back"))
}
