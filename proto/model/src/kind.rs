//! The kinds of Weft: what people write, what the control plane keeps.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::{
    AddressOwner, AddressRange, AttachmentId, DnsSettings, Dual, EndpointSlice, Epoch, Families,
    LoadBalancerPool, Name, Namespace, NamespaceName, NetworkPolicy, NodeName, NodeUid, ObjectName, PodName,
    PodSpec, PodUid, PolicyName, PolicySettings, ReplicaId, ReplicaName, Revision, Service, ServiceName,
    WallTime,
};

/// Labels of an object: at most 64 (reliability, section 6).
pub type Labels = BTreeMap<String, String>;

/// How packets travel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overlay {
    /// Encrypted mesh of WireGuard tunnels; the default.
    Wireguard,
    /// Plain routes on one trusted link; opt-in.
    Routed,
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wireguard => "wireguard",
            Self::Routed => "routed",
        })
    }
}

impl FromStr for Overlay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "wireguard" => Ok(Self::Wireguard),
            "routed" => Ok(Self::Routed),
            _ => Err(format!("unknown overlay {text:?}: use wireguard or routed")),
        }
    }
}

/// The ranges of a fabric, per purpose; each may hold ranges of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricRanges {
    /// Leased to nodes in blocks, for pods.
    pub pods: Vec<AddressRange>,
    /// Virtual addresses of services.
    pub services: Vec<AddressRange>,
    /// Mesh addresses of nodes.
    pub nodes: Vec<AddressRange>,
    /// External addresses of LoadBalancer services; may be empty.
    pub load_balancers: Vec<AddressRange>,
}

/// The one cluster network: `Fabric/main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// Families and which is first; fixed at `weft init`.
    pub families: Families,
    /// The ranges; they may grow, a range with leases in it can't go.
    pub ranges: FabricRanges,
    /// Prefix length of blocks leased to nodes, IPv4: 20 to 28, default 24. IPv6 blocks are /64.
    pub block_prefix_v4: u8,
    /// Mode between nodes; fixed at `weft init`.
    pub overlay: Overlay,
    /// Domain of names in the cluster, default `cluster.local`.
    pub domain: String,
    /// How the fabric's DNS works.
    pub dns: DnsSettings,
    /// Destinations outside the fabric that see the pod's own address instead of the node's.
    pub masquerade_exceptions: Vec<AddressRange>,
    /// Addresses of nodes that take node ports; empty: the primary one of each family.
    pub node_port_addresses: Vec<AddressRange>,
    /// First and last node port.
    pub node_port_range: (u16, u16),
    /// What services may name as `externalIPs`; empty: nothing (CVE-2020-8554).
    pub external_ip_ranges: Vec<AddressRange>,
    /// Seconds without a sign of life after which a node is silent: 5 to 600.
    pub node_grace: u16,
    /// What holds where no policy isolates.
    pub policy: PolicySettings,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Node ports of a fabric that says nothing else: as Kubernetes.
pub const DEFAULT_NODE_PORT_RANGE: (u16, u16) = (30_000, 32_767);

/// Seconds without a sign of life after which a node is silent, where the fabric says nothing else: twenty reports of its agent.
pub const DEFAULT_NODE_GRACE: u16 = 20;

/// A Curve25519 public key of a WireGuard device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireguardKey(pub [u8; 32]);

impl fmt::Debug for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("…")
    }
}

/// Life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// Takes part.
    Active,
    /// Removed for good: its certificate is refused for ever; its name may join again with a new uid.
    Removed,
}

