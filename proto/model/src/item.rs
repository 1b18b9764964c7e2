//! What nodes need: derived by the control plane, streamed to every agent, never written by people.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    AddressOwner, AddressRange, Block, ClientAffinity, ClusterId, Conditions, DnsSettings, Dual, Epoch,
    FabricRanges, Families, Hints, Identity, IdentityId, Labels, LoadBalancerAddress, Name, NamespaceName,
    NodeName, ObjectUid, Overlay, PodDns, PodName, PolicyName, PolicySettings, PolicySpec, Probe, Protocol,
    ServiceName, ServiceType, TrafficPolicy, WireguardKey,
};

/// Settings of the fabric that a node works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricItem {
    /// Which cluster this is; an agent of another one refuses to go on.
    pub cluster: ClusterId,
    /// Families and which is first; an agent that was told another primary refuses to start.
    pub families: Families,
    /// All ranges: `unreachable` routes, marks and masquerade are made from them.
    pub ranges: FabricRanges,
    /// Mesh or plain routes.
    pub overlay: Overlay,
    /// Domain of names.
    pub domain: String,
    /// How the fabric's DNS works.
    pub dns: DnsSettings,
    /// Destinations outside that see the pod's own address.
    pub masquerade_exceptions: Vec<AddressRange>,
    /// Addresses of nodes that take node ports; empty: the primary one of each family.
    pub node_port_addresses: Vec<AddressRange>,
    /// First and last node port: what a node's own listeners must not use.
    pub node_port_range: (u16, u16),
    /// What holds where no policy isolates.
    pub policy: PolicySettings,
    /// Where the voting replicas of the control plane serve, in order of their Raft ids: agents follow them.
    pub replicas: Vec<SocketAddr>,
}

/// One node as the others see it; a node finds itself here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerItem {
    /// Name of the node.
    pub node: NodeName,
    /// Public key of its mesh device; without one there is no tunnel to it yet.
    pub wireguard_key: Option<WireguardKey>,
    /// Where its mesh device listens.
    pub endpoint: Option<SocketAddr>,
    /// Its mesh addresses.
    pub mesh: Dual<IpAddr>,
    /// Its own underlay addresses: reached through the mesh by pods (design, section 6, table B).
    pub underlay: Vec<IpAddr>,
    /// MAC of its uplink (mode `routed`).
    pub uplink_mac: Option<[u8; 6]>,
    /// Allowed IPs of its WireGuard peer: blocks, mesh and underlay addresses; pairwise disjoint over all peers.
    pub allowed: Vec<AddressRange>,
    /// Zone of the node (label `topology.kubernetes.io/zone`); may be empty.
    pub zone: String,
    /// Nothing was heard of it for the grace: its pods take no new connections where others serve.
    pub silent: bool,
}

/// One leased block and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteItem {
    /// The block.
    pub block: Block,
    /// Who holds it: the destination of its packets; the holder itself reads its leases here.
    pub node: NodeName,
    /// Epoch of the lease.
    pub epoch: Epoch,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePortItem {
    /// Name; may be empty.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the service's addresses.
    pub port: u16,
    /// Port of the nodes; 0 when there is none.
    pub node_port: u16,
}

/// One endpoint of a service, of one family. A cluster may have a hundred thousand: what many have alike can be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointItem {
    /// Its address; each address stands in a service once.
    pub address: IpAddr,
    /// Numbers, one per port of the service in its order; 0 where the endpoint doesn't have that port.
    pub ports: Arc<[u16]>,
    /// Its state, with `publishNotReadyAddresses` already applied.
    pub conditions: Conditions,
    /// Node it is on, if it is on one.
    pub node: Option<NodeName>,
    /// Zone it is in; may be empty.
    pub zone: Arc<str>,
    /// For whom it is meant; derived from the service's distribution, or written.
    pub hints: Arc<Hints>,
    /// Name within the service, for DNS; may be empty.
    pub hostname: Arc<str>,
    /// The pod behind it, in the service's namespace.
    pub pod: Option<Name>,
}

/// A service with its endpoints, as nodes need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceItem {
    /// Namespace and name.
    pub name: ServiceName,
    /// Identity of its life.
    pub uid: ObjectUid,
    /// How it is reached.
    pub kind: ServiceType,
    /// Virtual addresses, at most one per family; empty: headless or `ExternalName`.
    pub addresses: Vec<IpAddr>,
    /// Addresses of the outside that nodes take as this service's.
    pub external_ips: Vec<IpAddr>,
    /// Load-balancer addresses.
    pub load_balancer: Vec<LoadBalancerAddress>,
    /// Name it is an alias of; empty otherwise.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<ServicePortItem>,
    /// Session affinity.
    pub affinity: Option<ClientAffinity>,
    /// For node ports, external and load-balancer addresses.
    pub external_policy: TrafficPolicy,
    /// For virtual addresses.
    pub internal_policy: TrafficPolicy,
    /// Port at which each node answers whether it has ready endpoints; 0 when there is none.
    pub health_check_node_port: u16,
    /// Who may reach the load-balancer addresses; empty: everybody.
    pub source_ranges: Vec<AddressRange>,
    /// Endpoints of all families, in order of their addresses.
    pub endpoints: Vec<EndpointItem>,
}

