//! Objects as Kubernetes-style values, the one source of `-o json`, `-o yaml` and of tables.

mod difference;
mod pod;
mod policy;
mod service;
mod slice;

pub use difference::differences;

use std::net::SocketAddr;

use crate::time::format_time;
use serde_json::{Map, Value, json};
use weft_model::{
    AddressOwner, AddressRange, BlockLease, DnsSettings, Fabric, IpMode, Labels, LoadBalancerPool, Member,
    MemberRole, Namespace, Node, NodeState, Object, ObjectName, Protocol, StubDomain, ownership::DNS_PORT,
};

/// An object with `apiVersion`, `kind`, `metadata`, `spec`, `status`; what people wrote feeds back into `parse`.
pub fn object_value(object: &Object) -> Value {
    match object {
        Object::Fabric(fabric) => fabric_value(fabric),
        Object::Node(node) => node_value(node),
        Object::Pod(pod) => pod::pod_value(pod),
        Object::Lease(lease) => lease_value(lease),
        Object::Member(member) => member_value(member),
        Object::Namespace(namespace) => namespace_value(namespace),
        Object::Service(service) => service::service_value(service),
        Object::Slice(slice) => slice::slice_value(slice),
        Object::PodSpec(spec) => pod::spec_value(spec),
        Object::Pool(pool) => pool_value(pool),
        Object::Owner(owner) => owner_value(owner),
        Object::NetworkPolicy(policy) => policy::policy_value(policy),
    }
}

/// A list of objects at a revision.
pub fn list_value(items: Vec<Value>, revision: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": revision.to_string()}, "items": items})
}

/// Any value as YAML.
pub fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# can't be printed: {error}\n"))
}

fn ranges(list: &[AddressRange]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// `TCP`, `UDP`, `SCTP`.
const fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

/// `VIP`, `Proxy`.
const fn mode_word(mode: IpMode) -> &'static str {
    match mode {
        IpMode::Vip => "VIP",
        IpMode::Proxy => "Proxy",
    }
}

/// A map that only takes what says something: nothing, false, zero and the empty are left out.
#[derive(Default)]
struct Said(Map<String, Value>);

impl Said {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn some(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let says = match &value {
            Value::Null | Value::Bool(false) => false,
            Value::Number(number) => number.as_u64() != Some(0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(true) => true,
        };
        if says {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Name and namespace, as every object of a namespace begins.
fn named(name: &ObjectName, labels: &Labels) -> Said {
    let mut metadata = Said::default();
    metadata.put("name", name.name.as_str());
    metadata.put("namespace", name.namespace.as_str());
    metadata.some("labels", json!(labels));
    metadata
}

fn whole(kind: &str, metadata: Value, spec: Value, status: Value) -> Value {
    whole_of("weft.io/v1", kind, metadata, spec, status)
}

fn whole_of(version: &str, kind: &str, metadata: Value, spec: Value, status: Value) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(version));
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
        "dns": dns_value(&fabric.dns),
        "blockPrefixV4": fabric.block_prefix_v4,
        "ranges": {
            "pods": ranges(&fabric.ranges.pods),
            "services": ranges(&fabric.ranges.services),
            "nodes": ranges(&fabric.ranges.nodes),
            "loadBalancers": ranges(&fabric.ranges.load_balancers),
        },
        "masqueradeExceptions": ranges(&fabric.masquerade_exceptions),
        "nodePortAddresses": ranges(&fabric.node_port_addresses),
        "nodePortRange": format!("{}-{}", fabric.node_port_range.0, fabric.node_port_range.1),
        "externalIPRanges": ranges(&fabric.external_ip_ranges),
        "nodeGraceSeconds": fabric.node_grace,
        "policy": {
            "default": fabric.policy.default.to_string(),
            "nodeEgress": fabric.policy.node_egress.to_string(),
        },
    });
    whole("Fabric", metadata, spec, Value::Null)
}

fn dns_value(dns: &DnsSettings) -> Value {
    let stub = |stub: &StubDomain| json!({"domain": stub.domain, "servers": servers(&stub.servers)});
    json!({
        "enabled": dns.enabled,
        "ttl": dns.ttl,
        "upstreams": servers(&dns.upstreams),
        "stubDomains": dns.stub_domains.iter().map(stub).collect::<Vec<_>>(),
        "searchPath": dns.search_path,
        "rebindProtection": dns.rebind_protection,
        "podRecords": dns.pod_records,
    })
}

