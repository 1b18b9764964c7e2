//! `weft check`: what each node found about itself — kernel features, ports, MTU, foreign firewalls, host routes.

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_model::{Families, Kind, Overlay};
use weft_plan::Intent;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::one,
    local,
    pod::{ask_node, unexpected},
    preflight::Preflight,
};
use crate::{
    args::Check,
    client::{Session, finding_value},
    fail::{Failure, Outcome},
    output::{Format, out},
    table::{at, column, count, render},
};

/// Runs the command: every node is asked now; one that doesn't answer is a finding.
pub(crate) async fn run(args: &Check, run: &Run) -> Outcome {
    if args.pre {
        let intent = Intent { overlay: Overlay::Wireguard, families: Families::Dual, ranges: &[] };
        let found = Preflight::look(intent)?.values();
        return show(found.into_iter().map(|finding| of_node("here", finding)).collect(), 1, run);
    }
    if args.node.is_none()
        && let Some(here) = local::answer(true, run).await?
    {
        return local::findings(&here, run);
    }
    let session = run.session()?;
    let nodes = match &args.node {
        Some(node) => {
            one(&session, Kind::Node, node).await?;
            vec![node.clone()]
        }
        None => session.status().await?.nodes.into_iter().map(|report| report.node).collect(),
    };
    let mut items = Vec::new();
    for node in &nodes {
        items.extend(findings(&session, node).await?);
    }
    show(items, nodes.len(), run)
}

/// Prints what was found on so many nodes.
pub(crate) fn show(items: Vec<Value>, nodes: usize, run: &Run) -> Outcome {
    let bad: Vec<Value> = items.iter().filter(|item| item["ok"] != json!(true)).cloned().collect();
    let (checks, places) = (count(items.len(), "check"), count(nodes, "node"));
    let verdict = match bad.len() {
        0 => format!("{checks} on {places}: all well"),
        n => format!("{checks} on {places}: {n} not well"),
    };
    if matches!(run.printer.format, Format::Table | Format::Wide) {
        // All of them only on request: never a wall of green.
        let shown = if run.printer.wide() { &items } else { &bad };
        out(&screen(&verdict, shown, run));
    } else {
        run.printer.list(&json!({"kind": "CheckList", "verdict": verdict, "items": items}), &[]);
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn screen(verdict: &str, shown: &[Value], run: &Run) -> String {
    let columns = [
        column("NODE", |v| at(v, "/node")),
        column("CHECK", |v| at(v, "/check")),
        column("OK", |v| at(v, "/ok")),
        column("CODE", |v| at(v, "/error/code")),
        column("DETAIL", |v| at(v, "/detail")),
    ];
    if shown.is_empty() {
        verdict.to_owned()
    } else {
        format!("{verdict}\n\n{}", render(&columns, shown, run.printer.style()))
    }
}

async fn findings(session: &Session, node: &str) -> Outcome<Vec<Value>> {
    match ask_node(session, node, ask::What::Inspect(v1::Inspect { check: true }), None).await {
        Ok(answer_request::What::Inspect(status)) => {
            Ok(status.findings.iter().map(|finding| of_node(node, finding_value(finding))).collect())
        }
        Ok(_) => Err(unexpected(node)),
        Err(Failure::Error(error)) => Ok(vec![of_node(
            node,
            json!({"check": "agent", "ok": false, "detail": error.message, "error": error}),
        )]),
        Err(answer @ Failure::Answer(_)) => Err(answer),
    }
}

/// A finding with the name of its node.
pub(crate) fn of_node(node: &str, mut finding: Value) -> Value {
    if let Value::Object(map) = &mut finding {
        map.insert("node".to_owned(), json!(node));
    }
    finding
}
