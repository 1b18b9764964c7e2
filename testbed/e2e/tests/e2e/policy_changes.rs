//! Changes of policy, told before they are made: what opens, what closes, which live connections end, and that exactly those do.

use std::{collections::BTreeSet, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::checks::TCP;
use weft_lab::fabric::{Background, on};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result, wait::pass, wait::until};

/// How long a cut connection stands still before it may go on.
const CUT: Duration = Duration::from_millis(1200);
/// A connection that goes on never stands still for so long.
const ALIVE_MS: u64 = 1000;

/// Who may reach the database, and on which port.
fn db(role: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: db, namespace: default}}\n\
         spec: {{podSelector: {{matchLabels: {{role: db}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: \
         {{role: {role}}}}}}}], ports: [{{port: 9000}}]}}]}}\n"
    )
}

/// The document of a command about a file, whatever its status; with the status.
fn asked(fabric: &Fabric, arguments: &[&str]) -> Result<(Value, u8)> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
    let said = fabric.weft(&arguments)?;
    let value = serde_json::from_str(&said.stdout).with_context(|| format!("{arguments:?}: {said:?}"))?;
    Ok((value, said.status))
}

/// Connections that a document says end: from whom, and to which address.
fn cuts(change: &Value) -> BTreeSet<(String, String)> {
    let rows = change.pointer("/live/cuts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let word = |row: &Value, pointer: &str| {
        row.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    rows.iter().map(|row| (word(row, "/from"), word(row, "/toAddress"))).collect()
}

/// What closes and opens, as lines.
fn lines(change: &Value) -> Vec<String> {
    let list = change["shifts"].as_array().map_or(&[][..], Vec::as_slice);
    let words = |row: &Value, key: &str| {
        let words = row[key].as_array().map_or(&[][..], Vec::as_slice).iter();
        words.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let line = |row: &Value| {
        let verbs = ["opens", "closes"].map(|verb| row[verb].as_str().map(|ports| format!("{verb} {ports}")));
        let verbs: Vec<String> = verbs.into_iter().flatten().collect();
        format!("{} -> {}: {}", words(row, "from"), words(row, "to"), verbs.join(", "))
    };
    list.iter().map(line).collect()
}

#[test]
fn a_diff_tells_exactly_the_connections_that_apply_cuts_and_they_live_again_after_it() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let (first, second) = (cast.a.node(), cast.c.node());
        let role = |role| [("role", role)];
        let web = fabric.labelled_pod(first, "chg-web", &role("web"), &["tcp:9000"])?;
        let log = fabric.labelled_pod(first, "chg-log", &role("log"), &["tcp:9000"])?;
        let db_pod = fabric.labelled_pod(second, "chg-db", &role("db"), &["tcp:9000"])?;
        fabric.settle()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("db.yaml");
        std::fs::write(&file, db("web"))?;
        let file = file.to_str().context("a path that is no text")?;

        let to = db_pod.addresses();
        let [v4, v6] = to else { anyhow::bail!("two families: {to:?}") };
        let stream = |place: weft_lab::protocol::Place, to: &IpAddr| {
            fabric.background(place, &["stream", &to.to_string(), TCP], &[])
        };
        // Who keeps his connection: the one that may, the database's own node, and the database's own connections.
        let kept = [
            stream(web.place(), v4)?,
            stream(on(second), v4)?,
            stream(db_pod.place(), log.addresses().first().context("no address")?)?,
        ];
        // And who doesn't: another role by either family, and another node.
        let cut = [stream(log.place(), v4)?, stream(log.place(), v6)?, stream(on(first), v4)?];
        let expected: BTreeSet<(String, String)> = [
            ("default/chg-log".to_owned(), v4.to_string()),
            ("default/chg-log".to_owned(), v6.to_string()),
            (format!("node/{first}"), v4.to_string()),
        ]
        .into();
        // They begin in their own time.
        let told = until(Duration::from_secs(5), Duration::from_millis(50), || {
            let (told, status) = asked(fabric, &["diff", "-f", file]).ok()?;
            (status == 1 && told.pointer("/policyChange/live/connections") == Some(&Value::from(3)))
                .then_some(told)
        })
        .context("weft diff tells three connections")?;
        let change = &told["policyChange"];
        ensure!(cuts(change) == expected, "{change:#}");
        ensure!(change["live"]["unasked"] == Value::Array(Vec::new()), "{change:#}");
        let closes = lines(change);
        let but_web =
            closes.iter().any(|line| line == "default/chg-web -> default/chg-db: closes all but 9000/tcp");
        let others =
            closes.iter().any(|line| line == "everybody but default/chg-web -> default/chg-db: closes all");
        ensure!(but_web && others && closes.len() == 2, "{closes:?}");
        let unified = told["items"][0]["diff"].as_str().unwrap_or_default();
        ensure!(unified.starts_with("--- /dev/null\n+++ networkpolicy/default/db as written\n"), "{unified}");
        ensure!(fabric.weft(&["get", "netpol", "db"])?.status == 4, "a difference stores nothing");

        let (applied, status) = asked(fabric, &["apply", "-f", file, "--wait"])?;
        ensure!(status == 0 && cuts(&applied["policyChange"]) == expected, "{applied:#}");
        pass(CUT);
        let (gone, _) = asked(fabric, &["delete", "netpol", "db", "--dry-run"])?;
        ensure!(lines(&gone["policyChange"]).len() == 2 && gone["deleted"] == false, "{gone:#}");
        ensure!(gone["policyChange"]["live"].is_null(), "nothing closes, nobody is asked: {gone:#}");
        fabric.erase(&db("web"))?;
        fabric.settle()?;
        let gap = |stream: Background| -> Result<u64> {
            let seen = stream.stop()?;
            ensure!(seen["ok"] == true, "it lives in the end: {seen}");
            seen["longest_gap_ms"].as_u64().context("no gap")
        };
        for (index, stream) in kept.into_iter().enumerate() {
            let gap = gap(stream)?;
            ensure!(gap < ALIVE_MS, "connection {index} that was to be kept stood still for {gap} ms");
        }
        for (index, stream) in cut.into_iter().enumerate() {
            let gap = u128::from(gap(stream)?);
            ensure!(
                gap >= CUT.as_millis(),
                "connection {index} that was to be cut stood still for {gap} ms only"
            );
        }
        [web, log, db_pod].iter().try_for_each(|pod| fabric.detach(pod))
    })
}

