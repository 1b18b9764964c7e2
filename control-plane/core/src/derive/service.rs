//! A service with its endpoints: those of the pods it selects, and those that people wrote.
//!
//! Invariant: each address stands once. Of two endpoints with one address the pod's comes before a written one, and
//! slices come in order of their names; a later one only adds ports that the earlier one lacks.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{
    AddressType, Conditions, EndpointItem, EndpointSlice, Family, Service, ServiceItem, ServiceName,
    ServicePort, ServicePortItem, ServiceType, SliceEndpoint, TargetPort, ZONE_LABEL,
};

use super::{hints, silence};
use crate::{EffectivePod, State};

/// Endpoints by address.
pub(super) type Endpoints = BTreeMap<IpAddr, EndpointItem>;

/// The item of a service; `None` when there is no such service.
pub(crate) fn derive(state: &State, name: &ServiceName) -> Option<ServiceItem> {
    let service = state.services().get(name)?;
    let spec = &service.spec;
    let port = |port: &ServicePort| ServicePortItem {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
        node_port: port.node_port,
    };
    Some(ServiceItem {
        name: name.clone(),
        uid: service.uid,
        kind: spec.kind,
        addresses: spec.addresses.list().to_vec(),
        external_ips: spec.external_ips.clone(),
        load_balancer: service.load_balancer.clone(),
        external_name: spec.external_name.clone(),
        ports: spec.ports.iter().map(port).collect(),
        affinity: spec.affinity,
        external_policy: spec.external_policy,
        internal_policy: spec.internal_policy,
        health_check_node_port: spec.health_check_node_port,
        source_ranges: spec.source_ranges.clone(),
        endpoints: endpoints(state, service),
    })
}

/// All endpoints, in order of their addresses.
fn endpoints(state: &State, service: &Service) -> Vec<EndpointItem> {
    let mut endpoints = Endpoints::new();
    if service.spec.kind == ServiceType::ExternalName {
        return Vec::new();
    }
    for pod in state.selected_pods(service) {
        of_pod(state, service, pod, &mut endpoints);
    }
    let mut written = Endpoints::new();
    for slice in state.slices_of(&service.name) {
        of_slice(state, service, slice, &mut written);
    }
    silence::heed(state, service, &mut endpoints, &written);
    hints::give(state, service, &mut endpoints);
    written.into_values().for_each(|endpoint| add(&mut endpoints, endpoint));
    endpoints.into_values().collect()
}

/// The endpoints of a pod, one per family that both have.
fn of_pod(state: &State, service: &Service, pod: EffectivePod<'_>, endpoints: &mut Endpoints) {
    let (serving, terminating) = (pod.is_serving(), pod.is_terminating());
    let ready = service.spec.publish_not_ready || (serving && !terminating);
    let conditions =
        Conditions { ready: Some(ready), serving: Some(serving), terminating: Some(terminating) };
    let zone = state.nodes().get(&pod.pod.node).and_then(|node| node.labels.get(ZONE_LABEL));
    let in_subdomain = pod.subdomain() == service.name.name.as_str();
    for address in pod.pod.addresses.iter().filter(|a| service.spec.families.contains(&Family::of(**a))) {
        let endpoint = EndpointItem {
            address: *address,
            ports: service.spec.ports.iter().map(|port| port_of_pod(port, pod)).collect(),
            conditions,
            node: Some(pod.pod.node.clone()),
            zone: zone.map(|zone| zone.as_str().into()).unwrap_or_default(),
            hints: Arc::default(),
            hostname: if in_subdomain { pod.hostname().into() } else { Arc::default() },
            pod: Some(pod.pod.name.name.clone()),
        };
        add(endpoints, endpoint);
    }
}

/// The number of a port on a pod; 0 when the pod has no port of that name and protocol.
fn port_of_pod(port: &ServicePort, pod: EffectivePod<'_>) -> u16 {
    match &port.target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(name) => {
            let found = pod.ports().iter().find(|p| p.name == *name && p.protocol == port.protocol);
            found.map_or(0, |port| port.port)
        }
    }
}

/// An address that a pod of another namespace has got since the slice was written leads nowhere (CVE-2021-25740).
fn of_slice(state: &State, service: &Service, slice: &EndpointSlice, endpoints: &mut Endpoints) {
    let family = match slice.address_type {
        AddressType::V4 => Family::V4,
        AddressType::V6 => Family::V6,
        AddressType::Fqdn => return,
    };
    if !service.spec.families.contains(&family) {
        return;
    }
    let ports: Arc<[u16]> = service.spec.ports.iter().map(|port| port_of_slice(port, slice)).collect();
    let is_foreign = |address: &&IpAddr| {
        state.pod_at(**address).is_some_and(|pod| pod.name.namespace != slice.name.namespace)
    };
    for endpoint in &slice.endpoints {
        if let Some(address) = endpoint.addresses.first().filter(|address| !is_foreign(address)) {
            add(endpoints, written(*address, Arc::clone(&ports), endpoint));
        }
    }
}

fn written(address: IpAddr, ports: Arc<[u16]>, endpoint: &SliceEndpoint) -> EndpointItem {
    let conditions = Conditions {
        ready: Some(endpoint.conditions.is_ready()),
        serving: Some(endpoint.conditions.is_serving()),
        terminating: Some(endpoint.conditions.is_terminating()),
    };
    EndpointItem {
        address,
        ports,
        conditions,
        node: endpoint.node.clone(),
        zone: endpoint.zone.as_str().into(),
        hints: Arc::new(endpoint.hints.clone()),
        hostname: endpoint.hostname.as_str().into(),
        pod: endpoint.pod.clone(),
    }
}

/// The number of a port of all endpoints of a slice, by name and protocol; 0 when the slice has no such port.
fn port_of_slice(port: &ServicePort, slice: &EndpointSlice) -> u16 {
    let found = slice.ports.iter().find(|p| p.name == port.name && p.protocol == port.protocol);
    found.map_or(0, |found| found.port.unwrap_or(port.port))
}

fn add(endpoints: &mut Endpoints, endpoint: EndpointItem) {
    match endpoints.entry(endpoint.address) {
        Entry::Vacant(place) => {
            place.insert(endpoint);
        }
        Entry::Occupied(mut known) => {
            let known = known.get_mut();
            for (port, other) in Arc::make_mut(&mut known.ports).iter_mut().zip(&*endpoint.ports) {
                if *port == 0 {
                    *port = *other;
                }
            }
        }
    }
}
