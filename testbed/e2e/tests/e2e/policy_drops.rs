//! Drops that people can read: one denied packet is told with its names, policy and hint, and counted; a flood is bounded, and told as a
//! number.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::fabric::{Pod, on};
use weft_lab::topology::Family;
use weft_lab::wait::{pass, until};
use weft_lab::{Fabric, Result};
use weft_model::Direction;

const DB_IN: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: drops-db, namespace: default}
spec: {podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {role: web}}}], ports: [{port: 9000}]}]}
";

/// What is said for so long, line by line, while something happens.
fn watched(fabric: &Fabric, time: &str, pod: &Pod, act: impl Fn() -> Result + Sync) -> Result<Vec<Value>> {
    let name = format!("default/{}", pod.name());
    let watch = ["flows", "--for", time, "--verdict", "dropped", "--pod", &name, "-o", "json"];
    let said = std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            // Whoever watches is asked for, and heard, within this.
            pass(Duration::from_millis(700));
            act()
        });
        let said = fabric.weft(&watch);
        acting.join().map_err(|_| anyhow::anyhow!("it broke off"))??;
        said
    })?;
    ensure!(said.status == 0, "{said:?}");
    Ok(said.stdout.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
}

fn datagrams(fabric: &Fabric, from: &Pod, to: &Pod, count: u32) -> Result {
    let to = to.addresses()[0].to_string();
    let seen = fabric.long_probe(
        from.place(),
        &["spray", &to, "9001", "--count", &count.to_string()],
        Duration::from_secs(20),
    )?;
    ensure!(seen["sent"] == count, "{seen}");
    Ok(())
}

/// Prints jiffies that the agent of this machine has used, and its memory in KiB.
const LOOK: &str = r#"for d in /proc/[0-9]*; do
  case "$(readlink $d/exe)" in */weft-agent) ;; *) continue ;; esac
  case "$(tr '\0' ' ' < $d/cmdline)" in *" run "*) ;; *) continue ;; esac
  cut -d' ' -f14,15 $d/stat
  grep VmRSS $d/status | tr -dc '0-9\n'
done"#;

/// Processor time of an agent so far, milliseconds, and its memory, KiB.
fn usage(fabric: &Fabric, node: &str) -> Result<(u64, u64)> {
    let seen = fabric.on(on(node), &["sh", "-c", LOOK])?.stdout;
    let numbers: Vec<u64> = seen.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [user, system, rss] = numbers.as_slice() else { anyhow::bail!("no agent: {seen:?}") };
    // A jiffy is 10 ms (fixed by the kernel's ABI).
    Ok((10 * (user + system), *rss))
}

#[test]
fn a_denied_packet_is_told_with_what_would_allow_it_and_a_flood_by_its_number() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let (first, second) = (cast.a.node(), cast.c.node());
        let log = fabric.labelled_pod(first, "drops-log", &[("role", "log")], &[])?;
        let db = fabric.labelled_pod(second, "drops-db", &[("role", "db")], &[])?;
        // Floods from the same node, since a tunnel would lose some of it.
        let near = fabric.labelled_pod(second, "drops-near", &[("role", "log")], &[])?;
        fabric.apply(DB_IN)?;
        fabric.settle()?;
        let before = fabric.drops(second)?;

        let lines = watched(fabric, "3s", &db, || datagrams(fabric, &log, &db, 1))?;
        let [told] = lines.as_slice() else { anyhow::bail!("one packet is one line: {lines:?}") };
        let is = |field: &str, wanted: &str| {
            ensure!(told[field] == wanted, "{field} should be {wanted}: {told}");
            Ok(())
        };
        is("kind", "Drop")?;
        is("node", second)?;
        is("reason", "policy-ingress")?;
        is("pod", "default/drops-db")?;
        is("peer", "pod/default/drops-log")?;
        is("protocol", "udp")?;
        ensure!(told["destinationPort"] == 9001 && told["direction"] == "ingress", "{told}");
        ensure!(told["policies"] == serde_json::json!(["default/drops-db"]), "{told}");
        let hint = told["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains("drops-db rule 1") && hint.contains("role=web"), "{told}");
        ensure!(
            fabric.drops(second)?.since(&before).of(Direction::Ingress, &db) == 1,
            "one probe, one denial"
        );
        let pod = fabric.weft_json(&["describe", "pod", "drops-db"])?;
        ensure!(pod["denied"]["ingress"] == 1, "{}", pod["denied"]);

        // A flood is counted whole, costs little, and most of it is told as a number.
        let flood = 100_000;
        let (cpu_before, _) = usage(fabric, second)?;
        let lines = watched(fabric, "8s", &db, || datagrams(fabric, &near, &db, flood))?;
        let (cpu, rss) = usage(fabric, second)?;
        let came = fabric.drops(second)?.since(&before).of(Direction::Ingress, &db) - 1;
        let told = lines.iter().filter(|line| line["kind"] == "Drop").count() as u64;
        let left_out: u64 = lines
            .iter()
            .filter(|line| line["kind"] == "LeftOut")
            .filter_map(|line| line["packets"].as_u64())
            .sum();
        eprintln!(
            "{came} of {flood} came, {told} were told, {left_out} left out; {} ms, {rss} KiB",
            cpu - cpu_before
        );
        ensure!(came == u64::from(flood) && told + left_out == came, "{came}: {told} and {left_out}");
        ensure!((1..1000).contains(&told), "{told} of one pod in some seconds");
        ensure!(cpu - cpu_before < 3000 && rss < 200 * 1024, "{} ms, {rss} KiB", cpu - cpu_before);

        // The numbers outlive the agent, and are those of its pods.
        fabric.restart(second, "agent")?;
        fabric.settle_all()?;
        let said = until(Duration::from_secs(10), Duration::from_millis(100), || {
            let said = fabric.weft_json(&["describe", "pod", "drops-db"]).ok()?;
            (said["denied"]["ingress"] == came + 1).then_some(said)
        });
        ensure!(said.is_some(), "an agent that starts anew tells what was denied before");
        fabric.erase(DB_IN)?;
        [&log, &near, &db].into_iter().try_for_each(|pod| fabric.detach(pod))
    })
}
