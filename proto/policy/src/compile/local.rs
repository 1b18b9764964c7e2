//! Local pods: which profiles their identities have.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    Direction, Identity, IdentityId, NamespaceName, PodName, PolicyName, PolicyRule, PolicySpec,
};

use super::Compiler;
use crate::profile::{Profile, ProfileId};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// An identity that local pods have.
#[derive(Clone, Debug, Default)]
struct Local {
    pods: BTreeSet<PodName>,
    /// Ingress, egress; none while the identity isn't known: closed.
    profiles: [Option<ProfileId>; 2],
    /// Where it is in the index of namespaces.
    namespace: Option<NamespaceName>,
}

/// All identities that local pods have.
#[derive(Clone, Debug, Default)]
pub(super) struct Locals {
    all: BTreeMap<IdentityId, Local>,
    by_namespace: BTreeMap<NamespaceName, BTreeSet<IdentityId>>,
}

impl Locals {
    pub(super) fn ids(&self) -> impl Iterator<Item = IdentityId> {
        self.all.keys().copied()
    }

    /// Known ones of a namespace.
    pub(super) fn of_namespace(&self, name: &NamespaceName) -> Vec<IdentityId> {
        self.by_namespace.get(name).into_iter().flatten().copied().collect()
    }

    pub(super) fn profile(&self, id: IdentityId, direction: Direction) -> Option<ProfileId> {
        self.all.get(&id)?.profiles[index(direction)]
    }

    /// Notes where an identity belongs; `None`: nowhere any more.
    fn place(&mut self, id: IdentityId, namespace: Option<&NamespaceName>) {
        let Some(local) = self.all.get_mut(&id) else { return };
        if local.namespace.as_ref() == namespace {
            return;
        }
        if let Some(old) = std::mem::replace(&mut local.namespace, namespace.cloned())
            && let Some(set) = self.by_namespace.get_mut(&old)
        {
            set.remove(&id);
            if set.is_empty() {
                self.by_namespace.remove(&old);
            }
        }
        if let Some(namespace) = namespace {
            self.by_namespace.entry(namespace.clone()).or_default().insert(id);
        }
    }
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

impl Compiler {
    /// A local pod has an identity from now on.
    pub(super) fn join(&mut self, id: IdentityId, name: &PodName) {
        self.locals.all.entry(id).or_default().pods.insert(name.clone());
        self.learn_local(id);
    }

    /// It no longer has it.
    pub(super) fn leave(&mut self, id: IdentityId, name: &PodName) {
        if let Some(local) = self.locals.all.get_mut(&id) {
            local.pods.remove(name);
            self.dirty.locals.insert(id);
        }
    }

    /// What is known of an identity, which local pods may have, has changed.
    pub(super) fn learn_local(&mut self, id: IdentityId) {
        if self.locals.all.contains_key(&id) {
            let namespace = self.identities.get(id).map(|known| known.identity.namespace.clone());
            self.locals.place(id, namespace.as_ref());
            self.dirty.locals.insert(id);
        }
    }

    /// Gives local identities the profiles that policies mean now.
    pub(super) fn settle_locals(&mut self) {
        for id in std::mem::take(&mut self.dirty.locals) {
            let Some(local) = self.locals.all.get(&id) else { continue };
            let gone = local.pods.is_empty();
            let old = local.profiles;
            let mut new = [None; 2];
            if let Some(identity) = self.identities.get(id).map(|known| known.identity.clone())
                && !gone
            {
                for direction in DIRECTIONS {
                    let (profile, looks) = self.profile_of(direction, &identity);
                    self.looks += looks;
                    new[index(direction)] = Some(self.acquire(profile));
                }
            }
            if new != old
                && let Some(local) = self.locals.all.get_mut(&id)
            {
                local.profiles = new;
                let pods = local.pods.iter();
                self.dirty.addresses.extend(pods.flat_map(|name| self.holders.local(name)));
            }
            for profile in old.into_iter().flatten() {
                self.release(profile);
            }
            if gone {
                self.locals.place(id, None);
                self.locals.all.remove(&id);
            }
        }
    }

    /// The profile of an identity, and of how many policies; `None`: nothing isolates it.
    fn profile_of(&self, direction: Direction, identity: &Identity) -> (Option<Profile>, u64) {
        let isolating = self.isolating(direction, identity);
        let looks = isolating.len() as u64;
        if isolating.is_empty() {
            let labels = self.namespaces.get(&identity.namespace);
            let default = labels.map_or(self.settings.default, |labels| self.settings.default_of(labels));
            if !default.isolates(direction) {
                return (None, looks);
            }
        }
        let rules = isolating.iter().flat_map(|(_, rules)| rules.iter());
        let rules = rules.map(|rule| (&identity.namespace, rule));
        (Some(Profile::of(direction, rules, &identity.ports)), looks)
    }

    /// Policies that isolate pods of an identity, with their rules.
    pub(super) fn isolating(
        &self,
        direction: Direction,
        identity: &Identity,
    ) -> Vec<(PolicyName, &[PolicyRule])> {
        let mut found = Vec::new();
        let Some(policies) = self.policies.get(&identity.namespace) else { return found };
        policies.index.candidates(&identity.labels, |name| {
            let Some(spec) = policies.specs.get(name) else { return };
            if let Some(rules) = rules_of(spec, direction)
                && spec.pods.selects(&identity.labels)
            {
                let name = PolicyName { namespace: identity.namespace.clone(), name: name.clone() };
                found.push((name, rules));
            }
        });
        #[cfg(test)]
        if crate::mutant::is(crate::mutant::Mutant::FirstPolicyOnly) {
            found.truncate(1);
        }
        found
    }

    /// Policies that made a profile.
    pub(super) fn policies_of(&self, profile: ProfileId) -> Vec<PolicyName> {
        let mut found = BTreeSet::new();
        for (id, local) in &self.locals.all {
            for direction in DIRECTIONS {
                if local.profiles[index(direction)] == Some(profile)
                    && let Some(known) = self.identities.get(*id)
                {
                    found
                        .extend(self.isolating(direction, &known.identity).into_iter().map(|(name, _)| name));
                }
            }
        }
        found.into_iter().collect()
    }
}

fn rules_of(spec: &PolicySpec, direction: Direction) -> Option<&[PolicyRule]> {
    #[cfg(test)]
    if crate::mutant::is(crate::mutant::Mutant::RulesIsolate) {
        let rules = match direction {
            Direction::Ingress => &spec.ingress,
            Direction::Egress => &spec.egress,
        };
        return spec.rules(direction).or_else(|| (!rules.is_empty()).then_some(rules));
    }
    spec.rules(direction)
}
