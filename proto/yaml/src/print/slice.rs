//! Endpoint slices, as `discovery.k8s.io/v1` has them.

use serde_json::{Map, Value, json};
use weft_model::{AddressType, EndpointSlice, SliceEndpoint, SlicePort};

use super::{Said, named, protocol_word, texts};
use crate::time::format_time;

pub(super) fn slice_value(slice: &EndpointSlice) -> Value {
    let mut metadata = named(&slice.name, &slice.labels);
    metadata.put("uid", slice.uid.to_string());
    metadata.put("generation", slice.generation);
    metadata.put("resourceVersion", slice.revision.to_string());
    metadata.put("creationTimestamp", format_time(slice.created.0));
    let kind = match slice.address_type {
        AddressType::V4 => "IPv4",
        AddressType::V6 => "IPv6",
        AddressType::Fqdn => "FQDN",
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!("discovery.k8s.io/v1"));
    object.insert("kind".to_owned(), json!("EndpointSlice"));
    object.insert("metadata".to_owned(), metadata.value());
    object.insert("addressType".to_owned(), json!(kind));
    object.insert("ports".to_owned(), slice.ports.iter().map(port).collect());
    let endpoint = |given| endpoint(given, slice.name.namespace.as_str());
    object.insert("endpoints".to_owned(), slice.endpoints.iter().map(endpoint).collect());
    Value::Object(object)
}

fn port(port: &SlicePort) -> Value {
    let mut value = Said::default();
    value.put("name", port.name.as_str());
    value.put("protocol", protocol_word(port.protocol));
    value.some("port", port.port);
    value.some("appProtocol", port.app_protocol.as_str());
    value.value()
}

fn endpoint(endpoint: &SliceEndpoint, namespace: &str) -> Value {
    let mut value = Said::default();
    let addresses = texts(&endpoint.addresses).into_iter().chain(endpoint.fqdn.iter().cloned());
    value.put("addresses", addresses.collect::<Vec<_>>());
    let mut conditions = Said::default();
    for (key, said) in [
        ("ready", endpoint.conditions.ready),
        ("serving", endpoint.conditions.serving),
        ("terminating", endpoint.conditions.terminating),
    ] {
        if let Some(said) = said {
            conditions.put(key, said);
        }
    }
    value.some("conditions", conditions.value());
    value.some("hostname", endpoint.hostname.as_str());
    value.some("nodeName", endpoint.node.as_ref().map(ToString::to_string));
    value.some("zone", endpoint.zone.as_str());
    let names = |list: Vec<String>| list.into_iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let mut hints = Said::default();
    hints.some("forZones", names(endpoint.hints.zones.clone()));
    hints.some("forNodes", names(texts(&endpoint.hints.nodes)));
    value.some("hints", hints.value());
    if let Some(pod) = &endpoint.pod {
        value.put("targetRef", json!({"kind": "Pod", "namespace": namespace, "name": pod.as_str()}));
    }
    value.value()
}
