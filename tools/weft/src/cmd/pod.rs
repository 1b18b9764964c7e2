//! `weft pod list|show|add|remove`: pods without an orchestrator.

use serde_json::json;
use weft_errors::{Error, NOT_FOUND, OBJECT_INVALID};
use weft_model::{Kind, Object, PodName};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::{Shown, columns, objects, one},
};
use crate::{
    args::{Pod, pod_name},
    client::{LocalAgent, Session, object},
    fail::{Failure, Outcome},
};

/// Runs the subcommand.
pub(crate) async fn run(args: Pod, run: &Run) -> Outcome {
    match args {
        Pod::List => {
            let session = run.session()?;
            let whole = objects(&session, Kind::Pod, session.namespace(), "").await?;
            run.printer.list(&whole, columns(Shown::Object(Kind::Pod)));
            Ok(())
        }
        Pod::Show { name } => {
            let (value, _) = one(&run.session()?, Kind::Pod, &name).await?;
            run.printer.value(&value, &weft_yaml::to_yaml(&value));
            Ok(())
        }
        Pod::Add { name, node, labels } => add(&name, node.as_deref(), &labels, run).await,
        Pod::Remove { name } => remove(&name, run).await,
    }
}

async fn add(name: &str, node: Option<&str>, labels: &[String], run: &Run) -> Outcome {
    let name = named(name, run)?;
    let mut pairs = std::collections::BTreeMap::new();
    for label in labels {
        let Some((key, value)) = label.split_once('=') else {
            return Err(Failure::new(&OBJECT_INVALID, format!("label {label:?} isn't KEY=VALUE")));
        };
        pairs.insert(key.to_owned(), value.to_owned());
    }
    let add =
        v1::PodAdd { namespace: name.namespace.to_string(), name: name.name.to_string(), labels: pairs };
    let pod = match node {
        Some(node) => {
            let answer_request::What::Pod(pod) =
                ask_node(&run.session()?, node, ask::What::PodAdd(add)).await?
            else {
                return Err(unexpected(node));
            };
            pod
        }
        None => LocalAgent::open()?.add_pod(add, run.global.timeout).await?,
    };
    let wire = v1::Object { kind: Some(v1::object::Kind::Pod(pod)) };
    let object = object(Some(wire))?;
    let value = weft_yaml::object_value(&object);
    let Object::Pod(pod) = object else { return Ok(()) };
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    let text = format!(
        "pod/{name}   {} on {}   namespace /run/weft/netns/{}_{}",
        addresses.join(", "),
        pod.node,
        name.namespace,
        name.name
    );
    run.printer.value(&value, &text);
    Ok(())
}

async fn remove(name: &str, run: &Run) -> Outcome {
    let name = named(name, run)?;
    let gone = v1::PodRemove { namespace: name.namespace.to_string(), name: name.name.to_string() };
    let mut here = LocalAgent::open().ok();
    let attached_here = match &mut here {
        Some(agent) => agent.has_pod(&name, run.global.timeout).await?,
        None => false,
    };
    if let (Some(agent), true) = (&mut here, attached_here) {
        agent.remove_pod(gone, run.global.timeout).await?;
    } else {
        let session = run.session()?;
        let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
        let node = crate::table::at(&value, "/spec/nodeName");
        ask_node(&session, &node, ask::What::PodRemove(gone)).await?;
    }
    run.printer.value(&json!({"kind": "Pod", "metadata": {"namespace": name.namespace.as_str(), "name": name.name.as_str()}, "removed": true}), &format!("pod/{name}   removed"));
    Ok(())
}

fn named(name: &str, run: &Run) -> Outcome<PodName> {
    let namespace = run.global.namespace.as_deref().unwrap_or("default");
    pod_name(name, namespace).map_err(|e| Failure::new(&OBJECT_INVALID, e.to_string()))
}

/// Hands one request to a node's agent through the control plane.
pub(crate) async fn ask_node(
    session: &Session,
    node: &str,
    what: ask::What,
) -> Outcome<answer_request::What> {
    let ask = v1::Ask { id: 0, timeout_ms: session.timeout_ms(), what: Some(what) };
    let request = v1::AskNodeRequest { node: node.to_owned(), ask: Some(ask) };
    let answer = session
        .admin()?
        .ask_node(session.request(request))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner()
        .answer;
    let answer = answer.unwrap_or_default();
    if let Some(error) = answer.error {
        return Err(Error::from(error).into());
    }
    answer.what.ok_or_else(|| Failure::new(&NOT_FOUND, format!("node {node} answered nothing")))
}

/// An answer to another question: a bug in the agent or the replica.
pub(crate) fn unexpected(node: &str) -> Failure {
    Failure::new(&weft_errors::INTERNAL, format!("node {node} answered something else than was asked"))
}
