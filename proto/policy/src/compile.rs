//! The compiler: from namespaces, policies, identities and pods to the tables of a node, kept as they change.
//!
//! In: what the control plane streams, and the node's own pods. Out: elements to add and delete. Nouns are put and removed
//! one by one, each call only notes what it concerns; [`Compiler::settle`] then does the work, once for all of them. What is
//! compiled is what local pods need: policies of other namespaces cost their place in memory alone.
//!
//! Nothing here depends on the order of events: the tables are a function of the nouns alone ([`Compiler::full`]).

mod blocks;
mod explain;
mod holders;
mod local;
mod peers;
mod ports;
mod program;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{
    Identity, IdentityId, Labels, Name, NamespaceName, PodName, PolicyName, PolicySettings, PolicySpec,
};

use self::{
    blocks::Blocks, holders::Holders, local::Locals, peers::Selectors, ports::PortSets, program::Program,
};
use crate::{
    error::Error,
    index::{Identities, LabelIndex},
    limits::NODE_ELEMENTS,
    profile::ProfileId,
    table::{Changes, Recorder, Tables},
    world::Resolver,
};

pub(crate) use blocks::{address, number, ranges};
pub use explain::Explanation;
pub use holders::Place;
pub(crate) use ports::wide;

/// Policies of one namespace.
#[derive(Clone, Debug, Default)]
struct Policies {
    specs: BTreeMap<Name, Arc<PolicySpec>>,
    index: LabelIndex<Name>,
}

/// What has changed and isn't in the tables yet.
#[derive(Clone, Debug, Default)]
struct Dirty {
    /// Identities to be held against selectors.
    identities: BTreeSet<IdentityId>,
    /// Identities of local pods whose profiles may be others.
    locals: BTreeSet<IdentityId>,
    /// Addresses whose elements may be others.
    addresses: BTreeSet<IpAddr>,
    /// Profiles that are compiled whole.
    programs: BTreeSet<ProfileId>,
    /// Identities that may be listed otherwise in one profile.
    peers: BTreeSet<(ProfileId, IdentityId)>,
}

/// The compiler of one node.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    settings: PolicySettings,
    namespaces: BTreeMap<NamespaceName, Labels>,
    policies: BTreeMap<NamespaceName, Policies>,
    identities: Identities,
    holders: Holders,
    resolver: Option<Resolver>,
    locals: Locals,
    selectors: Selectors,
    programs: BTreeMap<ProfileId, Program>,
    blocks: Blocks,
    ports: PortSets,
    recorder: Recorder,
    dirty: Dirty,
    /// How many selectors were held against identities, and policies against local pods; only ever rises.
    looks: u64,
}

impl Compiler {
    /// A compiler that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Settings of the fabric.
    pub fn put_settings(&mut self, settings: PolicySettings) {
        if self.settings != settings {
            self.settings = settings;
            self.dirty.locals.extend(self.locals.ids());
        }
    }

    /// A namespace that exists, with its labels as they are now.
    pub fn put_namespace(&mut self, name: NamespaceName, labels: Labels) {
        if self.namespaces.get(&name) != Some(&labels) {
            self.relabelled(&name);
            self.namespaces.insert(name, labels);
        }
    }

    /// A namespace that exists no longer.
    pub fn remove_namespace(&mut self, name: &NamespaceName) {
        if self.namespaces.remove(name).is_some() {
            self.relabelled(name);
        }
    }

    fn relabelled(&mut self, name: &NamespaceName) {
        self.dirty.locals.extend(self.locals.of_namespace(name));
        #[cfg(test)]
        if crate::mutant::is(crate::mutant::Mutant::NamespaceIsOnce) && self.namespaces.contains_key(name) {
            return;
        }
        self.dirty.identities.extend(self.identities.of_namespace(name));
    }

    /// A policy as it is now.
    pub fn put_policy(&mut self, name: &PolicyName, spec: Arc<PolicySpec>) {
        let policies = self.policies.entry(name.namespace.clone()).or_default();
        if policies.specs.get(&name.name) == Some(&spec) {
            return;
        }
        policies.index.insert(&spec.pods, &name.name);
        let old = policies.specs.insert(name.name.clone(), spec.clone());
        if let Some(old) = &old
            && old.pods != spec.pods
        {
            policies.index.remove(&old.pods, &name.name);
            // Both may hang at the same label.
            policies.index.insert(&spec.pods, &name.name);
        }
        self.selected(&name.namespace, old.iter().chain([&spec]));
    }

    /// A policy that exists no longer.
    pub fn remove_policy(&mut self, name: &PolicyName) {
        let Some(policies) = self.policies.get_mut(&name.namespace) else { return };
        let Some(old) = policies.specs.remove(&name.name) else { return };
        policies.index.remove(&old.pods, &name.name);
        if policies.specs.is_empty() {
            self.policies.remove(&name.namespace);
        }
        self.selected(&name.namespace, [&old].into_iter());
    }

