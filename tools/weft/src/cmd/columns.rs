//! The columns of each kind, as people who know kubectl expect them.

use serde_json::Value;
use weft_model::Kind;

use super::{endpoints, events, kinds::Shown};
use crate::table::{Column, age, at, column, count, joined, labels, wide};

/// Columns of a kind; with `all` namespaces, the namespace comes first.
pub(crate) fn columns(shown: Shown, all: bool) -> Vec<Column> {
    let name = || column("NAME", |v| at(v, "/metadata/name"));
    let since = || column("AGE", |v| age(v, "/metadata/creationTimestamp"));
    match shown {
        Shown::Object(Kind::Node) => vec![
            name(),
            column("STATE", |v| at(v, "/status/state")),
            column("MESH", |v| joined(v, "/status/mesh")),
            column("UNDERLAY", |v| joined(v, "/status/underlay")),
            wide("ENDPOINT", |v| at(v, "/status/endpoint")),
            wide("LABELS", labels),
            since(),
        ],
        Shown::Object(Kind::Pod) => {
            vec![
                namespace(all),
                name(),
                column("READY", ready),
                column("ADDRESSES", |v| joined(v, "/status/podIPs")),
                column("NODE", |v| at(v, "/spec/nodeName")),
                wide("PHASE", |v| at(v, "/status/phase")),
                wide("LABELS", labels),
                since(),
            ]
        }
        Shown::Object(Kind::Lease) => vec![
            column("BLOCK", |v| at(v, "/metadata/name")),
            column("NODE", |v| at(v, "/status/node")),
            column("EPOCH", |v| at(v, "/status/epoch")),
            since(),
        ],
        Shown::Object(Kind::Member) => vec![
            column("ID", |v| at(v, "/status/id")),
            name(),
            column("ADDRESS", |v| at(v, "/status/address")),
            column("ROLE", |v| at(v, "/status/role")),
        ],
        Shown::Object(Kind::Fabric) => vec![
            name(),
            column("FAMILIES", |v| at(v, "/spec/families")),
            column("OVERLAY", |v| at(v, "/spec/overlay")),
            column("PODS", |v| joined(v, "/spec/ranges/pods")),
            column("SERVICES", |v| joined(v, "/spec/ranges/services")),
            column("NODES", |v| joined(v, "/spec/ranges/nodes")),
            wide("NODE PORTS", |v| at(v, "/spec/nodePortRange")),
        ],
        Shown::Object(Kind::Namespace) => {
            vec![name(), column("DEFAULT", default_policy), wide("LABELS", labels), since()]
        }
        Shown::Object(Kind::Service) => vec![
            namespace(all),
            name(),
            column("TYPE", |v| at(v, "/spec/type")),
            column("CLUSTER-IP", cluster_ip),
            column("EXTERNAL-IP", external_ip),
            column("PORT(S)", ports),
            since(),
            wide("CLUSTER-IPS", |v| joined(v, "/spec/clusterIPs")),
            wide("SELECTOR", |v| pairs(v, "/spec/selector")),
        ],
        Shown::Object(Kind::Slice) => vec![
            namespace(all),
            name(),
            column("ADDRESSTYPE", |v| at(v, "/addressType")),
            column("PORTS", slice_ports),
            column("ENDPOINTS", slice_addresses),
            since(),
            wide("LABELS", labels),
        ],
        Shown::Object(Kind::PodSpec) => vec![
            namespace(all),
            name(),
            column("READY", |v| joined_of(v, "/status/conditions", "status")),
            column("PROBE", probe),
            wide("HOSTNAME", |v| at(v, "/spec/hostname")),
            wide("LABELS", labels),
        ],
        Shown::Object(Kind::Pool) => vec![
            name(),
            column("RANGES", |v| joined(v, "/spec/ranges")),
            column("AUTOMATIC", |v| at(v, "/spec/automatic")),
            column("ANNOUNCE", |v| at(v, "/spec/announce")),
            wide("IPMODE", |v| at(v, "/spec/ipMode")),
            wide("NODES", |v| pairs(v, "/spec/nodeSelector")),
        ],
        Shown::Object(Kind::Owner) => vec![
            column("ADDRESS", |v| at(v, "/metadata/name")),
            column("NODE", |v| at(v, "/status/node")),
            column("SUCCESSOR", |v| at(v, "/status/successor")),
            column("EPOCH", |v| at(v, "/status/epoch")),
        ],
        Shown::Object(Kind::NetworkPolicy) => vec![
            namespace(all),
            name(),
            column("POD-SELECTOR", |v| at(v, "/status/podSelector")),
            column("TYPES", |v| joined(v, "/spec/policyTypes").replace(", ", ",")),
            column("SELECTS", selects),
            since(),
            wide("LABELS", labels),
        ],
        Shown::Endpoints => vec![
            namespace(all),
            name(),
            column("READY", endpoints::ready_of_all),
            column("ENDPOINTS", endpoints::first_addresses),
            wide("BACKENDS", endpoints::states),
        ],
        Shown::Events => events::columns(),
        Shown::Peers => vec![
            name(),
            column("ENDPOINT", |v| at(v, "/endpoint")),
            column("MESH", |v| joined(v, "/mesh")),
            wide("UNDERLAY", |v| joined(v, "/underlay")),
            column("ALLOWED", |v| joined(v, "/allowed")),
        ],
        Shown::Routes => vec![
            column("BLOCK", |v| at(v, "/metadata/name")),
            column("NODE", |v| at(v, "/node")),
            column("EPOCH", |v| at(v, "/epoch")),
        ],
    }
}

