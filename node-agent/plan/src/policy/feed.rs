//! What the View and the node itself say, told to the compiler.
//!
//! A pod of this node is judged by what the control plane says it is. Until that is known, its node knows its namespace alone: where no
//! policy could select it, that is enough; everywhere else it stays closed, since what is denied must be so from the first packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{
    FabricItem, IdentityId, ItemKey, Labels, NamespaceName, PodName, PodUid, resolver_addresses,
};
use weft_policy::{Compiler, Place, RESOLVER_NAMESPACE, Resolver, whole_identity};
use weft_view::View;

use crate::{Facts, LocalPod, Scope};

/// An identity that nobody has: whoever is given it is closed.
const UNKNOWN: IdentityId = IdentityId(0);

/// What the compiler was told of this node's own pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Fed {
    local: BTreeMap<PodUid, Told>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    name: PodName,
    addresses: Vec<IpAddr>,
    identity: IdentityId,
    /// The identity is this node's own idea.
    is_held: bool,
}

/// A compiler that knows everything that they say.
pub(super) fn all(view: &View, facts: &Facts) -> (Compiler, Fed) {
    let (mut compiler, mut fed) = (Compiler::new(), Fed::default());
    if let Some(fabric) = view.fabric() {
        put_fabric(&mut compiler, fabric);
    }
    view.namespaces().keys().for_each(|name| put_namespace(&mut compiler, view, name));
    view.identities().keys().for_each(|id| put_identity(&mut compiler, view, *id));
    for (name, policy) in view.policies() {
        compiler.put_policy(name, Arc::new(policy.spec.clone()));
    }
    view.pods().iter().for_each(|pod| {
        compiler.put_pod(Place::Anywhere, &pod.name, &pod.addresses, pod.identity);
    });
    fed.local(&mut compiler, view, facts, facts.pods.keys().copied().collect());
    (compiler, fed)
}

/// A compiler that knows what flows between these addresses depend on, and nothing else.
pub(super) fn about(view: &View, facts: &Facts, addresses: &[IpAddr]) -> Compiler {
    let (mut compiler, mut fed) = (Compiler::new(), Fed::default());
    if let Some(fabric) = view.fabric() {
        put_fabric(&mut compiler, fabric);
    }
    let has = |own: &[IpAddr]| own.iter().any(|one| addresses.contains(one));
    let local: BTreeMap<_, _> = facts.pods.iter().filter(|(_, pod)| has(&pod.addresses)).collect();
    let mut names: BTreeSet<&PodName> = local.values().map(|pod| &pod.name).collect();
    names.extend(view.pods().iter().filter(|pod| has(&pod.addresses)).map(|pod| &pod.name));
    let mut namespaces: BTreeSet<&NamespaceName> = names.iter().map(|name| &name.namespace).collect();
    for (name, policy) in view.policies().iter().filter(|(name, _)| namespaces.contains(&name.namespace)) {
        compiler.put_policy(name, Arc::new(policy.spec.clone()));
    }
    let system = view.namespaces().keys().find(|name| name.as_str() == RESOLVER_NAMESPACE);
    namespaces.extend(system);
    namespaces.into_iter().for_each(|name| put_namespace(&mut compiler, view, name));
    for pod in names.into_iter().filter_map(|name| view.pod(name)) {
        put_identity(&mut compiler, view, pod.identity);
        compiler.put_pod(Place::Anywhere, &pod.name, &pod.addresses, pod.identity);
    }
    fed.local(&mut compiler, view, facts, local.into_keys().copied().collect());
    compiler
}

fn put_fabric(compiler: &mut Compiler, fabric: &FabricItem) {
    compiler.put_settings(fabric.policy);
    compiler.put_resolver(Some(Resolver::at(resolver_addresses(fabric).collect())));
}

fn put_namespace(compiler: &mut Compiler, view: &View, name: &NamespaceName) {
    match view.namespace(name) {
        Some(namespace) => compiler.put_namespace(name.clone(), namespace.labels.clone()),
        None => compiler.remove_namespace(name),
    }
}

fn put_identity(compiler: &mut Compiler, view: &View, id: IdentityId) {
    match view.identity(id) {
        Some(item) => compiler.put_identity(id, Arc::new(item.identity.clone())),
        None => compiler.remove_identity(id),
    }
}

