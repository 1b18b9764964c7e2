//! Removing a node for good, and asking a node's agent through whichever replica serves it.

use std::time::Instant;

use weft_errors::{ALREADY_EXISTS, Error, OBJECT_INVALID};
use weft_model::{Action, Kind, Name, NameError, NamespaceName, NodeName, Pod, PodName};
use weft_proto::v1;

use super::read::{find, fresh};
use crate::{
    ask,
    context::Context,
    limits::{NAME_CHECK, PEER_CALL_LOST, WAIT_POLL},
};

/// Removes a node.
pub(crate) async fn remove(
    context: &Context,
    wire: v1::RemoveNodeRequest,
    deadline: Instant,
) -> Result<v1::RemoveNodeResponse, Error> {
    let name = named(&wire.name)?;
    let applied = context.propose(wire.mutation, Action::RemoveNode { name }, deadline).await?;
    applied.answer?;
    Ok(v1::RemoveNodeResponse { revision: applied.revision.0 })
}

/// Asks an agent, here or through the replica that serves it.
pub(crate) async fn ask(
    context: &Context,
    wire: v1::AskNodeRequest,
    deadline: Instant,
) -> Result<v1::AskNodeResponse, Error> {
    let node = named(&wire.node)?;
    let asked = node.clone();
    context.handle.query(move |state| find(state, Kind::Node, "", asked.as_str()).map(|_| ())).await??;
    if let Some(v1::ask::What::PodAdd(add)) = wire.ask.as_ref().and_then(|ask| ask.what.as_ref())
        && let Some(pod) = owner_of(context, &add.namespace, &add.name, deadline).await?
        // The node itself knows best which of its own pods are still there.
        && pod.node != node
    {
        return Err(taken(&pod));
    }
    let answer = answer_of(context, &node, &wire, deadline).await?;
    if let Some(v1::ask::What::PodRemove(gone)) = wire.ask.as_ref().and_then(|ask| ask.what.as_ref())
        // One that ends after a grace stays until then.
        && gone.grace_ms == 0
        && answer.answer.as_ref().is_some_and(|answer| answer.error.is_none())
    {
        forgotten(context, &gone.namespace, &gone.name, &node, deadline).await?;
    }
    Ok(answer)
}

/// The node's answer, whichever replica its agent follows.
pub(super) async fn answer_of(
    context: &Context,
    node: &NodeName,
    wire: &v1::AskNodeRequest,
    deadline: Instant,
) -> Result<v1::AskNodeResponse, Error> {
    if let Some(answer) = ask_here(context, wire.clone()).await? {
        return Ok(answer);
    }
    for (id, mut client) in context.peers.clients() {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = if context.peers.is_connected(id) { left } else { left.min(PEER_CALL_LOST) };
        let request = weft_rpc::with_deadline(wire.clone(), time);
        // A replica that doesn't serve the agent says so at once; one that can't be reached is passed over.
        if let Ok(Ok(answer)) = tokio::time::timeout(time, client.relay_ask(request)).await {
            let answer = answer.into_inner();
            if answer.answer.is_some() {
                return Ok(answer);
            }
        }
    }
    Err(ask::unreachable(node))
}

/// Returns when the state knows that the pod is gone, so that its name is free for whoever comes next; soon in any case.
async fn forgotten(
    context: &Context,
    namespace: &str,
    name: &str,
    node: &NodeName,
    deadline: Instant,
) -> Result<(), Error> {
    let until = deadline.min(Instant::now() + NAME_CHECK);
    while Instant::now() < until {
        let owner = owner_of(context, namespace, name, until).await?;
        if owner.is_none_or(|pod| pod.node != *node) {
            break;
        }
        tokio::time::sleep(WAIT_POLL).await;
    }
    Ok(())
}

/// Asks an agent that follows this replica; `None` when it doesn't.
pub(crate) async fn ask_here(
    context: &Context,
    wire: v1::AskNodeRequest,
) -> Result<Option<v1::AskNodeResponse>, Error> {
    let node = named(&wire.node)?;
    let ask = wire.ask.ok_or_else(|| Error::new(&OBJECT_INVALID, "nothing was asked").field("ask"))?;
    match context.asks.ask(&context.fanout, &node, ask).await {
        None => Ok(None),
        Some(answer) => Ok(Some(v1::AskNodeResponse { answer: Some(answer?) })),
    }
}

/// The pod that owns a name, by the youngest state that can be had soon: without a leader, by what is known here.
pub(crate) async fn owner_of(
    context: &Context,
    namespace: &str,
    name: &str,
    deadline: Instant,
) -> Result<Option<Pod>, Error> {
    let invalid =
        |field: &'static str| move |e: NameError| Error::new(&OBJECT_INVALID, e.to_string()).field(field);
    let name = PodName {
        namespace: NamespaceName::new(namespace).map_err(invalid("namespace"))?,
        name: Name::new(name).map_err(invalid("name"))?,
    };
    let soon = deadline.min(Instant::now() + NAME_CHECK);
    if let Err(error) = fresh(context, false, soon).await {
        tracing::debug!(%error, "a name is looked up in an older state");
    }
    context.handle.query(move |state| state.pod_named(&name).cloned()).await
}

fn taken(pod: &Pod) -> Error {
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    Error::new(&ALREADY_EXISTS, format!("the name {} is taken", pod.name))
        .object("pod", pod.name.namespace.as_str(), &pod.name.name)
        .field("metadata.name")
        .because(format!("node {} has a pod of that name, with {}", pod.node, addresses.join(" and ")))
        .try_this("choose another name, or remove that pod first", format!("weft pod remove {}", pod.name))
}

pub(super) fn named(name: &str) -> Result<NodeName, Error> {
    NodeName::new(name).map_err(|e| Error::new(&OBJECT_INVALID, e.to_string()).field("name"))
}
