//! Endpoints of services as nodes hold them: values, cells, and why a backend is out.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weft_model::{EndpointItem, Protocol, ServiceItem};

use crate::{
    output::items,
    table::{at, joined},
};

/// Addresses that a table shows of one service.
const SHOWN: usize = 3;

/// A service's endpoints as a value.
pub(crate) fn value(service: &ServiceItem) -> Value {
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            json!({
                "name": port.name,
                "protocol": protocol(port.protocol),
                "port": port.port,
                "nodePort": port.node_port,
            })
        })
        .collect();
    json!({
        "kind": "Endpoints",
        "metadata": {"name": service.name.name.as_str(), "namespace": service.name.namespace.as_str()},
        "addresses": service.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ports": ports,
        "endpoints": service.endpoints.iter().map(|endpoint| endpoint_value(service, endpoint)).collect::<Vec<_>>(),
    })
}

fn endpoint_value(service: &ServiceItem, endpoint: &EndpointItem) -> Value {
    json!({
        "address": endpoint.address.to_string(),
        "ports": &*endpoint.ports,
        "ready": endpoint.conditions.is_ready(),
        "serving": endpoint.conditions.is_serving(),
        "terminating": endpoint.conditions.is_terminating(),
        "node": endpoint.node.as_ref().map(ToString::to_string),
        "zone": &*endpoint.zone,
        "forZones": endpoint.hints.zones,
        "forNodes": endpoint.hints.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "hostname": &*endpoint.hostname,
        "pod": endpoint.pod.as_ref().map(ToString::to_string),
        "state": state(service, endpoint),
    })
}

/// `TCP`, `UDP`, `SCTP`.
pub(crate) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

/// `ready`, or why it takes no new connections.
fn state(service: &ServiceItem, endpoint: &EndpointItem) -> String {
    let conditions = endpoint.conditions;
    let out = match (conditions.is_ready(), conditions.is_serving(), conditions.is_terminating()) {
        (true, _, _) => "",
        (false, true, true) => "ending: serves only where nobody else is ready",
        (false, false, true) => "ended: not ready any more",
        (false, _, false) => "not ready",
    };
    let lacking: Vec<String> = service
        .ports
        .iter()
        .zip(&*endpoint.ports)
        .filter(|(_, number)| **number == 0)
        .map(|(port, _)| if port.name.is_empty() { port.port.to_string() } else { port.name.clone() })
        .collect();
    match (out, lacking.is_empty()) {
        ("", true) => "ready".to_owned(),
        ("", false) => format!("ready, without port {}", lacking.join(" and ")),
        (out, true) => out.to_owned(),
        (out, false) => format!("{out}, without port {}", lacking.join(" and ")),
    }
}

/// Names of the silent ones among a list of nodes.
pub(crate) fn silent_nodes(nodes: &Value) -> BTreeSet<String> {
    let silent = items(nodes).iter().filter(|node| at(node, "/status/state") == "Silent");
    silent.map(|node| at(node, "/metadata/name")).collect()
}