    /// Notes the local pods that versions of a policy select.
    fn selected<'a>(&mut self, namespace: &NamespaceName, specs: impl Iterator<Item = &'a Arc<PolicySpec>>) {
        let specs: Vec<_> = specs.collect();
        for id in self.locals.of_namespace(namespace) {
            self.looks += specs.len() as u64;
            let identity = self.identities.get(id).map(|known| &known.identity);
            if identity.is_some_and(|one| specs.iter().any(|spec| spec.pods.selects(&one.labels))) {
                self.dirty.locals.insert(id);
            }
        }
    }

    /// An identity that some pod has, as the control plane says.
    pub fn put_identity(&mut self, id: IdentityId, identity: Arc<Identity>) {
        let (known, new) = self.identities.entry(id, || identity);
        known.given = true;
        self.appeared(id, new);
    }

    /// An identity that the control plane no longer has.
    pub fn remove_identity(&mut self, id: IdentityId) {
        if let Some(known) = self.identities.get_mut(id) {
            known.given = false;
            self.forget_unused(id);
        }
    }

    /// An identity that this node made for a pod of its own, which the control plane may not know yet. Each call is undone by
    /// one of [`Compiler::release_identity`].
    pub fn hold_identity(&mut self, id: IdentityId, identity: Arc<Identity>) {
        let (known, new) = self.identities.entry(id, || identity);
        known.held += 1;
        self.appeared(id, new);
    }

    /// Undoes one [`Compiler::hold_identity`].
    pub fn release_identity(&mut self, id: IdentityId) {
        if let Some(known) = self.identities.get_mut(id) {
            known.held = known.held.saturating_sub(1);
            self.forget_unused(id);
        }
    }

    fn appeared(&mut self, id: IdentityId, new: bool) {
        if new {
            self.dirty.identities.insert(id);
            self.learn_local(id);
        }
    }

    fn forget_unused(&mut self, id: IdentityId) {
        if self.identities.get(id).is_some_and(|known| !known.given && known.held == 0) {
            let selectors = self.identities.remove(id).map(|known| known.selectors).unwrap_or_default();
            #[cfg(test)]
            if crate::mutant::is(crate::mutant::Mutant::IdentityStays) {
                return;
            }
            for selector in selectors {
                let users = self.selectors.exclude(selector, id);
                self.dirty.peers.extend(users.map(|profile| (profile, id)));
            }
            self.learn_local(id);
        }
    }

    /// A pod with its addresses and identity as they are now. What the node knows of its own pods ([`Place::Local`]) comes
    /// before what the control plane says of all ([`Place::Anywhere`]); only local pods are judged here.
    pub fn put_pod(&mut self, place: Place, name: &PodName, addresses: &[IpAddr], identity: IdentityId) {
        let old = self.holders.put(place, name, addresses, identity, &mut self.dirty.addresses);
        if place == Place::Local && old != Some(identity) {
            if let Some(old) = old {
                self.leave(old, name);
            }
            self.join(identity, name);
        }
    }

    /// A pod that is no longer there.
    pub fn remove_pod(&mut self, place: Place, name: &PodName) {
        let old = self.holders.remove(place, name, &mut self.dirty.addresses);
        if let (Place::Local, Some(old)) = (place, old) {
            self.leave(old, name);
        }
    }

    /// Where nodes answer for names; those addresses are the system pod's, whoever else says that he has them.
    pub fn put_resolver(&mut self, resolver: Option<Resolver>) {
        if self.resolver == resolver {
            return;
        }
        if let Some(resolver) = &resolver {
            let (id, identity) = resolver.identity();
            self.hold_identity(id, Arc::new(identity));
            self.dirty.addresses.extend(&resolver.addresses);
        }
        if let Some(old) = std::mem::replace(&mut self.resolver, resolver) {
            self.release_identity(old.identity().0);
            self.dirty.addresses.extend(old.addresses);
        }
    }

    /// Brings the tables to what all calls before have said, and tells the difference.
    pub fn settle(&mut self) -> Changes {
        self.settle_locals();
        self.settle_identities();
        self.settle_blocks();
        self.settle_programs();
        self.settle_port_classes();
        self.settle_addresses();
        self.recorder.take()
    }

    /// The tables as of the last [`Compiler::settle`].
    pub const fn tables(&self) -> &Tables {
        &self.recorder.tables
    }

    /// How much work was done: selectors held against identities, policies against local pods. Only ever rises.
    pub const fn looks(&self) -> u64 {
        self.looks
    }

    /// How many profiles local pods have, but for the open one.
    pub fn profiles(&self) -> usize {
        self.programs.len()
    }

    /// The tables made anew from the nouns alone.
    pub fn full(&self) -> Tables {
        let mut fresh = Self::new();
        fresh.put_settings(self.settings);
        for (name, labels) in &self.namespaces {
            fresh.put_namespace(name.clone(), labels.clone());
        }
        for (namespace, policies) in &self.policies {
            for (name, spec) in &policies.specs {
                let name = PolicyName { namespace: namespace.clone(), name: name.clone() };
                fresh.put_policy(&name, spec.clone());
            }
        }
        for (id, known) in self.identities.iter() {
            fresh.put_identity(id, known.identity.clone());
        }
        for (place, name, addresses, identity) in self.holders.iter() {
            fresh.put_pod(place, name, addresses, identity);
        }
        fresh.put_resolver(self.resolver.clone());
        fresh.settle();
        fresh.recorder.tables
    }

    /// What is too large: profiles, whose pods are closed, and the tables as a whole, which the kernel may refuse.
    pub fn problems(&self) -> Vec<Error> {
        let refused = self.programs.iter().filter_map(|(id, program)| Some((id, program.refused?)));
        let mut problems: Vec<_> = refused
            .map(|(id, (part, count))| Error::ProfileTooLarge {
                policies: self.policies_of(*id),
                part,
                count,
            })
            .collect();
        let overlaps = [
            ("IPv4 blocks", self.blocks.refused[0]),
            ("IPv6 blocks", self.blocks.refused[1]),
            ("port ranges", self.ports.refused),
        ];
        let overlaps = overlaps.into_iter().filter_map(|(what, count)| count.map(|count| (what, count)));
        problems.extend(overlaps.map(|(what, count)| Error::OverlapsTooLarge { what, count }));
        let count = self.tables().len();
        if count > NODE_ELEMENTS {
            let largest = self.tables().sizes().into_iter().max_by_key(|(_, size)| *size);
            problems.extend(largest.map(|(map, size)| Error::TablesTooLarge { count, map, size }));
        }
        problems
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
