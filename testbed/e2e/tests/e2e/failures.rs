//! What goes on when something dies.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::checks::{Cast, control, faults};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result, wait::until};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[test]
fn an_agent_restart_loses_no_packet_and_removes_nothing() -> Result {
    in_family("small", Family::Dual, |fabric, cast| faults::agent_dies(fabric, cast).map(drop))
}

#[test]
fn a_pod_whose_add_was_answered_survives_the_agents_death() -> Result {
    in_family("small", Family::Dual, |fabric, cast| faults::fresh_pod_survives(fabric, cast).map(drop))
}

#[test]
fn writes_go_on_without_the_leader_and_none_is_lost() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, _| control::leader_dies(fabric).map(drop))
}

#[test]
fn pods_come_and_go_without_any_control_plane() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, cast| {
        control::all_replicas_die(fabric, cast)?;
        control::addresses_add_up(fabric).map(drop)
    })
}

#[test]
fn a_leader_that_is_cut_off_keeps_neither_nodes_nor_commands() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, _| {
        let leader = leader(fabric)?;
        let others: Vec<&str> = ["cp-1", "cp-2", "cp-3"].into_iter().filter(|name| *name != leader).collect();
        fabric.fail(&format!("partition {leader}|{}", others.join(",")))?;
        // Commands find the majority by themselves, whichever replica they begin with.
        let wrote = fabric.weft(&["token", "create", "--timeout", "15s"]);
        // Every node leaves the lonely replica, which still answers it.
        let moved = until(Duration::from_secs(20), LOOK, || {
            let status = fabric.weft(&["status", "-o", "json", "--timeout", "5s"]).ok()?;
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            let connected =
                status["nodes"].as_array()?.iter().filter(|node| node["connected"] == true).count();
            let led =
                status["replicas"].as_array()?.iter().any(|r| r["leader"] == true && r["name"] != *leader);
            (led && connected == 3).then_some(())
        });
        fabric.heal()?;
        wrote?.success("weft token create")?;
        moved.context("the nodes still follow the replica that is cut off")?;
        fabric.settle()
    })
}

#[test]
fn a_journal_that_somebody_deleted_costs_no_pod() -> Result {
    in_family("small", Family::Dual, |fabric, cast: &Cast| {
        let agent = fabric.client().layout().disk("n1").join("var-lib-weft/agent");
        let before = pods_of(fabric, "n1")?;
        ensure!(!before.is_empty(), "there are pods to lose");
        fabric.hold("n1", "agent")?;
        std::fs::remove_file(agent.join("ipam.journal"))?;
        fabric.release("n1", "agent")?;
        fabric.settle()?;
        weft_lab::checks::paths::every_pair(fabric, cast)?;
        let same =
            until(Duration::from_secs(10), LOOK, || (pods_of(fabric, "n1").ok()? == before).then_some(()));
        same.context("the pods of before aren't all known")?;
        control::addresses_add_up(fabric).map(drop)
    })
}

fn leader(fabric: &Fabric) -> Result<String> {
    let status = fabric.weft_json(&["status"])?;
    let leader = status["replicas"].as_array().into_iter().flatten().find(|r| r["leader"] == true);
    leader.and_then(|r| r["name"].as_str()).map(str::to_owned).context("nobody leads")
}

/// Names and addresses of a node's pods.
fn pods_of(fabric: &Fabric, node: &str) -> Result<Vec<(String, Value)>> {
    let list = fabric.weft_json(&["get", "pods", "-A"])?;
    let items = list["items"].as_array().into_iter().flatten();
    let own = items.filter(|pod| pod["spec"]["nodeName"] == node);
    Ok(own.map(|pod| (pod["metadata"]["name"].to_string(), pod["status"]["podIPs"].clone())).collect())
}
