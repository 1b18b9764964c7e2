//! `weft describe KIND NAME`: all about one object, and whether it is live.

use serde_json::{Value, json};
use weft_proto::v1;

use super::{
    Run,
    get::{kind_of, one},
};
use crate::{args::Describe, client::revision_reached, fail::Outcome};

/// Runs the command.
pub(crate) async fn run(args: &Describe, run: &Run) -> Outcome {
    let kind = kind_of(&args.kind)?.object_kind(&args.kind)?;
    let session = run.session()?;
    let (value, _) = one(&session, kind, &args.name).await?;
    let status = session
        .admin()?
        .status(session.request(v1::StatusRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let revision: u64 = crate::table::at(&value, "/metadata/resourceVersion").parse().unwrap_or(0);
    let applied: Vec<Value> = status
        .nodes
        .iter()
        .map(|node| json!({"node": node.node, "connected": node.connected, "applied": revision_reached(node, revision)}))
        .collect();
    let mut text = weft_yaml::to_yaml(&value);
    text += "applied:\n";
    for node in &status.nodes {
        let state = match (node.connected, revision_reached(node, revision)) {
            (true, true) => "yes",
            (true, false) => "not yet",
            (false, _) => "unknown (not connected)",
        };
        text += &format!("  {}: {state}\n", node.node);
    }
    run.printer.value(&json!({"object": value, "applied": applied}), &text);
    Ok(())
}