/// A machine of the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name, unique.
    pub name: NodeName,
    /// Identity of this membership; a certificate carries it, so a removed node's certificate stays refused.
    pub uid: NodeUid,
    /// Whether it takes part.
    pub state: NodeState,
    /// Labels, for topology and ingress.
    pub labels: Labels,
    /// Its addresses inside the fabric, given at join.
    pub mesh: Dual<IpAddr>,
    /// Public key of its mesh device; `None` until its agent has published one.
    pub wireguard_key: Option<WireguardKey>,
    /// Where its mesh device listens on the underlay; `None` until its agent has published it.
    pub endpoint: Option<SocketAddr>,
    /// Its own addresses on the underlay, the one of `endpoint` first.
    pub underlay: Vec<IpAddr>,
    /// MAC of its uplink: in mode `routed`, packets of its blocks must come from it.
    pub uplink_mac: Option<[u8; 6]>,
    /// Routes that the machine already had outside the fabric: ranges of the fabric may not overlap them (M5).
    pub host_routes: Vec<AddressRange>,
    /// When it joined.
    pub joined: WallTime,
    /// Since when nothing was heard of it, by the leader's clock: its pods take no new connections. `None`: it is heard.
    pub silent: Option<WallTime>,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Transport protocol of a named port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

/// A port of a pod that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// Name, unique in the pod.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// 1 to 65535.
    pub port: u16,
}

/// Who holds a pod's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodPhase {
    /// Owns its name.
    Active,
    /// A younger pod owns the name; this one keeps its addresses until its DEL (design, section 5).
    Superseded,
}

/// One life of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Identity of this life, made by the node.
    pub uid: PodUid,
    /// Namespace and name.
    pub name: PodName,
    /// Labels.
    pub labels: Labels,
    /// The node that holds it.
    pub node: NodeName,
    /// The attachment that made it.
    pub attachment: AttachmentId,
    /// Its addresses, primary family first: one per family of the fabric.
    pub addresses: Vec<IpAddr>,
    /// Ports with names.
    pub ports: Vec<NamedPort>,
    /// Whether it owns its name.
    pub phase: PodPhase,
    /// Whether it is ready to receive service traffic, as its node sees it.
    pub ready: bool,
    /// Whether it is about to end: it serves only where nobody else does.
    pub terminating: bool,
    /// When the node made it; the younger of two pods with one name owns it.
    pub created: WallTime,
    /// Revision of the last change.
    pub revision: Revision,
}

/// A slice of a pod range that one node may allocate from.
pub type Block = AddressRange;

/// The right of a node to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLease {
    /// The block.
    pub block: Block,
    /// Who holds it.
    pub node: NodeName,
    /// Which grant this is; rises each time the block is granted.
    pub epoch: Epoch,
    /// When it was granted.
    pub granted: WallTime,
    /// Revision of the grant.
    pub revision: Revision,
}

/// Part a replica has in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberRole {
    /// Receives the log, has no vote yet.
    Learner,
    /// Votes.
    Voter,
}

/// A replica of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Raft id, never reused.
    pub id: ReplicaId,
    /// Name of the machine.
    pub name: ReplicaName,
    /// Where it serves.
    pub address: SocketAddr,
    /// Learner or voter.
    pub role: MemberRole,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Any object that the control plane keeps and shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The fabric.
    Fabric(Fabric),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A block lease.
    Lease(BlockLease),
    /// A replica.
    Member(Member),
    /// A namespace.
    Namespace(Namespace),
    /// A service.
    Service(Service),
    /// Endpoints that somebody wrote.
    Slice(EndpointSlice),
    /// What people say of a pod.
    PodSpec(PodSpec),
    /// Addresses for load balancers.
    Pool(LoadBalancerPool),
    /// Which node answers for a load-balancer address.
    Owner(AddressOwner),
    /// Who may talk to whom.
    NetworkPolicy(NetworkPolicy),
}

impl Object {
    /// The key it is stored under.
    pub fn key(&self) -> Key {
        match self {
            Self::Fabric(_) => Key::Fabric,
            Self::Node(node) => Key::Node(node.name.clone()),
            Self::Pod(pod) => Key::Pod(pod.uid),
            Self::Lease(lease) => Key::Lease(lease.block),
            Self::Member(member) => Key::Member(member.id),
            Self::Namespace(namespace) => Key::Namespace(namespace.name.clone()),
            Self::Service(service) => Key::Service(service.name.clone()),
            Self::Slice(slice) => Key::Slice(slice.name.clone()),
            Self::PodSpec(spec) => Key::PodSpec(spec.name.clone()),
            Self::Pool(pool) => Key::Pool(pool.name.clone()),
            Self::Owner(owner) => Key::Owner(owner.address),
            Self::NetworkPolicy(policy) => Key::NetworkPolicy(policy.name.clone()),
        }
    }

