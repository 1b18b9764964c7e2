//! External addresses: only those that an admin allows, and no two services at one of them with one port.

use std::net::IpAddr;

use weft_model::{Fabric, Protocol, Service, ownership::MESH_PORTS};

use crate::{Error, ServiceError, State};

/// Checks the external addresses of a service.
pub(crate) fn check(state: &State, fabric: &Fabric, service: &Service) -> Result<(), Error> {
    for (index, address) in service.spec.external_ips.iter().enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        if !fabric.external_ip_ranges.iter().any(|range| range.contains(*address)) {
            let (service, address) = (service.name.clone(), *address);
            let allowed = allowed(fabric);
            return Err(ServiceError::ExternalAddressDenied { service, field, address, allowed }.into());
        }
        if let Some(holder) = machine(state, service, *address) {
            let (service, address) = (service.name.clone(), *address);
            return Err(ServiceError::AddressTaken { service, field, address, holder }.into());
        }
        if let Some(holder) = rival(state, service, *address) {
            let (service, address, holder) = (service.name.clone(), *address, format!("service {holder}"));
            return Err(ServiceError::AddressTaken { service, field, address, holder }.into());
        }
    }
    Ok(())
}

fn allowed(fabric: &Fabric) -> String {
    let ranges: Vec<_> = fabric.external_ip_ranges.iter().map(ToString::to_string).collect();
    match ranges.as_slice() {
        [] => "the fabric allows none".to_owned(),
        some => format!("the fabric allows {}", some.join(", ")),
    }
}

/// Who of the fabric itself serves at an address and one of the ports: nodes would send to the service what is for it.
fn machine(state: &State, service: &Service, address: IpAddr) -> Option<String> {
    let has = |protocol, port| service.spec.ports.iter().any(|p| (p.protocol, p.port) == (protocol, port));
    let replica = state
        .members()
        .values()
        .find(|member| member.address.ip() == address && has(Protocol::Tcp, member.address.port()));
    if let Some(replica) = replica {
        return Some(format!("replica {}, which serves at {}", replica.name, replica.address));
    }
    let port = MESH_PORTS.into_iter().find(|port| has(Protocol::Udp, *port))?;
    let node = state.nodes().values().find(|node| node.underlay.contains(&address))?;
    Some(format!("node {}, whose mesh has UDP port {port}", node.name))
}

/// Another service that takes packets to an address outside, for one of the same ports.
fn rival<'a>(state: &'a State, service: &Service, address: IpAddr) -> Option<&'a weft_model::ServiceName> {
    let index = &state.index.services;
    let sets = [index.external.get(&address), index.balanced.get(&address)];
    let names = sets.into_iter().flatten().flatten().filter(|name| **name != service.name);
    let clash = |name: &&weft_model::ServiceName| {
        state.services().get(*name).is_some_and(|other| clashes(service, other).is_some())
    };
    names.into_iter().find(clash)
}

/// A port that two services have both.
pub(crate) fn clashes(service: &Service, other: &Service) -> Option<u16> {
    let twin = |port: &&weft_model::ServicePort| {
        other.spec.ports.iter().any(|theirs| (theirs.protocol, theirs.port) == (port.protocol, port.port))
    };
    service.spec.ports.iter().find(twin).map(|port| port.port)
}

/// A service that names an address as external with one of the ports of `service`.
pub(crate) fn claimant(state: &State, service: &Service, address: IpAddr) -> Option<String> {
    let names = state.index.services.external.get(&address)?;
    let others = names.iter().filter(|name| **name != service.name);
    let clash = |name: &&weft_model::ServiceName| {
        state.services().get(*name).is_some_and(|other| clashes(service, other).is_some())
    };
    others.into_iter().find(clash).map(|name| format!("service {name}, as an external address"))
}
