//! Rows of a state: put in, taken out, read whole, built again from what was stored.

use weft_model::{Block, Key, Node, Object, Record, RecordKey};

use super::{Before, State};
use crate::{Error, pool};

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
            .chain(self.namespaces.values().cloned().map(|o| Record::Object(Object::Namespace(o))))
            .chain(self.services.values().cloned().map(|o| Record::Object(Object::Service(o))))
            .chain(self.slices.values().cloned().map(|o| Record::Object(Object::Slice(o))))
            .chain(self.pod_specs.values().cloned().map(|o| Record::Object(Object::PodSpec(o))))
            .chain(self.pools.values().cloned().map(|o| Record::Object(Object::Pool(o))))
            .chain(self.owners.values().cloned().map(|o| Record::Object(Object::Owner(o))))
            .chain(self.policies.values().cloned().map(|o| Record::Object(Object::NetworkPolicy(o))))
            .chain(self.tokens.values().cloned().map(Record::Token))
            .chain(self.clients.values().cloned().map(Record::Client))
            .chain(self.freed.values().copied().map(Record::Freed))
    }

    /// Puts a row in place of what its key held.
    pub(crate) fn insert(&mut self, record: Record) -> Before {
        // These two are replaced in one step.
        let mut before = match &record {
            Record::Object(Object::Node(_) | Object::NetworkPolicy(_)) => Before::new(),
            Record::Meta(_) | Record::Object(_) | Record::Token(_) | Record::Client(_) | Record::Freed(_) => {
                self.remove(&record.key())
            }
        };
        match record {
            Record::Meta(meta) => self.meta = meta,
            Record::Object(object) => before.extend(self.insert_object(object)),
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
        before
    }

    fn insert_object(&mut self, object: Object) -> Before {
        match object {
            Object::Fabric(fabric) => {
                self.fabric = Some(fabric);
                self.follow_ranges();
            }
            Object::Node(node) => self.insert_node(node),
            Object::Pod(pod) => {
                let name = pod.name.clone();
                self.index.add_pod(&pod);
                self.pods.insert(pod.uid, pod);
                return self.follow_pod(&name);
            }
            Object::Lease(lease) => {
                self.index.add_lease(&lease);
                let block = lease.block;
                self.leases.insert(block, lease);
                self.settle_block(block);
            }
            Object::Member(member) => {
                self.members.insert(member.id, member);
            }
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Object::Service(service) => {
                self.index.services.add_service(&service);
                self.services.insert(service.name.clone(), service);
            }
            Object::Slice(slice) => {
                self.index.services.add_slice(&slice);
                self.slices.insert(slice.name.clone(), slice);
            }
            Object::PodSpec(spec) => {
                let name = spec.name.clone();
                self.pod_specs.insert(name.clone(), spec);
                return self.follow_pod(&name);
            }
            Object::Pool(pool) => {
                self.pools.insert(pool.name.clone(), pool);
            }
            Object::Owner(owner) => {
                self.owners.insert(owner.address, owner);
            }
            Object::NetworkPolicy(policy) => {
                let name = policy.name.clone();
                return self.replace_policy(&name, Some(policy));
            }
        }
        Before::new()
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
    pub(crate) fn remove(&mut self, key: &RecordKey) -> Before {
        match key {
            RecordKey::Meta => {}
            RecordKey::Object(key) => return self.remove_object(key),
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
        Before::new()
    }

    fn remove_object(&mut self, key: &Key) -> Before {
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
                    return self.follow_pod(&pod.name);
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
            Key::Namespace(name) => {
                self.namespaces.remove(name);
            }
            Key::Service(name) => {
                if let Some(service) = self.services.remove(name) {
                    self.index.services.remove_service(&service);
                }
            }
            Key::Slice(name) => {
                if let Some(slice) = self.slices.remove(name) {
                    self.index.services.remove_slice(&slice);
                }
            }
            Key::PodSpec(name) => {
                if self.pod_specs.remove(name).is_some() {
                    return self.follow_pod(name);
                }
            }
            Key::Pool(name) => {
                self.pools.remove(name);
            }
            Key::Owner(address) => {
                self.owners.remove(address);
            }
            Key::NetworkPolicy(name) => return self.replace_policy(name, None),
        }
        Before::new()
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
