//! Pools of load-balancer addresses, and what services get from them.

use weft_model::{IpMode, LoadBalancerAddress, LoadBalancerPool, Name, Revision};

use super::{
    address::{address_from_wire, address_to_wire, ranges_from_wire, ranges_to_wire},
    shape::{ShapeError, Within},
};
use crate::v1;

fn mode_from_wire(field: &str, value: i32) -> Result<IpMode, ShapeError> {
    match v1::IpMode::try_from(value) {
        Ok(v1::IpMode::Vip) => Ok(IpMode::Vip),
        Ok(v1::IpMode::Proxy) => Ok(IpMode::Proxy),
        Ok(v1::IpMode::Unspecified) | Err(_) => Err(ShapeError::new("use VIP or Proxy")),
    }
    .within(field)
}

impl From<IpMode> for v1::IpMode {
    fn from(mode: IpMode) -> Self {
        match mode {
            IpMode::Vip => Self::Vip,
            IpMode::Proxy => Self::Proxy,
        }
    }
}

impl TryFrom<v1::LoadBalancerAddress> for LoadBalancerAddress {
    type Error = ShapeError;

    fn try_from(wire: v1::LoadBalancerAddress) -> Result<Self, ShapeError> {
        Ok(Self {
            address: address_from_wire(&wire.address).within("address")?,
            mode: mode_from_wire("mode", wire.mode)?,
        })
    }
}

impl From<&LoadBalancerAddress> for v1::LoadBalancerAddress {
    fn from(given: &LoadBalancerAddress) -> Self {
        Self { address: address_to_wire(given.address), mode: v1::IpMode::from(given.mode).into() }
    }
}

impl TryFrom<v1::LoadBalancerPool> for LoadBalancerPool {
    type Error = ShapeError;

    fn try_from(wire: v1::LoadBalancerPool) -> Result<Self, ShapeError> {
        Ok(Self {
            name: Name::new(wire.name).within("name")?,
            ranges: ranges_from_wire("ranges", wire.ranges)?,
            automatic: wire.automatic,
            announce: wire.announce,
            mode: mode_from_wire("mode", wire.mode)?,
            nodes: wire.nodes,
            generation: wire.generation,
            revision: Revision(wire.revision),
        })
    }
}

impl From<&LoadBalancerPool> for v1::LoadBalancerPool {
    fn from(pool: &LoadBalancerPool) -> Self {
        Self {
            name: pool.name.to_string(),
            ranges: ranges_to_wire(&pool.ranges),
            automatic: pool.automatic,
            announce: pool.announce,
            mode: v1::IpMode::from(pool.mode).into(),
            nodes: pool.nodes.clone(),
            generation: pool.generation,
            revision: pool.revision.0,
        }
    }
}
