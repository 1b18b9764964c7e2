//! The nouns of Weft: ids, names, ranges, the kinds people write and the items nodes need.
//!
//! Nothing here decides anything over more than one object; that is the work of the pure crates above.
//! Wire shapes live in `weft-proto`, text in `weft-yaml`.

mod command;
mod dns;
mod draft;
mod endpoint;
mod family;
mod holder;
mod id;
mod item;
mod kind;
mod label;
mod name;
pub mod ownership;
mod policy;
mod range;
mod secret;
mod selector;
mod service;

pub use command::{
    Action, Answer, ClientRecord, Command, FreedBlock, Meta, NodeFacts, NodeSilence, PodReport, Record,
    RecordKey, Refusal, Role, Stamp, Token, Written,
};
pub use dns::{
    DEFAULT_DNS_TTL, DNS_POSITION, DnsConfig, DnsOption, DnsPolicy, DnsSettings, PodDns, StubDomain,
    dns_addresses, is_own_resolver, resolver_addresses,
};
pub use draft::{DnsDraft, Draft, FabricDraft, NodeDraft, PolicyDraft};
pub use endpoint::{
    AddressType, Conditions, EndpointSlice, Hints, PodSpec, Probe, ProbeHandler, Probes, SERVICE_NAME_LABEL,
    SliceEndpoint, SlicePort, ZONE_LABEL,
};
pub use family::{Dual, Families, Family, is_link_local};
pub use holder::{AuthorityHash, Holder, Part};
pub use id::{
    ClientId, ClusterId, Epoch, LogIndex, NodeUid, ObjectUid, PodUid, ReplicaId, Revision, Sequence, Term,
    WallTime,
};
pub use item::{
    EndpointItem, FabricItem, IdentityItem, Item, ItemKey, NamespaceItem, PeerItem, PodItem, PolicyItem,
    ProbeItem, RouteItem, ServiceItem, ServicePortItem, SetupItem,
};
pub use kind::{
    Block, BlockLease, DEFAULT_NODE_GRACE, DEFAULT_NODE_PORT_RANGE, Fabric, FabricRanges, Key, Kind, Labels,
    Member, MemberRole, NamedPort, Node, NodeState, Object, Overlay, Pod, PodPhase, Protocol, WireguardKey,
    plural,
};
pub use label::{LabelError, MAX_LABELS, check_label, check_port_name};
pub use name::{
    AttachmentId, DomainName, Name, NameError, NamespaceName, NodeName, ObjectName, PodName, ReplicaName,
    ServiceName,
};
pub use policy::{
    DEFAULT_POLICY_LABEL, DefaultPolicy, Direction, FieldProblem, Identity, IdentityId, LabelOperator,
    LabelRequirement, LabelSelector, MAX_LABEL_VALUES, MAX_POLICY_PEERS, MAX_POLICY_PORTS, MAX_POLICY_RULES,
    NAMESPACE_NAME_LABEL, NetworkPolicy, NodeEgress, PolicyName, PolicyPeer, PolicyPort, PolicyRule,
    PolicySettings, PolicySpec, PortMatch, SYSTEM_NAMESPACES,
};
pub use range::{AddressRange, Purpose, RangeError};
pub use secret::Secret;
pub use selector::{Selector, SelectorError};
pub use service::{
    AddressOwner, ClientAffinity, ClusterAddresses, FamilyPolicy, IpMode, LOAD_BALANCER_IPS,
    LoadBalancerAddress, LoadBalancerPool, Namespace, Service, ServicePort, ServiceSpec, ServiceType,
    TargetPort, TrafficDistribution, TrafficPolicy,
};