fn namespace(all: bool) -> Column {
    let cell = |v: &Value| at(v, "/metadata/namespace");
    if all { column("NAMESPACE", cell) } else { wide("NAMESPACE", cell) }
}

/// A pod whose name a younger one owns is never ready for anybody who asks by name.
fn ready(pod: &Value) -> String {
    match at(pod, "/status/phase").as_str() {
        "Superseded" => "superseded".to_owned(),
        _ if at(pod, "/status/terminating") == "yes" => "ending".to_owned(),
        _ => at(pod, "/status/ready"),
    }
}

/// What kubectl writes where there is nothing to show.
const NONE: &str = "<none>";

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// What holds where no policy isolates: `allow`, `deny-ingress (the fabric)`.
fn default_policy(value: &Value) -> String {
    match (at(value, "/status/defaultPolicy/policy"), at(value, "/status/defaultPolicy/by")) {
        (policy, by) if by.is_empty() => policy,
        (policy, by) => format!("{policy} ({by})"),
    }
}

fn cluster_ip(service: &Value) -> String {
    or_none(at(service, "/spec/clusterIP"))
}

/// Load-balancer addresses, then those of the outside; an alias shows its name.
fn external_ip(service: &Value) -> String {
    let kind = at(service, "/spec/type");
    if kind == "ExternalName" {
        return at(service, "/spec/externalName");
    }
    let given = joined_of(service, "/status/loadBalancer/ingress", "ip");
    let written = joined(service, "/spec/externalIPs").replace(", ", ",");
    let all: Vec<String> = [given, written].into_iter().filter(|text| !text.is_empty()).collect();
    match all.join(",") {
        text if text.is_empty() && kind == "LoadBalancer" => "<pending>".to_owned(),
        text => or_none(text),
    }
}

/// `80:30080/TCP,443/TCP`.
fn ports(service: &Value) -> String {
    let port = |port: &Value| {
        let node = at(port, "/nodePort");
        let node = if node.is_empty() || node == "0" { String::new() } else { format!(":{node}") };
        format!("{}{node}/{}", at(port, "/port"), at(port, "/protocol"))
    };
    let list = service.pointer("/spec/ports").and_then(Value::as_array);
    or_none(list.into_iter().flatten().map(port).collect::<Vec<_>>().join(","))
}

fn slice_ports(slice: &Value) -> String {
    let port = |port: &Value| match at(port, "/port") {
        number if number.is_empty() => "*".to_owned(),
        number => number,
    };
    let list = slice.pointer("/ports").and_then(Value::as_array);
    or_none(list.into_iter().flatten().map(port).collect::<Vec<_>>().join(","))
}

/// The first three addresses, and how many more there are.
fn slice_addresses(slice: &Value) -> String {
    let list = slice.pointer("/endpoints").and_then(Value::as_array);
    let all: Vec<String> = list.into_iter().flatten().map(|e| joined(e, "/addresses")).collect();
    endpoints::shortened(&all)
}

/// One field of each object of a list, joined by commas.
fn joined_of(value: &Value, pointer: &str, field: &str) -> String {
    let list = value.pointer(pointer).and_then(Value::as_array);
    let texts = list.into_iter().flatten().map(|item| at(item, &format!("/{field}")));
    texts.collect::<Vec<_>>().join(",")
}

/// A map as `a=b,c=d`.
fn pairs(value: &Value, pointer: &str) -> String {
    let Some(Value::Object(map)) = value.pointer(pointer) else { return NONE.to_owned() };
    let pairs = map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")));
    or_none(pairs.collect::<Vec<_>>().join(","))
}

/// `3 pods`.
fn selects(policy: &Value) -> String {
    let number = policy.pointer("/status/selectedPods").and_then(Value::as_u64);
    number.map(|n| count(usize::try_from(n).unwrap_or(usize::MAX), "pod")).unwrap_or_default()
}

/// How a pod is asked whether it is ready.
fn probe(pod: &Value) -> String {
    let container = pod.pointer("/spec/containers/0/readinessProbe");
    let kind = |key: &&str| container.is_some_and(|probe| probe.get(*key).is_some());
    or_none(["httpGet", "tcpSocket", "grpc"].into_iter().find(|key| kind(key)).unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(service: Value, external: &str, listed: &str) {
        assert_eq!(
            (external_ip(&service).as_str(), ports(&service).as_str()),
            (external, listed),
            "{service}"
        );
    }

    #[test]
    fn services_look_as_kubectl_shows_them() {
        check(
            json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}}),
            "<none>",
            "80/TCP",
        );
        let ports =
            json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
        check(json!({"spec": {"type": "LoadBalancer", "ports": ports}}), "<pending>", "80:30080/TCP,53/UDP");
        let given = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]}});
        check(json!({"spec": {"type": "LoadBalancer"}, "status": given}), "192.0.2.1,2001:db8::1", "<none>");
        check(
            json!({"spec": {"type": "ExternalName", "externalName": "db.example"}}),
            "db.example",
            "<none>",
        );
        assert_eq!(cluster_ip(&json!({"spec": {"clusterIP": "None"}})), "None");
    }
}
