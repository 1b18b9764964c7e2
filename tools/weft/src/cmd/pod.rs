//! `weft pod list|show|add|drain|remove`: pods without an orchestrator.

use std::time::{Duration, Instant};

use serde_json::json;
use weft_errors::{DEADLINE, Error, ExitCode, NOT_FOUND, USAGE};
use weft_model::{Kind, Object, PodName, ownership::run::NETNS_DIR};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::{list, one, suggest},
    pod_spec,
};
use crate::{
    args::{Pod, pod_name},
    client::{LocalAgent, Session, object},
    fail::{Failure, Outcome},
    table::at,
};

/// A pod that ends is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs the subcommand.
pub(crate) async fn run(args: Pod, run: &Run) -> Outcome {
    match args {
        Pod::List { selector, all_namespaces } => list(Kind::Pod, all_namespaces, &selector, run).await,
        Pod::Show { name } => {
            let (value, _) = one(&run.session()?, Kind::Pod, &name).await?;
            run.printer.value(&value, &weft_yaml::to_yaml(&value));
            Ok(())
        }
        Pod::Add { name, node, labels, readiness, startup, names } => {
            if let Some(spec) = pod_spec::spec(&names) {
                let session = run.session()?;
                pod_spec::say(&session, &named(&name, session.namespace())?, spec).await?;
            }
            let probes = (readiness.as_ref().map(Into::into), startup.as_ref().map(Into::into));
            add(&name, node.as_deref(), &labels, probes, run).await
        }
        Pod::Drain { name, grace, no_wait } => drain(&name, grace, no_wait, run).await,
        Pod::Remove { name } => {
            let name = end(&name, 0, run).await?.0;
            removed(&name, run)
        }
    }
}

type Probes = (Option<v1::Probe>, Option<v1::Probe>);

async fn add(name: &str, node: Option<&str>, labels: &[String], probes: Probes, run: &Run) -> Outcome {
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
        readiness: probes.0.clone(),
        startup: probes.1.clone(),
    };
    let (name, pod, files) = match node {
        Some(node) => {
            let session = run.session()?;
            let name = named(name, session.namespace())?;
            let answer = ask_node(&session, node, ask::What::PodAdd(wish(&name)), None).await?;
            let answer_request::What::Pod(pod) = answer else { return Err(unexpected(node)) };
            (name, pod, String::new())
        }
        None => {
            let name = named(name, &local_namespace(run))?;
            let (pod, setup) = LocalAgent::open()?.add_pod(wish(&name), run.global.timeout).await?;
            (name, pod, format!("   files {setup}"))
        }
    };
    let object = object(Some(v1::Object { kind: Some(v1::object::Kind::Pod(pod)) }))?;
    let value = weft_yaml::object_value(&object);
    let Object::Pod(pod) = object else { return Ok(()) };
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    let text = format!(
        "pod/{name}   {} on {}   namespace {NETNS_DIR}/{}_{}{files}",
        addresses.join(", "),
        pod.node,
        name.namespace,
        name.name
    );
    run.printer.value(&value, &text);
    Ok(())
}

/// Whom a pod's end was told to.
enum Told {
    Here(LocalAgent),
    Elsewhere(Session),
}

/// Tells the pod's agent that it ends, after a grace in milliseconds; 0: now.
async fn end(name: &str, grace_ms: u32, run: &Run) -> Outcome<(PodName, Told)> {
    let local = named(name, &local_namespace(run))?;
    if let Ok(mut agent) = LocalAgent::open()
        && agent.has_pod(&local, run.global.timeout).await?
    {
        agent.remove_pod(gone(&local, grace_ms), run.global.timeout).await?;
        return Ok((local, Told::Here(agent)));
    }
    let session = run.session()?;
    let name = named(name, session.namespace())?;
    let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
    let node = at(&value, "/spec/nodeName");
    ask_node(&session, &node, ask::What::PodRemove(gone(&name, grace_ms)), None).await?;
    Ok((name, Told::Elsewhere(session)))
}

async fn drain(name: &str, grace: Duration, no_wait: bool, run: &Run) -> Outcome {
    let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
    let (name, mut told) = end(name, grace_ms, run).await?;
    if no_wait {
        let metadata = json!({"namespace": name.namespace.as_str(), "name": name.name.as_str()});
        let value = json!({"kind": "Pod", "metadata": metadata, "graceMs": grace_ms});
        run.printer.value(&value, &format!("pod/{name}   ends in {grace:?}"));
        return Ok(());
    }
    let deadline = Instant::now() + grace + run.global.timeout;
    loop {
        let there = match &mut told {
            Told::Here(agent) => agent.has_pod(&name, run.global.timeout).await?,
            Told::Elsewhere(session) => match one(session, Kind::Pod, &name.to_string()).await {
                Ok(_) => true,
                Err(failure) if failure.exit() == ExitCode::NotFound => false,
                Err(failure) => return Err(failure),
            },
        };
        if !there {
            return removed(&name, run);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(&DEADLINE, format!("pod {name} is still there")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn removed(name: &PodName, run: &Run) -> Outcome {
    let metadata = json!({"namespace": name.namespace.as_str(), "name": name.name.as_str()});
    let value = json!({"kind": "Pod", "metadata": metadata, "removed": true});
    run.printer.value(&value, &format!("pod/{name}   removed"));
    Ok(())
}

fn gone(name: &PodName, grace_ms: u32) -> v1::PodRemove {
    v1::PodRemove { namespace: name.namespace.to_string(), name: name.name.to_string(), grace_ms }
}

/// On a node no context is needed; where there is one, its namespace counts as everywhere else.
pub(super) fn local_namespace(run: &Run) -> String {
    let of_context = || run.session().ok().map(|session| session.namespace().to_owned());
    run.global.namespace.clone().or_else(of_context).unwrap_or_else(|| "default".to_owned())
}

pub(super) fn named(name: &str, namespace: &str) -> Outcome<PodName> {
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
