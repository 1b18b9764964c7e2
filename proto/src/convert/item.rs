//! Items and their keys.

use weft_model::{
    Epoch, FabricItem, IdentityId, Item, ItemKey, NamespaceName, NodeName, PeerItem, RouteItem, WireguardKey,
};

use super::{
    address::{
        address_from_wire, address_to_wire, addresses_from_wire, addresses_to_wire, mesh_from_wire,
        mesh_to_wire, port_range_from_wire, port_range_to_wire, ranges_from_wire, ranges_to_wire,
    },
    dns::settings_from_wire,
    fabric::{families_from_wire, overlay_from_wire},
    policy,
    shape::{
        ShapeError, Within, cluster_from_wire, copied, exactly_or_none, list, missing, optional, required,
    },
};
use crate::v1::{self, item::Kind as WireItem, item_key::Kind as WireKey};

impl TryFrom<v1::FabricItem> for FabricItem {
    type Error = ShapeError;

    fn try_from(wire: v1::FabricItem) -> Result<Self, ShapeError> {
        Ok(Self {
            cluster: cluster_from_wire("cluster", &wire.cluster)?,
            families: families_from_wire("families", wire.families)?,
            ranges: required("ranges", wire.ranges)?,
            overlay: overlay_from_wire("overlay", wire.overlay)?,
            domain: wire.domain,
            dns: settings_from_wire("dns", wire.dns)?,
            masquerade_exceptions: ranges_from_wire("masquerade_exceptions", wire.masquerade_exceptions)?,
            node_port_addresses: ranges_from_wire("node_port_addresses", wire.node_port_addresses)?,
            node_port_range: port_range_from_wire("node_port_range", wire.node_port_range)?,
            policy: policy::settings_from_wire("policy", wire.policy)?,
            replicas: list("replicas", wire.replicas)?,
        })
    }
}

impl From<&FabricItem> for v1::FabricItem {
    fn from(item: &FabricItem) -> Self {
        Self {
            cluster: copied(&item.cluster.0),
            families: v1::Families::from(item.families).into(),
            ranges: Some((&item.ranges).into()),
            overlay: v1::Overlay::from(item.overlay).into(),
            domain: item.domain.clone(),
            dns: Some((&item.dns).into()),
            masquerade_exceptions: ranges_to_wire(&item.masquerade_exceptions),
            replicas: item.replicas.iter().map(Into::into).collect(),
            node_port_addresses: ranges_to_wire(&item.node_port_addresses),
            node_port_range: Some(port_range_to_wire(item.node_port_range)),
            policy: policy::settings_to_wire(item.policy),
        }
    }
}

impl TryFrom<v1::PeerItem> for PeerItem {
    type Error = ShapeError;

    fn try_from(wire: v1::PeerItem) -> Result<Self, ShapeError> {
        Ok(Self {
            node: NodeName::new(wire.node).within("node")?,
            wireguard_key: exactly_or_none("wireguard_key", &wire.wireguard_key)?.map(WireguardKey),
            endpoint: optional("endpoint", wire.endpoint)?,
            mesh: mesh_from_wire("mesh", wire.mesh)?,
            underlay: addresses_from_wire("underlay", wire.underlay)?,
            uplink_mac: exactly_or_none("uplink_mac", &wire.uplink_mac)?,
            allowed: ranges_from_wire("allowed", wire.allowed)?,
            zone: wire.zone,
            silent: wire.silent,
        })
    }
}

impl From<&PeerItem> for v1::PeerItem {
    fn from(item: &PeerItem) -> Self {
        Self {
            node: item.node.to_string(),
            wireguard_key: item.wireguard_key.map(|key| copied(&key.0)).unwrap_or_default(),
            endpoint: item.endpoint.as_ref().map(Into::into),
            mesh: mesh_to_wire(&item.mesh),
            underlay: addresses_to_wire(&item.underlay),
            uplink_mac: item.uplink_mac.map(|mac| copied(&mac)).unwrap_or_default(),
            allowed: ranges_to_wire(&item.allowed),
            zone: item.zone.clone(),
            silent: item.silent,
        }
    }
}

impl TryFrom<v1::RouteItem> for RouteItem {
    type Error = ShapeError;

    fn try_from(wire: v1::RouteItem) -> Result<Self, ShapeError> {
        Ok(Self {
            block: required("block", wire.block)?,
            node: NodeName::new(wire.node).within("node")?,
            epoch: Epoch(wire.epoch),
        })
    }
}

