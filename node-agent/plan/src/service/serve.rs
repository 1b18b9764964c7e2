//! What a node answers for services beside their packets: health checks, and addresses that it owns on the link.

use std::net::IpAddr;

use weft_model::{NodeName, ServiceItem, ServiceName, ServiceType, TrafficPolicy};
use weft_view::View;

use super::local::Local;
use crate::Facts;

/// A `healthCheckNodePort` and its answer: 200 while `local_ready` isn't 0, else 503.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HealthPort {
    /// Where it is asked.
    pub port: u16,
    /// Whose endpoints it is about.
    pub service: ServiceName,
    /// Ready endpoints on this node, each pod once; those that end don't count, so that balancers leave in time.
    pub local_ready: usize,
}

/// The health checks that this node answers, by port.
pub fn health_ports(view: &View, facts: &Facts) -> Vec<HealthPort> {
    let is_asked = |service: &ServiceItem| {
        service.health_check_node_port != 0
            && service.kind == ServiceType::LoadBalancer
            && service.external_policy == TrafficPolicy::Local
    };
    let local = Local::new(view, facts);
    let mut found: Vec<HealthPort> = view
        .services()
        .values()
        .filter(|service| is_asked(service))
        .map(|service| HealthPort {
            port: service.health_check_node_port,
            service: service.name.clone(),
            local_ready: local_ready(service, &facts.node, &local),
        })
        .collect();
    found.sort_unstable();
    found
}

/// A pod with an address of each family is one endpoint.
fn local_ready(service: &ServiceItem, node: &NodeName, local: &Local) -> usize {
    let is_here = |e: &&weft_model::EndpointItem| {
        let serves = e.conditions.is_ready() && !e.conditions.is_terminating();
        e.node.as_ref() == Some(node) && serves && !local.lacks(e.address)
    };
    let mut names: Vec<String> = service
        .endpoints
        .iter()
        .filter(is_here)
        .map(|e| e.pod.as_ref().map_or_else(|| e.address.to_string(), ToString::to_string))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// Load-balancer addresses that this node answers for on the link, each with the epoch of its ownership.
pub fn owned_addresses(view: &View, facts: &Facts) -> Vec<(IpAddr, u64)> {
    let own = view.owners().values().filter(|owner| owner.node == facts.node);
    own.map(|owner| (owner.address, owner.epoch)).collect()
}