/// How a pod's node asks it whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeItem {
    /// The pod.
    pub pod: PodName,
    /// Readiness probe.
    pub readiness: Option<Probe>,
    /// Until it has succeeded once, the pod isn't ready and not asked otherwise.
    pub startup: Option<Probe>,
}

/// A living pod, for names and policies of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodItem {
    /// Namespace and name.
    pub name: PodName,
    /// Its addresses, primary family first.
    pub addresses: Vec<IpAddr>,
    /// Name within `subdomain`; may be empty.
    pub hostname: String,
    /// Name of a headless service; may be empty.
    pub subdomain: String,
    /// What policies can tell it apart by; the [`IdentityItem`] of this id says what that is.
    pub identity: IdentityId,
}

/// What a pod's node heeds when it makes the pod. There is one only where people said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupItem {
    /// The pod, whether it lives or not.
    pub pod: PodName,
    /// How it asks for names.
    pub dns: PodDns,
    /// Whether it gets the services of its namespace as environment variables.
    pub service_links: bool,
}

/// A policy, as nodes need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyItem {
    /// Namespace and name.
    pub name: PolicyName,
    /// What it asks.
    pub spec: PolicySpec,
}

/// A namespace that exists: policies select namespaces by labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceItem {
    /// Its name.
    pub name: NamespaceName,
    /// Its labels, its own name among them.
    pub labels: Labels,
}

/// What some living pod has as its identity; once for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityItem {
    /// Number of the identity.
    pub id: IdentityId,
    /// What it is.
    pub identity: Identity,
}

/// Any item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Fabric settings.
    Fabric(FabricItem),
    /// A node.
    Peer(PeerItem),
    /// A leased block.
    Route(RouteItem),
    /// A service with its endpoints.
    Service(ServiceItem),
    /// How a pod is probed.
    Probe(ProbeItem),
    /// Which node answers for a load-balancer address.
    Owner(AddressOwner),
    /// A living pod.
    Pod(PodItem),
    /// What a pod's node heeds when it makes the pod.
    Setup(SetupItem),
    /// A policy.
    Policy(PolicyItem),
    /// A namespace that exists.
    Namespace(NamespaceItem),
    /// What policies can tell some living pods apart by.
    Identity(IdentityItem),
}

impl Item {
    /// What it is keyed by in the View.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Fabric(_) => ItemKey::Fabric,
            Self::Peer(peer) => ItemKey::Peer(peer.node.clone()),
            Self::Route(route) => ItemKey::Route(route.block),
            Self::Service(service) => ItemKey::Service(service.name.clone()),
            Self::Probe(probe) => ItemKey::Probe(probe.pod.clone()),
            Self::Owner(owner) => ItemKey::Owner(owner.address),
            Self::Pod(pod) => ItemKey::Pod(pod.name.clone()),
            Self::Setup(setup) => ItemKey::Setup(setup.pod.clone()),
            Self::Policy(policy) => ItemKey::Policy(policy.name.clone()),
            Self::Namespace(namespace) => ItemKey::Namespace(namespace.name.clone()),
            Self::Identity(identity) => ItemKey::Identity(identity.id),
        }
    }
}

/// Key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// The fabric settings.
    Fabric,
    /// A node by name.
    Peer(NodeName),
    /// A leased block.
    Route(Block),
    /// A service by namespace and name.
    Service(ServiceName),
    /// A probed pod.
    Probe(PodName),
    /// A load-balancer address.
    Owner(IpAddr),
    /// A living pod.
    Pod(PodName),
    /// A pod that people said something of.
    Setup(PodName),
    /// A policy by namespace and name.
    Policy(PolicyName),
    /// A namespace.
    Namespace(NamespaceName),
    /// An identity.
    Identity(IdentityId),
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fabric => f.write_str("fabric"),
            Self::Peer(node) => write!(f, "peer/{node}"),
            Self::Route(block) => write!(f, "route/{block}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Probe(pod) => write!(f, "probe/{pod}"),
            Self::Owner(address) => write!(f, "owner/{address}"),
            Self::Pod(pod) => write!(f, "pod/{pod}"),
            Self::Setup(pod) => write!(f, "setup/{pod}"),
            Self::Policy(name) => write!(f, "policy/{name}"),
            Self::Namespace(name) => write!(f, "namespace/{name}"),
            Self::Identity(id) => write!(f, "identity/{id}"),
        }
    }
}