/// Servers as people write them: the usual port goes without saying.
fn servers(list: &[SocketAddr]) -> Vec<String> {
    let shown = |server: &SocketAddr| match server.port() {
        DNS_PORT => server.ip().to_string(),
        _ => server.to_string(),
    };
    list.iter().map(shown).collect()
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
        "state": match (node.state, node.silent) {
            (NodeState::Removed, _) => "Removed",
            (NodeState::Active, None) => "Active",
            (NodeState::Active, Some(_)) => "Silent",
        },
        "silentSince": node.silent.map(|since| format_time(since.0)),
        "mesh": node.mesh.iter().map(|(_, a)| a.to_string()).collect::<Vec<_>>(),
        "underlay": node.underlay.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "endpoint": node.endpoint.map(|e| e.to_string()),
        "hostRoutes": ranges(&node.host_routes),
    });
    whole("Node", metadata, Value::Null, status)
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

fn namespace_value(namespace: &Namespace) -> Value {
    let metadata = json!({
        "name": namespace.name.as_str(),
        "labels": namespace.labels,
        "resourceVersion": namespace.revision.to_string(),
        "creationTimestamp": format_time(namespace.created.0),
    });
    whole_of("v1", "Namespace", metadata, Value::Null, json!({"phase": "Active"}))
}

fn pool_value(pool: &LoadBalancerPool) -> Value {
    let metadata = json!({
        "name": pool.name.as_str(),
        "generation": pool.generation,
        "resourceVersion": pool.revision.to_string(),
    });
    let mut spec = Said::default();
    spec.put("ranges", ranges(&pool.ranges));
    spec.put("automatic", pool.automatic);
    spec.put("announce", pool.announce);
    spec.put("ipMode", mode_word(pool.mode));
    spec.some("nodeSelector", json!(pool.nodes));
    whole("LoadBalancerPool", metadata, spec.value(), Value::Null)
}

fn owner_value(owner: &AddressOwner) -> Value {
    let metadata = json!({"name": owner.address.to_string(), "resourceVersion": owner.revision.to_string()});
    let status = json!({
        "node": owner.node.as_str(),
        "successor": owner.successor.as_ref().map(ToString::to_string),
        "epoch": owner.epoch,
    });
    whole("AddressOwner", metadata, Value::Null, status)
}

#[cfg(test)]
#[path = "print/feed_back_tests.rs"]
mod feed_back_tests;
#[cfg(test)]
mod tests {
    use weft_model::{
        DefaultPolicy, Draft, FabricRanges, Families, NodeEgress, Overlay, PolicySettings, Revision,
    };

    use super::*;
    use crate::{Drafted, Options, parse};

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
            dns: DnsSettings::default(),
            masquerade_exceptions: Vec::new(),
            node_port_addresses: vec!["192.0.2.0/24".parse().unwrap()],
            node_port_range: (30_100, 30_200),
            external_ip_ranges: Vec::new(),
            node_grace: 45,
            policy: PolicySettings { default: DefaultPolicy::DenyEgress, node_egress: NodeEgress::Allow },
            generation: 3,
            revision: Revision(9),
        };
        let text = to_yaml(&object_value(&Object::Fabric(fabric.clone())));
        let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let [Drafted { draft: Draft::Fabric(draft), .. }] = parsed.objects.as_slice() else {
            panic!("{parsed:?}")
        };
        assert_eq!(draft.pods.as_ref(), Some(&fabric.ranges.pods));
        assert_eq!(draft.node_port_addresses.as_ref(), Some(&fabric.node_port_addresses));
        assert_eq!(
            (draft.node_port_range, &draft.external_ip_ranges, draft.node_grace),
            (Some((30_100, 30_200)), &Some(Vec::new()), Some(45))
        );
        assert_eq!(
            (draft.policy.default, draft.policy.node_egress),
            (Some(DefaultPolicy::DenyEgress), Some(NodeEgress::Allow))
        );
        assert_eq!((draft.families, draft.overlay), (Some(Families::Dual6), Some(Overlay::Routed)));
    }
}
