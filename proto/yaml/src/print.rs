//! Objects as Kubernetes-style values, the one source of `-o json`, `-o yaml` and of tables.

use crate::time::format_time;
use serde_json::{Map, Value, json};
use weft_model::{
    AddressRange, BlockLease, Fabric, Member, MemberRole, Node, NodeState, Object, Pod, PodPhase, Protocol,
};

/// An object with `apiVersion`, `kind`, `metadata`, `spec`, `status`; what people wrote feeds back into `parse`.
pub fn object_value(object: &Object) -> Value {
    match object {
        Object::Fabric(fabric) => fabric_value(fabric),
        Object::Node(node) => node_value(node),
        Object::Pod(pod) => pod_value(pod),
        Object::Lease(lease) => lease_value(lease),
        Object::Member(member) => member_value(member),
    }
}

/// A list of objects at a revision.
pub fn list_value(items: Vec<Value>, revision: u64) -> Value {
    json!({"apiVersion": "weft.io/v1", "kind": "List", "metadata": {"resourceVersion": revision.to_string()}, "items": items})
}

/// Any value as YAML.
pub fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# can't be printed: {error}\n"))
}

fn ranges(list: &[AddressRange]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn whole(kind: &str, metadata: Value, spec: Value, status: Value) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!("weft.io/v1"));
    object.insert("kind".to_owned(), json!(kind));
    object.insert("metadata".to_owned(), metadata);
    for (key, value) in [("spec", spec), ("status", status)] {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    }
    Value::Object(object)
}

fn fabric_value(fabric: &Fabric) -> Value {
    let metadata = json!({
        "name": "main",
        "generation": fabric.generation,
        "resourceVersion": fabric.revision.to_string(),
    });
    let spec = json!({
        "families": fabric.families.to_string(),
        "overlay": fabric.overlay.to_string(),
        "domain": fabric.domain,
        "blockPrefixV4": fabric.block_prefix_v4,
        "ranges": {
            "pods": ranges(&fabric.ranges.pods),
            "services": ranges(&fabric.ranges.services),
            "nodes": ranges(&fabric.ranges.nodes),
            "loadBalancers": ranges(&fabric.ranges.load_balancers),
        },
        "masqueradeExceptions": ranges(&fabric.masquerade_exceptions),
    });
    whole("Fabric", metadata, spec, Value::Null)
}

fn node_value(node: &Node) -> Value {
    let metadata = json!({
        "name": node.name.as_str(),
        "uid": node.uid.to_string(),
        "labels": node.labels,
        "resourceVersion": node.revision.to_string(),
        "creationTimestamp": format_time(node.joined.0),
    });
    let status = json!({
        "state": match node.state { NodeState::Active => "Active", NodeState::Removed => "Removed" },
        "mesh": node.mesh.iter().map(|(_, a)| a.to_string()).collect::<Vec<_>>(),
        "underlay": node.underlay.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "endpoint": node.endpoint.map(|e| e.to_string()),
        "hostRoutes": ranges(&node.host_routes),
    });
    whole("Node", metadata, Value::Null, status)
}

fn pod_value(pod: &Pod) -> Value {
    let metadata = json!({
        "name": pod.name.name.as_str(),
        "namespace": pod.name.namespace.as_str(),
        "uid": pod.uid.to_string(),
        "labels": pod.labels,
        "resourceVersion": pod.revision.to_string(),
        "creationTimestamp": format_time(pod.created.0),
    });
    let ports: Vec<Value> = pod
        .ports
        .iter()
        .map(|port| {
            let protocol = match port.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            json!({"name": port.name, "containerPort": port.port, "protocol": protocol})
        })
        .collect();
    let spec = json!({"nodeName": pod.node.as_str(), "ports": ports});
    let status = json!({
        "phase": match pod.phase { PodPhase::Active => "Active", PodPhase::Superseded => "Superseded" },
        "ready": pod.ready,
        "podIPs": pod.addresses.iter().map(|a| json!({"ip": a.to_string()})).collect::<Vec<_>>(),
        "containerID": pod.attachment.container,
        "interface": pod.attachment.interface,
    });
    whole("Pod", metadata, spec, status)
}

fn lease_value(lease: &BlockLease) -> Value {
    let metadata = json!({
        "name": lease.block.to_string(),
        "resourceVersion": lease.revision.to_string(),
        "creationTimestamp": format_time(lease.granted.0),
    });
    whole("Block", metadata, Value::Null, json!({"node": lease.node.as_str(), "epoch": lease.epoch.0}))
}

fn member_value(member: &Member) -> Value {
    let metadata = json!({"name": member.name.as_str(), "resourceVersion": member.revision.to_string()});
    let status = json!({
        "id": member.id.0,
        "address": member.address.to_string(),
        "role": match member.role { MemberRole::Learner => "learner", MemberRole::Voter => "voter" },
    });
    whole("Member", metadata, Value::Null, status)
}

#[cfg(test)]
mod tests {
    use weft_model::{FabricRanges, Families, Overlay, Revision};

    use super::*;
    use crate::{Draft, parse};

    #[test]
    fn what_is_printed_feeds_back() {
        let fabric = Fabric {
            families: Families::Dual6,
            ranges: FabricRanges {
                pods: vec!["10.0.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
                services: vec!["10.1.0.0/16".parse().unwrap()],
                ..FabricRanges::default()
            },
            block_prefix_v4: 24,
            overlay: Overlay::Routed,
            domain: "cluster.local".to_owned(),
            masquerade_exceptions: Vec::new(),
            generation: 3,
            revision: Revision(9),
        };
        let text = to_yaml(&object_value(&Object::Fabric(fabric.clone())));
        let parsed = parse(&text, "f").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let [Draft::Fabric(draft)] = parsed.objects.as_slice() else { panic!("{parsed:?}") };
        assert_eq!(draft.pods.as_ref(), Some(&fabric.ranges.pods));
        assert_eq!((draft.families, draft.overlay), (Some(Families::Dual6), Some(Overlay::Routed)));
    }
}
