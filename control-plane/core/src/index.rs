//! Reverse indexes of the state: what makes the work of a command proportional to what it touches.
//!
//! They follow from the rows alone. Adding and removing rows in any order ends in the same index, also through
//! moments at which two rows claim one address (an undone command passes through such).

pub(crate) mod policies;
pub(crate) mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{
    Block, BlockLease, ClientId, ClientRecord, Family, FreedBlock, LogIndex, Node, NodeName, NodeState,
    NodeUid, Pod, PodName, PodUid, Revision, Token, WallTime, WireguardKey,
};

pub(crate) use policies::PolicyIndex;
pub(crate) use services::ServiceIndex;

/// Who holds what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Which pod holds an address.
    pub(crate) addresses: BTreeMap<IpAddr, PodUid>,
    /// Pods of one name, the owner of the name last.
    pub(crate) names: BTreeMap<PodName, BTreeSet<(WallTime, PodUid)>>,
    /// Pods of a node.
    pub(crate) node_pods: BTreeMap<NodeName, BTreeSet<PodUid>>,
    /// Blocks of a node.
    pub(crate) node_leases: BTreeMap<NodeName, BTreeSet<Block>>,
    /// Which active node has a mesh address.
    pub(crate) mesh: BTreeMap<IpAddr, NodeName>,
    /// Which active node has an underlay address.
    pub(crate) underlay: BTreeMap<IpAddr, NodeName>,
    /// Which active node has a WireGuard key.
    pub(crate) keys: BTreeMap<WireguardKey, NodeName>,
    /// Which node, active or removed, has an identity.
    pub(crate) uids: BTreeMap<NodeUid, NodeName>,
    /// Tokens by the hash of their text.
    pub(crate) token_hashes: BTreeMap<[u8; 32], String>,
    /// Tokens in order of their expiry.
    pub(crate) token_expiry: BTreeSet<(WallTime, String)>,
    /// Active nodes that are silent.
    pub(crate) silent: BTreeSet<NodeName>,
    /// Clients in order of their last command.
    pub(crate) client_order: BTreeSet<(LogIndex, ClientId)>,
    /// Freed blocks of a family, the longest free first.
    pub(crate) freed_order: BTreeSet<(Family, Revision, Block)>,
    /// Of services.
    pub(crate) services: ServiceIndex,
    /// Of policies.
    pub(crate) policies: PolicyIndex,
}

/// Adds `value` to the set of `key`.
fn join<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

/// Takes `value` out of the set of `key`; an empty set goes.
fn part<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

/// Removes `key` if it still belongs to `holder`: another row may have taken it over meanwhile.
fn release<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: &K, holder: &V) {
    if map.get(key) == Some(holder) {
        map.remove(key);
    }
}

impl Index {
    pub(crate) fn add_pod(&mut self, pod: &Pod) {
        for address in &pod.addresses {
            self.addresses.insert(*address, pod.uid);
        }
        join(&mut self.names, pod.name.clone(), (pod.created, pod.uid));
        join(&mut self.node_pods, pod.node.clone(), pod.uid);
    }

    pub(crate) fn remove_pod(&mut self, pod: &Pod) {
        for address in &pod.addresses {
            release(&mut self.addresses, address, &pod.uid);
        }
        part(&mut self.names, &pod.name, &(pod.created, pod.uid));
        part(&mut self.node_pods, &pod.node, &pod.uid);
    }

    pub(crate) fn add_lease(&mut self, lease: &BlockLease) {
        join(&mut self.node_leases, lease.node.clone(), lease.block);
    }

    pub(crate) fn remove_lease(&mut self, lease: &BlockLease) {
        part(&mut self.node_leases, &lease.node, &lease.block);
    }

    pub(crate) fn add_node(&mut self, node: &Node) {
        self.services.add_node(node);
        self.uids.insert(node.uid, node.name.clone());
        if node.state == NodeState::Removed {
            return;
        }
        if node.silent.is_some() {
            self.silent.insert(node.name.clone());
        }
        for (_, address) in node.mesh.iter() {
            self.mesh.insert(*address, node.name.clone());
        }
        for address in &node.underlay {
            self.underlay.insert(*address, node.name.clone());
        }
        if let Some(key) = node.wireguard_key {
            self.keys.insert(key, node.name.clone());
        }
    }

    pub(crate) fn remove_node(&mut self, node: &Node) {
        self.services.remove_node(node);
        release(&mut self.uids, &node.uid, &node.name);
        if node.state == NodeState::Removed {
            return;
        }
        self.silent.remove(&node.name);
        for (_, address) in node.mesh.iter() {
            release(&mut self.mesh, address, &node.name);
        }
        for address in &node.underlay {
            release(&mut self.underlay, address, &node.name);
        }
        if let Some(key) = node.wireguard_key {
            release(&mut self.keys, &key, &node.name);
        }
    }

    pub(crate) fn add_token(&mut self, token: &Token) {
        self.token_hashes.insert(token.hash, token.id.clone());
        self.token_expiry.insert((token.expires, token.id.clone()));
    }

    pub(crate) fn remove_token(&mut self, token: &Token) {
        release(&mut self.token_hashes, &token.hash, &token.id);
        self.token_expiry.remove(&(token.expires, token.id.clone()));
    }

    pub(crate) fn add_client(&mut self, record: &ClientRecord) {
        self.client_order.insert((record.index, record.client));
    }

    pub(crate) fn remove_client(&mut self, record: &ClientRecord) {
        self.client_order.remove(&(record.index, record.client));
    }

    pub(crate) fn add_freed(&mut self, freed: &FreedBlock) {
        self.freed_order.insert((freed.block.family(), freed.revision, freed.block));
    }

    pub(crate) fn remove_freed(&mut self, freed: &FreedBlock) {
        self.freed_order.remove(&(freed.block.family(), freed.revision, freed.block));
    }
}
