//! Tells the control plane which pods run here and what this node is.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_errors::Error;
use weft_model::NodeFacts;
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{
    backoff::Backoff, clock, control::Mutations, limits, node::Node, publish::Batch, states::Subsystem,
};

/// Publishes pods until the process stops; after a failure everything is said again.
pub(crate) async fn publish_pods(
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST);
    loop {
        if !node.is_connected() {
            if pause(limits::RECONNECT_FIRST, &stop).await {
                return;
            }
            continue;
        }
        let Some(batch) = node.publications.take(|| node.pods()) else {
            tokio::select! {
                () = stop.cancelled() => return,
                () = node.publications.changed() => continue,
            }
        };
        match send_pods(&channel, &mutations, &batch).await {
            Ok(revision) => {
                backoff.reset();
                tracing::debug!(
                    revision,
                    complete = batch.complete,
                    upserts = batch.upserts.len(),
                    deletes = batch.deletes.len(),
                    "published pods"
                );
                node.states.well(Subsystem::Publish, weft_model::Revision(revision), clock::wall());
            }
            Err(error) => {
                node.publications.everything();
                node.states.failed(Subsystem::Publish, error, clock::wall());
                if pause(backoff.next(clock::chance()), &stop).await {
                    return;
                }
            }
        }
    }
}

async fn send_pods(channel: &Channel, mutations: &Mutations, batch: &Batch) -> Result<u64, Error> {
    let request = v1::PublishPodsRequest {
        mutation: Some(mutations.next()),
        complete: batch.complete,
        upserts: batch.upserts.iter().map(Into::into).collect(),
        deletes: batch.deletes.iter().map(|uid| uid.0.to_vec().into()).collect(),
    };
    let call = || {
        let (mut client, request) = (channel.sync(), request.clone());
        async move { client.publish_pods(with_deadline(request, limits::CALL_DEADLINE)).await }
    };
    Ok(channel.retry(limits::CALL_DEADLINE, call).await?.revision)
}

/// Publishes what the node is, whenever it changes and after each reconnection.
pub(crate) async fn publish_facts(
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    stop: CancellationToken,
) {
    let mut changes = node.facts_out.subscribe();
    let mut published: Option<NodeFacts> = None;
    let mut backoff = Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST);
    loop {
        let facts = changes.borrow_and_update().clone();
        let known = published.as_ref() == Some(&facts);
        if known || !node.is_connected() || facts.endpoint.is_none() {
            if !node.is_connected() {
                published = None;
            }
            if wait_for_change(&mut changes, &stop).await {
                return;
            }
            continue;
        }
        match send_facts(&channel, &mutations, &facts).await {
            Ok(revision) => {
                backoff.reset();
                tracing::debug!(revision, "published what this node is");
                published = Some(facts);
            }
            Err(error) => {
                tracing::warn!(%error, "what this node is can't be published");
                if pause(backoff.next(clock::chance()), &stop).await {
                    return;
                }
            }
        }
    }
}

async fn send_facts(channel: &Channel, mutations: &Mutations, facts: &NodeFacts) -> Result<u64, Error> {
    let request = v1::PublishNodeRequest { mutation: Some(mutations.next()), facts: Some(facts.into()) };
    let call = || {
        let (mut client, request) = (channel.sync(), request.clone());
        async move { client.publish_node(with_deadline(request, limits::CALL_DEADLINE)).await }
    };
    Ok(channel.retry(limits::CALL_DEADLINE, call).await?.revision)
}

/// Until the facts change, or for a second: the connection may have come or gone. `true`: the process stops.
async fn wait_for_change(changes: &mut watch::Receiver<NodeFacts>, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        _ = changes.changed() => false,
        () = tokio::time::sleep(limits::REPORT_EVERY) => false,
    }
}

/// `true`: the process stops.
pub(crate) async fn pause(how_long: std::time::Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(how_long) => false,
    }
}
