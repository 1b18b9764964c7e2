//! A node without a contexts file: what its own agent can tell, also while the control plane is away. Read-only.

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_model::Kind;
use weft_proto::v1;

use super::{
    Run, check,
    columns::columns,
    kinds::Shown,
    node::{account, blocks},
    status::troubles,
};
use crate::{
    client::{LocalAgent, finding_value, node_status_value, object},
    context::{load, path},
    fail::{Failure, Outcome},
    output::items,
    table::{at, count},
};

/// What the agent of this machine says, when there is no context and none was asked for.
///
/// With `check` the agent tries to reach the replicas first.
pub(crate) async fn answer(check: bool, run: &Run) -> Outcome<Option<v1::LocalNodeResponse>> {
    let chosen = run.global.context.is_some() || !run.global.endpoint.is_empty();
    if chosen || !load(&path())?.context.is_empty() {
        return Ok(None);
    }
    match LocalAgent::open() {
        Ok(mut agent) => agent.status(check, run.global.timeout).await.map(Some),
        Err(_) => Ok(None),
    }
}

/// `weft status` on a node.
pub(crate) fn status(local: v1::LocalNodeResponse, run: &Run) -> Outcome {
    let report = v1::NodeReport {
        node: local.node.clone(),
        connected: true,
        last_report_ms: crate::client::now_ms(),
        status: local.status,
        // What the control plane thinks of this node is known there alone.
        silent_since_ms: 0,
    };
    let value = node_status_value(&report);
    let (warnings, problems): (Vec<_>, Vec<_>) =
        troubles(&value, false).into_iter().partition(|(warning, _)| *warning);
    let texts = |list: Vec<(bool, String)>| list.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let (warnings, mut problems) = (texts(warnings), texts(problems));
    if !local.connected {
        problems.insert(0, "control plane: out of reach; this node goes on with what it knows".to_owned());
    }
    let verdict = if problems.is_empty() { "HEALTHY" } else { "DEGRADED" };
    let numbers = [(problems.len(), "problem"), (warnings.len(), "warning")];
    let numbers = numbers.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun));
    let number = numbers.collect::<Vec<_>>().join(", ");
    let number = if number.is_empty() { number } else { format!("  {number}") };
    let lines: String = problems.iter().map(|problem| format!("  ✗ {problem}\n")).collect();
    let lines = lines + &warnings.iter().map(|warning| format!("  ! {warning}\n")).collect::<String>();
    let status = &value["status"];
    let text = format!(
        "{verdict}{number}   node {}, by its own agent   applied {}\n{lines}\nPods        {}\n{}{}",
        local.node,
        at(status, "/appliedRevision"),
        local.pods.len(),
        blocks(status),
        account(status, false)
    );
    let whole = json!({
        "kind": "LocalStatus",
        "metadata": {"name": local.node},
        "verdict": verdict,
        "problems": problems,
        "warnings": warnings,
        "controlPlane": local.connected,
        "pods": local.pods.len(),
        "status": status,
    });
    run.printer.value(&whole, &text);
    if problems.is_empty() { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

/// `weft check` on a node.
pub(crate) fn findings(local: &v1::LocalNodeResponse, run: &Run) -> Outcome {
    let found = local.status.iter().flat_map(|status| &status.findings);
    let items = found.map(|finding| check::of_node(&local.node, finding_value(finding))).collect();
    check::show(items, 1, run)
}

/// `weft get pods` on a node: those that are attached here.
pub(crate) fn pods(local: v1::LocalNodeResponse, all_namespaces: bool, run: &Run) -> Outcome {
    let namespace = run.global.namespace.as_deref().unwrap_or("default");
    let mut values: Vec<Value> = Vec::new();
    for pod in local.pods {
        if all_namespaces || pod.namespace == namespace {
            let wire = v1::Object { kind: Some(v1::object::Kind::Pod(pod)) };
            values.push(weft_yaml::object_value(&object(Some(wire))?));
        }
    }
    let whole = weft_yaml::list_value(values, local.status.map_or(0, |status| status.applied_revision));
    run.printer.note(&format!(
        "{} on node {}, by its own agent",
        count(items(&whole).len(), "pod"),
        local.node
    ));
    run.printer.list(&whole, &columns(Shown::Object(Kind::Pod), all_namespaces));
    Ok(())
}
