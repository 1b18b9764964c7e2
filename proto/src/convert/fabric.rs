//! The fabric and its enums.

use weft_model::{DEFAULT_NODE_GRACE, Fabric, FabricRanges, Families, Family, Overlay, Revision};

use super::{
    address::{port_range_from_wire, port_range_to_wire, ranges_from_wire, ranges_to_wire},
    dns::settings_from_wire,
    policy,
    shape::{ShapeError, Within, required},
};
use crate::v1;

/// Families of a fabric from an enum field.
pub fn families_from_wire(field: &str, value: i32) -> Result<Families, ShapeError> {
    match v1::Families::try_from(value) {
        Ok(v1::Families::V4) => Ok(Families::V4),
        Ok(v1::Families::V6) => Ok(Families::V6),
        Ok(v1::Families::Dual) => Ok(Families::Dual),
        Ok(v1::Families::Dual6) => Ok(Families::Dual6),
        Ok(v1::Families::Unspecified) | Err(_) => Err(ShapeError::new("use v4, v6, dual or dual6")),
    }
    .within(field)
}

impl From<Families> for v1::Families {
    fn from(families: Families) -> Self {
        match families {
            Families::V4 => Self::V4,
            Families::V6 => Self::V6,
            Families::Dual => Self::Dual,
            Families::Dual6 => Self::Dual6,
        }
    }
}

/// A family from an enum field.
pub fn family_from_wire(field: &str, value: i32) -> Result<Family, ShapeError> {
    match v1::Family::try_from(value) {
        Ok(v1::Family::V4) => Ok(Family::V4),
        Ok(v1::Family::V6) => Ok(Family::V6),
        Ok(v1::Family::Unspecified) | Err(_) => Err(ShapeError::new("use IPv4 or IPv6")),
    }
    .within(field)
}

impl From<Family> for v1::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4,
            Family::V6 => Self::V6,
        }
    }
}

/// The mode between nodes from an enum field.
pub fn overlay_from_wire(field: &str, value: i32) -> Result<Overlay, ShapeError> {
    match v1::Overlay::try_from(value) {
        Ok(v1::Overlay::Wireguard) => Ok(Overlay::Wireguard),
        Ok(v1::Overlay::Routed) => Ok(Overlay::Routed),
        Ok(v1::Overlay::Unspecified) | Err(_) => Err(ShapeError::new("use wireguard or routed")),
    }
    .within(field)
}

impl From<Overlay> for v1::Overlay {
    fn from(overlay: Overlay) -> Self {
        match overlay {
            Overlay::Wireguard => Self::Wireguard,
            Overlay::Routed => Self::Routed,
        }
    }
}

impl TryFrom<v1::FabricRanges> for FabricRanges {
    type Error = ShapeError;

    fn try_from(wire: v1::FabricRanges) -> Result<Self, ShapeError> {
        Ok(Self {
            pods: ranges_from_wire("pods", wire.pods)?,
            services: ranges_from_wire("services", wire.services)?,
            nodes: ranges_from_wire("nodes", wire.nodes)?,
            load_balancers: ranges_from_wire("load_balancers", wire.load_balancers)?,
        })
    }
}

impl From<&FabricRanges> for v1::FabricRanges {
    fn from(ranges: &FabricRanges) -> Self {
        Self {
            pods: ranges_to_wire(&ranges.pods),
            services: ranges_to_wire(&ranges.services),
            nodes: ranges_to_wire(&ranges.nodes),
            load_balancers: ranges_to_wire(&ranges.load_balancers),
        }
    }
}

impl TryFrom<v1::Fabric> for Fabric {
    type Error = ShapeError;

    fn try_from(wire: v1::Fabric) -> Result<Self, ShapeError> {
        let block_prefix_v4 = u8::try_from(wire.block_prefix_v4)
            .ok()
            .filter(|prefix| *prefix <= 32)
            .ok_or_else(|| ShapeError::new(format!("{} is not a prefix length", wire.block_prefix_v4)))
            .within("block_prefix_v4")?;
        Ok(Self {
            families: families_from_wire("families", wire.families)?,
            ranges: required("ranges", wire.ranges)?,
            block_prefix_v4,
            overlay: overlay_from_wire("overlay", wire.overlay)?,
            domain: wire.domain,
            dns: settings_from_wire("dns", wire.dns)?,
            masquerade_exceptions: ranges_from_wire("masquerade_exceptions", wire.masquerade_exceptions)?,
            node_port_addresses: ranges_from_wire("node_port_addresses", wire.node_port_addresses)?,
            node_port_range: port_range_from_wire("node_port_range", wire.node_port_range)?,
            external_ip_ranges: ranges_from_wire("external_ip_ranges", wire.external_ip_ranges)?,
            node_grace: grace_from_wire(wire.node_grace_seconds).within("node_grace_seconds")?,
            policy: policy::settings_from_wire("policy", wire.policy)?,
            generation: wire.generation,
            revision: Revision(wire.revision),
        })
    }
}

fn grace_from_wire(seconds: u32) -> Result<u16, ShapeError> {
    match seconds {
        0 => Ok(DEFAULT_NODE_GRACE),
        _ => u16::try_from(seconds).map_err(|_| ShapeError::new(format!("{seconds} seconds are too many"))),
    }
}

impl From<&Fabric> for v1::Fabric {
    fn from(fabric: &Fabric) -> Self {
        Self {
            families: v1::Families::from(fabric.families).into(),
            ranges: Some((&fabric.ranges).into()),
            block_prefix_v4: u32::from(fabric.block_prefix_v4),
            overlay: v1::Overlay::from(fabric.overlay).into(),
            domain: fabric.domain.clone(),
            dns: Some((&fabric.dns).into()),
            masquerade_exceptions: ranges_to_wire(&fabric.masquerade_exceptions),
            generation: fabric.generation,
            revision: fabric.revision.0,
            node_port_addresses: ranges_to_wire(&fabric.node_port_addresses),
            node_port_range: Some(port_range_to_wire(fabric.node_port_range)),
            external_ip_ranges: ranges_to_wire(&fabric.external_ip_ranges),
            node_grace_seconds: fabric.node_grace.into(),
            policy: policy::settings_to_wire(fabric.policy),
        }
    }
}
