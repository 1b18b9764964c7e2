//! Path MTU: padded echoes between mesh addresses. A smaller link far away is otherwise a silent black hole.
//!
//! In: the peers of the View. Out: the largest packet that was proved to come through, per peer, in the facts. A path
//! counts as narrow only when small packets pass and large ones don't, again and again.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use weft_errors::Error;
use weft_kernel::{Echo, LEAST_PROBE, Pinger};
use weft_model::{Family, NodeName, Overlay};
use weft_plan::mtu::{PathSize, Probe};

use crate::{
    inbox::{Outcome, Work},
    limits,
    node::Node,
};

/// Tries of one size before it counts as lost.
const TRIES: u32 = 3;

/// When a peer is probed next.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    /// The pause after the next silence.
    silence: Duration,
}

/// Probes until the process stops.
pub(crate) fn run(node: &Arc<Node>) -> Result<(), Error> {
    let mut due: BTreeMap<NodeName, Due> = BTreeMap::new();
    loop {
        let latest = Instant::now() + limits::PATH_AGAIN_LONGEST;
        // A node that knows no peers yet looks again soon.
        let soon = Instant::now() + limits::PATH_AGAIN;
        let next = due.values().map(|due| due.at).min().unwrap_or(soon);
        match node.inboxes.path_mtu.take(next.min(latest)) {
            Work::Stop => return Ok(()),
            Work::Nothing => {}
            Work::Wish(wish, ticket) => {
                // A peer that changed may be reached by another path.
                for key in wish.items {
                    if let weft_model::ItemKey::Peer(peer) = key {
                        due.remove(&peer);
                    }
                }
                node.inboxes.path_mtu.done(ticket, Outcome::default());
            }
        }
        probe_due(node, &mut due);
    }
}

fn probe_due(node: &Node, due: &mut BTreeMap<NodeName, Due>) {
    let view = node.view();
    let Some(fabric) = view.fabric() else { return };
    due.retain(|peer, _| *peer != node.name && view.peers().contains_key(peer));
    for peer in view.peers().values().filter(|peer| peer.node != node.name) {
        let now = Instant::now();
        if due.get(&peer.node).is_some_and(|due| due.at > now) {
            continue;
        }
        // One that can't be probed yet gets no time: its item changes when it can.
        if fabric.overlay == Overlay::Wireguard && peer.wireguard_key.is_none() {
            continue;
        }
        let Some(target) = fabric.families.list().iter().find_map(|family| peer.mesh.of(*family)) else {
            continue;
        };
        let largest = match fabric.overlay {
            Overlay::Wireguard => node.facts().mesh_mtu(fabric),
            Overlay::Routed => node.facts().pod_mtu(fabric),
        };
        let mut path = Echoes { target: *target, round_trip: None };
        let found = path.search(largest);
        node.set_rtt(&peer.node, path.round_trip);
        let mut silence = limits::PATH_AGAIN;
        let wait = match found {
            PathSize::Silent => {
                let before = due.get(&peer.node).map_or(limits::PATH_AGAIN, |due| due.silence);
                silence = (before * 2).min(limits::PATH_AGAIN_LONGEST);
                before
            }
            PathSize::Whole => {
                node.change_facts(|facts| {
                    facts.probed_mtus.remove(&peer.node);
                });
                limits::PATH_EVERY
            }
            PathSize::Narrow(size) => {
                if node.facts().probed_mtus.get(&peer.node) != Some(&size) {
                    tracing::info!(peer = %peer.node, mtu = size, largest, "the path to a peer is narrower than its link");
                }
                node.change_facts(|facts| {
                    facts.probed_mtus.insert(peer.node.clone(), size);
                });
                limits::PATH_EVERY
            }
        };
        due.insert(peer.node.clone(), Due { at: Instant::now() + wait, silence });
    }
}

/// Echoes to one peer.
struct Echoes {
    target: IpAddr,
    round_trip: Option<Duration>,
}

impl Echoes {
    fn search(&mut self, largest: u32) -> PathSize {
        let mut probe = Probe::new(LEAST_PROBE, largest, Family::of(self.target));
        while let Some(size) = probe.next_size() {
            let passed = self.passes(size);
            probe.learn(passed);
        }
        probe.result().unwrap_or(PathSize::Silent)
    }

    fn passes(&mut self, size: u32) -> bool {
        let Ok(mut pinger) = Pinger::open(self.target, None) else { return false };
        let wait = self
            .round_trip
            .map_or(limits::ECHO_WAIT, |trip| (trip * 8).clamp(limits::ECHO_WAIT_LEAST, limits::ECHO_WAIT));
        for _ in 0..TRIES {
            match pinger.echo(size, wait) {
                Ok(Echo::Replied { after }) => {
                    self.round_trip.get_or_insert(after);
                    return true;
                }
                Ok(Echo::TooLarge { .. }) => return false,
                Ok(Echo::Silent | Echo::Unreachable) | Err(_) => {}
            }
        }
        false
    }
}
