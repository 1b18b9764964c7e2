//! How much was dropped, and how much of it nobody told.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use weft_errors::Coded;
use weft_kernel::{NftError, NftSocket};
use weft_model::{Direction, PodName};
use weft_plan::{DropCounters, DropCounts, DropReason, DropTally};
use weft_proto::v1;

use crate::node::Node;

use super::pods_by_address;

/// What is counted alone: a reason, and where policies deny the pod's address.
pub(super) type Key = (DropReason, Option<IpAddr>);

/// The numbers.
#[derive(Debug, Default)]
pub(crate) struct Drops(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    socket: Option<NftSocket>,
    tally: DropTally,
    /// Packets of which a copy came.
    told: BTreeMap<Key, u64>,
    /// What was counted a while ago: copies of all of these have come, if they come.
    counted: BTreeMap<Key, u64>,
    /// How many more were counted than told, as watchers know.
    left_out: BTreeMap<Key, u64>,
}

impl Drops {
    /// Reads the kernel's counters now. What can't be read stays as it was.
    pub(crate) fn count(&self, node: &Node) {
        let mut state = self.lock();
        match state.read() {
            Ok(counts) => state.tally.take(&counts, &pods_by_address(node)),
            Err(error) => {
                state.socket = None;
                tracing::debug!(error = %error.envelope(), "what was dropped can't be read");
            }
        }
    }

    /// Somebody begins to watch: what was left out before is none of their business.
    pub(crate) fn begin(&self, node: &Node) {
        self.count(node);
        self.tell_left_out(node, false);
        self.tell_left_out(node, false);
    }

    /// A copy of a packet came.
    pub(super) fn told(&self, key: Key) {
        *self.lock().told.entry(key).or_default() += 1;
    }

    /// Tells watchers what was counted at the last call and not told since; call it after [`Self::count`], at times far enough apart
    /// for a copy to arrive.
    pub(super) fn tell_left_out(&self, node: &Node, is_watched: bool) {
        let mut all = Vec::new();
        {
            let mut state = self.lock();
            let counted = state.counted();
            let before = std::mem::replace(&mut state.counted, counted);
            let State { told, left_out, counted, .. } = &mut *state;
            // Of pods that are gone nothing is counted any more.
            told.retain(|key, _| counted.contains_key(key));
            left_out.retain(|key, _| counted.contains_key(key));
            for (key, packets) in before {
                let more = packets.saturating_sub(told.get(&key).copied().unwrap_or(0));
                let known = left_out.entry(key).or_default();
                if more > *known {
                    all.push((key, more - *known));
                    *known = more;
                }
            }
        }
        if is_watched {
            let facts = node.facts();
            for ((reason, address), packets) in all {
                let has = |pod: &&weft_plan::LocalPod| {
                    address.is_some_and(|address| pod.addresses.contains(&address))
                };
                let pod = facts.pods.values().find(has).map(|pod| &pod.name);
                node.watchers.left_out(reason, pod, packets);
            }
        }
    }

    /// The numbers for the node's account.
    pub(crate) fn state(&self, node: &Node) -> v1::DropsState {
        let facts = node.facts();
        let names: BTreeMap<IpAddr, &PodName> = facts
            .pods
            .values()
            .flat_map(|pod| pod.addresses.iter().map(|address| (*address, &pod.name)))
            .collect();
        let state = self.lock();
        let of_reason = |reason: DropReason| {
            let packets = state.tally.of_reason(reason);
            (packets > 0).then(|| v1::DropCount { reason: reason.to_string(), packets })
        };
        let mut pods: BTreeMap<&PodName, v1::PodDrops> = BTreeMap::new();
        for (direction, address, packets) in state.tally.of_pods().filter(|(.., packets)| *packets > 0) {
            let Some(name) = names.get(&address).copied() else { continue };
            let pod = pods
                .entry(name)
                .or_insert_with(|| v1::PodDrops { pod: name.to_string(), ..v1::PodDrops::default() });
            match direction {
                Direction::Ingress => pod.ingress += packets,
                Direction::Egress => pod.egress += packets,
            }
        }
        v1::DropsState {
            reasons: DropReason::ALL.into_iter().filter_map(of_reason).collect(),
            pods: pods.into_values().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(&mut self) -> Result<DropCounts, NftError> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => self.socket.insert(NftSocket::open()?),
        };
        let counters = DropCounters::all();
        Ok(DropCounts::read(&socket.counts(&counters.tables, &counters.sets)?))
    }

    /// What was counted so far; what policies deny by pod.
    fn counted(&self) -> BTreeMap<Key, u64> {
        let by_rule = DropReason::ALL.into_iter().filter(|reason| reason.of_policy().is_none());
        let mut all: BTreeMap<Key, u64> =
            by_rule.map(|reason| ((reason, None), self.tally.of_reason(reason))).collect();
        for (direction, address, packets) in self.tally.of_pods() {
            all.insert((DropReason::denied(direction), Some(address)), packets);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_to_watch_takes_nothing_from_who_watches_already() {
        let directory = tempfile::tempdir().unwrap();
        let node = crate::fixture::node(&directory);
        let ask = |watcher| {
            let request = v1::Flows { watcher, drops: true, ..v1::Flows::default() };
            crate::ask::flows(&node, &request, std::time::Instant::now()).unwrap()
        };
        ask(1);
        let counts = DropCounts { reasons: [(DropReason::Spoofed, 100)].into(), pods: BTreeMap::new() };
        node.drops.lock().tally.take(&counts, &BTreeMap::new());
        ask(2);
        (0..2).for_each(|_| node.drops.tell_left_out(&node, true));
        assert_eq!(ask(1).left_out.first().map(|one| one.packets), Some(100));
    }

    #[test]
    fn what_was_counted_and_not_told_is_told_as_a_number_once() {
        let directory = tempfile::tempdir().unwrap();
        let node = crate::fixture::node(&directory);
        let watched = crate::watchers::Watched { pod: None, names: false, drops: true };
        node.watchers.fetch(1, watched.clone(), std::time::Duration::ZERO, || ()).unwrap();
        let key = (DropReason::Spoofed, None);
        let round = |counted: u64, told: u64| {
            let counts =
                DropCounts { reasons: [(DropReason::Spoofed, counted)].into(), pods: BTreeMap::new() };
            node.drops.lock().tally.take(&counts, &BTreeMap::new());
            (0..told).for_each(|_| node.drops.told(key));
            node.drops.tell_left_out(&node, true);
            let result = node.watchers.fetch(1, watched.clone(), std::time::Duration::ZERO, || ()).unwrap();
            result.left_out.first().map_or(0, |one| one.packets)
        };
        assert_eq!(round(100, 3), 0, "copies of these may still come");
        assert_eq!(round(100, 2), 95);
        assert_eq!(round(100, 0), 0, "once");
        assert_eq!(round(110, 10), 0);
        assert_eq!(round(110, 0), 0, "all of the others were told");
        node.drops.lock().tally.take(
            &DropCounts { reasons: [(DropReason::Spoofed, 500)].into(), pods: BTreeMap::new() },
            &BTreeMap::new(),
        );
        (0..2).for_each(|_| node.drops.tell_left_out(&node, false));
        assert_eq!(round(500, 0), 0, "while nobody watched");
        assert_eq!(node.drops.state(&node).reasons[0].packets, 500);
    }
}
