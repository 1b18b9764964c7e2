//! `weft check` sees what stands in the way of a node, names it, and is content again when it is gone.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result, wait::until};

use crate::alone::Alone;

/// How long a node has to see what is wrong, and what is right again.
const PATIENCE: Duration = Duration::from_secs(25);
const LOOK: Duration = Duration::from_millis(100);

#[test]
fn a_healthy_node_has_its_ports_its_replicas_and_nothing_in_the_way() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let replica =
            fabric.machine("cp-1")?.addresses().into_iter().next().context("cp-1 has no address")?;
        for node in ["n1", "n2"] {
            for (check, detail) in [
                ("UDP 51820", "weft0 listens"),
                ("UDP 51821", "free"),
                (&*format!("replica {replica}:7443"), "answers in "),
                ("firewalls", "none of others"),
                ("host routes", "none overlaps the fabric"),
                ("kernel: bridge", ""),
                ("underlay", "eth0 "),
            ] {
                await_finding(fabric, node, check, |found| {
                    found["ok"] == true && found["detail"].as_str().is_some_and(|d| d.contains(detail))
                })?;
            }
        }
        let said = fabric.weft(&["check"])?;
        ensure!(said.status == 0 && said.stdout.contains("all well"), "{said:?}");
        Ok(())
    })
}

#[test]
fn a_port_that_another_program_took_and_a_route_over_the_fabrics_ranges_are_named() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        if fabric.has_service("n1", "tunnel")? {
            fabric.hold("n1", "tunnel")?;
            let thief = fabric.background(on("n1"), &["serve", "udp:51820"], &[])?;
            let seen = await_finding(fabric, "n1", "UDP 51820", |found| found["error"]["code"] == "W4101");
            let said = fabric.weft(&["check", "--node", "n1"]);
            thief.stop().ok();
            fabric.release("n1", "tunnel")?;
            let seen = seen?["detail"].to_string();
            ensure!(seen.contains("held by process ") && seen.contains("(weft-lab)"), "who has it: {seen}");
            let said = said?;
            ensure!(said.status == 1 && said.stdout.contains("W4101"), "{said:?}");
            await_finding(fabric, "n1", "UDP 51820", |found| found["ok"] == true)?;
        }
        let gateway = fabric.machine(&fabric.outside())?.addresses();
        let gateway = gateway.iter().find(|a| a.is_ipv4()).context("no IPv4 outside")?.to_string();
        let route = |what: &str| {
            let argv = ["ip", "route", what, "10.0.0.0/8", "via", &gateway];
            fabric.on(on("n2"), &argv)?.success("ip route").map(drop)
        };
        route("add")?;
        let seen = await_finding(fabric, "n2", "host routes", |found| found["error"]["code"] == "W2203");
        route("delete")?;
        let seen = seen?["detail"].to_string();
        ensure!(seen.contains("10.0.0.0/8") && seen.contains("range 10."), "both ranges are named: {seen}");
        await_finding(fabric, "n2", "host routes", |found| found["ok"] == true).map(drop)
    })
}

#[test]
fn a_replica_that_a_node_does_not_reach_is_named() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, _| {
        let address = fabric.machine("cp-3")?.addresses().into_iter().next().context("no address")?;
        let check = format!("replica {address}:7443");
        await_finding(fabric, "n1", &check, |found| found["ok"] == true)?;
        fabric.fail("partition n1|cp-3")?;
        let alone = await_finding(fabric, "n1", &check, |found| found["error"]["code"] == "W1001");
        let others = await_finding(fabric, "n2", &check, |found| found["ok"] == true);
        fabric.heal()?;
        let remedy = alone?["error"]["remedy"].to_string();
        ensure!(remedy.contains("TCP 7443"), "{remedy}");
        others.context("only n1 is cut off")?;
        await_finding(fabric, "n1", &check, |found| found["ok"] == true).map(drop)
    })
}

#[test]
fn nobody_to_ask_is_no_success() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        fabric.settle()?;
        fabric.hold("n1", "agent")?;
        fabric.hold("n2", "agent")?;
        let seen = until(PATIENCE, LOOK, || {
            let said = fabric.weft(&["wait", "--timeout", "2s", "-o", "json"]).ok()?;
            let answer: Value = serde_json::from_str(&said.stdout).ok()?;
            (answer["unreachable"].as_array()?.len() == 2).then_some((said.status, answer))
        });
        let words = fabric.weft(&["wait", "--timeout", "2s"]);
        fabric.release("n1", "agent")?;
        fabric.release("n2", "agent")?;
        let (status, answer) = seen.context("the nodes are never unreachable")?;
        ensure!(status == 7 && answer["done"] == false, "{status} {answer}");
        let words = words?;
        ensure!(words.status == 7 && words.stdout.contains("no node is reachable"), "{words:?}");
        fabric.settle()
    })
}

