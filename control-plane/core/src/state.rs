//! The applied state: rows in ordered maps, their reverse indexes, and the way in and out of storage.
//!
//! In: rows, by `insert` and `remove` (only `Edit` and `restore` call them). Out: borrowed rows.
//! Not here: which change is allowed (apply/), what nodes need because of it (derive/).

use std::{collections::BTreeMap, net::IpAddr};

use weft_model::{
    AddressRange, Block, BlockLease, ClientId, ClientRecord, ClusterId, Epoch, Fabric, Family, FreedBlock,
    Item, Key, LogIndex, Member, Meta, Node, NodeName, NodeState, NodeUid, Object, Pod, PodName, PodUid,
    Record, RecordKey, ReplicaId, Revision, Term, Token,
};

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

/// Into and out of storage.
impl State {
    /// Builds the state from all its stored rows, in any order.
    ///
    /// Fails with `Corrupt` when a row comes twice, the counters are missing, or rows contradict each other.
    pub fn restore(records: impl IntoIterator<Item = Record>) -> Result<Self, Error> {
        let mut state = Self::new();
        let (mut rows, mut counted) = (0_usize, false);
        for record in records {
            let key = record.key();
            if let Record::Meta(meta) = record {
                if counted {
                    return Err(Error::corrupt(key, "it comes twice"));
                }
                (state.meta, counted) = (meta, true);
                continue;
            }
            rows += 1;
            if state.record(&key).is_some() {
                return Err(Error::corrupt(key, "it comes twice"));
            }
            state.insert(record);
        }
        if rows > 0 && !counted {
            return Err(Error::corrupt(RecordKey::Meta, "it is missing"));
        }
        state.verify()?;
        Ok(state)
    }

    /// All rows, for a snapshot.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        std::iter::once(Record::Meta(self.meta))
            .chain(self.fabric.iter().cloned().map(|o| Record::Object(Object::Fabric(o))))
            .chain(self.nodes.values().cloned().map(|o| Record::Object(Object::Node(o))))
            .chain(self.pods.values().cloned().map(|o| Record::Object(Object::Pod(o))))
            .chain(self.leases.values().cloned().map(|o| Record::Object(Object::Lease(o))))
            .chain(self.members.values().cloned().map(|o| Record::Object(Object::Member(o))))
            .chain(self.tokens.values().cloned().map(Record::Token))
            .chain(self.clients.values().cloned().map(Record::Client))
            .chain(self.freed.values().copied().map(Record::Freed))
    }

    /// Puts a row in place of what its key held.
    pub(crate) fn insert(&mut self, record: Record) {
        if !matches!(record, Record::Object(Object::Node(_))) {
            self.remove(&record.key());
        }
        match record {
            Record::Meta(meta) => self.meta = meta,
            Record::Object(Object::Fabric(fabric)) => {
                self.fabric = Some(fabric);
                self.follow_ranges();
            }
            Record::Object(Object::Node(node)) => self.insert_node(node),
            Record::Object(Object::Pod(pod)) => {
                self.index.add_pod(&pod);
                self.pods.insert(pod.uid, pod);
            }
            Record::Object(Object::Lease(lease)) => {
                self.index.add_lease(&lease);
                let block = lease.block;
                self.leases.insert(block, lease);
                self.settle_block(block);
            }
            Record::Object(Object::Member(member)) => {
                self.members.insert(member.id, member);
            }
            Record::Token(token) => {
                self.index.add_token(&token);
                self.tokens.insert(token.id.clone(), token);
            }
            Record::Client(client) => {
                self.index.add_client(&client);
                self.clients.insert(client.client, client);
            }
            Record::Freed(freed) => {
                self.index.add_freed(&freed);
                self.freed.insert(freed.block, freed);
                self.settle_block(freed.block);
            }
        }
    }

    /// Replaces a node in one step: its mesh addresses are never free in between, so that nothing is searched.
    fn insert_node(&mut self, node: Node) {
        let old = self.nodes.insert(node.name.clone(), node.clone());
        if let Some(old) = &old {
            self.index.remove_node(old);
        }
        self.index.add_node(&node);
        old.iter().chain([&node]).for_each(|node| self.settle_mesh(node));
    }

    /// Takes a row out; removing what isn't there is fine. The counters stay.
    pub(crate) fn remove(&mut self, key: &RecordKey) {
        match key {
            RecordKey::Meta => {}
            RecordKey::Object(key) => self.remove_object(key),
            RecordKey::Token(id) => {
                if let Some(token) = self.tokens.remove(id) {
                    self.index.remove_token(&token);
                }
            }
            RecordKey::Client(id) => {
                if let Some(client) = self.clients.remove(id) {
                    self.index.remove_client(&client);
                }
            }
            RecordKey::Freed(block) => {
                if let Some(freed) = self.freed.remove(block) {
                    self.index.remove_freed(&freed);
                    self.settle_block(*block);
                }
            }
        }
    }

    fn remove_object(&mut self, key: &Key) {
        match key {
            Key::Fabric => {
                self.fabric = None;
                (self.free_blocks, self.free_mesh) = Default::default();
            }
            Key::Node(name) => {
                if let Some(node) = self.nodes.remove(name) {
                    self.index.remove_node(&node);
                    self.settle_mesh(&node);
                }
            }
            Key::Pod(uid) => {
                if let Some(pod) = self.pods.remove(uid) {
                    self.index.remove_pod(&pod);
                }
            }
            Key::Lease(block) => {
                if let Some(lease) = self.leases.remove(block) {
                    self.index.remove_lease(&lease);
                    self.settle_block(*block);
                }
            }
            Key::Member(id) => {
                self.members.remove(id);
            }
        }
    }

    fn follow_ranges(&mut self) {
        let Some(fabric) = &self.fabric else { return };
        let (leases, freed, mesh) = (&self.leases, &self.freed, &self.index.mesh);
        self.free_blocks.follow(&fabric.ranges.pods, |range, position| {
            let block = range.subrange(pool::block_prefix(fabric, range.family()), position);
            block.is_some_and(|block| leases.contains_key(&block) || freed.contains_key(&block))
        });
        self.free_mesh.follow(&fabric.ranges.nodes, |range, position| {
            pool::mesh_address(range, position).is_some_and(|address| mesh.contains_key(&address))
        });
    }

    fn settle_block(&mut self, block: Block) {
        let Some(fabric) = &self.fabric else { return };
        let Some((range, position)) = pool::block_position(fabric, block) else { return };
        let (leases, freed) = (&self.leases, &self.freed);
        self.free_blocks.settle(range, position, |position| {
            let block = range.subrange(block.prefix(), position);
            block.is_some_and(|block| leases.contains_key(&block) || freed.contains_key(&block))
        });
    }

    fn settle_mesh(&mut self, node: &Node) {
        let Some(fabric) = &self.fabric else { return };
        for (_, address) in node.mesh.iter() {
            let Some((range, position)) = pool::mesh_position(fabric, *address) else { continue };
            let mesh = &self.index.mesh;
            self.free_mesh.settle(range, position, |position| {
                pool::mesh_address(range, position).is_some_and(|address| mesh.contains_key(&address))
            });
        }
    }
}
