//! `weft check`: what each node found about itself — kernel features, ports, MTU, foreign firewalls, host routes.

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    pod::{ask_node, unexpected},
};
use crate::{
    args::Check,
    fail::{Failure, Outcome},
    table::{at, column, wide},
};

/// Runs the command: every node is asked now; one that doesn't answer is a finding.
pub(crate) async fn run(args: &Check, run: &Run) -> Outcome {
    let session = run.session()?;
    let nodes = match &args.node {
        Some(node) => vec![node.clone()],
        None => {
            let status = session
                .admin()?
                .status(session.request(v1::StatusRequest {}))
                .await
                .map_err(|s| session.failure(s))?
                .into_inner();
            status.nodes.into_iter().map(|report| report.node).collect()
        }
    };
    let mut items = Vec::new();
    for node in &nodes {
        match ask_node(&session, node, ask::What::Inspect(v1::Inspect {})).await {
            Ok(answer_request::What::Inspect(status)) => {
                items.extend(status.findings.iter().map(|f| finding(node, f)))
            }
            Ok(_) => return Err(unexpected(node)),
            Err(Failure::Error(error)) => {
                items.push(json!({"node": node, "check": "agent", "ok": false, "detail": error.message, "error": error}));
            }
            Err(answer @ Failure::Answer(_)) => return Err(answer),
        }
    }
    let bad = items.iter().filter(|item| item["ok"] != json!(true)).count();
    let columns = [
        column("NODE", |v| at(v, "/node")),
        column("CHECK", |v| at(v, "/check")),
        column("OK", |v| at(v, "/ok")),
        column("DETAIL", |v| at(v, "/detail")),
        wide("CODE", |v| at(v, "/error/code")),
    ];
    run.printer.note(&format!("{} checks on {} nodes, {bad} not well", items.len(), nodes.len()));
    run.printer.list(&json!({"kind": "CheckList", "items": items}), &columns);
    if bad == 0 { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn finding(node: &str, finding: &v1::Finding) -> Value {
    let error = finding.error.clone().map(weft_errors::Error::from);
    json!({"node": node, "check": finding.name, "ok": finding.ok, "detail": finding.detail, "error": error})
}
