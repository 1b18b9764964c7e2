//! Pools of load-balancer addresses: on their own, against the fabric, the machines, and each other.

use weft_model::{AddressRange, Fabric, LoadBalancerPool, NodeState};

use super::{Problems, fabric, reserved};
use crate::{Error, ServiceError, State, limits};

/// Name of the pool that the fabric's own load-balancer ranges make.
pub(crate) const FABRIC_POOL: &str = "fabric";

/// The whole pool that `wanted` makes of the stored one.
pub(crate) fn complete(state: &State, wanted: LoadBalancerPool) -> Result<LoadBalancerPool, Error> {
    let fabric = state.fabric().ok_or(Error::NotFounded)?;
    let mut new = wanted;
    let old = state.pools().get(&new.name);
    (new.generation, new.revision) = old.map_or((0, new.revision), |old| (old.generation, old.revision));
    let mut problems = Problems::new("loadbalancerpool", &new.name);
    if new.name.as_str() == FABRIC_POOL {
        let why = "is the pool of the fabric's own load-balancer ranges; write those in the Fabric";
        problems.invalid("metadata.name", FABRIC_POOL, why);
    }
    if new.ranges.is_empty() {
        problems.required("spec.ranges", "");
    }
    if new.ranges.len() > limits::MAX_RANGES_PER_PURPOSE {
        problems.too_many("spec.ranges", new.ranges.len(), limits::MAX_RANGES_PER_PURPOSE);
    } else {
        for (index, range) in new.ranges.iter().enumerate() {
            let taken = new.ranges.iter().take(index).find(|earlier| earlier.overlaps(*range));
            if let Some(why) = why_not(fabric, *range).or_else(|| taken.map(|t| format!("overlaps {t}"))) {
                problems.invalid(format!("spec.ranges[{index}]"), range, &why);
            }
        }
    }
    for (key, value) in &new.nodes {
        if let Err(error) = weft_model::check_label(key, value) {
            problems.invalid("spec.nodeSelector", value, &error.to_string());
        }
    }
    problems.finish()?;
    Ok(new)
}

/// The number of pools, the other pools and the machines.
pub(crate) fn check(state: &State, new: &LoadBalancerPool) -> Result<(), Error> {
    let old = state.pools().get(&new.name);
    if old.is_none() && state.pools().len() >= limits::MAX_POOLS {
        let (name, limit) = (new.name.to_string(), limits::MAX_POOLS);
        return Err(Error::TooLarge { kind: "loadbalancerpool", name, what: "pools beside it", limit });
    }
    check_others(state, new)
}

/// Why a range can't be a pool's, by the fabric alone.
fn why_not(fabric: &Fabric, range: AddressRange) -> Option<String> {
    if !fabric.families.has(range.family()) {
        return Some(format!("is {}, which a fabric of families {} lacks", range.family(), fabric.families));
    }
    if let Some(reserved) = reserved::touched(range) {
        return Some(format!("touches {}, which is reserved ({})", reserved.range, reserved.name));
    }
    let other = fabric::ranges(fabric).find(|at| at.range.overlaps(range))?;
    Some(format!("overlaps the {other} of the fabric"))
}

/// The other pools and the machines.
fn check_others(state: &State, new: &LoadBalancerPool) -> Result<(), Error> {
    for (index, range) in new.ranges.iter().enumerate() {
        let refuse = |holder: String| {
            let (pool, field) = (new.name.clone(), format!("spec.ranges[{index}]"));
            Err(ServiceError::PoolOverlap { pool, field, range: *range, holder }.into())
        };
        let mut others = state.pools().values().filter(|other| other.name != new.name);
        if let Some(other) = others.find(|other| other.ranges.iter().any(|o| o.overlaps(*range))) {
            return refuse(format!("loadbalancerpool {}", other.name));
        }
        let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
        for node in active {
            if let Some(address) = node.underlay.iter().find(|address| range.contains(**address)) {
                return refuse(format!("node {}, whose underlay address is {address}", node.name));
            }
        }
        let mut members = state.members().values();
        if let Some(member) = members.find(|member| range.contains(member.address.ip())) {
            return refuse(format!("replica {}, which serves at {}", member.name, member.address));
        }
    }
    Ok(())
}

/// Refuses a range of the fabric that overlaps a pool.
pub(crate) fn check_fabric(state: &State, new: &Fabric) -> Result<(), Error> {
    for at in fabric::ranges(new) {
        let mut pools = state.pools().values();
        if let Some(pool) = pools.find(|pool| pool.ranges.iter().any(|range| range.overlaps(at.range))) {
            let why = format!("{at} overlaps loadbalancerpool {}", pool.name);
            return Err(Error::invalid("fabric", "main", at.field(), why));
        }
    }
    Ok(())
}

/// Refuses a machine's address that lies in a pool.
pub(crate) fn check_host(
    state: &State,
    kind: &'static str,
    name: &str,
    address: std::net::IpAddr,
) -> Result<(), Error> {
    let mut pools = state.pools().values();
    match pools.find(|pool| pool.ranges.iter().any(|range| range.contains(address))) {
        Some(pool) => {
            let why = format!("address {address} lies in loadbalancerpool {}", pool.name);
            Err(Error::invalid(kind, name, "status.underlay", why))
        }
        None => Ok(()),
    }
}
