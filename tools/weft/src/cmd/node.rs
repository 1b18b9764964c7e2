//! `weft node list|show|remove`.

use std::time::Duration;

use serde_json::{Value, json};
use weft_model::{Fabric, Kind};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::{list, one, suggest},
    pod::ask_node,
};
use crate::{
    args::Node,
    client::{Session, drops_text, names_text, node_status_value},
    fail::Outcome,
    table::{Style, age, at, column, joined, render, size, span},
};

/// A node that doesn't answer within this is shown by its last report.
const LIVE: Duration = Duration::from_secs(3);

/// Runs the subcommand.
pub(crate) async fn run(args: Node, run: &Run) -> Outcome {
    match args {
        Node::List => list(Kind::Node, false, "", run).await,
        Node::Show { name } => show(&name, run).await,
        Node::Remove { name, yes } => remove(&name, yes, run).await,
    }
}

async fn remove(name: &str, yes: bool, run: &Run) -> Outcome {
    let session = run.session()?;
    session.confirm(&format!("remove node {name} for good: its pods lose their network"), yes)?;
    let request = v1::RemoveNodeRequest { mutation: Some(session.mutation()), name: name.to_owned() };
    let answer =
        session.call(request, |mut admin, request| async move { admin.remove_node(request).await }).await;
    let revision = match answer {
        Ok(answer) => answer.revision,
        Err(failure) => return Err(suggest(&session, failure, Kind::Node, name).await),
    };
    let value = json!({"kind": "Node", "metadata": {"name": name}, "removed": true, "revision": revision});
    run.printer.value(&value, &format!("node/{name}   removed\nrevision {revision}"));
    run.printer.note(&format!("clean the machine, on {name}:  sudo weft-agent purge"));
    Ok(())
}

async fn show(name: &str, run: &Run) -> Outcome {
    let session = run.session()?;
    let (object, _) = one(&session, Kind::Node, name).await?;
    let status = session.status().await?;
    let fabric = status.fabric.and_then(|wire| Fabric::try_from(wire).ok());
    let report = report(&session, name, status.nodes).await;
    let value = json!({
        "kind": "NodeReport",
        "metadata": object["metadata"],
        "revision": status.revision,
        "overlay": fabric.map(|fabric| fabric.overlay.to_string()),
        "node": object,
        "report": report.as_ref().map(node_status_value),
    });
    run.printer.value(&value, &screen(name, &value));
    Ok(())
}

/// The last report with what the node says right now put in, if it says something.
async fn report(session: &Session, name: &str, reports: Vec<v1::NodeReport>) -> Option<v1::NodeReport> {
    let mut report = reports.into_iter().find(|report| report.node == name)?;
    if report.connected
        && let Ok(answer_request::What::Inspect(now)) =
            ask_node(session, name, ask::What::Inspect(v1::Inspect { check: false }), Some(LIVE)).await
    {
        report.status = Some(now);
    }
    Some(report)
}

/// The screen of one node.
fn screen(name: &str, value: &Value) -> String {
    let report = &value["report"];
    let since = age(report, "/lastReport");
    let state = match (at(value, "/node/status/state").as_str(), report["connected"].as_bool()) {
        ("Removed", _) => "Removed".to_owned(),
        ("Silent", _) => format!(
            "Silent (nothing heard for {}: its pods take no new connections where others serve)",
            age(value, "/node/status/silentSince")
        ),
        (_, Some(true)) => "Ready".to_owned(),
        (_, _) if since.is_empty() => "Unknown (no replica in reach has a report of it)".to_owned(),
        (_, _) => format!("Unknown (last report {since} ago)"),
    };
    let status = &report["status"];
    let mut text = format!("{name}   {state}");
    if !status.is_null() {
        let applied = status["appliedRevision"].as_u64().unwrap_or(0);
        let lag = value["revision"].as_u64().unwrap_or(0).saturating_sub(applied);
        text += &format!("   agent {}", at(status, "/agentVersion"));
        let connected = report["connected"] == json!(true);
        let up = if connected { age(status, "/started") } else { String::new() };
        for (word, part) in [("kernel", at(status, "/kernel")), ("up", up)] {
            if !part.is_empty() {
                text += &format!("   {word} {part}");
            }
        }
        text += &format!("   applied {applied} (lag {lag})");
    }
    text.push('\n');
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let mesh = or_dash(joined(value, "/node/status/mesh"));
    text += &format!("Underlay    {}", or_dash(joined(value, "/node/status/underlay")));
    if !status.is_null() {
        text += &format!(" dev {} MTU {}", at(status, "/underlayInterface"), at(status, "/underlayMtu"));
    }
    let routed = at(value, "/overlay") == "routed";
    text += &format!("\nMesh        {mesh} · ");
    text += &match routed {
        true => "mode routed, no tunnel".to_owned(),
        false => format!("endpoint {}", or_dash(at(value, "/node/status/endpoint"))),
    };
    if !status.is_null() && !routed {
        let kernel = status["kernelWireguard"] == json!(true);
        text += if kernel { " · kernel WireGuard" } else { " · userspace tunnel" };
    }
    text.push('\n');
    text + &blocks(status) + &account(status, routed)
}

