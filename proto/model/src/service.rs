//! Services: stable addresses in front of pods that come and go (Kubernetes, core/v1 Service).
//!
//! Here stand the shapes and what can be said of one value alone; `weft-core` decides what may be stored.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use crate::{AddressRange, Family, Labels, ObjectName, ObjectUid, Protocol, Revision, WallTime};

/// Annotation of a service: the load-balancer addresses it wants, joined by commas.
pub const LOAD_BALANCER_IPS: &str = "weft.io/load-balancer-ips";

/// How a service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    /// By a virtual address inside the fabric, or, without one (`clusterIP: None`), by names alone.
    #[default]
    ClusterIp,
    /// Besides, by a port on every node.
    NodePort,
    /// Besides, by an address from a [`crate::LoadBalancerPool`].
    LoadBalancer,
    /// By name alone: an alias of another name.
    ExternalName,
}

impl ServiceType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::ClusterIp, Self::NodePort, Self::LoadBalancer, Self::ExternalName];

    /// Whether services of this type may have node ports.
    pub const fn has_node_ports(self) -> bool {
        matches!(self, Self::NodePort | Self::LoadBalancer)
    }
}

/// Whether traffic may go to endpoints on other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficPolicy {
    /// To every endpoint.
    #[default]
    Cluster,
    /// To endpoints of the node alone that the packet arrived at.
    Local,
}

/// How many families a service wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FamilyPolicy {
    /// One.
    #[default]
    SingleStack,
    /// Two where the fabric has two.
    PreferDualStack,
    /// Two, or refused.
    RequireDualStack,
}

/// Which endpoints are preferred for a client (KEP 3015).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficDistribution {
    /// Those of the client's zone; `PreferClose` is its older name.
    PreferSameZone,
    /// Those of the client's node, then of its zone.
    PreferSameNode,
}

macro_rules! words {
    ($($name:ident: $what:literal { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),* })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!(concat!("unknown ", $what, " {:?}: use ", "{}"), text, [$($word),*].join(", "))),
                }
            }
        }
    )*};
}

words! {
    ServiceType: "type" {
        ClusterIp = "ClusterIP", NodePort = "NodePort", LoadBalancer = "LoadBalancer", ExternalName = "ExternalName",
    }
    TrafficPolicy: "traffic policy" { Cluster = "Cluster", Local = "Local" }
    FamilyPolicy: "family policy" {
        SingleStack = "SingleStack", PreferDualStack = "PreferDualStack", RequireDualStack = "RequireDualStack",
    }
    TrafficDistribution: "traffic distribution" {
        PreferSameZone = "PreferSameZone", PreferSameNode = "PreferSameNode",
    }
}

/// Where packets go on a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetPort {
    /// A number, 1 to 65535.
    Number(u16),
    /// A port of the pod by its name: another number on each pod, perhaps.
    Name(String),
}

impl fmt::Display for TargetPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Name, unique in the service; empty only when it is the only port.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the service's addresses, 1 to 65535.
    pub port: u16,
    /// Port of the pods.
    pub target: TargetPort,
    /// Port of the nodes; 0 when there is none.
    pub node_port: u16,
    /// Hint for those who speak the protocol above, for example `kubernetes.io/h2c`; empty when there is none.
    pub app_protocol: String,
}

/// Virtual addresses of a service inside the fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterAddresses {
    /// To be given out; only while a service is admitted, never stored (but for `ExternalName`, which has none).
    #[default]
    Wanted,
    /// Headless: no address (`clusterIP: None`).
    None,
    /// One per family of the service, in the order of its families. While a service is admitted the list may be
    /// shorter.
    Given(Vec<IpAddr>),
}

impl ClusterAddresses {
    /// The addresses; empty when there are none.
    pub fn list(&self) -> &[IpAddr] {
        match self {
            Self::Given(addresses) => addresses,
            Self::Wanted | Self::None => &[],
        }
    }
}

/// Session affinity by client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAffinity {
    /// How long a client without new connections keeps its endpoint, in seconds: 1 to 86400.
    pub timeout_seconds: u32,
}

/// Whether nodes take packets to a load balancer's address a short cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpMode {
    /// Yes: packets keep that destination on their way to the node.
    #[default]
    Vip,
    /// No: something in front changes them.
    Proxy,
}

