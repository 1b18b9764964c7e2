//! Node ports: checked where people chose them, given out where they didn't.
//!
//! A number belongs to one service in the whole cluster. Within a service, ports with one number and different
//! protocols share their node port, as in Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    Fabric, Service, ServiceType,
    ownership::{MESH_PORTS, NODE_HEALTH_PORT},
};

use super::holders;
use crate::{Error, ServiceError, State, admit, bands, chance::Chance};

/// Completes the node ports of a service and its port for health checks.
pub(crate) fn allocate(
    state: &State,
    fabric: &Fabric,
    service: &mut Service,
    chance: &mut Chance,
) -> Result<(), Error> {
    let spec = &service.spec;
    if !spec.kind.has_node_ports() {
        return Ok(());
    }
    let mut chosen = BTreeSet::new();
    let mut shared = BTreeMap::new();
    for (index, port) in spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0) {
        check(state, fabric, service, &format!("spec.ports[{index}].nodePort"), port.node_port)?;
        chosen.insert(port.node_port);
        shared.entry(port.port).or_insert(port.node_port);
    }
    let health = admit::has_health_check(spec);
    if health && spec.health_check_node_port != 0 {
        check(state, fabric, service, "spec.healthCheckNodePort", spec.health_check_node_port)?;
        chosen.insert(spec.health_check_node_port);
    }
    let wants = spec.kind == ServiceType::NodePort || spec.allocate_node_ports;
    let used: BTreeSet<_> = spec.ports.iter().map(|port| (port.protocol, port.node_port)).collect();
    let mut ports = spec.ports.clone();
    for (index, port) in ports.iter_mut().enumerate().filter(|(_, port)| wants && port.node_port == 0) {
        let twin = shared.get(&port.port).copied().filter(|twin| !used.contains(&(port.protocol, *twin)));
        port.node_port = match twin {
            Some(twin) => twin,
            None => pick(state, fabric, service, &format!("spec.ports[{index}].nodePort"), &chosen, chance)?,
        };
        chosen.insert(port.node_port);
        shared.insert(port.port, port.node_port);
    }
    let mut health_port = spec.health_check_node_port;
    if health && health_port == 0 {
        health_port = pick(state, fabric, service, "spec.healthCheckNodePort", &chosen, chance)?;
    }
    (service.spec.ports, service.spec.health_check_node_port) = (ports, health_port);
    Ok(())
}

/// Whose a port is that no service may have: a node port takes what is sent to nodes before any program sees it, and a
/// service at one of these would cut the nodes off from each other or from the replicas.
fn owner(state: &State, port: u16) -> Option<String> {
    if MESH_PORTS.contains(&port) {
        return Some("the mesh of the nodes (reserved)".to_owned());
    }
    if port == NODE_HEALTH_PORT {
        return Some("the health of the nodes (reserved)".to_owned());
    }
    let replica = state.members().values().find(|member| member.address.port() == port)?;
    Some(format!("replica {} at {}", replica.name, replica.address))
}

/// A port that people chose: in the range, and nobody else's.
fn check(state: &State, fabric: &Fabric, service: &Service, field: &str, port: u16) -> Result<(), Error> {
    let other = match state.index.services.node_ports.get(&port) {
        Some(holder) if *holder == service.name => return Ok(()),
        Some(holder) => Some(format!("service {holder}")),
        None => owner(state, port),
    };
    if let Some(holder) = other {
        let (service, field) = (service.name.clone(), field.to_owned());
        return Err(ServiceError::NodePortTaken { service, field, port, holder }.into());
    }
    let (first, last) = fabric.node_port_range;
    if (first..=last).contains(&port) {
        return Ok(());
    }
    let why = format!(
        "{field}: Invalid value: {port}: provided port is not in the valid range. The range of valid ports is \
         {first}-{last}"
    );
    Err(Error::invalid("service", &service.name, field, why))
}

/// A free port: by chance in the upper band, else in the lower one.
fn pick(
    state: &State,
    fabric: &Fabric,
    service: &Service,
    field: &str,
    chosen: &BTreeSet<u16>,
    chance: &mut Chance,
) -> Result<u16, Error> {
    let (first, last) = (u128::from(fabric.node_port_range.0), u128::from(fabric.node_port_range.1));
    let band = bands::port_band(last.saturating_sub(first) + 1);
    let taken = &state.index.services.ports_taken;
    let upper = (first + band, last);
    let lower = band.checked_sub(1).map(|width| (first, first + width));
    for part in std::iter::once(upper).chain(lower) {
        let found = bands::choose(part, chance, |mut from, to| {
            loop {
                let free = taken.free(from, to)?;
                let is_kept = |port: u16| chosen.contains(&port) || owner(state, port).is_some();
                if !u16::try_from(free).is_ok_and(is_kept) {
                    return Some(free);
                }
                from = free + 1;
                if from > to {
                    return None;
                }
            }
        });
        if let Some(port) = found.and_then(|port| u16::try_from(port).ok()) {
            return Ok(port);
        }
    }
    let (first, last) = fabric.node_port_range;
    let names = state.index.services.node_ports.range(first..=last).map(|(_, name)| name);
    let holders = format!("all ports {first}-{last} are held by {}", holders(names));
    let (service, field) = (service.name.clone(), field.to_owned());
    Err(ServiceError::NodePortsExhausted { service, field, holders }.into())
}
