//! The applied state: rows in ordered maps, their reverse indexes, and the way in and out of storage.
//!
//! In: rows, by `insert` and `remove` (only `Edit` and `restore` call them). Out: borrowed rows.
//! Not here: which change is allowed (apply/), what nodes need because of it (derive/).

mod policies;
mod services;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{
    AddressOwner, AddressRange, Block, BlockLease, ClientId, ClientRecord, ClusterId, EndpointSlice, Epoch,
    Fabric, Family, FreedBlock, Item, Key, LoadBalancerPool, LogIndex, Member, Meta, Name, Namespace,
    NamespaceName, NetworkPolicy, Node, NodeName, NodeState, NodeUid, Object, ObjectName, Pod, PodName,
    PodSpec, PodUid, PolicyName, Record, RecordKey, ReplicaId, Revision, Service, ServiceName, Term, Token,
};

pub(crate) use policies::Before;
pub use services::EffectivePod;
pub(crate) use services::{joined, within};

use crate::{
    Error, derive, hash,
    index::Index,
    pool::{self, Lowest},
};

/// Everything the control plane knows. Two replicas that applied the same log hold equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) meta: Meta,
    fabric: Option<Fabric>,
    nodes: BTreeMap<NodeName, Node>,
    pods: BTreeMap<PodUid, Pod>,
    leases: BTreeMap<Block, BlockLease>,
    members: BTreeMap<ReplicaId, Member>,
    namespaces: BTreeMap<NamespaceName, Namespace>,
    services: BTreeMap<ServiceName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    pod_specs: BTreeMap<PodName, PodSpec>,
    pools: BTreeMap<Name, LoadBalancerPool>,
    owners: BTreeMap<IpAddr, AddressOwner>,
    policies: BTreeMap<PolicyName, NetworkPolicy>,
    tokens: BTreeMap<String, Token>,
    clients: BTreeMap<ClientId, ClientRecord>,
    freed: BTreeMap<Block, FreedBlock>,
    pub(crate) index: Index,
    free_blocks: Lowest,
    free_mesh: Lowest,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Reading.
impl State {
    /// The state before the first entry.
    pub fn new() -> Self {
        Self {
            meta: Meta {
                cluster: ClusterId([0; 16]),
                applied: LogIndex(0),
                term: Term(0),
                revision: Revision(0),
                next_replica: ReplicaId(1),
                last_epoch: Epoch(0),
                hash: [0; 32],
            },
            fabric: None,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            leases: BTreeMap::new(),
            members: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            pod_specs: BTreeMap::new(),
            pools: BTreeMap::new(),
            owners: BTreeMap::new(),
            policies: BTreeMap::new(),
            tokens: BTreeMap::new(),
            clients: BTreeMap::new(),
            freed: BTreeMap::new(),
            index: Index::default(),
            free_blocks: Lowest::default(),
            free_mesh: Lowest::default(),
        }
    }

    /// Counters: cluster, applied index, revision, running hash.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The fabric; `None` until the cluster is founded.
    pub const fn fabric(&self) -> Option<&Fabric> {
        self.fabric.as_ref()
    }

    /// Nodes by name, removed ones too.
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Node> {
        &self.nodes
    }

    /// Names of the active nodes that are silent.
    pub const fn silent_nodes(&self) -> &BTreeSet<NodeName> {
        &self.index.silent
    }

    /// Pods by the identity of their life.
    pub const fn pods(&self) -> &BTreeMap<PodUid, Pod> {
        &self.pods
    }

    /// Leases by block.
    pub const fn leases(&self) -> &BTreeMap<Block, BlockLease> {
        &self.leases
    }

    /// Replicas by Raft id.
    pub const fn members(&self) -> &BTreeMap<ReplicaId, Member> {
        &self.members
    }

    /// Join tokens by their public part, used and recently expired ones too.
    pub const fn tokens(&self) -> &BTreeMap<String, Token> {
        &self.tokens
    }

    /// Last answers by client.
    pub const fn clients(&self) -> &BTreeMap<ClientId, ClientRecord> {
        &self.clients
    }

    /// Blocks that were leased once and are free, by block.
    pub const fn freed(&self) -> &BTreeMap<Block, FreedBlock> {
        &self.freed
    }

    /// One object.
    pub fn object(&self, key: &Key) -> Option<Object> {
        match key {
            Key::Fabric => self.fabric.clone().map(Object::Fabric),
            Key::Node(name) => self.nodes.get(name).cloned().map(Object::Node),
            Key::Pod(uid) => self.pods.get(uid).cloned().map(Object::Pod),
            Key::Lease(block) => self.leases.get(block).cloned().map(Object::Lease),
            Key::Member(id) => self.members.get(id).cloned().map(Object::Member),
            Key::Namespace(name) => self.namespaces.get(name).cloned().map(Object::Namespace),
            Key::Service(name) => self.services.get(name).cloned().map(Object::Service),
            Key::Slice(name) => self.slices.get(name).cloned().map(Object::Slice),
            Key::PodSpec(name) => self.pod_specs.get(name).cloned().map(Object::PodSpec),
            Key::Pool(name) => self.pools.get(name).cloned().map(Object::Pool),
            Key::Owner(address) => self.owners.get(address).cloned().map(Object::Owner),
            Key::NetworkPolicy(name) => self.policies.get(name).cloned().map(Object::NetworkPolicy),
        }
    }