    /// Its labels; `None` for kinds that have none.
    pub const fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Node(node) => Some(&node.labels),
            Self::Pod(pod) => Some(&pod.labels),
            Self::Namespace(namespace) => Some(&namespace.labels),
            Self::Service(service) => Some(&service.labels),
            Self::Slice(slice) => Some(&slice.labels),
            Self::PodSpec(spec) => Some(&spec.labels),
            Self::NetworkPolicy(policy) => Some(&policy.labels),
            Self::Fabric(_) | Self::Lease(_) | Self::Member(_) | Self::Pool(_) | Self::Owner(_) => None,
        }
    }
}

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Fabric`.
    Fabric,
    /// `Node`.
    Node,
    /// `Pod`.
    Pod,
    /// `BlockLease`.
    Lease,
    /// `Member`.
    Member,
    /// `Namespace`.
    Namespace,
    /// `Service`.
    Service,
    /// `EndpointSlice`.
    Slice,
    /// What people wrote as `Pod`.
    PodSpec,
    /// `LoadBalancerPool`.
    Pool,
    /// `AddressOwner`.
    Owner,
    /// `NetworkPolicy`.
    NetworkPolicy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Fabric,
        Self::Node,
        Self::Pod,
        Self::Lease,
        Self::Member,
        Self::Namespace,
        Self::Service,
        Self::Slice,
        Self::PodSpec,
        Self::Pool,
        Self::Owner,
        Self::NetworkPolicy,
    ];
}

/// The word for several objects of a kind, as in `weft get nodes`.
pub fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fabric => "fabric",
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Lease => "block",
            Self::Member => "member",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::Slice => "endpointslice",
            Self::PodSpec => "podspec",
            Self::Pool => "loadbalancerpool",
            Self::Owner => "owner",
            Self::NetworkPolicy => "networkpolicy",
        })
    }
}

/// What an object is stored under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The one fabric.
    Fabric,
    /// A node by name.
    Node(NodeName),
    /// A pod by the identity of its life.
    Pod(PodUid),
    /// A lease by its block.
    Lease(Block),
    /// A replica by its Raft id.
    Member(ReplicaId),
    /// A namespace by name.
    Namespace(NamespaceName),
    /// A service by namespace and name.
    Service(ServiceName),
    /// A slice by namespace and name.
    Slice(ObjectName),
    /// What people say of a pod, by its namespace and name.
    PodSpec(PodName),
    /// A pool by name.
    Pool(Name),
    /// An owner by the address it answers for.
    Owner(IpAddr),
    /// A policy by namespace and name.
    NetworkPolicy(PolicyName),
}

impl Key {
    /// Kind of the object.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fabric => Kind::Fabric,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Lease(_) => Kind::Lease,
            Self::Member(_) => Kind::Member,
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::Slice,
            Self::PodSpec(_) => Kind::PodSpec,
            Self::Pool(_) => Kind::Pool,
            Self::Owner(_) => Kind::Owner,
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fabric => f.write_str("fabric/main"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Pod(uid) => write!(f, "pod/{uid}"),
            Self::Lease(block) => write!(f, "block/{block}"),
            Self::Member(id) => write!(f, "member/{id}"),
            Self::Namespace(name) => write!(f, "namespace/{name}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Slice(name) => write!(f, "endpointslice/{name}"),
            Self::PodSpec(name) => write!(f, "podspec/{name}"),
            Self::Pool(name) => write!(f, "loadbalancerpool/{name}"),
            Self::Owner(address) => write!(f, "owner/{address}"),
            Self::NetworkPolicy(name) => write!(f, "networkpolicy/{name}"),
        }
    }
}
