//! Services, as `core/v1` has them: what Kubernetes refuses for a type isn't printed for it.

use serde_json::{Value, json};
use weft_model::{
    ClusterAddresses, LOAD_BALANCER_IPS, Service, ServicePort, ServiceSpec, ServiceType, TargetPort,
};

use super::{Said, mode_word, named, protocol_word, ranges, texts, whole_of};
use crate::time::format_time;

pub(super) fn service_value(service: &Service) -> Value {
    let mut metadata = named(&service.name, &service.labels);
    metadata.some("annotations", json!(service.annotations));
    metadata.put("uid", service.uid.to_string());
    metadata.put("generation", service.generation);
    metadata.put("resourceVersion", service.revision.to_string());
    metadata.put("creationTimestamp", format_time(service.created.0));
    let ingress: Vec<Value> = service
        .load_balancer
        .iter()
        .map(|given| json!({"ip": given.address.to_string(), "ipMode": mode_word(given.mode)}))
        .collect();
    let mut balancer = Said::default();
    balancer.some("ingress", ingress);
    let status = json!({"loadBalancer": balancer.value()});
    whole_of("v1", "Service", metadata.value(), spec_value(service), status)
}

fn spec_value(service: &Service) -> Value {
    let spec = &service.spec;
    let mut value = Said::default();
    value.put("type", spec.kind.to_string());
    addresses(spec, &mut value);
    value.some("ipFamilies", texts(&spec.families));
    value.some("ipFamilyPolicy", spec.family_policy.map(|policy| policy.to_string()));
    value.some("ports", spec.ports.iter().map(port).collect::<Vec<_>>());
    value.some("selector", json!(spec.selector));
    value.some("externalName", spec.external_name.as_str());
    value.some("externalIPs", texts(&spec.external_ips));
    match spec.affinity {
        Some(affinity) => {
            value.put("sessionAffinity", "ClientIP");
            let client = json!({"clientIP": {"timeoutSeconds": affinity.timeout_seconds}});
            value.put("sessionAffinityConfig", client);
        }
        None => value.put("sessionAffinity", "None"),
    }
    if spec.kind.has_node_ports() || !spec.external_ips.is_empty() {
        value.put("externalTrafficPolicy", spec.external_policy.to_string());
    }
    if spec.kind != ServiceType::ExternalName {
        value.put("internalTrafficPolicy", spec.internal_policy.to_string());
    }
    value.some("publishNotReadyAddresses", spec.publish_not_ready);
    value.some("trafficDistribution", spec.distribution.map(|preferred| preferred.to_string()));
    balancer(service, &mut value);
    value.value()
}

/// `clusterIP` and `clusterIPs` both, as Kubernetes prints them.
fn addresses(spec: &ServiceSpec, value: &mut Said) {
    match &spec.addresses {
        ClusterAddresses::Wanted => {}
        ClusterAddresses::None => {
            value.put("clusterIP", "None");
            value.put("clusterIPs", vec!["None"]);
        }
        ClusterAddresses::Given(list) => {
            let list = texts(list);
            value.some("clusterIP", list.first().cloned());
            value.some("clusterIPs", list);
        }
    }
}

fn balancer(service: &Service, value: &mut Said) {
    let spec = &service.spec;
    if spec.kind == ServiceType::LoadBalancer || !spec.allocate_node_ports {
        value.put("allocateLoadBalancerNodePorts", spec.allocate_node_ports);
    }
    value.some("healthCheckNodePort", spec.health_check_node_port);
    value.some("loadBalancerClass", spec.load_balancer_class.as_deref());
    value.some("loadBalancerSourceRanges", ranges(&spec.source_ranges));
    // The annotation says it already, and all of it.
    if !service.annotations.contains_key(LOAD_BALANCER_IPS) {
        value.some("loadBalancerIP", spec.load_balancer_ips.first().map(ToString::to_string));
    }
}

fn port(port: &ServicePort) -> Value {
    let mut value = Said::default();
    value.some("name", port.name.as_str());
    value.put("protocol", protocol_word(port.protocol));
    value.put("port", port.port);
    match &port.target {
        TargetPort::Number(number) => value.put("targetPort", *number),
        TargetPort::Name(name) => value.put("targetPort", name.as_str()),
    }
    value.some("nodePort", port.node_port);
    value.some("appProtocol", port.app_protocol.as_str());
    value.value()
}
