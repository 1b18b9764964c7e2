//! Endpoint slices, and the endpoints of a service as nodes need them.

use weft_model::{
    AddressType, Conditions, EndpointItem, EndpointSlice, Hints, NodeName, Revision, SliceEndpoint,
    SlicePort, WallTime,
};

use super::{
    address::{address_from_wire, address_to_wire, addresses_from_wire, addresses_to_wire, port_or_none},
    name::{name_or_none, node_or_none, text_or_empty},
    pod::protocol_from_wire,
    shape::{ShapeError, Within, copied, list, list_by, object_uid_from_wire, required},
};
use crate::v1;

fn type_from_wire(field: &str, value: i32) -> Result<AddressType, ShapeError> {
    match v1::AddressType::try_from(value) {
        Ok(v1::AddressType::V4) => Ok(AddressType::V4),
        Ok(v1::AddressType::V6) => Ok(AddressType::V6),
        Ok(v1::AddressType::Fqdn) => Ok(AddressType::Fqdn),
        Ok(v1::AddressType::Unspecified) | Err(_) => Err(ShapeError::new("use IPv4, IPv6 or FQDN")),
    }
    .within(field)
}

impl From<AddressType> for v1::AddressType {
    fn from(kind: AddressType) -> Self {
        match kind {
            AddressType::V4 => Self::V4,
            AddressType::V6 => Self::V6,
            AddressType::Fqdn => Self::Fqdn,
        }
    }
}

/// Conditions; absent ones are those of which nobody said anything.
fn conditions_from_wire(wire: Option<v1::Conditions>) -> Conditions {
    let v1::Conditions { ready, serving, terminating } = wire.unwrap_or_default();
    Conditions { ready, serving, terminating }
}

/// Nothing said is nothing sent.
fn conditions_to_wire(conditions: Conditions) -> Option<v1::Conditions> {
    let Conditions { ready, serving, terminating } = conditions;
    (conditions != Conditions::default()).then_some(v1::Conditions { ready, serving, terminating })
}

fn hints_from_wire(field: &str, wire: Option<v1::Hints>) -> Result<Hints, ShapeError> {
    let v1::Hints { zones, nodes } = wire.unwrap_or_default();
    let nodes = list_by("nodes", nodes, |name| NodeName::new(name).map_err(ShapeError::new)).within(field)?;
    Ok(Hints { zones, nodes })
}

/// Endpoints for everybody have no hints on the wire.
fn hints_to_wire(hints: &Hints) -> Option<v1::Hints> {
    (*hints != Hints::default()).then(|| v1::Hints {
        zones: hints.zones.clone(),
        nodes: hints.nodes.iter().map(ToString::to_string).collect(),
    })
}

impl TryFrom<v1::SlicePort> for SlicePort {
    type Error = ShapeError;

    fn try_from(wire: v1::SlicePort) -> Result<Self, ShapeError> {
        Ok(Self {
            name: wire.name,
            protocol: protocol_from_wire("protocol", wire.protocol)?,
            port: Some(port_or_none("port", wire.port)?).filter(|port| *port != 0),
            app_protocol: wire.app_protocol,
        })
    }
}

impl From<&SlicePort> for v1::SlicePort {
    fn from(port: &SlicePort) -> Self {
        Self {
            name: port.name.clone(),
            protocol: v1::Protocol::from(port.protocol).into(),
            port: port.port.map_or(0, u32::from),
            app_protocol: port.app_protocol.clone(),
        }
    }
}

impl TryFrom<v1::SliceEndpoint> for SliceEndpoint {
    type Error = ShapeError;

    fn try_from(wire: v1::SliceEndpoint) -> Result<Self, ShapeError> {
        Ok(Self {
            addresses: addresses_from_wire("addresses", wire.addresses)?,
            fqdn: wire.fqdn,
            conditions: conditions_from_wire(wire.conditions),
            hostname: wire.hostname,
            node: node_or_none("node", wire.node)?,
            zone: wire.zone,
            hints: hints_from_wire("hints", wire.hints)?,
            pod: name_or_none("pod", wire.pod)?,
        })
    }
}

impl From<&SliceEndpoint> for v1::SliceEndpoint {
    fn from(endpoint: &SliceEndpoint) -> Self {
        Self {
            addresses: addresses_to_wire(&endpoint.addresses),
            fqdn: endpoint.fqdn.clone(),
            conditions: conditions_to_wire(endpoint.conditions),
            hostname: endpoint.hostname.clone(),
            node: text_or_empty(endpoint.node.as_ref()),
            zone: endpoint.zone.clone(),
            hints: hints_to_wire(&endpoint.hints),
            pod: text_or_empty(endpoint.pod.as_ref()),
        }
    }
}

impl TryFrom<v1::EndpointSlice> for EndpointSlice {
    type Error = ShapeError;

    fn try_from(wire: v1::EndpointSlice) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            uid: object_uid_from_wire("uid", &wire.uid)?,
            labels: wire.labels,
            address_type: type_from_wire("address_type", wire.address_type)?,
            ports: list("ports", wire.ports)?,
            endpoints: list("endpoints", wire.endpoints)?,
            generation: wire.generation,
            created: WallTime(wire.created_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&EndpointSlice> for v1::EndpointSlice {
    fn from(slice: &EndpointSlice) -> Self {
        Self {
            name: Some((&slice.name).into()),
            uid: copied(&slice.uid.0),
            labels: slice.labels.clone(),
            address_type: v1::AddressType::from(slice.address_type).into(),
            ports: slice.ports.iter().map(Into::into).collect(),
            endpoints: slice.endpoints.iter().map(Into::into).collect(),
            generation: slice.generation,
            created_ms: slice.created.0,
            revision: slice.revision.0,
        }
    }
}

impl TryFrom<v1::EndpointItem> for EndpointItem {
    type Error = ShapeError;

    fn try_from(wire: v1::EndpointItem) -> Result<Self, ShapeError> {
        Ok(Self {
            address: address_from_wire(&wire.address).within("address")?,
            ports: list_by("ports", wire.ports, |port| port_or_none("", port))?.into(),
            conditions: conditions_from_wire(wire.conditions),
            node: node_or_none("node", wire.node)?,
            zone: wire.zone.into(),
            hints: hints_from_wire("hints", wire.hints)?.into(),
            hostname: wire.hostname.into(),
            pod: name_or_none("pod", wire.pod)?,
        })
    }
}

impl From<&EndpointItem> for v1::EndpointItem {
    fn from(item: &EndpointItem) -> Self {
        Self {
            address: address_to_wire(item.address),
            ports: item.ports.iter().copied().map(u32::from).collect(),
            conditions: conditions_to_wire(item.conditions),
            node: text_or_empty(item.node.as_ref()),
            zone: item.zone.to_string(),
            hints: hints_to_wire(&item.hints),
            hostname: item.hostname.to_string(),
            pod: text_or_empty(item.pod.as_ref()),
        }
    }
}
