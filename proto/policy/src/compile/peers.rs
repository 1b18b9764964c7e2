//! Selectors of peers that profiles in use have, and which identities they include.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weft_model::IdentityId;

use super::Compiler;
use crate::{
    index::{SelectorId, SelectorIndex},
    peers::PodsOf,
    profile::ProfileId,
};

#[derive(Clone, Debug)]
struct Selector {
    pods: Arc<PodsOf>,
    /// Identities it includes.
    included: BTreeSet<IdentityId>,
    /// Profiles that have it.
    users: BTreeSet<ProfileId>,
}

/// All of them; each stands once, however many profiles have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Selectors {
    ids: BTreeMap<Arc<PodsOf>, SelectorId>,
    all: BTreeMap<SelectorId, Selector>,
    index: SelectorIndex,
    next: SelectorId,
}

impl Selectors {
    /// Identities that a selector includes.
    pub(super) fn included(&self, id: SelectorId) -> impl Iterator<Item = IdentityId> {
        self.all.get(&id).into_iter().flat_map(|selector| selector.included.iter().copied())
    }

    /// Takes an identity out of a selector; gives the profiles concerned.
    pub(super) fn exclude(
        &mut self,
        id: SelectorId,
        identity: IdentityId,
    ) -> impl Iterator<Item = ProfileId> + use<'_> {
        let selector = self.all.get_mut(&id);
        selector.into_iter().flat_map(move |selector| {
            selector.included.remove(&identity);
            selector.users.iter().copied()
        })
    }
}

impl Compiler {
    /// A profile has a selector from now on.
    pub(super) fn use_selector(&mut self, pods: &PodsOf, profile: ProfileId) -> SelectorId {
        if let Some(id) = self.selectors.ids.get(pods).copied() {
            if let Some(selector) = self.selectors.all.get_mut(&id) {
                selector.users.insert(profile);
            }
            return id;
        }
        let id = self.selectors.next;
        // Four thousand million selectors after one another: at a thousand a second, seven weeks without a restart; those
        // that are in use are left out.
        self.selectors.next = id.wrapping_add(1);
        while self.selectors.all.contains_key(&self.selectors.next) {
            self.selectors.next = self.selectors.next.wrapping_add(1);
        }
        let pods = Arc::new(pods.clone());
        let included = self.identities.included(&pods, &self.namespaces);
        self.looks += included.len() as u64;
        for identity in &included {
            if let Some(known) = self.identities.get_mut(*identity) {
                known.selectors.insert(id);
            }
        }
        self.selectors.index.insert(&pods, id);
        self.selectors.ids.insert(pods.clone(), id);
        self.selectors.all.insert(id, Selector { pods, included, users: BTreeSet::from([profile]) });
        id
    }

    /// A profile no longer has it.
    pub(super) fn drop_selector(&mut self, id: SelectorId, profile: ProfileId) {
        let Some(selector) = self.selectors.all.get_mut(&id) else { return };
        selector.users.remove(&profile);
        if !selector.users.is_empty() {
            return;
        }
        if let Some(selector) = self.selectors.all.remove(&id) {
            self.selectors.ids.remove(&selector.pods);
            self.selectors.index.remove(&selector.pods, id);
            for identity in selector.included {
                if let Some(known) = self.identities.get_mut(identity) {
                    known.selectors.remove(&id);
                }
            }
        }
    }

    /// Holds identities that are new, or whose namespace has other labels, against the selectors that could include them.
    pub(super) fn settle_identities(&mut self) {
        for id in std::mem::take(&mut self.dirty.identities) {
            let Some(known) = self.identities.get(id) else { continue };
            let namespace = self.namespaces.get(&known.identity.namespace);
            let candidates = self.selectors.index.candidates(&known.identity, namespace);
            self.looks += candidates.len() as u64;
            let includes = |selector: &SelectorId| {
                let selector = self.selectors.all.get(selector);
                selector.is_some_and(|selector| selector.pods.include(&known.identity, namespace))
            };
            let new: BTreeSet<_> = candidates.into_iter().filter(includes).collect();
            let Some(known) = self.identities.get_mut(id) else { continue };
            let old = std::mem::replace(&mut known.selectors, new.clone());
            for changed in old.symmetric_difference(&new) {
                let Some(selector) = self.selectors.all.get_mut(changed) else { continue };
                if new.contains(changed) {
                    selector.included.insert(id);
                } else {
                    selector.included.remove(&id);
                }
                self.dirty.peers.extend(selector.users.iter().map(|profile| (*profile, id)));
            }
        }
    }
}
