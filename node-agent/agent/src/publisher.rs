//! Tells the control plane which pods run here and what this node is.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_errors::{
    DISK_FULL, Error, ExitCode, LOG_LOST, OTHER_CLUSTER, ROLE_DENIED, STALE_SEQUENCE, VERSION_SKEW,
};
use weft_model::{NodeFacts, Pod, PodUid};
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{
    backoff::Backoff, clock, control::Mutations, limits, node::Node, publish::Batch, states::Subsystem,
};

/// Publishes pods until the process stops; after a failure everything is said again. Pods that are refused hide no others.
pub(crate) async fn publish_pods(
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST);
    let mut refused: BTreeMap<PodUid, Error> = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.connected() => {}
        }
        let Some(batch) = node.publications.take(|| node.pods()) else {
            tokio::select! {
                () = stop.cancelled() => return,
                () = node.publications.changed() => {}
                () = tokio::time::sleep(limits::REFUSED_AGAIN), if !refused.is_empty() => {
                    node.pods().into_iter().filter(|p| refused.contains_key(&p.uid)).for_each(|p| node.publications.put(p));
                }
            }
            continue;
        };
        match publish(&batch, |batch| send_pods(&channel, &mutations, batch)).await {
            Ok(Published { revision, refused: now_refused }) => {
                backoff.reset();
                node.publications.told(&batch);
                tracing::debug!(
                    revision,
                    complete = batch.complete,
                    upserts = batch.upserts.len(),
                    deletes = batch.deletes.len(),
                    refused = now_refused.len(),
                    "published pods"
                );
                refused.retain(|uid, _| !batch.complete && !batch.tells_of(*uid));
                refused.extend(now_refused);
                match refusal(&refused) {
                    None => {
                        node.states.well(Subsystem::Publish, weft_model::Revision(revision), clock::wall());
                    }
                    Some(error) => node.states.failed(Subsystem::Publish, error, clock::wall()),
                }
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

/// What became of a batch.
#[derive(Debug)]
struct Published {
    /// Revision of the last change.
    revision: u64,
    /// Pods that the control plane doesn't take, and why.
    refused: BTreeMap<PodUid, Error>,
}

/// Sends a batch; when it is refused, its pods in ever smaller parts, so that the refused ones are found.
async fn publish<F>(batch: &Batch, mut send: impl FnMut(Batch) -> F) -> Result<Published, Error>
where
    F: Future<Output = Result<u64, Error>>,
{
    match send(batch.clone()).await {
        Ok(revision) => return Ok(Published { revision, refused: BTreeMap::new() }),
        Err(error) if !is_refusal(&error) || batch.upserts.is_empty() => return Err(error),
        Err(error) => tracing::debug!(%error, "a publication is divided"),
    }
    let mut revision = 0;
    if !batch.deletes.is_empty() {
        revision = send(Batch { deletes: batch.deletes.clone(), ..Batch::default() }).await?;
    }
    let (mut good, mut bad) = divide(&batch.upserts, &mut send, &mut revision).await?;
    if batch.complete {
        // Now what isn't there any more goes, and with it what it held.
        revision = send(Batch { complete: true, upserts: good.clone(), ..Batch::default() }).await?;
        let pods: Vec<_> = bad.into_iter().map(|(pod, _)| pod).collect();
        (good, bad) = divide(&pods, &mut send, &mut revision).await?;
    }
    tracing::debug!(published = good.len(), refused = bad.len(), "a publication was divided");
    Ok(Published { revision, refused: bad.into_iter().map(|(pod, error)| (pod.uid, error)).collect() })
}

/// Pods that were taken, and those that were refused.
async fn divide<F>(
    pods: &[Pod],
    send: &mut impl FnMut(Batch) -> F,
    revision: &mut u64,
) -> Result<(Vec<Pod>, Vec<(Pod, Error)>), Error>
where
    F: Future<Output = Result<u64, Error>>,
{
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut waiting = vec![pods];
    while let Some(part) = waiting.pop() {
        if part.is_empty() {
            continue;
        }
        match (send(Batch { upserts: part.to_vec(), ..Batch::default() }).await, part) {
            (Ok(at), part) => {
                *revision = at;
                good.extend_from_slice(part);
            }
            (Err(error), _) if !is_refusal(&error) => return Err(error),
            (Err(error), [pod]) => bad.push((pod.clone(), error)),
            (Err(_), part) => {
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
            }
        }
    }
    Ok((good, bad))
}

/// Whether something in the publication is wrong, and not the control plane or the way to it.
fn is_refusal(error: &Error) -> bool {
    let code = error.registered();
    let of_all = [&DISK_FULL, &LOG_LOST, &OTHER_CLUSTER, &VERSION_SKEW, &STALE_SEQUENCE];
    (code.exit == ExitCode::Refused && !code.retryable && !of_all.contains(&code)) || code == &ROLE_DENIED
}

/// The first refusal, with the number of all.
fn refusal(refused: &BTreeMap<PodUid, Error>) -> Option<Error> {
    let error = refused.values().next()?.clone();
    Some(match refused.len() {
        1 => error,
        count => error.because(format!("{count} pods of this node are refused; this is the first of them")),
    })
}

async fn send_pods(channel: &Channel, mutations: &Mutations, batch: Batch) -> Result<u64, Error> {
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
    let mut failed = false;
    let mut backoff = Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST);
    loop {
        let facts = changes.borrow_and_update().clone();
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.connected() => {}
        }
        let told = published.as_ref() == Some(&facts) && shows(&node, &facts);
        if told && std::mem::take(&mut failed) {
            // It became again what it was before it was refused.
            node.states.well(Subsystem::Facts, node.view().revision(), clock::wall());
        }
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
                failed = false;
                node.states.well(Subsystem::Facts, weft_model::Revision(revision), clock::wall());
                published = Some(facts);
            }
            Err(error) => {
                // Others go on with what they know of this node, which may be out of date: people must hear of it.
                failed = true;
                node.states.failed(Subsystem::Facts, error, clock::wall());
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, future::ready};

    use weft_errors::{ADDRESS_TAKEN, NODE_REMOVED, UNREACHABLE};

    use super::*;
    use crate::publish::tests::{pod, uid};

    /// A control plane that refuses some pods, and what it has then.
    async fn check(batch: Batch, bad: &[u16], known: &[u16]) -> (BTreeSet<PodUid>, Vec<PodUid>, usize) {
        let mut state: BTreeSet<_> = known.iter().map(|n| uid(*n)).collect();
        let mut calls = 0;
        let published = publish(&batch, |batch: Batch| {
            calls += 1;
            if let Some(pod) = batch.upserts.iter().find(|p| bad.iter().any(|n| uid(*n) == p.uid)) {
                return ready(Err(Error::new(&ADDRESS_TAKEN, format!("pod {} is refused", pod.name))));
            }
            if batch.complete {
                state.clear();
            }
            state.retain(|uid| !batch.deletes.contains(uid));
            state.extend(batch.upserts.iter().map(|pod| pod.uid));
            ready(Ok(7))
        });
        let published = published.await.unwrap();
        assert_eq!(published.revision, 7);
        (state, published.refused.into_keys().collect(), calls)
    }

    #[tokio::test]
    async fn a_refused_pod_hides_no_other_and_is_named() {
        let pods = |range: std::ops::Range<u16>| range.map(pod).collect::<Vec<_>>();
        let uids = |list: &[u16]| list.iter().map(|n| uid(*n)).collect::<BTreeSet<_>>();
        let all = Batch { complete: true, upserts: pods(0..100), ..Batch::default() };
        let (state, refused, calls) = check(all.clone(), &[17, 80], &[17, 500]).await;
        let good: Vec<u16> = (0..100).filter(|n| ![17, 80].contains(n)).collect();
        assert_eq!((state, refused), (uids(&good), vec![uid(17), uid(80)]));
        assert!(calls < 40, "{calls} calls");
        assert_eq!(check(all, &[], &[500]).await.2, 1);
        let some = Batch { upserts: pods(3..6), deletes: vec![uid(9)], ..Batch::default() };
        let (state, refused, _) = check(some, &[4], &[9, 10]).await;
        assert_eq!((state, refused), (uids(&[3, 5, 10]), vec![uid(4)]));
    }

    #[tokio::test]
    async fn what_isnt_about_a_pod_is_told_at_once() {
        for code in [&UNREACHABLE, &NODE_REMOVED, &DISK_FULL] {
            let batch = Batch { complete: true, upserts: vec![pod(1), pod(2)], ..Batch::default() };
            let mut calls = 0;
            let outcome = publish(&batch, |_| {
                calls += 1;
                ready(Err(Error::new(code, "no")))
            });
            assert_eq!(outcome.await.unwrap_err().registered(), code);
            assert_eq!(calls, 1);
        }
    }
}
