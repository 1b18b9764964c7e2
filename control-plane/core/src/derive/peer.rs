//! A node as the others see it.
//!
//! Invariant: `allowed` is pairwise disjoint over all peers. Leases are disjoint, mesh addresses are unique, the
//! ranges of the two purposes don't overlap, underlay addresses are unique and lie in no range of the fabric:
//! the last two are held by admit/facts.rs and admit/fabric.rs.

use weft_model::{AddressRange, NodeName, NodeState, PeerItem, ZONE_LABEL};

use crate::State;

/// The peer of an active node; `None` for others.
pub(crate) fn derive(state: &State, name: &NodeName) -> Option<PeerItem> {
    let node = state.nodes().get(name).filter(|node| node.state == NodeState::Active)?;
    let blocks = state.node_leases(name).map(|lease| lease.block);
    let mesh = node.mesh.iter().map(|(_, address)| AddressRange::host(*address));
    let underlay = node.underlay.iter().map(|address| AddressRange::host(*address));
    let mut allowed: Vec<_> = blocks.chain(mesh).chain(underlay).collect();
    allowed.sort_unstable();
    Some(PeerItem {
        node: node.name.clone(),
        wireguard_key: node.wireguard_key,
        endpoint: node.endpoint,
        mesh: node.mesh,
        underlay: node.underlay.clone(),
        uplink_mac: node.uplink_mac,
        allowed,
        zone: node.labels.get(ZONE_LABEL).cloned().unwrap_or_default(),
        silent: node.silent.is_some(),
    })
}
