//! What stays of the stored service where people said nothing, and what a change of type takes away
//! (`patchAllocatedValues` and `dropTypeDependentFields` of Kubernetes' service registry).

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{ClusterAddresses, ServiceSpec, ServiceType, TrafficPolicy};

use super::{has_health_check, is_external};

/// Fills in what was given out before, and drops what only the old type needed and people left as it was.
pub(crate) fn keep(old: &ServiceSpec, new: &mut ServiceSpec) {
    keep_ports(old, new);
    if has_health_check(old) {
        let same = new.health_check_node_port == old.health_check_node_port;
        if has_health_check(new) && new.health_check_node_port == 0 {
            new.health_check_node_port = old.health_check_node_port;
        } else if !has_health_check(new) && same {
            new.health_check_node_port = 0;
        }
    }
    if new.kind == ServiceType::ExternalName && old.kind != ServiceType::ExternalName {
        if new.addresses == old.addresses {
            new.addresses = ClusterAddresses::Wanted;
        }
        if new.families == old.families {
            new.families.clear();
        }
        if new.family_policy == old.family_policy {
            new.family_policy = None;
        }
        if new.internal_policy == old.internal_policy {
            new.internal_policy = TrafficPolicy::Cluster;
        }
    }
    if is_external(old) && !is_external(new) && new.external_policy == old.external_policy {
        new.external_policy = TrafficPolicy::Cluster;
    }
    if old.kind == ServiceType::LoadBalancer && new.kind != ServiceType::LoadBalancer {
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
        new.allocate_node_ports |= !old.allocate_node_ports;
    }
}

/// Node ports stay with the name of their port, unless they were given to another port of the same service.
fn keep_ports(old: &ServiceSpec, new: &mut ServiceSpec) {
    let ports = |spec: &ServiceSpec| -> Vec<u16> { spec.ports.iter().map(|port| port.node_port).collect() };
    if !old.kind.has_node_ports() {
        return;
    }
    if !new.kind.has_node_ports() {
        if ports(old) == ports(new) {
            new.ports.iter_mut().for_each(|port| port.node_port = 0);
        }
        return;
    }
    let (was, is): (BTreeSet<_>, BTreeSet<_>) =
        (ports(old).into_iter().collect(), ports(new).into_iter().collect());
    let used: BTreeSet<_> = was.intersection(&is).copied().collect();
    let by_name: BTreeMap<_, _> = old.ports.iter().map(|port| (port.name.as_str(), port.node_port)).collect();
    for port in new.ports.iter_mut().filter(|port| port.node_port == 0) {
        if let Some(kept) = by_name.get(port.name.as_str()).filter(|kept| !used.contains(kept)) {
            port.node_port = *kept;
        }
    }
}

/// Puts to rest what means nothing for the type.
pub(crate) fn wipe(new: &mut ServiceSpec) {
    if new.addresses == ClusterAddresses::Given(Vec::new()) {
        new.addresses = ClusterAddresses::Wanted;
    }
    if new.kind == ServiceType::ExternalName {
        new.internal_policy = TrafficPolicy::Cluster;
    } else {
        new.external_name.clear();
    }
}
