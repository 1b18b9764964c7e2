//! What can be said of a service alone (`ValidateService` of Kubernetes).

use std::{collections::BTreeSet, net::IpAddr};

use weft_model::{
    ClusterAddresses, Family, Protocol, Service, ServicePort, ServiceSpec, ServiceType, TargetPort,
    TrafficPolicy, check_label,
};

use super::{Problems, has_health_check, is_external};
use crate::{
    admit::{check_metadata, special},
    limits,
};

/// Checks everything but families and addresses.
pub(crate) fn check(service: &Service, problems: &mut Problems) {
    let spec = &service.spec;
    problems.letter_name("metadata.name", service.name.name.as_str());
    check_metadata(&service.labels, &service.annotations, problems);
    let headless = spec.addresses == ClusterAddresses::None;
    if headless && spec.kind.has_node_ports() {
        let why = format!("may not be set to 'None' for {} services", spec.kind);
        problems.invalid("spec.clusterIPs[0]", "None", &why);
    }
    if spec.kind == ServiceType::ExternalName {
        let name = spec.external_name.strip_suffix('.').unwrap_or(&spec.external_name);
        if name.is_empty() {
            problems.required("spec.externalName", "");
        } else {
            problems.subdomain("spec.externalName", name);
        }
    }
    check_ports(spec, headless, problems);
    if spec.selector.len() > limits::MAX_LABELS {
        problems.too_many("spec.selector", spec.selector.len(), limits::MAX_LABELS);
    }
    for (key, value) in &spec.selector {
        if let Err(error) = check_label(key, value) {
            problems.invalid("spec.selector", value, &error.to_string());
        }
    }
    if let Some(affinity) = spec.affinity
        && !(1..=86_400).contains(&affinity.timeout_seconds)
    {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        problems.invalid(field, affinity.timeout_seconds, "must be greater than 0 and less than 86400");
    }
    check_addresses(spec, problems);
    check_policies(spec, problems);
    check_balancer(spec, problems);
}

fn check_ports(spec: &ServiceSpec, headless: bool, problems: &mut Problems) {
    if spec.ports.is_empty() && !headless && spec.kind != ServiceType::ExternalName {
        problems.required("spec.ports", "");
    }
    if spec.ports.len() > limits::MAX_SERVICE_PORTS {
        problems.too_many("spec.ports", spec.ports.len(), limits::MAX_SERVICE_PORTS);
        return;
    }
    let (mut names, mut numbers, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in spec.ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        if port.name.is_empty() {
            if spec.ports.len() > 1 {
                problems.required(field("name"), "");
            }
        } else {
            problems.label_name(field("name"), &port.name);
            if !names.insert(&port.name) {
                problems.duplicate(field("name"), &port.name);
            }
        }
        problems.port_number(field("port"), port.port);
        match &port.target {
            TargetPort::Number(number) => problems.port_number(field("targetPort"), *number),
            TargetPort::Name(name) => problems.port_name(field("targetPort"), name),
        }
        if !port.app_protocol.is_empty() {
            problems.qualified(field("appProtocol"), &port.app_protocol);
        }
        if !numbers.insert((port.protocol, port.port)) {
            problems.duplicate(format!("spec.ports[{index}]"), protocol_and_port(port));
        }
        if port.node_port == 0 {
            continue;
        }
        if !spec.kind.has_node_ports() {
            let why = format!("may not be used when `type` is '{}'", spec.kind);
            problems.forbidden(field("nodePort"), &why);
        }
        if !node_ports.insert((port.protocol, port.node_port)) {
            problems.duplicate(field("nodePort"), port.node_port);
        }
    }
}

/// Shown as a duplicate: `TCP/80`.
fn protocol_and_port(port: &ServicePort) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    format!("{protocol}/{}", port.port)
}

fn check_addresses(spec: &ServiceSpec, problems: &mut Problems) {
    for (name, list) in [("externalIPs", &spec.external_ips), ("loadBalancerIPs", &spec.load_balancer_ips)] {
        if list.len() > limits::MAX_SERVICE_RANGES {
            problems.too_many(format!("spec.{name}"), list.len(), limits::MAX_SERVICE_RANGES);
            return;
        }
        for (index, address) in list.iter().enumerate() {
            let field = format!("spec.{name}[{index}]");
            if let Some(why) = special(*address) {
                problems.invalid(field, address.to_string(), why);
            } else if list.iter().take(index).any(|earlier| earlier == address) {
                problems.duplicate(field, address.to_string());
            }
        }
    }
    if spec.source_ranges.len() > limits::MAX_SERVICE_RANGES {
        let field = "spec.loadBalancerSourceRanges";
        problems.too_many(field, spec.source_ranges.len(), limits::MAX_SERVICE_RANGES);
    }
}

fn check_policies(spec: &ServiceSpec, problems: &mut Problems) {
    if spec.external_policy == TrafficPolicy::Local && !is_external(spec) {
        let why = "may only be set for externally-accessible services";
        problems.invalid("spec.externalTrafficPolicy", "Local", why);
    }
    if spec.health_check_node_port != 0 && !has_health_check(spec) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        problems.invalid("spec.healthCheckNodePort", spec.health_check_node_port, why);
    }
    let own =
        |port: &ServicePort| port.protocol == Protocol::Tcp && port.node_port == spec.health_check_node_port;
    if spec.health_check_node_port != 0 && spec.ports.iter().any(own) {
        problems.duplicate("spec.healthCheckNodePort", spec.health_check_node_port);
    }
}

fn check_balancer(spec: &ServiceSpec, problems: &mut Problems) {
    let why = "may only be used when `type` is 'LoadBalancer'";
    if let Some(class) = &spec.load_balancer_class {
        if spec.kind == ServiceType::LoadBalancer {
            problems.qualified("spec.loadBalancerClass", class);
        } else {
            problems.forbidden("spec.loadBalancerClass", why);
        }
    }
    if spec.kind == ServiceType::LoadBalancer {
        let wanted = |family| spec.load_balancer_ips.iter().filter(|a| Family::of(**a) == family).count();
        if [Family::V4, Family::V6].into_iter().any(|family| wanted(family) > 1) {
            let list: Vec<_> = spec.load_balancer_ips.iter().map(IpAddr::to_string).collect();
            problems.invalid("spec.loadBalancerIP", list, "may hold one address of each family");
        }
        return;
    }
    if !spec.source_ranges.is_empty() {
        problems.forbidden("spec.loadBalancerSourceRanges", why);
    }
    if !spec.allocate_node_ports {
        problems.forbidden("spec.allocateLoadBalancerNodePorts", why);
    }
}
