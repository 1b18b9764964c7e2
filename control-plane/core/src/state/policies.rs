//! Policies and the identities that follow from them: reading, and following the rows.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    Identity, IdentityId, IdentityItem, Item, ItemKey, NamespaceName, NetworkPolicy, PodName, PolicyName,
};
use weft_policy::Turned;

use super::State;
use crate::{derive, index::policies::Turns, limits};

/// Items that an index changed by itself while rows came or went, as they were before.
pub(crate) type Before = Vec<(ItemKey, Option<Item>)>;

/// Reading.
impl State {
    /// Policies by namespace and name.
    pub const fn policies(&self) -> &BTreeMap<PolicyName, NetworkPolicy> {
        &self.policies
    }

    /// Policies of one namespace, in order of their names.
    pub fn policies_in<'a>(
        &'a self,
        namespace: &NamespaceName,
    ) -> impl Iterator<Item = &'a NetworkPolicy> + use<'a> {
        let own: Vec<_> = super::within(&self.policies, namespace).map(|(_, policy)| policy).collect();
        own.into_iter()
    }

    /// The number of the identity of the living pod that owns a name.
    pub fn identity_of(&self, pod: &PodName) -> Option<IdentityId> {
        self.index.policies.identity_of(pod)
    }

    /// An identity that some living pod has.
    pub fn identity(&self, id: IdentityId) -> Option<&Identity> {
        self.index.policies.identity(id)
    }

    /// Names of the namespaces that exist, in order.
    pub fn existing_namespaces(&self) -> BTreeSet<NamespaceName> {
        let fixed = limits::FIXED_NAMESPACES.iter().filter_map(|name| NamespaceName::new(*name).ok());
        let written = self.namespaces.keys().cloned();
        fixed.chain(written).chain(self.index.policies.populated().cloned()).collect()
    }
}

/// Following the rows.
impl State {
    /// Labels and ports of a pod follow the pod and what people say of it; its identity follows from them.
    pub(super) fn follow_pod(&mut self, name: &PodName) -> Before {
        let labels = self.effective_pod(name).map(|pod| pod.labels());
        self.index.services.set_labels(name, labels);
        self.follow_identity(name)
    }

    fn follow_identity(&mut self, name: &PodName) -> Before {
        let seen = self.effective_pod(name).and_then(|pod| {
            let labels = self.index.services.labels_of(name)?;
            Some(self.index.policies.see(name, labels, pod.ports()))
        });
        identities(self.index.policies.set_pod(name, seen))
    }

    /// Puts a policy in place of another one, or takes it out, in one step: words that stay never cease to count.
    pub(super) fn replace_policy(&mut self, name: &PolicyName, new: Option<NetworkPolicy>) -> Before {
        let old = self.policies.remove(name);
        let specs = (old.as_ref().map(|policy| &policy.spec), new.as_ref().map(|policy| &policy.spec));
        let turned = self.index.policies.replace(name, specs.0, specs.1);
        self.policies.extend(new.map(|policy| (name.clone(), policy)));
        let mut before = Before::new();
        for pod in self.turned_pods(&name.namespace, &turned) {
            let key = ItemKey::Pod(pod.clone());
            let was = derive::item(self, &key);
            before.push((key, was));
            before.extend(self.follow_identity(&pod));
        }
        before
    }

    /// Living pods that have one of the words which begin or cease to count.
    fn turned_pods(&self, namespace: &NamespaceName, turned: &Turned) -> BTreeSet<PodName> {
        let of = |namespace: &NamespaceName, words: &weft_policy::TurnedWords| -> BTreeSet<PodName> {
            let labelled = words.keys.iter().flat_map(|key| self.index.services.with_label(namespace, key));
            let named = words.names.iter().flat_map(|name| self.index.policies.with_port(namespace, name));
            labelled.chain(named).cloned().collect()
        };
        let mut pods = of(namespace, &turned.within);
        if !turned.everywhere.is_empty() {
            pods.extend(self.index.policies.populated().flat_map(|space| of(space, &turned.everywhere)));
        }
        pods
    }
}

fn identities(turns: Turns) -> Before {
    let item = |id, identity| Item::Identity(IdentityItem { id, identity });
    turns
        .into_iter()
        .map(|(id, was)| (ItemKey::Identity(id), was.map(|identity| item(id, identity))))
        .collect()
}
