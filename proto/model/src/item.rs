//! What nodes need: derived by the control plane, streamed to every agent, never written by people.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    AddressRange, Block, ClusterId, Dual, Epoch, FabricRanges, Families, NodeName, Overlay, WireguardKey,
};

/// Settings of the fabric that a node works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricItem {
    /// Which cluster this is; an agent of another one refuses to go on.
    pub cluster: ClusterId,
    /// Families and which is first; an agent that was told another primary refuses to start.
    pub families: Families,
    /// All ranges: `unreachable` routes, marks and masquerade are made from them.
    pub ranges: FabricRanges,
    /// Mesh or plain routes.
    pub overlay: Overlay,
    /// Domain of names.
    pub domain: String,
    /// Destinations outside that see the pod's own address.
    pub masquerade_exceptions: Vec<AddressRange>,
    /// Where the voting replicas of the control plane serve, in order of their Raft ids: agents follow them.
    pub replicas: Vec<SocketAddr>,
}

/// One node as the others see it; a node finds itself here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerItem {
    /// Name of the node.
    pub node: NodeName,
    /// Public key of its mesh device; without one there is no tunnel to it yet.
    pub wireguard_key: Option<WireguardKey>,
    /// Where its mesh device listens.
    pub endpoint: Option<SocketAddr>,
    /// Its mesh addresses.
    pub mesh: Dual<IpAddr>,
    /// Its own underlay addresses: reached through the mesh by pods (design, section 6, table B).
    pub underlay: Vec<IpAddr>,
    /// MAC of its uplink (mode `routed`).
    pub uplink_mac: Option<[u8; 6]>,
    /// Allowed IPs of its WireGuard peer: blocks, mesh and underlay addresses; pairwise disjoint over all peers.
    pub allowed: Vec<AddressRange>,
}

/// One leased block and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteItem {
    /// The block.
    pub block: Block,
    /// Who holds it: the destination of its packets; the holder itself reads its leases here.
    pub node: NodeName,
    /// Epoch of the lease.
    pub epoch: Epoch,
}

/// Any item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Fabric settings.
    Fabric(FabricItem),
    /// A node.
    Peer(PeerItem),
    /// A leased block.
    Route(RouteItem),
}

impl Item {
    /// What it is keyed by in the View.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Fabric(_) => ItemKey::Fabric,
            Self::Peer(peer) => ItemKey::Peer(peer.node.clone()),
            Self::Route(route) => ItemKey::Route(route.block),
        }
    }
}

/// Key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// The fabric settings.
    Fabric,
    /// A node by name.
    Peer(NodeName),
    /// A leased block.
    Route(Block),
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fabric => f.write_str("fabric"),
            Self::Peer(node) => write!(f, "peer/{node}"),
            Self::Route(block) => write!(f, "route/{block}"),
        }
    }
}
