//! The View itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{
    AddressOwner, Block, FabricItem, IdentityId, IdentityItem, Item, ItemKey, NamespaceItem, NamespaceName,
    NodeName, PeerItem, PodItem, PodName, PolicyItem, PolicyName, ProbeItem, Revision, RouteItem,
    ServiceItem, ServiceName, SetupItem,
};

use crate::{Error, Pods, Touched, Update, share};

/// Everything the fabric told this node, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    revision: Revision,
    in_sync: bool,
    fabric: Option<FabricItem>,
    peers: BTreeMap<NodeName, PeerItem>,
    routes: BTreeMap<Block, RouteItem>,
    /// Shared between a View and the next: those that change are few, and there may be many endpoints.
    services: BTreeMap<ServiceName, Arc<ServiceItem>>,
    probes: BTreeMap<PodName, ProbeItem>,
    owners: BTreeMap<IpAddr, AddressOwner>,
    pods: Pods,
    setups: BTreeMap<PodName, SetupItem>,
    policies: BTreeMap<PolicyName, Arc<PolicyItem>>,
    namespaces: BTreeMap<NamespaceName, Arc<NamespaceItem>>,
    identities: BTreeMap<IdentityId, Arc<IdentityItem>>,
    /// A snapshot whose last part hasn't come yet.
    building: Option<Box<Self>>,
}

impl View {
    /// A View of the given items, not in sync: what was read from disk.
    pub fn restored(revision: Revision, items: impl IntoIterator<Item = Item>) -> Self {
        let mut view = Self { revision, ..Self::default() };
        items.into_iter().for_each(|item| view.insert(item));
        view
    }

    /// Revision of the last change that is folded in; 0 when nothing has been seen.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether a replica has said, in this life of the process, that the View was complete.
    ///
    /// It stays so when the stream ends: what isn't in the View then is unknown to the fabric as far as this node can know.
    pub const fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Settings of the fabric; `None` before the first snapshot.
    pub const fn fabric(&self) -> Option<&FabricItem> {
        self.fabric.as_ref()
    }

    /// All nodes, this one too.
    pub const fn peers(&self) -> &BTreeMap<NodeName, PeerItem> {
        &self.peers
    }

    /// One node.
    pub fn peer(&self, node: &NodeName) -> Option<&PeerItem> {
        self.peers.get(node)
    }

    /// All leased blocks.
    pub const fn routes(&self) -> &BTreeMap<Block, RouteItem> {
        &self.routes
    }

    /// Blocks that the node holds, in order.
    pub fn blocks_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a RouteItem> {
        self.routes.values().filter(move |route| route.node == *node)
    }

    /// All services with their endpoints.
    pub const fn services(&self) -> &BTreeMap<ServiceName, Arc<ServiceItem>> {
        &self.services
    }

    /// One service.
    pub fn service(&self, name: &ServiceName) -> Option<&ServiceItem> {
        self.services.get(name).map(Arc::as_ref)
    }

    /// How pods are asked whether they are ready; those of all nodes.
    pub const fn probes(&self) -> &BTreeMap<PodName, ProbeItem> {
        &self.probes
    }

    /// Which nodes answer for load-balancer addresses.
    pub const fn owners(&self) -> &BTreeMap<IpAddr, AddressOwner> {
        &self.owners
    }

    /// The living pods of all nodes.
    pub const fn pods(&self) -> &Pods {
        &self.pods
    }

    /// One living pod.
    pub fn pod(&self, name: &PodName) -> Option<&PodItem> {
        self.pods.get(name)
    }

    /// What people said of how pods are made; those of all nodes.
    pub const fn setups(&self) -> &BTreeMap<PodName, SetupItem> {
        &self.setups
    }

    /// All policies.
    pub const fn policies(&self) -> &BTreeMap<PolicyName, Arc<PolicyItem>> {
        &self.policies
    }

    /// One policy.
    pub fn policy(&self, name: &PolicyName) -> Option<&PolicyItem> {
        self.policies.get(name).map(Arc::as_ref)
    }

    /// The namespaces that exist.
    pub const fn namespaces(&self) -> &BTreeMap<NamespaceName, Arc<NamespaceItem>> {
        &self.namespaces
    }

    /// One namespace; `None`: it doesn't exist.
    pub fn namespace(&self, name: &NamespaceName) -> Option<&NamespaceItem> {
        self.namespaces.get(name).map(Arc::as_ref)
    }

    /// What policies can tell living pods apart by.
    pub const fn identities(&self) -> &BTreeMap<IdentityId, Arc<IdentityItem>> {
        &self.identities
    }

    /// One identity.
    pub fn identity(&self, id: IdentityId) -> Option<&IdentityItem> {
        self.identities.get(&id).map(Arc::as_ref)
    }

