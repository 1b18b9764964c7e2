//! `weft describe KIND NAME`: all about one object, and whether it is live.

use serde_json::{Value, json};

use weft_model::Kind;

use super::{
    Run, events,
    get::one,
    kinds::{kind_of, split_name},
    policy, service,
};
use crate::{args::Describe, client::revision_reached, fail::Outcome, table::at};

/// Runs the command.
pub(crate) async fn run(args: &Describe, run: &Run) -> Outcome {
    let kind = kind_of(&args.kind)?.object_kind(&args.kind)?;
    let session = run.session()?;
    let (value, endpoints, head) = if kind == Kind::Service {
        let account = service::account(&session, &args.name, None).await?;
        let text = service::screen(&account, true);
        (account["service"].clone(), account["endpoints"].clone(), text)
    } else if kind == Kind::NetworkPolicy {
        let (value, text) = policy::one(&session, &args.name).await?;
        (value, Value::Null, text)
    } else {
        let (value, _) = one(&session, kind, &args.name).await?;
        let text = weft_yaml::to_yaml(&value);
        (value, Value::Null, text)
    };
    let status = session.status().await?;
    let revision: u64 = at(&value, "/metadata/resourceVersion").parse().unwrap_or(0);
    let mut text = format!("{}\nApplied   revision {revision}\n", head.trim_end());
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
        "applied": applied,
        "events": told["items"],
    });
    run.printer.value(&whole, &text);
    Ok(())
}