#[test]
fn a_machine_is_looked_at_before_a_cluster_is_made_on_it() -> Result {
    let mut alone = Alone::empty()?;
    // Somebody serves where the replica is to: nothing is made.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let (address, data) = (taken.local_addr()?.to_string(), alone.path("data"));
    let data = data.to_string_lossy().into_owned();
    let init = ["init", "--name", "cp-1", "--listen", &address, "--data-dir", &data];
    let said = alone.weft(&init)?;
    ensure!(said.status == 2 && said.err.contains(&address) && said.err.contains("in use"), "{said:?}");
    let holder = format!("held by process {} (", std::process::id());
    ensure!(said.err.contains(&holder), "who serves there: {said:?}");
    ensure!(!alone.path("data").exists() && !alone.path("contexts.toml").exists(), "something was made");
    // Where nothing is to be started that is worth a warning.
    let said = alone.weft(&[&init[..], &["--no-start"]].concat())?.success()?;
    let warns =
        said.out.starts_with("Preflight ") && said.out.contains(&format!("{address} can't be listened on"));
    ensure!(warns, "{said:?}");
    drop(taken);
    alone.serve("data")?;
    let listen = alone.listen().to_owned();
    let planned = alone.json(&["init", "--name", "cp-2", "--listen", &listen, "--dry-run"])?;
    let found = planned["preflight"].as_array().context("no preflight")?;
    for check in ["kernel", "kernel: nf_tables", "host routes", "UDP 51820", "firewalls", "listen"] {
        ensure!(found.iter().any(|item| item["check"] == check), "{check} isn't looked at: {planned}");
    }
    Ok(())
}

#[test]
fn ranges_that_the_machine_has_a_route_to_are_refused_with_both_named() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let gateway = fabric.machine(&fabric.outside())?.addresses();
        let gateway = gateway.iter().find(|a| a.is_ipv4()).context("no IPv4 outside")?.to_string();
        let weft = fabric.weft_program();
        let on_node = |line: &str| {
            let argv: Vec<&str> = std::iter::once(weft.as_str()).chain(line.split(' ')).collect();
            fabric.on(on("n2"), &argv)
        };
        let init = "init --dry-run --family v4 --name x --pods 10.128.0.0/14 --listen 127.0.0.1:7444";
        let free = on_node(init)?;
        ensure!(free.status == 0 && free.stdout.starts_with("Preflight "), "{free:?}");
        let route = |what: &str| {
            let argv = ["ip", "route", what, "10.129.0.0/16", "via", &gateway];
            fabric.on(on("n2"), &argv)?.success("ip route").map(drop)
        };
        route("add")?;
        let refused = on_node(init);
        route("delete")?;
        let refused = refused?;
        ensure!(refused.status == 3 && refused.stderr.contains("W2203"), "{refused:?}");
        for range in ["10.128.0.0/14", "10.129.0.0/16"] {
            ensure!(refused.stderr.contains(range), "{range} isn't named: {refused:?}");
        }
        // A node of ours that is looked at this way has its ports.
        let found: Value = serde_json::from_str(&on_node("check --pre -o json")?.stdout)?;
        let port = found["items"].as_array().into_iter().flatten().find(|item| item["check"] == "UDP 51820");
        ensure!(port.is_some_and(|item| item["ok"] == true), "{found}");
        Ok(())
    })
}

/// Asks a node until what it finds under a name is as it should be.
fn await_finding(fabric: &Fabric, node: &str, check: &str, right: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let found = until(PATIENCE, LOOK, || {
        let said = fabric.weft(&["check", "--node", node, "-o", "json"]).ok()?;
        let list: Value = serde_json::from_str(&said.stdout).ok()?;
        last = list["items"].as_array()?.iter().find(|item| item["check"] == check)?.clone();
        right(&last).then(|| last.clone())
    });
    found.with_context(|| format!("node {node} says of {check}: {last}"))
}
