//! Removing a node for good, and asking a node's agent through whichever replica serves it.

use std::time::Instant;

use weft_errors::{Coded, Error, OBJECT_INVALID, READ_ONLY_KIND};
use weft_model::{Action, Kind, NodeName};
use weft_proto::{convert::kind_from_wire, v1};

use super::read::{find, fresh};
use crate::{ask, context::Context};

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

/// Deletes an object of a kind that people may delete: so far only nodes.
pub(crate) async fn delete(
    context: &Context,
    wire: v1::DeleteRequest,
    deadline: Instant,
) -> Result<v1::DeleteResponse, Error> {
    let kind = kind_from_wire("kind", wire.kind).map_err(|e| e.envelope())?;
    fresh(context, false, deadline).await?;
    let (namespace, name) = (wire.namespace.clone(), wire.name.clone());
    context.handle.query(move |state| find(state, kind, &namespace, &name).map(|_| ())).await??;
    let refused = |text: &str, command: String| {
        Err(Error::new(&READ_ONLY_KIND, format!("a {kind} isn't deleted by hand"))
            .object(&kind.to_string(), &wire.namespace, &wire.name)
            .try_this(text, command))
    };
    match kind {
        Kind::Node => {
            let action = Action::RemoveNode { name: named(&wire.name)? };
            let applied = context.propose(wire.mutation, action, deadline).await?;
            applied.answer?;
            Ok(v1::DeleteResponse { revision: applied.revision.0 })
        }
        Kind::Pod => refused("its node holds it", format!("weft pod remove {}", wire.name)),
        Kind::Lease => {
            refused("it goes when its node gives it back or is removed", "weft node remove NODE".to_owned())
        }
        Kind::Fabric | Kind::Member => refused("the cluster can't be without it", String::new()),
    }
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
    if let Some(answer) = ask_here(context, wire.clone()).await? {
        return Ok(answer);
    }
    for (_, mut client) in context.peers.clients() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = tonic::Request::new(wire.clone());
        request.set_timeout(left);
        // A replica that doesn't serve the agent says so at once; one that can't be reached is passed over.
        if let Ok(answer) = client.relay_ask(request).await {
            let answer = answer.into_inner();
            if answer.answer.is_some() {
                return Ok(answer);
            }
        }
    }
    Err(ask::unreachable(&node))
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

fn named(name: &str) -> Result<NodeName, Error> {
    NodeName::new(name).map_err(|e| Error::new(&OBJECT_INVALID, e.to_string()).field("name"))
}
