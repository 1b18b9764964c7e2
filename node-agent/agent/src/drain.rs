//! Pods that end in order: terminating at once, so that services send their new connections elsewhere, removed after a grace.
//!
//! For pods of `weft pod add`; those of a container runtime are ended by it, and what it says of them (`PodSpec.terminating`)
//! counts. The end stands in the journal: an agent that starts anew goes on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_errors::{Error, NOT_FOUND, OBJECT_INVALID};
use weft_ipam::{Holding, Origin, Uptime};
use weft_model::PodName;
use weft_proto::v1;

use crate::{addresses::Durability, ask::pod_name, attach::Engine, clock, limits, node::published, pods};

/// Removes a pod, or begins its end when there is a grace.
pub(crate) fn remove(engine: &Engine, request: &v1::PodRemove, deadline: Instant) -> Result<(), Error> {
    let pod = pod_name(&request.namespace, &request.name)?;
    if request.grace_ms == 0 {
        return pods::remove(engine, &pod, deadline);
    }
    begin(engine, &pod, Duration::from_millis(request.grace_ms.into()), deadline)
}

/// Says that a pod is about to end. Returns when that is safe on the disk and on its way to the control plane.
fn begin(engine: &Engine, pod: &PodName, grace: Duration, deadline: Instant) -> Result<(), Error> {
    let wrong = |error: Error| Err(error.object("pod", pod.namespace.as_str(), &pod.name));
    if grace > limits::LONGEST_GRACE {
        return wrong(Error::new(&OBJECT_INVALID, "a grace is at most a day").field("grace"));
    }
    let node = engine.node();
    let found = node.addresses.read(|l| l.holdings().find(|h| h.pod == *pod && h.attached).cloned());
    let Some(holding) = found else {
        return wrong(Error::new(&NOT_FOUND, format!("there is no pod {pod} on node {}", node.name)));
    };
    if holding.origin != Origin::Weft {
        let error = Error::new(&OBJECT_INVALID, format!("pod {pod} belongs to a container runtime"));
        return wrong(error.try_this("end it where it was made", ""));
    }
    let until = Uptime(clock::uptime().0 + u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let (draining, ticket) = node.addresses.change(Durability::Durable, |ledger| {
        let entry = ledger.drain(&holding.attachment, until);
        (ledger.holding(&holding.attachment).cloned(), entry.into_iter().collect())
    });
    node.addresses.wait(ticket, deadline)?;
    if let Some(draining) = draining {
        node.publications.put(published(node, &draining));
    }
    tracing::info!(pod = %holding.pod, grace_ms = grace.as_millis(), "a pod is about to end");
    node.wakes.drain.notify_one();
    Ok(())
}

/// Removes pods whose grace is over until the process stops.
pub(crate) async fn remove_drained(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        let node = engine.node();
        let (due, next) = split(&draining(&engine), clock::uptime());
        let mut pause = next.map_or(limits::OBSERVE_EVERY, Duration::from_millis);
        for pod in due {
            let (removing, name) = (Arc::clone(&engine), pod.clone());
            let work = move || pods::remove(&removing, &name, Instant::now() + limits::ATTACH_DEADLINE);
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => tracing::info!(%pod, "a pod has ended"),
                Ok(Err(error)) if error.registered() == &NOT_FOUND => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, %pod, "a pod whose grace is over can't be removed yet");
                    pause = pause.min(limits::DRAIN_AGAIN);
                }
                Err(error) => tracing::error!(%error, %pod, "the removal of a pod broke off"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.wakes.drain.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn draining(engine: &Engine) -> Vec<Holding> {
    let ends = |holding: &&Holding| holding.origin == Origin::Weft && holding.serving.is_terminating();
    engine.node().addresses.read(|ledger| ledger.holdings().filter(ends).cloned().collect())
}

/// Pods whose grace is over, and the milliseconds until the next one's is.
fn split(draining: &[Holding], now: Uptime) -> (Vec<PodName>, Option<u64>) {
    let ends = || draining.iter().filter_map(|h| Some((h, h.serving.drained_at?)));
    let due = ends().filter(|(_, at)| *at <= now).map(|(holding, _)| holding.pod.clone()).collect();
    (due, ends().filter(|(_, at)| *at > now).map(|(_, at)| at.since(now)).min())
}

#[cfg(test)]
mod tests {
    use weft_ipam::Serving;

    use super::*;
    use crate::fixture;

    #[test]
    fn pods_end_when_their_grace_is_over() {
        let ending = |name: &str, at| Holding {
            pod: name.parse().unwrap(),
            serving: Serving { drained_at: Some(Uptime(at)), ..Serving::default() },
            ..fixture::holding()
        };
        let all = [ending("shop/a", 10), ending("shop/b", 30), ending("shop/c", 20)];
        let check = |now, due: &[&str], next| {
            let due: Vec<_> = due.iter().map(ToString::to_string).collect();
            let (found, wait) = split(&all, Uptime(now));
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!((found.as_slice(), wait), (due.as_slice(), next), "at {now}");
        };
        check(9, &[], Some(1));
        check(10, &["shop/a"], Some(10));
        check(25, &["shop/a", "shop/c"], Some(5));
        check(30, &["shop/a", "shop/b", "shop/c"], None);
    }
}