impl Fed {
    /// Tells the compiler what a scope touches.
    pub(super) fn feed(&mut self, compiler: &mut Compiler, view: &View, facts: &Facts, scope: Scope<'_>) {
        match scope {
            Scope::All => (*compiler, *self) = all(view, facts),
            Scope::Pods(uids) => self.local(compiler, view, facts, uids.clone()),
            Scope::Items(keys) => {
                keys.iter().for_each(|key| put_item(compiler, view, key));
                let is_meant = |pod: &LocalPod| {
                    keys.iter().any(|key| match key {
                        ItemKey::Pod(name) => *name == pod.name,
                        ItemKey::Policy(policy) => policy.namespace == pod.name.namespace,
                        ItemKey::Namespace(name) => *name == pod.name.namespace,
                        ItemKey::Fabric
                        | ItemKey::Peer(_)
                        | ItemKey::Route(_)
                        | ItemKey::Service(_)
                        | ItemKey::Probe(_)
                        | ItemKey::Owner(_)
                        | ItemKey::Setup(_)
                        | ItemKey::Identity(_) => false,
                    })
                };
                let meant = facts.pods.iter().filter(|(_, pod)| is_meant(pod)).map(|(uid, _)| *uid);
                self.local(compiler, view, facts, meant.collect());
            }
        }
    }

    /// Pods of this node that are closed since nobody knows what they are.
    pub(super) fn unknown(&self) -> BTreeSet<PodUid> {
        self.local.iter().filter(|(_, told)| told.identity == UNKNOWN).map(|(uid, _)| *uid).collect()
    }

    /// Looks at these pods of this node again; of one life of a pod that is gone, its elements go.
    fn local(&mut self, compiler: &mut Compiler, view: &View, facts: &Facts, uids: BTreeSet<PodUid>) {
        // Who goes makes room: a name, or an address, may be another life's now.
        for uid in uids.iter().filter(|uid| !facts.pods.contains_key(*uid)) {
            if let Some(told) = self.local.remove(uid) {
                let is_others = self.local.values().any(|other| other.name == told.name);
                if !is_others {
                    compiler.remove_pod(Place::Local, &told.name);
                }
                release(compiler, &told);
            }
        }
        for (uid, pod) in uids.iter().filter_map(|uid| Some((uid, facts.pods.get(uid)?))) {
            let (identity, is_held) = self.identity(compiler, view, pod);
            let told = Told { name: pod.name.clone(), addresses: pod.addresses.clone(), identity, is_held };
            if self.local.get(uid) == Some(&told) {
                release(compiler, &told);
                continue;
            }
            compiler.put_pod(Place::Local, &pod.name, &pod.addresses, identity);
            if let Some(old) = self.local.insert(*uid, told) {
                release(compiler, &old);
            }
        }
    }

    /// What a pod of this node is, and whether that is this node's own idea, which the compiler was told then.
    fn identity(&self, compiler: &mut Compiler, view: &View, pod: &LocalPod) -> (IdentityId, bool) {
        // An item of the pod's last life has other addresses, but where it had the same it was the same name's.
        if let Some(item) = view.pod(&pod.name).filter(|item| item.addresses == pod.addresses) {
            return (item.identity, false);
        }
        let namespace = &pod.name.namespace;
        let may_be_selected = view.policies().keys().any(|policy| policy.namespace == *namespace);
        if may_be_selected {
            return (UNKNOWN, false);
        }
        let (id, identity) = whole_identity(namespace, &Labels::new(), &[]);
        compiler.hold_identity(id, Arc::new(identity));
        (id, true)
    }
}

fn release(compiler: &mut Compiler, told: &Told) {
    if told.is_held {
        compiler.release_identity(told.identity);
    }
}

fn put_item(compiler: &mut Compiler, view: &View, key: &ItemKey) {
    match key {
        ItemKey::Fabric => {
            if let Some(fabric) = view.fabric() {
                put_fabric(compiler, fabric);
            }
        }
        ItemKey::Namespace(name) => put_namespace(compiler, view, name),
        ItemKey::Identity(id) => put_identity(compiler, view, *id),
        ItemKey::Policy(name) => match view.policy(name) {
            Some(policy) => compiler.put_policy(name, Arc::new(policy.spec.clone())),
            None => compiler.remove_policy(name),
        },
        ItemKey::Pod(name) => match view.pod(name) {
            Some(pod) => compiler.put_pod(Place::Anywhere, name, &pod.addresses, pod.identity),
            None => compiler.remove_pod(Place::Anywhere, name),
        },
        ItemKey::Peer(_)
        | ItemKey::Route(_)
        | ItemKey::Service(_)
        | ItemKey::Probe(_)
        | ItemKey::Owner(_)
        | ItemKey::Setup(_) => {}
    }
}