impl From<&RouteItem> for v1::RouteItem {
    fn from(item: &RouteItem) -> Self {
        Self { block: Some((&item.block).into()), node: item.node.to_string(), epoch: item.epoch.0 }
    }
}

impl TryFrom<v1::Item> for Item {
    type Error = ShapeError;

    fn try_from(wire: v1::Item) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            WireItem::Fabric(item) => item.try_into().map(Self::Fabric).within("fabric"),
            WireItem::Peer(item) => item.try_into().map(Self::Peer).within("peer"),
            WireItem::Route(item) => item.try_into().map(Self::Route).within("route"),
            WireItem::Service(item) => item.try_into().map(Self::Service).within("service"),
            WireItem::Probe(item) => item.try_into().map(Self::Probe).within("probe"),
            WireItem::Owner(item) => item.try_into().map(Self::Owner).within("owner"),
            WireItem::Pod(item) => item.try_into().map(Self::Pod).within("pod"),
            WireItem::Setup(item) => item.try_into().map(Self::Setup).within("setup"),
            WireItem::Policy(item) => item.try_into().map(Self::Policy).within("policy"),
            WireItem::Namespace(item) => item.try_into().map(Self::Namespace).within("namespace"),
            WireItem::Identity(item) => item.try_into().map(Self::Identity).within("identity"),
        }
    }
}

impl From<&Item> for v1::Item {
    fn from(item: &Item) -> Self {
        let kind = match item {
            Item::Fabric(item) => WireItem::Fabric(item.into()),
            Item::Peer(item) => WireItem::Peer(item.into()),
            Item::Route(item) => WireItem::Route(item.into()),
            Item::Service(item) => WireItem::Service(item.into()),
            Item::Probe(item) => WireItem::Probe(item.into()),
            Item::Owner(item) => WireItem::Owner(item.into()),
            Item::Pod(item) => WireItem::Pod(item.into()),
            Item::Setup(item) => WireItem::Setup(item.into()),
            Item::Policy(item) => WireItem::Policy(item.into()),
            Item::Namespace(item) => WireItem::Namespace(item.into()),
            Item::Identity(item) => WireItem::Identity(item.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::ItemKey> for ItemKey {
    type Error = ShapeError;

    fn try_from(wire: v1::ItemKey) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            WireKey::Fabric(_) => Ok(Self::Fabric),
            WireKey::Peer(name) => NodeName::new(name).map(Self::Peer).within("peer"),
            WireKey::Route(block) => block.try_into().map(Self::Route).within("route"),
            WireKey::Service(name) => name.try_into().map(Self::Service).within("service"),
            WireKey::Probe(name) => name.try_into().map(Self::Probe).within("probe"),
            WireKey::Owner(address) => address_from_wire(&address).map(Self::Owner).within("owner"),
            WireKey::Pod(name) => name.try_into().map(Self::Pod).within("pod"),
            WireKey::Setup(name) => name.try_into().map(Self::Setup).within("setup"),
            WireKey::Policy(name) => name.try_into().map(Self::Policy).within("policy"),
            WireKey::Namespace(name) => NamespaceName::new(name).map(Self::Namespace).within("namespace"),
            WireKey::Identity(id) => Ok(Self::Identity(IdentityId(id))),
        }
    }
}

impl From<&ItemKey> for v1::ItemKey {
    fn from(key: &ItemKey) -> Self {
        let kind = match key {
            ItemKey::Fabric => WireKey::Fabric(true),
            ItemKey::Peer(name) => WireKey::Peer(name.to_string()),
            ItemKey::Route(block) => WireKey::Route(block.into()),
            ItemKey::Service(name) => WireKey::Service(name.into()),
            ItemKey::Probe(name) => WireKey::Probe(name.into()),
            ItemKey::Owner(address) => WireKey::Owner(address_to_wire(*address)),
            ItemKey::Pod(name) => WireKey::Pod(name.into()),
            ItemKey::Setup(name) => WireKey::Setup(name.into()),
            ItemKey::Policy(name) => WireKey::Policy(name.into()),
            ItemKey::Namespace(name) => WireKey::Namespace(name.to_string()),
            ItemKey::Identity(id) => WireKey::Identity(id.0),
        };
        Self { kind: Some(kind) }
    }
}
