//! `weft check`: what each node found about itself — kernel features, ports, MTU, foreign firewalls, host routes — and what there
//! is to say of the cluster's policies.

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
    policy,
    preflight::Preflight,
};
use crate::{
    args::Check,
    client::{Session, finding_value},
    fail::{Failure, Outcome},
    output::{Format, out},
    table::{at, column, count, render},
};

/// Nodes that one row names; of more there is only a number.
const NODES: usize = 3;

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
    if args.node.is_none() {
        items.extend(policy::findings(run).await?);
    }
    show(items, nodes.len(), run)
}

/// Prints what was found on so many nodes.
pub(crate) fn show(items: Vec<Value>, nodes: usize, run: &Run) -> Outcome {
    let is_bad = |item: &&Value| item["ok"] != json!(true);
    let is_told = |item: &&Value| is_bad(item) || item["warning"] == json!(true);
    let bad = items.iter().filter(is_bad).count();
    let told: Vec<Value> = items.iter().filter(is_told).cloned().collect();
    let (checks, places) = (count(items.len(), "check"), count(nodes, "node"));
    let warnings = match told.len() - bad {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    let verdict = match bad {
        0 => format!("{checks} on {places}: all well{warnings}"),
        n => format!("{checks} on {places}: {n} not well{warnings}"),
    };
    if matches!(run.printer.format, Format::Table | Format::Wide) {
        // All of them only on request: never a wall of green.
        let shown = if run.printer.wide() { items } else { folded(told) };
        out(&screen(&verdict, &shown, run));
    } else {
        run.printer.list(&json!({"kind": "CheckList", "verdict": verdict, "items": items}), &[]);
    }
    if bad == 0 { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

/// What several nodes found alike is one row, with what the first of them said.
fn folded(items: Vec<Value>) -> Vec<Value> {
    let alike = |a: &Value, b: &Value| {
        ["/check", "/ok", "/error/code"].into_iter().all(|pointer| a.pointer(pointer) == b.pointer(pointer))
    };
    let mut rows: Vec<(Value, Vec<String>)> = Vec::new();
    for item in items {
        let node = at(&item, "/node");
        match rows.iter_mut().find(|(row, nodes)| !node.is_empty() && !nodes.is_empty() && alike(row, &item))
        {
            Some((_, nodes)) => nodes.push(node),
            None => rows.push((item, if node.is_empty() { Vec::new() } else { vec![node] })),
        }
    }
    rows.into_iter()
        .map(|(row, nodes)| {
            let more = nodes.len().saturating_sub(NODES);
            let named = nodes.get(..NODES).unwrap_or(&nodes).join(",");
            of_node(&if more == 0 { named } else { format!("{named} and {more} more") }, row)
        })
        .collect()
}

fn screen(verdict: &str, shown: &[Value], run: &Run) -> String {
    let columns = [
        column("NODE", |v| at(v, "/node")),
        column("CHECK", |v| at(v, "/check")),
        column("OK", |v| if v["warning"] == json!(true) { "warning".to_owned() } else { at(v, "/ok") }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_found_alike_is_one_row() {
        let finding = |node: &str, check: &str, code: &str, detail: &str| json!({"node": node, "check": check, "ok": false, "detail": detail, "error": {"code": code}});
        let rows = folded(vec![
            finding("n1", "dns upstream", "W5201", "left 3"),
            finding("n1", "UDP 51820", "W4101", "held"),
            finding("n2", "dns upstream", "W5201", "left 9"),
            finding("", "policy a/b", "W6101", "nobody"),
            finding("", "policy a/b", "W6101", "nobody else"),
            finding("n3", "dns upstream", "W5201", "left 1"),
            finding("n4", "dns upstream", "W5201", "left 1"),
            finding("n5", "UDP 51820", "W4102", "held"),
        ]);
        let shown: Vec<_> = rows.iter().map(|row| (at(row, "/node"), at(row, "/detail"))).collect();
        let shown: Vec<_> = shown.iter().map(|(node, detail)| (&**node, &**detail)).collect();
        let expected = [
            ("n1,n2,n3 and 1 more", "left 3"),
            ("n1", "held"),
            ("", "nobody"),
            ("", "nobody else"),
            ("n5", "held"),
        ];
        assert_eq!(shown, expected);
    }
}
