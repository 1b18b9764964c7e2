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
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.connected() => {}
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

/// Publishes what the node is, whenever it changes.
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
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.connected() => {}
        }
        let told = published.as_ref() == Some(&facts) && shows(&node, &facts);
        if told || facts.endpoint.is_none() {
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

/// Whether the View shows what was published: a control plane that was restored may have forgotten it.
fn shows(node: &Node, facts: &NodeFacts) -> bool {
    let view = node.view();
    view.peer(&node.name).is_some_and(|peer| {
        peer.wireguard_key == facts.wireguard_key
            && peer.endpoint == facts.endpoint
            && peer.underlay == facts.underlay
            && peer.uplink_mac == facts.uplink_mac
    })
}

/// Until the facts change, or it is time to compare again. `true`: the process stops.
async fn wait_for_change(changes: &mut watch::Receiver<NodeFacts>, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        _ = changes.changed() => false,
        () = tokio::time::sleep(limits::OBSERVE_EVERY) => false,
    }
}

/// `true`: the process stops.
pub(crate) async fn pause(how_long: std::time::Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(how_long) => false,
    }
}
