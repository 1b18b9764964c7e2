//! `weft version`: this program, the replicas and the nodes; what differs is marked.

use serde_json::{Value, json};

use super::Run;
use crate::{
    client::Session,
    context::{load, path},
    fail::{Failure, Outcome},
    table::{at, column, render},
};

/// This program's.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Runs the command. Without a context it is about this program alone; when nobody can be asked, it says why.
pub(crate) async fn run(run: &Run) -> Outcome {
    let mut items = vec![row("client", "weft", OWN)];
    let failure = match others(run).await {
        Ok(more) => {
            items.extend(more);
            None
        }
        Err(failure) => Some(failure),
    };
    let error = match &failure {
        Some(Failure::Error(error)) => json!(error),
        Some(Failure::Answer(_)) | None => Value::Null,
    };
    let whole = json!({"kind": "Version", "version": OWN, "items": items, "error": error});
    let columns = [
        column("COMPONENT", |v| at(v, "/component")),
        column("NAME", |v| at(v, "/name")),
        column("VERSION", |v| at(v, "/version")),
        column("SKEW", |v| if at(v, "/skew") == "yes" { "differs".to_owned() } else { " ".to_owned() }),
    ];
    run.printer.value(&whole, &render(&columns, &items, run.printer.style()));
    match failure {
        // One document is on stdout already; it says why.
        Some(failure) if run.printer.json() => Err(Failure::Answer(failure.exit())),
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

async fn others(run: &Run) -> Outcome<Vec<Value>> {
    let contexts = load(&path())?;
    if contexts.context.is_empty() && run.global.context.is_none() {
        return Ok(Vec::new());
    }
    let status = Session::open(run)?.status().await?;
    let replicas = status.replicas.iter().map(|replica| {
        let name = replica.member.as_ref().map_or("", |member| member.name.as_str());
        row("replica", name, &replica.version)
    });
    let nodes = status.nodes.iter().map(|node| {
        let version = node.status.as_ref().map_or("", |status| status.agent_version.as_str());
        row("node", &node.node, version)
    });
    Ok(replicas.chain(nodes).collect())
}

/// One component; an empty version isn't known now, which is no skew.
fn row(component: &str, name: &str, version: &str) -> Value {
    let known = (!version.is_empty()).then_some(version);
    json!({"component": component, "name": name, "version": known, "skew": known.is_some_and(|v| v != OWN)})
}
