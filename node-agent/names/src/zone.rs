//! The zone: what the View says, as tables that readers look up.
//!
//! In: a View and what touched it. Out: [`Tables`]. Work is proportional to what was touched. Not here: the lookup (`lookup.rs`).
//! Invariants: tables after any sequence of folds equal those built from the last View; each name is seen as before or as
//! after a change, never in between.

mod claim;
mod head;
mod lookup;
mod node;
mod render;
mod reverse;
mod service;
mod stage;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use weft_model::{ItemKey, NamespaceName, NodeName, PodName, Revision, ServiceName};
use weft_view::{Touched, View};

use self::{
    claim::{Claim, Claimant},
    render::addresses,
    service::ServiceRef,
    stage::Stage,
    table::{Kind, Table},
};
pub(crate) use self::{
    head::Head,
    lookup::{Lookup, Outcome},
    reverse::ReverseName,
};

/// What readers look up.
pub(crate) struct Tables {
    table: Table,
    head: ArcSwapOption<Head>,
    serial: AtomicU32,
}

impl Tables {
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: Table::new(seed), head: ArcSwapOption::empty(), serial: AtomicU32::new(0) }
    }

    /// What holds for the whole zone; empty before the first View with a fabric.
    pub(crate) fn head(&self) -> arc_swap::Guard<Option<Arc<Head>>> {
        self.head.load()
    }

    /// SOA serial: the lower half of the View's revision.
    pub(crate) fn serial(&self) -> u32 {
        self.serial.load(Ordering::Acquire)
    }

    /// Octets that the tables take.
    pub(crate) fn octets(&self) -> usize {
        self.table.octets()
    }

    fn set_serial(&self, revision: Revision) {
        let [.., a, b, c, d] = revision.0.to_be_bytes();
        self.serial.store(u32::from_be_bytes([a, b, c, d]), Ordering::Release);
    }
}

/// How many services and pods a namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Population {
    services: u32,
    pods: u32,
}

/// The writer: what it has to remember to take back what a touched item contributed.
#[derive(Default)]
pub(crate) struct Zone {
    head: Option<Arc<Head>>,
    namespaces: HashMap<NamespaceName, Population>,
    pods: HashMap<PodName, Box<[IpAddr]>>,
    /// Nodes below a name between a node's and `node.Z`.
    inner: BTreeMap<Vec<u8>, u32>,
}

impl Zone {
    /// Takes up a change; says whether everything was built anew.
    pub(crate) fn fold(&mut self, tables: &Tables, view: &View, touched: &Touched) -> bool {
        let head = if self.head.is_none() || touched.keys.contains(&ItemKey::Fabric) {
            view.fabric().and_then(Head::new).map(Arc::new)
        } else {
            self.head.clone()
        };
        let Some(head) = head.or_else(|| self.head.clone()) else { return false };
        let is_new = self.head.as_ref().is_none_or(|old| head.needs_new_tables(old));
        self.head = Some(Arc::clone(&head));
        let mut stage = Stage::new(&tables.table, is_new);
        if is_new {
            *self = Self { head: Some(Arc::clone(&head)), ..Self::default() };
            view.services().keys().for_each(|name| self.service(&mut stage, &head, view, name));
            view.pods().iter().for_each(|pod| self.pod(&mut stage, &head, view, &pod.name));
            view.peers().keys().for_each(|node| self.node(&mut stage, &head, view, node));
        } else {
            touched.keys.iter().for_each(|key| self.touched(&mut stage, &head, view, key));
        }
        stage.commit();
        if tables.head.load().as_ref() != Some(&head) {
            tables.head.store(Some(head));
        }
        tables.set_serial(view.revision());
        is_new
    }

    fn touched(&mut self, stage: &mut Stage<'_>, head: &Head, view: &View, key: &ItemKey) {
        match key {
            ItemKey::Service(name) => self.service(stage, head, view, name),
            ItemKey::Pod(name) => self.pod(stage, head, view, name),
            ItemKey::Peer(node) => self.node(stage, head, view, node),
            ItemKey::Fabric
            | ItemKey::Route(_)
            | ItemKey::Probe(_)
            | ItemKey::Owner(_)
            | ItemKey::Setup(_)
            | ItemKey::Policy(_)
            | ItemKey::Namespace(_)
            | ItemKey::Identity(_) => {}
        }
    }

    fn service(&mut self, stage: &mut Stage<'_>, head: &Head, view: &View, name: &ServiceName) {
        let Some(key) = service::service_key(name) else { return };
        let old = stage.record(Kind::Service, &key);
        let new = view.service(name).and_then(|service| service::encode(service, head.ttl));
        if old.as_deref() == new.as_deref() {
            return;
        }
        let came = i32::from(new.is_some()) - i32::from(old.is_some());
        self.populate(stage, &name.namespace, came, 0);
        stage.claims(service_claims(old.as_deref(), &key), service_claims(new.as_deref(), &key));
        stage.change(Kind::Service, &key, new);
    }