/// Says of endpoints on silent nodes that this is why they are out, or that they stay because nobody else is there.
pub(crate) fn heed_silence(value: &mut Value, silent: &BTreeSet<String>) {
    let Some(Value::Array(list)) = value.get_mut("endpoints") else { return };
    for endpoint in list.iter_mut().filter(|endpoint| silent.contains(&at(endpoint, "/node"))) {
        // What people wrote as an endpoint is believed.
        if at(endpoint, "/pod").is_empty() {
            continue;
        }
        let (node, state) = (at(endpoint, "/node"), at(endpoint, "/state"));
        let state = match state.strip_prefix("not ready") {
            Some(rest) => format!("not ready: node {node} is silent{rest}"),
            None if endpoint["ready"] == json!(true) => {
                format!("{state}, though node {node} is silent: nobody else is")
            }
            None => format!("{state}; node {node} is silent"),
        };
        if let Value::Object(map) = endpoint {
            map.insert("state".to_owned(), json!(state));
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.get("endpoints").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `2/3`.
pub(crate) fn ready_of_all(value: &Value) -> String {
    let all = list(value);
    let ready = all.iter().filter(|endpoint| endpoint["ready"] == json!(true)).count();
    format!("{ready}/{}", all.len())
}

/// Address and ports of an endpoint: `10.128.0.2:8080`, `[fd00::2]:53,54`.
pub(crate) fn socket(endpoint: &Value) -> String {
    let address = at(endpoint, "/address");
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let ports: Vec<String> = joined(endpoint, "/ports")
        .split(", ")
        .filter(|port| !port.is_empty() && *port != "0")
        .map(str::to_owned)
        .collect();
    if ports.is_empty() { address } else { format!("{address}:{}", ports.join(",")) }
}

/// The first ready endpoints, and how many more there are, as kubectl shows them.
pub(crate) fn first_addresses(value: &Value) -> String {
    let ready = list(value).iter().filter(|endpoint| endpoint["ready"] == json!(true));
    shortened(&ready.map(socket).collect::<Vec<_>>())
}

/// The first three words, and how many more there are.
pub(crate) fn shortened(words: &[String]) -> String {
    let first: Vec<&str> = words.iter().take(SHOWN).map(String::as_str).collect();
    match words.len() {
        0 => "<none>".to_owned(),
        all if all > SHOWN => format!("{} + {} more", first.join(","), all - SHOWN),
        _ => first.join(","),
    }
}

/// Every endpoint with its pod, node and state.
pub(crate) fn states(value: &Value) -> String {
    let one = |endpoint: &Value| {
        let words = [at(endpoint, "/pod"), at(endpoint, "/node"), at(endpoint, "/state")];
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{} ({})", socket(endpoint), words.join(", "))
    };
    list(value).iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use weft_model::{ClientAffinity, Conditions, ObjectUid, ServicePortItem, ServiceType, TrafficPolicy};

    use super::*;

    fn endpoint(address: &str, port: u16, conditions: Conditions) -> EndpointItem {
        EndpointItem {
            address: address.parse().unwrap(),
            ports: vec![port].into(),
            conditions,
            node: Some("n1".parse().unwrap()),
            zone: Default::default(),
            hints: Default::default(),
            hostname: Default::default(),
            pod: Some("web-0".parse().unwrap()),
        }
    }

    #[test]
    fn a_row_shows_who_is_ready_and_why_others_are_not() {
        let conditions = |ready, serving, terminating| Conditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        };
        let service = ServiceItem {
            name: "shop/web".parse().unwrap(),
            uid: ObjectUid([0; 16]),
            kind: ServiceType::ClusterIp,
            addresses: vec!["10.112.0.9".parse().unwrap()],
            external_ips: Vec::new(),
            load_balancer: Vec::new(),
            external_name: String::new(),
            ports: vec![ServicePortItem {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: 80,
                node_port: 0,
            }],
            affinity: Some(ClientAffinity { timeout_seconds: 1 }),
            external_policy: TrafficPolicy::Cluster,
            internal_policy: TrafficPolicy::Cluster,
            health_check_node_port: 0,
            source_ranges: Vec::new(),
            endpoints: vec![
                endpoint("10.128.0.2", 8080, conditions(true, true, false)),
                endpoint("fd00::2", 0, conditions(true, true, false)),
                endpoint("10.128.0.3", 8080, conditions(false, false, false)),
                endpoint("10.128.0.4", 8080, conditions(false, true, true)),
            ],
        };
        let value = value(&service);
        assert_eq!(ready_of_all(&value), "2/4");
        assert_eq!(first_addresses(&value), "10.128.0.2:8080,[fd00::2]");
        let states: Vec<String> = list(&value).iter().map(|endpoint| at(endpoint, "/state")).collect();
        assert_eq!(
            states,
            [
                "ready",
                "ready, without port http",
                "not ready",
                "ending: serves only where nobody else is ready"
            ]
        );
        let mut value = value.clone();
        value["endpoints"][2]["node"] = json!("n2");
        heed_silence(&mut value, &["n2".to_owned()].into());
        let states: Vec<String> = list(&value).iter().map(|endpoint| at(endpoint, "/state")).collect();
        assert_eq!((states[0].as_str(), states[2].as_str()), ("ready", "not ready: node n2 is silent"));
        heed_silence(&mut value, &["n1".to_owned()].into());
        assert_eq!(at(&value, "/endpoints/0/state"), "ready, though node n1 is silent: nobody else is");
        let words: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(shortened(&words), "0,1,2 + 2 more");
    }
}