/// The line of a node's blocks.
pub(crate) fn blocks(status: &Value) -> String {
    let blocks: Vec<String> = status["blocks"].as_array().into_iter().flatten().map(block).collect();
    format!("Blocks      {}\n", if blocks.is_empty() { "-".to_owned() } else { blocks.join("   ") })
}

/// What a node says of its peers, which in mode routed are no tunnels, of its subsystems, of its DNS, and of what it dropped.
pub(crate) fn account(status: &Value, routed: bool) -> String {
    peers(status, routed)
        + &subsystems(status)
        + &names_text(&status["names"])
        + &drops_text(&status["drops"])
}

/// `10.128.7.0/24 (41 used, 6 in quarantine)`.
fn block(block: &Value) -> String {
    let resting = match block["quarantine"].as_u64() {
        Some(0) | None => String::new(),
        Some(n) => format!(", {n} in quarantine"),
    };
    format!("{} ({} used{resting})", at(block, "/block"), at(block, "/used"))
}

fn peers(status: &Value, routed: bool) -> String {
    let peers = status["peers"].as_array().map_or(&[][..], Vec::as_slice);
    if peers.is_empty() {
        return String::new();
    }
    let handshake = |p: &Value| match p["handshakeAgeS"].as_u64() {
        Some(age) if age <= 180 => span(age),
        Some(age) => format!("{} !", span(age)),
        None => "never !".to_owned(),
    };
    let rtt = |p: &Value| {
        p["rttUs"]
            .as_u64()
            .filter(|us| *us > 0)
            .map_or(String::new(), |us| format!("{}.{}ms", us / 1000, us % 1000 / 100))
    };
    let mut columns = vec![column("PEER", |p| at(p, "/node"))];
    if !routed {
        columns.push(column("ENDPOINT", |p| at(p, "/endpoint")));
        columns.push(column("HANDSHAKE", handshake));
    }
    columns.push(column("RTT", rtt));
    columns.push(column("PATH MTU", |p| at(p, "/pathMtu")));
    if !routed {
        columns.push(column("RX", |p| size(p["rxBytes"].as_u64().unwrap_or(0))));
        columns.push(column("TX", |p| size(p["txBytes"].as_u64().unwrap_or(0))));
    }
    render(&columns, peers, Style::default())
}

/// One line of those that work, one for each that doesn't.
fn subsystems(status: &Value) -> String {
    let all = status["subsystems"].as_array().map_or(&[][..], Vec::as_slice);
    let (well, ill): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|s| s["ok"] == json!(true));
    let well: Vec<String> = well.iter().map(|s| format!("{} ok", at(s, "/name"))).collect();
    let mut text =
        if well.is_empty() { String::new() } else { format!("Subsystems  {}\n", well.join(" · ")) };
    for subsystem in ill {
        text += &format!(
            "  ✗ {} since {}: {} {}\n",
            at(subsystem, "/name"),
            age(subsystem, "/since"),
            at(subsystem, "/error/code"),
            at(subsystem, "/error/message")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_report_shows_what_is_stored_and_nothing_made_up() {
        let value = json!({
            "revision": 9,
            "node": {"status": {"state": "Active", "underlay": ["192.0.2.1"], "mesh": ["10.111.0.1"], "endpoint": "192.0.2.1:51820"}},
            "report": {"connected": false, "lastReport": null, "status": null},
        });
        assert_eq!(
            screen("n1", &value),
            "n1   Unknown (no replica in reach has a report of it)\n\
             Underlay    192.0.2.1\nMesh        10.111.0.1 · endpoint 192.0.2.1:51820\nBlocks      -\n"
        );
    }

    #[test]
    fn stale_peers_and_broken_subsystems_stand_out() {
        let status = json!({
            "peers": [
                {"node": "n2", "endpoint": "192.0.2.2:51820", "handshakeAgeS": 41, "rttUs": 340, "pathMtu": 1440, "rxBytes": 1_181_116_006u64, "txBytes": 0},
                {"node": "n3", "handshakeAgeS": 300, "pathMtu": 1440, "rxBytes": 1, "txBytes": 2},
            ],
            "subsystems": [
                {"name": "links", "ok": true},
                {"name": "nft", "ok": false, "error": {"code": "W4003", "message": "refused"}},
            ],
        });
        let text = account(&status, false);
        for part in
            ["n2    192.0.2.2:51820  41s        0.3ms  1440      1.0GiB  0B", "n3    -                5m !"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.contains("Subsystems  links ok\n  ✗ nft since : W4003 refused\n"), "{text}");
        let routed = account(&status, true);
        assert!(
            routed.contains("PEER  RTT    PATH MTU\nn2    0.3ms  1440\n") && !routed.contains('!'),
            "{routed}"
        );
    }
}