    fn pod(&mut self, stage: &mut Stage<'_>, head: &Head, view: &View, name: &PodName) {
        if !head.pod_records {
            return;
        }
        let new = view
            .pod(name)
            .map(|pod| pod.addresses.clone().into_boxed_slice())
            .filter(|list| !list.is_empty());
        let old = match &new {
            Some(new) => self.pods.insert(name.clone(), new.clone()),
            None => self.pods.remove(name),
        };
        let came = i32::from(new.is_some()) - i32::from(old.is_some());
        self.populate(stage, &name.namespace, 0, came);
        let claims = |addresses: Option<Box<[IpAddr]>>| {
            let claim = |address: &IpAddr| {
                (*address, Claim { by: Claimant::Pod, name: claim::pod_name(*address, &name.namespace) })
            };
            addresses.iter().flatten().map(claim).collect()
        };
        stage.claims(claims(old), claims(new));
    }

    fn node(&mut self, stage: &mut Stage<'_>, head: &Head, view: &View, node: &NodeName) {
        let key = node::node_key(node);
        let old = stage.record(Kind::Node, &key);
        let old: Vec<IpAddr> = old
            .as_deref()
            .map(|record| {
                let (v4, v6) = node::addresses(record);
                addresses(v4, v6).collect()
            })
            .unwrap_or_default();
        let mut new: Vec<IpAddr> = view
            .peer(node)
            .into_iter()
            .flat_map(|peer| peer.mesh.iter().map(|(_, address)| *address))
            .collect();
        new.sort();
        if old == new {
            return;
        }
        if old.is_empty() != new.is_empty() {
            self.between(stage, head, &key, !new.is_empty());
        }
        let is_inner = self.inner.contains_key(&key);
        let record = (is_inner || !new.is_empty()).then(|| node::encode(&key, &new, head.ttl));
        stage.change(Kind::Node, &key, record);
        let name = [key.as_slice(), b"\x04node"].concat();
        let claim = |address: IpAddr| (address, Claim { by: Claimant::Node, name: name.clone() });
        stage.claims(old.into_iter().map(claim).collect(), new.into_iter().map(claim).collect());
    }

    /// A node came or went: what stands between its name and `node.Z` exists while a node is below it.
    fn between(&mut self, stage: &mut Stage<'_>, head: &Head, key: &[u8], came: bool) {
        for inner in node::above(key) {
            let count = self.inner.entry(inner.to_vec()).or_default();
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
            let stays = *count > 0;
            if !stays {
                self.inner.remove(inner);
            }
            let there = stage.record(Kind::Node, inner);
            match there {
                None if stays => stage.change(Kind::Node, inner, Some(node::encode(inner, &[], head.ttl))),
                Some(record) if !stays && node::addresses(&record) == (&[], &[]) => {
                    stage.change(Kind::Node, inner, None);
                }
                None | Some(_) => {}
            }
        }
    }

    fn populate(&mut self, stage: &mut Stage<'_>, namespace: &NamespaceName, services: i32, pods: i32) {
        if services == 0 && pods == 0 {
            return;
        }
        let population = self.namespaces.entry(namespace.clone()).or_default();
        let old = *population;
        population.services = old.services.saturating_add_signed(services);
        population.pods = old.pods.saturating_add_signed(pods);
        let new = *population;
        if new == Population::default() {
            self.namespaces.remove(namespace);
        }
        let label = namespace.as_str().as_bytes();
        for (kind, old, new) in
            [(Kind::ServiceNamespace, old.services, new.services), (Kind::PodNamespace, old.pods, new.pods)]
        {
            if (old == 0) != (new == 0) {
                stage.change(kind, label, (new > 0).then(|| table::begin(kind, label)));
            }
        }
    }

    /// Octets that the writer keeps beside the tables.
    pub(crate) fn octets(&self) -> usize {
        let text = |name: &PodName| name.name.as_str().len() + name.namespace.as_str().len() + 32;
        let pods: usize = self.pods.iter().map(|(name, list)| text(name) + size_of_val(&**list) + 16).sum();
        let slots = self.pods.capacity() * (size_of::<(PodName, Box<[IpAddr]>)>() + 1);
        pods + slots + self.namespaces.capacity() * (size_of::<(NamespaceName, Population)>() + 48)
    }
}

/// The addresses that a service's record claims, and with which names.
fn service_claims(record: Option<&[u8]>, key: &[u8]) -> Vec<(IpAddr, Claim)> {
    let Some(service) = record.map(ServiceRef::new) else { return Vec::new() };
    let own = [key, b"\x03svc"].concat();
    if !service.is_headless() {
        let claim = |address| (address, Claim { by: Claimant::Service, name: own.clone() });
        return addresses(service.v4(), service.v6()).map(claim).collect();
    }
    let mut claims = Vec::new();
    for host in service.hosts().filter(|host| host.is_canonical) {
        let mut name = Vec::with_capacity(1 + host.label.len() + own.len());
        name.push(u8::try_from(host.label.len()).unwrap_or_default());
        name.extend_from_slice(host.label);
        name.extend_from_slice(&own);
        let claim = |address| (address, Claim { by: Claimant::Endpoint, name: name.clone() });
        claims.extend(addresses(host.v4, host.v6).map(claim));
    }
    claims
}

#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod spec_tests;
