//! Pods whose link somebody deleted are attached anew; pods whose namespace is gone too are forgotten after two looks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weft_errors::Error;
use weft_ipam::{Holding, Origin};
use weft_kernel::Namespace;
use weft_model::PodUid;

use crate::{
    attach::Engine,
    inbox::{Wish, Work},
    limits,
    node::{Node, local_pod},
};

/// How long a repair waits for an attachment of the same container that is under way.
const REPAIR_WAIT: Duration = Duration::from_millis(20);

/// Called by the loop of links: a port that should be there is gone. `true`: it was made again, or nothing is missing by now.
pub(crate) fn repair_port(node: &Node, error: &weft_kernel::Error) -> bool {
    let weft_kernel::Error::PortGone { name } = error else { return false };
    let holding = node.addresses.read(|l| l.holdings().find(|h| h.attached && h.link == *name).cloned());
    // Without one it was taken away while the loop looked; an attachment or removal under way knows what it does.
    let Some(holding) = holding else { return true };
    let Some(_held) = node.locks.take(&holding.attachment.container, Instant::now() + REPAIR_WAIT) else {
        return true;
    };
    // What was read before the lock was taken is old.
    if !is_current(node, &holding) || !node.facts().pods.contains_key(&holding.uid) {
        return true;
    }
    match weft_kernel::is_link_alive(name) {
        Ok(true) => return true,
        // One that died in a removal which broke off makes room by itself.
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, link = name, "a pod's link can't be looked at");
            return false;
        }
    }
    match Namespace::open_foreign(&holding.netns) {
        Ok(namespace) => reattach(node, &holding, &namespace),
        Err(_) => {
            // Its runtime will say DEL; until then it wants nothing of the kernel.
            tracing::info!(pod = %holding.pod, netns = holding.netns, "a pod's namespace is gone; waiting for its DEL");
            node.inboxes.collect.poke(Wish::observe());
            node.drop_pod(holding.uid);
            let inboxes = &node.inboxes;
            for inbox in [&inboxes.links, &inboxes.routes, &inboxes.nft, &inboxes.services, &inboxes.policies]
            {
                inbox.poke(Wish::pod(holding.uid));
            }
            true
        }
    }
}

/// Whether the ledger still has this very life of the attachment.
fn is_current(node: &Node, holding: &Holding) -> bool {
    node.addresses.read(|l| l.holding(&holding.attachment).is_some_and(|now| now.uid == holding.uid))
}

fn reattach(node: &Node, holding: &Holding, namespace: &Namespace) -> bool {
    let link = match crate::attach::pod_link(node, holding) {
        Ok(link) => link,
        Err(error) => {
            tracing::warn!(%error, pod = %holding.pod, "a pod's link can't be made again yet");
            return false;
        }
    };
    match weft_kernel::attach(namespace, &link) {
        Ok(_) => {
            tracing::info!(pod = %holding.pod, link = holding.link, "a pod's link was gone and has been made again");
            node.put_pod(local_pod(holding));
            node.inboxes.nft.poke(Wish { observe: true, ..Wish::pod(holding.uid) });
            node.inboxes.services.poke(Wish::pod(holding.uid));
            node.inboxes.policies.poke(Wish::pod(holding.uid));
            true
        }
        Err(error) => {
            tracing::warn!(%error, pod = %holding.pod, "a pod's link can't be made again yet");
            false
        }
    }
}

/// Forgets pods that nobody will remove: namespace and link gone, seen twice, and once more under the lock.
pub(crate) fn collect(engine: &Engine) -> Result<(), Error> {
    let mut seen: BTreeMap<PodUid, Instant> = BTreeMap::new();
    let mut pause = Duration::ZERO;
    // At start first of all: a machine that crashed has none of the pods that its journal speaks of.
    while !matches!(engine.node().inboxes.collect.take(Instant::now() + pause), Work::Stop) {
        let gone: Vec<_> = holdings(engine.node()).into_iter().filter(is_gone).collect();
        seen.retain(|uid, _| gone.iter().any(|holding| holding.uid == *uid));
        for holding in gone {
            let since = seen.entry(holding.uid).or_insert_with(Instant::now);
            if since.elapsed() >= limits::GONE_AGAIN {
                forget(engine, &holding);
            }
        }
        pause = if seen.is_empty() { limits::GONE_EVERY } else { limits::GONE_AGAIN };
    }
    Ok(())
}

fn forget(engine: &Engine, holding: &Holding) {
    let deadline = Instant::now() + limits::ATTACH_DEADLINE;
    let Ok(held) = engine.lock(&holding.attachment.container, deadline) else { return };
    if !is_current(engine.node(), holding) || !is_gone(holding) {
        return;
    }
    match engine.remove(&held, &holding.attachment, deadline) {
        Ok(_) => {
            tracing::info!(pod = %holding.pod, attachment = %holding.attachment, "a pod that is gone without a DEL was forgotten")
        }
        Err(error) => tracing::warn!(%error, pod = %holding.pod, "a pod that is gone can't be forgotten yet"),
    }
}

fn holdings(node: &Node) -> Vec<Holding> {
    // Pods of ours keep their namespace until they are removed.
    node.addresses
        .read(|l| l.holdings().filter(|h| h.attached && h.origin != Origin::Weft).cloned().collect())
}

fn is_gone(holding: &Holding) -> bool {
    Namespace::open(&holding.netns).is_err() && matches!(weft_kernel::is_link_alive(&holding.link), Ok(false))
}
