//! `weft status`: the verdict first, then what is wrong, then the numbers.

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_proto::v1;

use super::Run;
use crate::{
    client::{Session, hex, node_status_value, now_ms},
    fail::{Failure, Outcome},
    table::{at, span},
};

/// Runs the command: exit 0 only when all is well.
pub(crate) async fn run(run: &Run) -> Outcome {
    let session = run.session()?;
    let status = session
        .admin()?
        .status(session.request(v1::StatusRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let value = value(&status, &session);
    run.printer.value(&value, &screen(&value));
    if at(&value, "/verdict") == "HEALTHY" { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn value(status: &v1::StatusResponse, session: &Session) -> Value {
    let nodes: Vec<Value> = status.nodes.iter().map(node_status_value).collect();
    let replicas: Vec<Value> = status
        .replicas
        .iter()
        .map(|replica| {
            let member = replica.member.clone().unwrap_or_default();
            json!({
                "id": member.id,
                "name": member.name,
                "voter": member.voter,
                "reachable": replica.reachable,
                "leader": replica.leader,
                "term": replica.term,
                "applied": replica.applied,
                "version": replica.version,
                "stateHash": hex(&replica.state_hash),
            })
        })
        .collect();
    let problems = problems(status, &nodes);
    json!({
        "kind": "Status",
        "verdict": if problems.is_empty() { "HEALTHY" } else { "DEGRADED" },
        "problems": problems,
        "context": session.context_name(),
        "cluster": hex(&status.cluster),
        "revision": status.revision,
        "replicas": replicas,
        "nodes": nodes,
        "pods": status.pods,
        "blocks": status.blocks,
        "blocksTotal": status.blocks_total,
    })
}

/// One line per thing that is wrong, with the command that tells more.
fn problems(status: &v1::StatusResponse, nodes: &[Value]) -> Vec<Value> {
    let mut problems = Vec::new();
    let mut problem = |object: String, text: String, command: &str| {
        problems.push(json!({"object": object, "problem": text, "command": command}))
    };
    for replica in status.replicas.iter().filter(|r| !r.reachable) {
        let name = replica.member.as_ref().map_or("?", |m| m.name.as_str());
        problem(format!("replica {name}"), "doesn't answer".to_owned(), "weft get members");
    }
    if !status.replicas.iter().any(|r| r.leader) {
        problem("control plane".to_owned(), "has no leader".to_owned(), "weft get members");
    }
    for node in nodes {
        let name = at(node, "/node");
        if node["connected"] != json!(true) {
            let age = match node["lastReportMs"].as_u64() {
                Some(0) | None => "no report since the control plane started".to_owned(),
                Some(ms) => format!("last report {} ago", span(now_ms().saturating_sub(ms) / 1000)),
            };
            problem(
                format!("node {name}"),
                format!("unreachable ({age}): its pods are Unknown"),
                &format!("weft node show {name}"),
            );
            continue;
        }
        for subsystem in
            node["status"]["subsystems"].as_array().into_iter().flatten().filter(|s| s["ok"] != json!(true))
        {
            problem(
                format!("node {name}"),
                format!("{}: {}", at(subsystem, "/name"), at(subsystem, "/error/message")),
                &format!("weft node show {name}"),
            );
        }
    }
    problems
}

fn screen(value: &Value) -> String {
    let problems = value["problems"].as_array().map_or(&[][..], Vec::as_slice);
    let count = match problems.len() {
        0 => String::new(),
        1 => "  1 problem".to_owned(),
        n => format!("  {n} problems"),
    };
    let mut text = format!(
        "{}{count}   context {}   revision {}\n",
        at(value, "/verdict"),
        at(value, "/context"),
        at(value, "/revision")
    );
    for problem in problems {
        text += &format!(
            "  ✗ {}   {}      {}\n",
            at(problem, "/object"),
            at(problem, "/problem"),
            at(problem, "/command")
        );
    }
    let replicas = value["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let reachable = replicas.iter().filter(|r| r["reachable"] == json!(true)).count();
    let leader = replicas.iter().find(|r| r["leader"] == json!(true));
    let leader = leader
        .map_or("no leader".to_owned(), |l| format!("leader {} (term {})", at(l, "/name"), at(l, "/term")));
    text += &format!("\nControl plane   {reachable}/{} replicas, {leader}\n", replicas.len());
    let nodes = value["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = nodes.iter().filter(|n| n["connected"] == json!(true)).count();
    let revision = value["revision"].as_u64().unwrap_or(0);
    let current =
        nodes.iter().filter(|n| n["status"]["appliedRevision"].as_u64().unwrap_or(0) >= revision).count();
    text += &format!("Nodes           {ready}/{} ready, {current} at revision {revision}\n", nodes.len());
    let peers = || nodes.iter().flat_map(|n| n["status"]["peers"].as_array().into_iter().flatten());
    let fresh = peers().filter(|p| p["handshakeAgeS"].as_u64().is_some_and(|age| age < 180)).count();
    let userspace = nodes.iter().filter(|n| n["status"]["kernelWireguard"] == json!(false)).count();
    text += &format!(
        "Mesh            {fresh} of {} tunnels with a handshake in the last 3m, userspace on {userspace} nodes\n",
        peers().count()
    );
    text += &format!(
        "Addresses       {} pods, {} of {} blocks leased\n",
        value["pods"], value["blocks"], value["blocksTotal"]
    );
    text
}