/// A policy with so many blocks.
fn wide(name: &str, from: u32, blocks: u32) -> String {
    let block = |n: u32| format!("{{ipBlock: {{cidr: 10.{}.{}.0/24}}}}", n / 256, n % 256);
    let all: Vec<String> = (from..from + blocks).map(block).collect();
    let rules: Vec<String> =
        all.chunks(250).map(|blocks| format!("{{from: [{}]}}", blocks.join(", "))).collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{podSelector: {{matchLabels: {{role: {name}}}}}, ingress: [{}]}}\n",
        rules.join(", ")
    )
}

#[test]
fn what_no_node_can_hold_is_refused_and_what_cant_be_meant_is_a_finding() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let pod = fabric.labelled_pod(cast.a.node(), "chg-a", &[("role", "wide-a")], &["tcp:9000"])?;
        fabric.settle()?;
        let folder = tempfile::tempdir()?;
        let apply = |text: &str| -> Result<weft_lab::client::Output> {
            let file = folder.path().join("policy.yaml");
            std::fs::write(&file, text)?;
            fabric.weft(&["apply", "-f", path(&file)?])
        };
        let refused = apply(&wide("wide-a", 0, 8193))?;
        let words = "default/wide-a: 8193 peers, exceptions and ports, more than the 8192 that a node holds";
        ensure!(refused.status == 3 && refused.stderr.contains("W6001"), "{refused:?}");
        ensure!(refused.stderr.contains(words), "{refused:?}");
        // Either is small enough, and one pod would have both.
        ensure!(apply(&wide("wide-a", 0, 5000))?.status == 0);
        let second = wide("wide-b", 5000, 4000);
        let together = apply(&second.replace("{role: wide-b}", "{role: wide-a}"))?;
        let words = "default/wide-a, default/wide-b: 9000 peers";
        ensure!(together.status == 3 && together.stderr.contains(words), "{together:?}");
        let stored = apply(&second)?;
        ensure!(stored.status == 0, "{stored:?}");

        let (checked, status) = asked(fabric, &["check"])?;
        let items = checked["items"].as_array().map_or(&[][..], Vec::as_slice);
        let found = items.iter().find(|item| item["check"] == "policy default/wide-b");
        let found = found.with_context(|| format!("{checked:#}"))?;
        ensure!(found["warning"] == true && found["error"]["code"] == "W6101", "{found}");
        ensure!(status == 0, "a warning is no failure: {}", checked["verdict"]);
        for name in ["wide-a", "wide-b"] {
            fabric.weft(&["delete", "netpol", name])?.success("weft delete netpol")?;
        }
        fabric.detach(&pod)
    })
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("a path that is no text")
}