/// What people ask of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSpec {
    /// How it is reached.
    pub kind: ServiceType,
    /// Labels of its pods; empty: its endpoints are written as EndpointSlices.
    pub selector: BTreeMap<String, String>,
    /// Virtual addresses.
    pub addresses: ClusterAddresses,
    /// Families, preferred first; empty only while it is admitted.
    pub families: Vec<Family>,
    /// How many families it wants; `None` only while it is admitted.
    pub family_policy: Option<FamilyPolicy>,
    /// Ports; empty only when it has no address.
    pub ports: Vec<ServicePort>,
    /// Addresses of the outside that nodes take as this service's.
    pub external_ips: Vec<IpAddr>,
    /// Name it is an alias of; only for `ExternalName`, otherwise empty.
    pub external_name: String,
    /// Session affinity; `None` when each connection may go elsewhere.
    pub affinity: Option<ClientAffinity>,
    /// For node ports, external and load-balancer addresses.
    pub external_policy: TrafficPolicy,
    /// For virtual addresses.
    pub internal_policy: TrafficPolicy,
    /// Port at which each node answers whether it has ready endpoints; 0 when there is none.
    pub health_check_node_port: u16,
    /// Endpoints count as ready whatever their pods say.
    pub publish_not_ready: bool,
    /// Whether a LoadBalancer gets node ports; `true` unless told otherwise.
    pub allocate_node_ports: bool,
    /// Wanted load-balancer addresses: `loadBalancerIP` or annotation `weft.io/load-balancer-ips`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Class of the load balancer; `None` is ours. Set once.
    pub load_balancer_class: Option<String>,
    /// Who may reach the load-balancer addresses; empty: everybody.
    pub source_ranges: Vec<AddressRange>,
    /// Preferred endpoints.
    pub distribution: Option<TrafficDistribution>,
}

/// An address given to a LoadBalancer service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadBalancerAddress {
    /// The address.
    pub address: IpAddr,
    /// Whether nodes take the short cut.
    pub mode: IpMode,
}

/// A stable address in front of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// Identity of this life; all zero only while it is admitted.
    pub uid: ObjectUid,
    /// Labels.
    pub labels: Labels,
    /// Annotations, as they were written.
    pub annotations: BTreeMap<String, String>,
    /// What people ask.
    pub spec: ServiceSpec,
    /// What it was given as a load balancer.
    pub load_balancer: Vec<LoadBalancerAddress>,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// When it was made.
    pub created: WallTime,
    /// Revision of the last change.
    pub revision: Revision,
}

/// A place for objects; names are unique within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Name, unique.
    pub name: crate::NamespaceName,
    /// Labels; `kubernetes.io/metadata.name` always holds the name.
    pub labels: Labels,
    /// When it was made.
    pub created: WallTime,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Addresses for LoadBalancer services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerPool {
    /// Name, unique.
    pub name: crate::Name,
    /// What it gives out, every address of each range.
    pub ranges: Vec<AddressRange>,
    /// Whether services that ask for no address get one from here.
    pub automatic: bool,
    /// Whether one node at a time answers for its addresses on the link (ARP, neighbour discovery).
    pub announce: bool,
    /// Mode written into the status of services.
    pub mode: IpMode,
    /// Labels that a node needs to own an address; empty: every node.
    pub nodes: BTreeMap<String, String>,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Which node answers for a load-balancer address on the link. Written by the leader alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressOwner {
    /// The address.
    pub address: IpAddr,
    /// The node that answers.
    pub node: crate::NodeName,
    /// The node that takes over when that one dies; known in advance.
    pub successor: Option<crate::NodeName>,
    /// Rises each time the address moves: an older owner yields to the announcement of a younger one.
    pub epoch: u64,
    /// Revision of the last change.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_kubernetes() {
        for kind in ServiceType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(
            "ClusterIp".parse::<ServiceType>().unwrap_err(),
            "unknown type \"ClusterIp\": use ClusterIP, NodePort, LoadBalancer, ExternalName"
        );
        assert_eq!("Local".parse(), Ok(TrafficPolicy::Local));
        assert!("local".parse::<TrafficPolicy>().is_err());
    }

    #[test]
    fn only_node_port_and_load_balancer_have_node_ports() {
        let with: Vec<_> = ServiceType::ALL.into_iter().filter(|kind| kind.has_node_ports()).collect();
        assert_eq!(with, [ServiceType::NodePort, ServiceType::LoadBalancer]);
    }
}
