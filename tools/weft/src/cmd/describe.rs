//! `weft describe KIND NAME`: all about one object, and whether it is live.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use weft_model::Kind;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run, events,
    get::one,
    kinds::{kind_of, split_name},
    pod::ask_node,
    policy, service,
};
use crate::{
    args::Describe,
    client::{Denied, Session, revision_reached},
    fail::Outcome,
    table::at,
};

/// A node that doesn't answer within this is told by its last report.
const LIVE: Duration = Duration::from_secs(3);

/// Runs the command.
pub(crate) async fn run(args: &Describe, run: &Run) -> Outcome {
    let kind = kind_of(&args.kind)?.object_kind(&args.kind)?;
    let session = run.session()?;
    let mut selected = BTreeSet::new();
    let (value, endpoints, head) = if kind == Kind::Service {
        let account = service::account(&session, &args.name, None).await?;
        let text = service::screen(&account, true);
        (account["service"].clone(), account["endpoints"].clone(), text)
    } else if kind == Kind::NetworkPolicy {
        let (value, text, pods) = policy::one(&session, &args.name).await?;
        selected = pods;
        (value, Value::Null, text)
    } else {
        let (value, _) = one(&session, kind, &args.name).await?;
        let text = weft_yaml::to_yaml(&value);
        (value, Value::Null, text)
    };
    let status = session.status().await?;
    let revision: u64 = at(&value, "/metadata/resourceVersion").parse().unwrap_or(0);
    let denied = match kind {
        Kind::NetworkPolicy => {
            let denied = of_reports(&status.nodes, &selected);
            Some((denied, format!("Denied      {} to its pods, whoever isolates them\n", words(denied))))
        }
        Kind::Pod => {
            let denied = of_pod(&session, &value, &status.nodes).await;
            Some((denied, format!("Denied    {} by policies\n", words(denied))))
        }
        Kind::Fabric
        | Kind::Node
        | Kind::Lease
        | Kind::Member
        | Kind::Namespace
        | Kind::Service
        | Kind::Slice
        | Kind::PodSpec
        | Kind::Pool
        | Kind::Owner => None,
    };
    let said = denied.as_ref().map_or("", |(_, text)| text);
    let mut text = format!("{}\n{said}Applied   revision {revision}\n", head.trim_end());
    let mut applied: Vec<Value> = Vec::new();
    for node in &status.nodes {
        let reached = revision_reached(node, revision);
        let state = match (node.connected, reached) {
            (true, true) => "yes",
            (true, false) => "not yet",
            (false, _) => "unknown (unreachable)",
        };
        text += &format!("  {}   {state}\n", node.node);
        // What a node that can't be reached has in its kernel isn't known.
        let reached = node.connected.then_some(reached);
        applied.push(json!({"node": node.node, "connected": node.connected, "applied": reached}));
    }
    let told = match kind {
        Kind::Service => {
            let (namespace, name) = split_name(kind, &args.name, session.namespace());
            events::list(&session, Some(kind), namespace, name).await?
        }
        Kind::Node => events::list(&session, Some(kind), "", &args.name).await?,
        Kind::Fabric
        | Kind::Pod
        | Kind::Lease
        | Kind::Member
        | Kind::Namespace
        | Kind::Slice
        | Kind::PodSpec
        | Kind::Pool
        | Kind::Owner
        | Kind::NetworkPolicy => json!({"items": []}),
    };
    let lines = events::lines(&told);
    if !lines.is_empty() {
        text += &format!("Events\n{lines}");
    }
    let whole = json!({
        "kind": "Description",
        "metadata": value["metadata"],
        "object": value,
        "endpoints": endpoints,
        "denied": denied.map(|(denied, _)| denied.value()),
        "applied": applied,
        "events": told["items"],
    });
    run.printer.value(&whole, &text);
    Ok(())
}

fn words(Denied { ingress, egress }: Denied) -> String {
    format!("{ingress} in, {egress} out, packets so far")
}

/// What policies denied to these pods, as the nodes' last reports say.
fn of_reports(nodes: &[v1::NodeReport], pods: &BTreeSet<String>) -> Denied {
    let mut denied = Denied::default();
    let reports = nodes.iter().filter_map(|node| node.status.as_ref()?.drops.as_ref());
    reports.for_each(|drops| denied.add(drops, |pod| pods.contains(pod)));
    denied
}

/// The same of one pod, as its node says now, if it says something.
async fn of_pod(session: &Session, pod: &Value, nodes: &[v1::NodeReport]) -> Denied {
    let (name, node) = (
        format!("{}/{}", at(pod, "/metadata/namespace"), at(pod, "/metadata/name")),
        at(pod, "/spec/nodeName"),
    );
    let mut denied = Denied::default();
    if let Ok(answer_request::What::Inspect(now)) =
        ask_node(session, &node, ask::What::Inspect(v1::Inspect { check: false }), Some(LIVE)).await
    {
        now.drops.iter().for_each(|drops| denied.add(drops, |one| one == name));
        return denied;
    }
    of_reports(nodes, &[name].into())
}