    /// All items, in a fixed order: what is written to disk.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        let fabric = self.fabric.iter().cloned().map(Item::Fabric);
        let peers = self.peers.values().cloned().map(Item::Peer);
        let routes = self.routes.values().cloned().map(Item::Route);
        let services = self.services.values().map(|service| Item::Service(ServiceItem::clone(service)));
        let probes = self.probes.values().cloned().map(Item::Probe);
        let owners = self.owners.values().cloned().map(Item::Owner);
        let pods = self.pods.iter().cloned().map(Item::Pod);
        let setups = self.setups.values().cloned().map(Item::Setup);
        let policies = self.policies.values().map(|policy| Item::Policy(PolicyItem::clone(policy)));
        let namespaces = self.namespaces.values().map(|one| Item::Namespace(NamespaceItem::clone(one)));
        let identities = self.identities.values().map(|one| Item::Identity(IdentityItem::clone(one)));
        fabric
            .chain(peers)
            .chain(routes)
            .chain(services)
            .chain(probes)
            .chain(owners)
            .chain(pods)
            .chain(setups)
            .chain(policies)
            .chain(namespaces)
            .chain(identities)
    }

    /// One item.
    pub fn item(&self, key: &ItemKey) -> Option<Item> {
        match key {
            ItemKey::Fabric => self.fabric.clone().map(Item::Fabric),
            ItemKey::Peer(node) => self.peers.get(node).cloned().map(Item::Peer),
            ItemKey::Route(block) => self.routes.get(block).cloned().map(Item::Route),
            ItemKey::Service(name) => self.service(name).cloned().map(Item::Service),
            ItemKey::Probe(pod) => self.probes.get(pod).cloned().map(Item::Probe),
            ItemKey::Owner(address) => self.owners.get(address).cloned().map(Item::Owner),
            ItemKey::Pod(pod) => self.pod(pod).cloned().map(Item::Pod),
            ItemKey::Setup(pod) => self.setups.get(pod).cloned().map(Item::Setup),
            ItemKey::Policy(name) => self.policy(name).cloned().map(Item::Policy),
            ItemKey::Namespace(name) => self.namespace(name).cloned().map(Item::Namespace),
            ItemKey::Identity(id) => self.identity(*id).cloned().map(Item::Identity),
        }
    }

    /// Folds one update in and says what it touched. A delta that is known already touches nothing.
    ///
    /// Fails when the update breaks the order of the stream or would go back in time; the View is then as before.
    pub fn fold(&mut self, update: Update) -> Result<Touched, Error> {
        match update {
            Update::SnapshotPart { revision, first, last, items } => self.part(revision, first, last, items),
            Update::InSync { revision } => self.synced(revision),
            Update::Delta { revision, upserts, deletes } => self.delta(revision, upserts, deletes),
        }
    }

    /// Folds in what another View told, which merges changes: such a part may be of the revision that this View stands at.
    ///
    /// Fails as `fold` does.
    pub fn amend(
        &mut self,
        revision: Revision,
        upserts: Vec<Item>,
        deletes: Vec<ItemKey>,
    ) -> Result<Touched, Error> {
        self.refuse_inside_snapshot(revision)?;
        self.refuse_the_past(revision)?;
        Ok(self.take(revision, upserts, deletes))
    }

    /// Forgets a snapshot that is under way: the stream that carried it has ended.
    pub fn abandon_snapshot(&mut self) {
        self.building = None;
    }

    fn part(
        &mut self,
        revision: Revision,
        first: bool,
        last: bool,
        items: Vec<Item>,
    ) -> Result<Touched, Error> {
        self.refuse_the_past(revision)?;
        let mut building = match self.building.take() {
            _ if first => Box::new(Self { revision, ..Self::default() }),
            Some(building) if building.revision == revision => building,
            Some(_) | None => return Err(Error::PartOutOfOrder { offered: revision }),
        };
        items.into_iter().for_each(|item| building.insert(item));
        if !last {
            self.building = Some(building);
            return Ok(Touched::default());
        }
        let touched = self.difference(&building);
        *self = Self { in_sync: self.in_sync, ..*building };
        Ok(touched)
    }

    fn synced(&mut self, revision: Revision) -> Result<Touched, Error> {
        self.refuse_inside_snapshot(revision)?;
        self.refuse_the_past(revision)?;
        self.revision = revision;
        let became_in_sync = !self.in_sync;
        self.in_sync = true;
        Ok(Touched { became_in_sync, ..Touched::default() })
    }

    fn delta(
        &mut self,
        revision: Revision,
        upserts: Vec<Item>,
        deletes: Vec<ItemKey>,
    ) -> Result<Touched, Error> {
        self.refuse_inside_snapshot(revision)?;
        if revision <= self.revision {
            return Ok(Touched::default());
        }
        Ok(self.take(revision, upserts, deletes))
    }

    fn take(&mut self, revision: Revision, upserts: Vec<Item>, deletes: Vec<ItemKey>) -> Touched {
        let mut touched = Touched::default();
        self.revision = revision;
        let coming: BTreeSet<_> = upserts.iter().map(Item::key).collect();
        for key in deletes {
            if !coming.contains(&key) && self.remove(&key) {
                touched.keys.insert(key);
            }
        }
        for item in upserts {
            let key = item.key();
            if self.holds(&item) {
                continue;
            }
            self.insert(item);
            touched.keys.insert(key);
        }
        touched
    }

    fn refuse_the_past(&self, offered: Revision) -> Result<(), Error> {
        if offered < self.revision {
            return Err(Error::WentBack { seen: self.revision, offered });
        }
        Ok(())
    }

    fn refuse_inside_snapshot(&self, offered: Revision) -> Result<(), Error> {
        match &self.building {
            Some(building) => Err(Error::SnapshotIncomplete { building: building.revision, offered }),
            None => Ok(()),
        }
    }

    fn insert(&mut self, item: Item) {
        match item {
            Item::Fabric(fabric) => self.fabric = Some(fabric),
            Item::Peer(peer) => {
                self.peers.insert(peer.node.clone(), peer);
            }
            Item::Route(route) => {
                self.routes.insert(route.block, route);
            }
            Item::Service(service) => {
                let service = share::service(service, &self.peers);
                self.services.insert(service.name.clone(), Arc::new(service));
            }
            Item::Probe(probe) => {
                self.probes.insert(probe.pod.clone(), probe);
            }
            Item::Owner(owner) => {
                self.owners.insert(owner.address, owner);
            }
            Item::Pod(pod) => self.pods.insert(pod),
            Item::Setup(setup) => {
                self.setups.insert(setup.pod.clone(), setup);
            }
            Item::Policy(policy) => {
                self.policies.insert(policy.name.clone(), Arc::new(policy));
            }
            Item::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), Arc::new(namespace));
            }
            Item::Identity(identity) => {
                self.identities.insert(identity.id, Arc::new(identity));
            }
        }
    }

    fn remove(&mut self, key: &ItemKey) -> bool {
        match key {
            ItemKey::Fabric => self.fabric.take().is_some(),
            ItemKey::Peer(node) => self.peers.remove(node).is_some(),
            ItemKey::Route(block) => self.routes.remove(block).is_some(),
            ItemKey::Service(name) => self.services.remove(name).is_some(),
            ItemKey::Probe(pod) => self.probes.remove(pod).is_some(),
            ItemKey::Owner(address) => self.owners.remove(address).is_some(),
            ItemKey::Pod(name) => self.pods.remove(name),
            ItemKey::Setup(name) => self.setups.remove(name).is_some(),
            ItemKey::Policy(name) => self.policies.remove(name).is_some(),
            ItemKey::Namespace(name) => self.namespaces.remove(name).is_some(),
            ItemKey::Identity(id) => self.identities.remove(id).is_some(),
        }
    }

    fn holds(&self, item: &Item) -> bool {
        match item {
            Item::Fabric(fabric) => self.fabric.as_ref() == Some(fabric),
            Item::Peer(peer) => self.peers.get(&peer.node) == Some(peer),
            Item::Route(route) => self.routes.get(&route.block) == Some(route),
            Item::Service(service) => self.service(&service.name) == Some(service),
            Item::Probe(probe) => self.probes.get(&probe.pod) == Some(probe),
            Item::Owner(owner) => self.owners.get(&owner.address) == Some(owner),
            Item::Pod(pod) => self.pod(&pod.name) == Some(pod),
            Item::Setup(setup) => self.setups.get(&setup.pod) == Some(setup),
            Item::Policy(policy) => self.policy(&policy.name) == Some(policy),
            Item::Namespace(namespace) => self.namespace(&namespace.name) == Some(namespace),
            Item::Identity(identity) => self.identity(identity.id) == Some(identity),
        }
    }

    fn has_key(&self, key: &ItemKey) -> bool {
        match key {
            ItemKey::Fabric => self.fabric.is_some(),
            ItemKey::Peer(node) => self.peers.contains_key(node),
            ItemKey::Route(block) => self.routes.contains_key(block),
            ItemKey::Service(name) => self.services.contains_key(name),
            ItemKey::Probe(pod) => self.probes.contains_key(pod),
            ItemKey::Owner(address) => self.owners.contains_key(address),
            ItemKey::Pod(name) => self.pod(name).is_some(),
            ItemKey::Setup(name) => self.setups.contains_key(name),
            ItemKey::Policy(name) => self.policies.contains_key(name),
            ItemKey::Namespace(name) => self.namespaces.contains_key(name),
            ItemKey::Identity(id) => self.identities.contains_key(id),
        }
    }

    /// Keys whose items differ between the two.
    fn difference(&self, new: &Self) -> Touched {
        let changed = new.items().filter(|item| !self.holds(item)).map(|item| item.key());
        let gone = self.items().map(|item| item.key()).filter(|key| !new.has_key(key));
        Touched { keys: changed.chain(gone).collect(), became_in_sync: false }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
