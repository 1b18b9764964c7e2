//! `weft node list|show|remove`.

use serde_json::{Value, json};
use weft_model::Kind;
use weft_proto::v1;

use super::{
    Run, confirm,
    get::{Shown, columns, objects, one},
};
use crate::{
    args::Node,
    client::{node_status_value, now_ms},
    fail::Outcome,
    table::{at, joined, span},
};

/// Runs the subcommand.
pub(crate) async fn run(args: Node, run: &Run) -> Outcome {
    match args {
        Node::List => {
            let session = run.session()?;
            let whole = objects(&session, Kind::Node, "", "").await?;
            run.printer.list(&whole, columns(Shown::Object(Kind::Node)));
            Ok(())
        }
        Node::Show { name } => show(&name, run).await,
        Node::Remove { name, yes } => {
            confirm(&format!("remove node {name} for good: its pods lose their network"), yes)?;
            let session = run.session()?;
            let request = v1::RemoveNodeRequest { mutation: Some(session.mutation()), name: name.clone() };
            let revision = session
                .admin()?
                .remove_node(session.request(request))
                .await
                .map_err(|s| session.failure(s))?
                .into_inner()
                .revision;
            let value =
                json!({"kind": "Node", "metadata": {"name": name}, "removed": true, "revision": revision});
            run.printer.value(&value, &format!("node/{name}   removed\nrevision {revision}"));
            run.printer.note(&format!("clean the machine with: sudo weft-agent purge   (on {name})"));
            Ok(())
        }
    }
}

async fn show(name: &str, run: &Run) -> Outcome {
    let session = run.session()?;
    let (object, _) = one(&session, Kind::Node, name).await?;
    let status = session
        .admin()?
        .status(session.request(v1::StatusRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let report = status.nodes.iter().find(|report| report.node == name);
    let live = report.map_or(Value::Null, node_status_value);
    let value = json!({"kind": "NodeReport", "metadata": object["metadata"], "node": object, "report": live});
    run.printer.value(&value, &screen(name, &value));
    Ok(())
}

/// The screen of one node.
fn screen(name: &str, value: &Value) -> String {
    let report = &value["report"];
    let connected = report["connected"].as_bool().unwrap_or(false);
    let age = report["lastReportMs"]
        .as_u64()
        .filter(|ms| *ms > 0)
        .map(|ms| span(now_ms().saturating_sub(ms) / 1000));
    let state = match (connected, age) {
        (true, _) => "Ready".to_owned(),
        (false, Some(age)) => format!("Unknown (last report {age} ago)"),
        (false, None) => "Unknown (no report since the control plane started)".to_owned(),
    };
    let status = &report["status"];
    let mut text = format!("{name}   {state}");
    if !status.is_null() {
        text += &format!(
            "   agent {}   kernel {}   applied {}",
            at(status, "/agentVersion"),
            at(status, "/kernel"),
            at(status, "/appliedRevision")
        );
    }
    text += &format!(
        "\nUnderlay    {} dev {} MTU {}\nMesh        {}   endpoint {}   {}\n",
        joined(value, "/node/status/underlay"),
        at(status, "/underlayInterface"),
        at(status, "/underlayMtu"),
        joined(value, "/node/status/mesh"),
        at(value, "/node/status/endpoint"),
        if status["kernelWireguard"] == json!(true) { "kernel WireGuard" } else { "userspace tunnel" },
    );
    for block in status["blocks"].as_array().into_iter().flatten() {
        text += &format!(
            "Block       {}   {} used, {} in quarantine\n",
            at(block, "/block"),
            at(block, "/used"),
            at(block, "/quarantine")
        );
    }
    for peer in status["peers"].as_array().into_iter().flatten() {
        let handshake =
            peer["handshakeAgeS"].as_u64().map_or("never".to_owned(), |s| format!("{} ago", span(s)));
        text += &format!(
            "Peer        {}   {}   handshake {handshake}   path MTU {}   rx {} tx {}\n",
            at(peer, "/node"),
            at(peer, "/endpoint"),
            at(peer, "/pathMtu"),
            at(peer, "/rxBytes"),
            at(peer, "/txBytes"),
        );
    }
    for subsystem in status["subsystems"].as_array().into_iter().flatten() {
        let ok = subsystem["ok"] == json!(true);
        let word = if ok { "ok".to_owned() } else { at(subsystem, "/error/message") };
        text += &format!("Subsystem   {}   {word}\n", at(subsystem, "/name"));
    }
    text
}
