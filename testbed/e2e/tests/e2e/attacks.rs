//! What somebody does to a fabric on purpose or by mistake, and how soon it is well again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::{Result, wait::until};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// What is looked after each second has to be well again within this.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_somebody_deleted_under_run_is_made_again() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        // What is mounted there, the namespaces of pods, can't be deleted and isn't.
        fabric
            .on(on("n1"), &["sh", "-c", "rm -rf /run/weft 2>/dev/null; test ! -e /run/weft/cni.sock"])?
            .success("rm")?;
        let mut wanted = vec!["-S /run/weft/cni.sock", "-S /run/weft/agent.sock", "-d /run/weft/pods"];
        if fabric.has_service("n1", "tunnel")? {
            wanted.push("-s /run/weft/tunnel/weft0.conf");
        }
        for file in wanted {
            let there = || {
                let test = format!("test {file}");
                fabric.on(on("n1"), &["sh", "-c", &test]).ok()?.success("test").ok()
            };
            until(SOON, LOOK, there).with_context(|| format!("missing: {file}"))?;
        }
        // The agent is the same one, and runtimes reach it.
        let pod = fabric.pod("n1", "after-rm", &["tcp:9000"])?;
        let to = pod.addresses().first().context("no address")?.to_string();
        let seen = fabric.probe(cast.c.place(), &["tcp", &to, "9000"])?;
        ensure!(seen["ok"] == true, "{seen}");
        fabric.detach(&pod)
    })
}

#[test]
fn nodes_leave_a_replica_whose_machine_died_within_moments() -> Result {
    in_family("three-nodes", Family::V4, |fabric, _| {
        let replicas = fabric.replicas()?;
        ensure!(replicas.len() > 1, "one replica has no other");
        let nodes = fabric.nodes()?;
        let followed = || {
            let status = fabric.weft(&["status", "-o", "json", "--timeout", "1s"]).ok()?;
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            let connected =
                status["nodes"].as_array()?.iter().filter(|node| node["connected"] == true).count();
            (connected == nodes.len()).then_some(())
        };
        for replica in &replicas {
            fabric.settle()?;
            fabric.fail(&format!("kill-replica {replica}"))?;
            let died = Instant::now();
            let mut well_since = None;
            // Until nothing of the dead one's can matter any more.
            while died.elapsed() < Duration::from_secs(8) {
                if followed().is_some() {
                    well_since.get_or_insert_with(|| died.elapsed());
                } else {
                    well_since = None;
                }
            }
            let away = well_since.with_context(|| format!("{replica}: nodes are away still"))?;
            println!("{replica}: all nodes are followed again {} ms after its death", away.as_millis());
            fabric.heal()?;
            ensure!(away <= SOON, "{replica}: nodes were away for {away:?}");
        }
        Ok(())
    })
}
