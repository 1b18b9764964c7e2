//! Pods: as they live, and what people say of them.

use serde_json::{Value, json};
use weft_model::{DnsConfig, DnsOption, DnsPolicy, NamedPort, Pod, PodPhase, PodSpec, Probe, ProbeHandler};

use super::{Said, named, protocol_word, texts, whole_of};
use crate::time::format_time;

fn ports(ports: &[NamedPort]) -> Vec<Value> {
    ports
        .iter()
        .map(|port| {
            json!({
                "name": port.name,
                "containerPort": port.port,
                "protocol": protocol_word(port.protocol),
            })
        })
        .collect()
}

/// A pod as it lives. Whether it is ready stands in a field of our own: fed back, it would freeze what its node sees.
pub(super) fn pod_value(pod: &Pod) -> Value {
    let mut metadata = named(&pod.name, &pod.labels);
    metadata.put("uid", pod.uid.to_string());
    metadata.put("resourceVersion", pod.revision.to_string());
    metadata.put("creationTimestamp", format_time(pod.created.0));
    let mut spec = Said::default();
    spec.put("nodeName", pod.node.as_str());
    let mut container = Said::default();
    container.put("name", "pod");
    container.some("ports", ports(&pod.ports));
    spec.put("containers", vec![container.value()]);
    let status = json!({
        "phase": match pod.phase { PodPhase::Active => "Active", PodPhase::Superseded => "Superseded" },
        "ready": pod.ready,
        "terminating": pod.terminating,
        "podIPs": texts(&pod.addresses).into_iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
        "containerID": pod.attachment.container,
        "interface": pod.attachment.interface,
    });
    whole_of("v1", "Pod", metadata.value(), spec.value(), status)
}

/// What people say of a pod, as they would write it.
pub(super) fn spec_value(pod: &PodSpec) -> Value {
    let mut metadata = named(&pod.name, &pod.labels);
    metadata.some("annotations", json!(pod.annotations));
    metadata.put("generation", pod.generation);
    metadata.put("resourceVersion", pod.revision.to_string());
    if pod.terminating {
        // When it began isn't kept: that it did is what counts.
        metadata.put("deletionTimestamp", format_time(0));
    }
    let mut container = Said::default();
    container.put("name", "pod");
    container.some("ports", ports(&pod.ports));
    container.some("readinessProbe", pod.readiness.as_ref().map(probe));
    container.some("startupProbe", pod.startup.as_ref().map(probe));
    let mut spec = Said::default();
    spec.some("hostname", pod.hostname.as_str());
    spec.some("subdomain", pod.subdomain.as_str());
    if pod.dns.policy != DnsPolicy::default() {
        spec.put("dnsPolicy", pod.dns.policy.to_string());
    }
    spec.some("dnsConfig", dns_config(&pod.dns.config));
    if !pod.service_links {
        spec.put("enableServiceLinks", false);
    }
    spec.put("containers", vec![container.value()]);
    let status = pod.ready.map_or(
        Value::Null,
        |ready| json!({"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}),
    );
    whole_of("v1", "Pod", metadata.value(), spec.value(), status)
}

fn dns_config(config: &DnsConfig) -> Value {
    let mut value = Said::default();
    value.some("nameservers", texts(&config.nameservers));
    value.some("searches", config.searches.clone());
    let option = |option: &DnsOption| {
        let mut said = Said::default();
        said.put("name", option.name.as_str());
        if let Some(value) = &option.value {
            said.put("value", value.as_str());
        }
        said.value()
    };
    value.some("options", config.options.iter().map(option).collect::<Vec<_>>());
    value.value()
}

fn probe(probe: &Probe) -> Value {
    let mut value = Said::default();
    match &probe.handler {
        ProbeHandler::Tcp { port } => value.put("tcpSocket", json!({"port": port})),
        ProbeHandler::Http { port, path, tls, host, headers } => {
            let mut http = Said::default();
            http.put("port", *port);
            http.put("path", path.as_str());
            http.put("scheme", if *tls { "HTTPS" } else { "HTTP" });
            let host = (!host.is_empty()).then(|| json!({"name": "Host", "value": host}));
            let others = headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
            http.some("httpHeaders", host.into_iter().chain(others).collect::<Vec<_>>());
            value.put("httpGet", http.value());
        }
        ProbeHandler::Grpc { port, service } => {
            let mut grpc = Said::default();
            grpc.put("port", *port);
            grpc.some("service", service.as_str());
            value.put("grpc", grpc.value());
        }
    }
    value.some("initialDelaySeconds", probe.initial_delay_ms / 1_000);
    value.put("periodSeconds", probe.period_ms / 1_000);
    value.put("timeoutSeconds", probe.timeout_ms / 1_000);
    value.put("successThreshold", probe.success_threshold);
    value.put("failureThreshold", probe.failure_threshold);
    value.value()
}
