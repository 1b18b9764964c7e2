//! `weft pod list|show|add|remove`: pods without an orchestrator.

use std::time::Duration;

use serde_json::json;
use weft_errors::{Error, NOT_FOUND, USAGE};
use weft_model::{Kind, Object, PodName, ownership::run::NETNS_DIR};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::{list, one, suggest},
};
use crate::{
    args::{Pod, pod_name},
    client::{LocalAgent, Session, object},
    fail::{Failure, Outcome},
    table::at,
};

/// Runs the subcommand.
pub(crate) async fn run(args: Pod, run: &Run) -> Outcome {
    match args {
        Pod::List { selector, all_namespaces } => list(Kind::Pod, all_namespaces, &selector, run).await,
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
    let mut pairs = std::collections::BTreeMap::new();
    for label in labels {
        let Some((key, value)) = label.split_once('=') else {
            return Err(wrong("--labels", format!("label {label:?} isn't KEY=VALUE")));
        };
        pairs.insert(key.to_owned(), value.to_owned());
    }
    let wish = |name: &PodName| v1::PodAdd {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        labels: pairs.clone(),
    };
    let (name, pod) = match node {
        Some(node) => {
            let session = run.session()?;
            let name = named(name, session.namespace())?;
            let answer = ask_node(&session, node, ask::What::PodAdd(wish(&name)), None).await?;
            let answer_request::What::Pod(pod) = answer else { return Err(unexpected(node)) };
            (name, pod)
        }
        None => {
            let name = named(name, &local_namespace(run))?;
            let pod = LocalAgent::open()?.add_pod(wish(&name), run.global.timeout).await?;
            (name, pod)
        }
    };
    let object = object(Some(v1::Object { kind: Some(v1::object::Kind::Pod(pod)) }))?;
    let value = weft_yaml::object_value(&object);
    let Object::Pod(pod) = object else { return Ok(()) };
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    let text = format!(
        "pod/{name}   {} on {}   namespace {NETNS_DIR}/{}_{}",
        addresses.join(", "),
        pod.node,
        name.namespace,
        name.name
    );
    run.printer.value(&value, &text);
    Ok(())
}

async fn remove(name: &str, run: &Run) -> Outcome {
    let local = named(name, &local_namespace(run))?;
    let mut here = LocalAgent::open().ok();
    let attached_here = match &mut here {
        Some(agent) => agent.has_pod(&local, run.global.timeout).await?,
        None => false,
    };
    if let (Some(agent), true) = (&mut here, attached_here) {
        agent.remove_pod(gone(&local), run.global.timeout).await?;
        return removed(&local, run);
    }
    let session = run.session()?;
    let name = named(name, session.namespace())?;
    let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
    let node = at(&value, "/spec/nodeName");
    ask_node(&session, &node, ask::What::PodRemove(gone(&name)), None).await?;
    removed(&name, run)
}

fn removed(name: &PodName, run: &Run) -> Outcome {
    let metadata = json!({"namespace": name.namespace.as_str(), "name": name.name.as_str()});
    let value = json!({"kind": "Pod", "metadata": metadata, "removed": true});
    run.printer.value(&value, &format!("pod/{name}   removed"));
    Ok(())
}

fn gone(name: &PodName) -> v1::PodRemove {
    v1::PodRemove { namespace: name.namespace.to_string(), name: name.name.to_string() }
}

/// On a node no context is needed; where there is one, its namespace counts as everywhere else.
fn local_namespace(run: &Run) -> String {
    let of_context = || run.session().ok().map(|session| session.namespace().to_owned());
    run.global.namespace.clone().or_else(of_context).unwrap_or_else(|| "default".to_owned())
}

fn named(name: &str, namespace: &str) -> Outcome<PodName> {
    pod_name(name, namespace).map_err(|e| wrong("NAME", e.to_string()))
}

fn wrong(field: &str, message: String) -> Failure {
    Error::new(&USAGE, message).field(field).try_this("see what is allowed", "weft pod add --help").into()
}

/// Hands one request to a node's agent through the control plane, which has `limit` for it, else the command's time.
pub(crate) async fn ask_node(
    session: &Session,
    node: &str,
    what: ask::What,
    limit: Option<Duration>,
) -> Outcome<answer_request::What> {
    let limit = limit.and_then(|limit| u32::try_from(limit.as_millis()).ok()).unwrap_or(u32::MAX);
    let ask = v1::Ask { id: 0, timeout_ms: session.answer_ms().min(limit), what: Some(what) };
    let request = v1::AskNodeRequest { node: node.to_owned(), ask: Some(ask) };
    let answer =
        session.call(request, |mut admin, request| async move { admin.ask_node(request).await }).await;
    let answer = match answer {
        Ok(answer) => answer.answer.unwrap_or_default(),
        Err(failure) => return Err(suggest(session, failure, Kind::Node, node).await),
    };
    if let Some(error) = answer.error {
        return Err(Error::from(error).into());
    }
    answer.what.ok_or_else(|| Failure::new(&NOT_FOUND, format!("node {node} answered nothing")))
}

/// An answer to another question: a bug in the agent or the replica.
pub(crate) fn unexpected(node: &str) -> Failure {
    Failure::new(&weft_errors::INTERNAL, format!("node {node} answered something else than was asked"))
}