    /// One row.
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::Meta => Some(Record::Meta(self.meta)),
            RecordKey::Object(key) => self.object(key).map(Record::Object),
            RecordKey::Token(id) => self.tokens.get(id).cloned().map(Record::Token),
            RecordKey::Client(id) => self.clients.get(id).cloned().map(Record::Client),
            RecordKey::Freed(block) => self.freed.get(block).copied().map(Record::Freed),
        }
    }

    /// The node of a certificate: `NotFound` when there is none of that name, `NodeRemoved` when that
    /// membership has ended.
    pub fn active_node(&self, name: &NodeName, uid: NodeUid) -> Result<&Node, Error> {
        let node =
            self.nodes.get(name).ok_or_else(|| Error::NotFound { kind: "node", name: name.to_string() })?;
        if node.uid != uid || node.state != NodeState::Active {
            return Err(Error::NodeRemoved { node: name.clone() });
        }
        Ok(node)
    }

    /// The pod that owns a name.
    pub fn pod_named(&self, name: &PodName) -> Option<&Pod> {
        self.index.names.get(name)?.last().and_then(|(_, uid)| self.pods.get(uid))
    }

    /// The pod that holds an address.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        self.index.addresses.get(&address).and_then(|uid| self.pods.get(uid))
    }

    /// Pods of a node, in order of their uid.
    pub fn node_pods<'a>(&'a self, node: &NodeName) -> impl Iterator<Item = &'a Pod> + use<'a> {
        self.index.node_pods.get(node).into_iter().flatten().filter_map(|uid| self.pods.get(uid))
    }

    /// Leases of a node, in order of their blocks.
    pub fn node_leases<'a>(&'a self, node: &NodeName) -> impl Iterator<Item = &'a BlockLease> + use<'a> {
        self.index.node_leases.get(node).into_iter().flatten().filter_map(|block| self.leases.get(block))
    }

    /// Everything a follower needs, in order of keys: the snapshot of `Sync.Watch` at `meta().revision`.
    pub fn items(&self) -> Vec<Item> {
        derive::all(self)
    }

    /// Keys of the items there may be, in order.
    pub fn item_keys(&self) -> impl Iterator<Item = weft_model::ItemKey> + '_ {
        derive::keys(self)
    }

    /// One item; `None` when there is none.
    pub fn item(&self, key: &weft_model::ItemKey) -> Option<Item> {
        derive::item(self, key)
    }

    /// Hash over every row: equal on replicas with equal states at one index. Reads the whole state.
    pub fn digest(&self) -> [u8; 32] {
        hash::digest(self.records())
    }
}

/// Free blocks and addresses.
impl State {
    /// The block to lease next: the lowest that never was, in order of the fabric's ranges, else the one that
    /// has been free for longest.
    pub(crate) fn free_block(&self, fabric: &Fabric, family: Family) -> Option<Block> {
        let prefix = pool::block_prefix(fabric, family);
        let ranges = fabric.ranges.pods.iter().filter(|range| range.family() == family);
        ranges.copied().find_map(|range| range.subrange(prefix, self.free_blocks.of(range))).or_else(|| {
            let from = (family, Revision(0), AddressRange::host(lowest_address(family)));
            let first = self.index.freed_order.range(from..).next()?;
            (first.0 == family).then_some(first.2)
        })
    }

    /// The lowest mesh address that no active node has.
    pub(crate) fn free_mesh(&self, fabric: &Fabric, family: Family) -> Option<IpAddr> {
        let ranges = fabric.ranges.nodes.iter().filter(|range| range.family() == family);
        ranges.copied().find_map(|range| pool::mesh_address(range, self.free_mesh.of(range)))
    }

    /// Leases whose blocks lie in a range.
    pub(crate) fn leases_in(&self, range: AddressRange) -> impl Iterator<Item = &BlockLease> {
        self.leases.range(range..).map(|(_, lease)| lease).take_while(move |lease| range.covers(lease.block))
    }

    /// Freed blocks that lie in a range.
    pub(crate) fn freed_in(&self, range: AddressRange) -> impl Iterator<Item = &FreedBlock> {
        self.freed.range(range..).map(|(_, freed)| freed).take_while(move |freed| range.covers(freed.block))
    }
}

const fn lowest_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
