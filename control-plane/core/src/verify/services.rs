//! Whether services agree with each other, with the fabric and with the pools.

use weft_model::{ClusterAddresses, Fabric, Family, ObjectUid, Service, ServiceType};

use crate::{
    Error, State,
    apply::service::{pool_of, unfit},
    bands,
    index::services::held_ports,
};

/// Checks every service, pool and owner.
pub(crate) fn verify(state: &State, fabric: &Fabric) -> Result<(), Error> {
    state.services().values().try_for_each(|service| verify_service(state, fabric, service))?;
    for pool in state.pools().values() {
        let bad = |why: String| Err(Error::corrupt(format!("object/loadbalancerpool/{}", pool.name), why));
        for range in &pool.ranges {
            let mut others = state.pools().values().filter(|other| other.name > pool.name);
            if let Some(other) = others.find(|other| other.ranges.iter().any(|o| o.overlaps(*range))) {
                return bad(format!("its range {range} is also one of {}", other.name));
            }
            let ranges = &fabric.ranges;
            let mut own =
                [&ranges.pods, &ranges.services, &ranges.nodes, &ranges.load_balancers].into_iter().flatten();
            if let Some(own) = own.find(|own| own.overlaps(*range)) {
                return bad(format!("its range {range} overlaps {own} of the fabric"));
            }
        }
    }
    for owner in state.owners().values() {
        let bad = |why: &str| Err(Error::corrupt(format!("object/owner/{}", owner.address), why));
        if !state.index.services.balanced.contains_key(&owner.address) {
            return bad("no service has that address");
        }
        if !state.nodes().contains_key(&owner.node) || owner.successor.as_ref() == Some(&owner.node) {
            return bad("its nodes can't be");
        }
    }
    Ok(())
}

fn verify_service(state: &State, fabric: &Fabric, service: &Service) -> Result<(), Error> {
    let bad = |why: String| Err(Error::corrupt(format!("object/service/{}", service.name), why));
    let spec = &service.spec;
    if service.uid == ObjectUid([0; 16]) {
        return bad("it has no identity".to_owned());
    }
    let alias = spec.kind == ServiceType::ExternalName;
    let whole = match &spec.addresses {
        ClusterAddresses::Wanted => alias,
        ClusterAddresses::None => !alias && !spec.kind.has_node_ports(),
        ClusterAddresses::Given(list) => {
            !alias && list.iter().map(|address| Family::of(*address)).eq(spec.families.iter().copied())
        }
    };
    if !whole || spec.families.is_empty() != alias {
        return bad("its addresses, families and type don't fit".to_owned());
    }
    for address in spec.addresses.list() {
        if bands::position(fabric, *address).is_none() {
            return bad(format!("address {address} lies in no service range"));
        }
        if state.index.services.cluster.get(address) != Some(&service.name) {
            return bad(format!("address {address} is held twice"));
        }
    }
    let (first, last) = fabric.node_port_range;
    for port in held_ports(service) {
        if !(first..=last).contains(&port) || !spec.kind.has_node_ports() {
            return bad(format!("it can't have node port {port}"));
        }
        if state.index.services.node_ports.get(&port) != Some(&service.name) {
            return bad(format!("node port {port} is held twice"));
        }
    }
    verify_outside(state, fabric, service)
}

/// Load-balancer and external addresses.
fn verify_outside(state: &State, fabric: &Fabric, service: &Service) -> Result<(), Error> {
    let bad = |why: String| Err(Error::corrupt(format!("object/service/{}", service.name), why));
    for given in &service.load_balancer {
        let address = given.address;
        if service.spec.kind != ServiceType::LoadBalancer || pool_of(state, address).is_none() {
            return bad(format!("load-balancer address {address} lies in no pool"));
        }
        let mut others = state.balanced_by(address).filter(|other| other.name != service.name);
        if let Some(other) = others.find(|other| unfit(service, other).is_some()) {
            return bad(format!("load-balancer address {address} is held by {} too", other.name));
        }
    }
    let allowed = |address| fabric.external_ip_ranges.iter().any(|range| range.contains(address));
    match service.spec.external_ips.iter().find(|address| !allowed(**address)) {
        Some(address) => bad(format!("external address {address} isn't allowed")),
        None => Ok(()),
    }
}
