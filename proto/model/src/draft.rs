//! What a person wrote of an object, before defaults and validation: absent stays absent.

use std::net::SocketAddr;

use crate::{
    AddressRange, DefaultPolicy, DnsSettings, Fabric, FabricRanges, Families, Key, Labels, NodeEgress,
    NodeName, Object, Overlay, PolicySettings, StubDomain,
};

/// One object as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// The fabric: what is absent keeps its value, or gets its default in a new cluster.
    Fabric(FabricDraft),
    /// A node: people write its labels, the rest is observed.
    Node(NodeDraft),
    /// Namespace, Service, EndpointSlice, Pod, LoadBalancerPool, NetworkPolicy: the object is what was written, with Kubernetes'
    /// defaults for the rest. What the control plane makes (identity, times, revision, status) is zero or empty in it.
    Whole(Object),
}

impl Draft {
    /// What it is stored under.
    pub fn key(&self) -> Key {
        match self {
            Self::Fabric(_) => Key::Fabric,
            Self::Node(node) => Key::Node(node.name.clone()),
            Self::Whole(object) => object.key(),
        }
    }
}

/// A fabric as written, in a file or on the command line of `weft init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricDraft {
    /// `spec.families`.
    pub families: Option<Families>,
    /// `spec.overlay`.
    pub overlay: Option<Overlay>,
    /// `spec.domain`.
    pub domain: Option<String>,
    /// `spec.dns`.
    pub dns: DnsDraft,
    /// `spec.blockPrefixV4`.
    pub block_prefix_v4: Option<u8>,
    /// `spec.ranges.pods`.
    pub pods: Option<Vec<AddressRange>>,
    /// `spec.ranges.services`.
    pub services: Option<Vec<AddressRange>>,
    /// `spec.ranges.nodes`.
    pub nodes: Option<Vec<AddressRange>>,
    /// `spec.ranges.loadBalancers`.
    pub load_balancers: Option<Vec<AddressRange>>,
    /// `spec.masqueradeExceptions`.
    pub masquerade_exceptions: Option<Vec<AddressRange>>,
    /// `spec.nodePortAddresses`.
    pub node_port_addresses: Option<Vec<AddressRange>>,
    /// `spec.nodePortRange`: first and last.
    pub node_port_range: Option<(u16, u16)>,
    /// `spec.externalIPRanges`.
    pub external_ip_ranges: Option<Vec<AddressRange>>,
    /// `spec.nodeGraceSeconds`.
    pub node_grace: Option<u16>,
    /// `spec.policy`.
    pub policy: PolicyDraft,
}

impl FabricDraft {
    /// The draft on top of a fabric: what is absent keeps its value. A draft of a whole list replaces the list.
    pub fn onto(self, fabric: Fabric) -> Fabric {
        let ranges = fabric.ranges;
        Fabric {
            families: self.families.unwrap_or(fabric.families),
            ranges: FabricRanges {
                pods: self.pods.unwrap_or(ranges.pods),
                services: self.services.unwrap_or(ranges.services),
                nodes: self.nodes.unwrap_or(ranges.nodes),
                load_balancers: self.load_balancers.unwrap_or(ranges.load_balancers),
            },
            block_prefix_v4: self.block_prefix_v4.unwrap_or(fabric.block_prefix_v4),
            overlay: self.overlay.unwrap_or(fabric.overlay),
            domain: self.domain.unwrap_or(fabric.domain),
            dns: self.dns.onto(fabric.dns),
            masquerade_exceptions: self.masquerade_exceptions.unwrap_or(fabric.masquerade_exceptions),
            node_port_addresses: self.node_port_addresses.unwrap_or(fabric.node_port_addresses),
            node_port_range: self.node_port_range.unwrap_or(fabric.node_port_range),
            external_ip_ranges: self.external_ip_ranges.unwrap_or(fabric.external_ip_ranges),
            node_grace: self.node_grace.unwrap_or(fabric.node_grace),
            policy: self.policy.onto(fabric.policy),
            generation: fabric.generation,
            revision: fabric.revision,
        }
    }
}

/// `spec.dns` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsDraft {
    /// `enabled`.
    pub enabled: Option<bool>,
    /// `ttl`.
    pub ttl: Option<u32>,
    /// `upstreams`.
    pub upstreams: Option<Vec<SocketAddr>>,
    /// `stubDomains`.
    pub stub_domains: Option<Vec<StubDomain>>,
    /// `searchPath`.
    pub search_path: Option<bool>,
    /// `rebindProtection`.
    pub rebind_protection: Option<bool>,
    /// `podRecords`.
    pub pod_records: Option<bool>,
}

impl DnsDraft {
    /// The draft on top of settings: what is absent keeps its value.
    pub fn onto(self, now: DnsSettings) -> DnsSettings {
        DnsSettings {
            enabled: self.enabled.unwrap_or(now.enabled),
            ttl: self.ttl.unwrap_or(now.ttl),
            upstreams: self.upstreams.unwrap_or(now.upstreams),
            stub_domains: self.stub_domains.unwrap_or(now.stub_domains),
            search_path: self.search_path.unwrap_or(now.search_path),
            rebind_protection: self.rebind_protection.unwrap_or(now.rebind_protection),
            pod_records: self.pod_records.unwrap_or(now.pod_records),
        }
    }
}

/// `spec.policy` as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyDraft {
    /// `default`.
    pub default: Option<DefaultPolicy>,
    /// `nodeEgress`.
    pub node_egress: Option<NodeEgress>,
}

impl PolicyDraft {
    /// The draft on top of settings: what is absent keeps its value.
    pub fn onto(self, now: PolicySettings) -> PolicySettings {
        PolicySettings {
            default: self.default.unwrap_or(now.default),
            node_egress: self.node_egress.unwrap_or(now.node_egress),
        }
    }
}

impl From<FabricRanges> for FabricDraft {
    /// A draft that says these ranges and nothing else.
    fn from(ranges: FabricRanges) -> Self {
        let FabricRanges { pods, services, nodes, load_balancers } = ranges;
        Self {
            pods: Some(pods),
            services: Some(services),
            nodes: Some(nodes),
            load_balancers: Some(load_balancers),
            ..Self::default()
        }
    }
}

/// A node as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDraft {
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.labels`: all labels of the node.
    pub labels: Labels,
}
