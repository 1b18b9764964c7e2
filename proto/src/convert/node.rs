//! Nodes and what they say of themselves.

use weft_model::{Node, NodeFacts, NodeName, NodeState, Revision, WallTime, WireguardKey};

use super::{
    address::{
        addresses_from_wire, addresses_to_wire, mesh_from_wire, mesh_to_wire, ranges_from_wire,
        ranges_to_wire,
    },
    shape::{ShapeError, Within, copied, exactly_or_none, node_uid_from_wire, optional, required},
};
use crate::v1;

impl TryFrom<v1::NodeFacts> for NodeFacts {
    type Error = ShapeError;

    fn try_from(wire: v1::NodeFacts) -> Result<Self, ShapeError> {
        Ok(Self {
            wireguard_key: exactly_or_none("wireguard_key", &wire.wireguard_key)?.map(WireguardKey),
            endpoint: optional("endpoint", wire.endpoint)?,
            underlay: addresses_from_wire("underlay", wire.underlay)?,
            uplink_mac: exactly_or_none("uplink_mac", &wire.uplink_mac)?,
            host_routes: ranges_from_wire("host_routes", wire.host_routes)?,
        })
    }
}

impl From<&NodeFacts> for v1::NodeFacts {
    fn from(facts: &NodeFacts) -> Self {
        Self {
            wireguard_key: facts.wireguard_key.map(|key| copied(&key.0)).unwrap_or_default(),
            endpoint: facts.endpoint.as_ref().map(Into::into),
            underlay: addresses_to_wire(&facts.underlay),
            uplink_mac: facts.uplink_mac.map(|mac| copied(&mac)).unwrap_or_default(),
            host_routes: ranges_to_wire(&facts.host_routes),
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = ShapeError;

    fn try_from(wire: v1::Node) -> Result<Self, ShapeError> {
        let facts: NodeFacts = required("facts", wire.facts)?;
        Ok(Self {
            name: NodeName::new(wire.name).within("name")?,
            uid: node_uid_from_wire("uid", &wire.uid)?,
            state: if wire.removed { NodeState::Removed } else { NodeState::Active },
            labels: wire.labels,
            mesh: mesh_from_wire("mesh", wire.mesh)?,
            wireguard_key: facts.wireguard_key,
            endpoint: facts.endpoint,
            underlay: facts.underlay,
            uplink_mac: facts.uplink_mac,
            host_routes: facts.host_routes,
            joined: WallTime(wire.joined_ms),
            silent: (wire.silent_since_ms != 0).then_some(WallTime(wire.silent_since_ms)),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Node> for v1::Node {
    fn from(node: &Node) -> Self {
        let facts = v1::NodeFacts {
            wireguard_key: node.wireguard_key.map(|key| copied(&key.0)).unwrap_or_default(),
            endpoint: node.endpoint.as_ref().map(Into::into),
            underlay: addresses_to_wire(&node.underlay),
            uplink_mac: node.uplink_mac.map(|mac| copied(&mac)).unwrap_or_default(),
            host_routes: ranges_to_wire(&node.host_routes),
        };
        Self {
            name: node.name.to_string(),
            uid: copied(&node.uid.0),
            removed: node.state == NodeState::Removed,
            labels: node.labels.clone(),
            mesh: mesh_to_wire(&node.mesh),
            facts: Some(facts),
            joined_ms: node.joined.0,
            revision: node.revision.0,
            silent_since_ms: node.silent.map_or(0, |since| since.0),
        }
    }
}
