//! Which node answers for a load-balancer address on the link: the leader asks, and proposes what comes out.
//!
//! Pure: who is alive is told by the caller. An owner stays as long as it may, so that connections stay; else its
//! successor, known in advance, takes over; else whoever a rendezvous hash picks, which spreads addresses evenly.
//! With policy Local a node without a ready endpoint is no owner while another node has one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{AddressOwner, Family, Node, NodeName, NodeState, Revision, Service, TrafficPolicy};

use crate::{
    State,
    apply::{
        owner::is_announced,
        service::{PoolRef, pool_of},
    },
    limits,
};

/// What the leader knows of a node; one that isn't told is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers: may own and take over.
    Alive,
    /// It is away for a moment and said so, or nobody knows yet: keeps what it owns, takes nothing over.
    Away,
}

/// Owners and successors that must change, in order of addresses and no more than one command takes; nothing when all is
/// well. Epoch and revision of what comes out are made when the command is applied.
pub fn decide(state: &State, alive: &BTreeMap<NodeName, Liveness>) -> Vec<AddressOwner> {
    let announced = state.balanced_addresses().filter(|address| is_announced(state, *address));
    let changes = announced.filter_map(|address| decide_one(state, alive, address));
    changes.take(limits::MAX_OWNERS_PER_COMMAND).collect()
}

/// Whether an address gets another owner by this, not only another successor: the former can't wait.
pub fn is_move(state: &State, decided: &[AddressOwner]) -> bool {
    let owner = |address: &IpAddr| state.owners().get(address).map(|owner| &owner.node);
    decided.iter().any(|decided| owner(&decided.address) != Some(&decided.node))
}

fn decide_one(state: &State, alive: &BTreeMap<NodeName, Liveness>, address: IpAddr) -> Option<AddressOwner> {
    let pool = pool_of(state, address)?;
    let local = local_nodes(state, address);
    let fit = |name: &NodeName, liveness: &[Liveness]| {
        let node = state.nodes().get(name);
        alive.get(name).is_some_and(|l| liveness.contains(l)) && node.is_some_and(|node| may_own(pool, node))
    };
    // Nodes with endpoints, if there is one among those that may take over; else it makes no difference.
    let local = local.filter(|nodes| nodes.iter().any(|node| fit(node, &[Liveness::Alive])));
    let serves = |name: &NodeName| local.as_ref().is_none_or(|nodes| nodes.contains(name));
    let stays = |name: &&NodeName| fit(name, &[Liveness::Alive, Liveness::Away]) && serves(name);
    let takes = |name: &&NodeName| fit(name, &[Liveness::Alive]) && serves(name);

    let old = state.owners().get(&address);
    let best = |not: Option<&NodeName>| {
        let able = alive.keys().filter(|name| takes(name) && Some(*name) != not);
        able.max_by_key(|name| weight(address, name)).cloned()
    };
    let owner = old.map(|old| &old.node).filter(stays);
    let heir = || old.and_then(|old| old.successor.as_ref()).filter(takes);
    let node = owner.or_else(heir).cloned().or_else(|| best(None))?;
    let kept = old.and_then(|old| old.successor.as_ref()).filter(|name| takes(name) && **name != node);
    let successor = kept.cloned().or_else(|| best(Some(&node)));
    if old.is_some_and(|old| old.node == node && old.successor == successor) {
        return None;
    }
    Some(AddressOwner { address, node, successor, epoch: 0, revision: Revision(0) })
}

/// Whether a pool lets a node answer for its addresses.
fn may_own(pool: PoolRef<'_>, node: &Node) -> bool {
    let wanted = pool.nodes.into_iter().flatten();
    node.state == NodeState::Active
        && wanted.into_iter().all(|(key, value)| node.labels.get(key) == Some(value))
}

/// Nodes with a ready endpoint of every service with policy Local that has the address; `None`: any node will do.
fn local_nodes(state: &State, address: IpAddr) -> Option<BTreeSet<NodeName>> {
    let services = state.balanced_by(address).filter(|s| s.spec.external_policy == TrafficPolicy::Local);
    let sets = services.map(|service| ready_nodes(state, service, Family::of(address)));
    sets.reduce(|a, b| a.intersection(&b).cloned().collect())
}

fn ready_nodes(state: &State, service: &Service, family: Family) -> BTreeSet<NodeName> {
    let of_family = |address: &IpAddr| Family::of(*address) == family;
    let pods = state.selected_pods(service).filter(|pod| {
        let ready = pod.is_serving() && !pod.is_terminating();
        (ready || service.spec.publish_not_ready) && pod.pod.addresses.iter().any(of_family)
    });
    let written = state.slices_of(&service.name).flat_map(|slice| &slice.endpoints).filter(|endpoint| {
        endpoint.conditions.is_ready() && endpoint.addresses.first().is_some_and(of_family)
    });
    pods.map(|pod| pod.pod.node.clone()).chain(written.filter_map(|endpoint| endpoint.node.clone())).collect()
}

/// Rendezvous hash: the highest wins; removing a node moves only what it had.
fn weight(address: IpAddr, node: &NodeName) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(address.to_string().as_bytes()).update(b"/").update(node.as_str().as_bytes());
    *hasher.finalize().as_bytes()
}
