//! Who holds which address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{Direction, IdentityId, PodName};

use super::Compiler;
use crate::{profile::ProfileId, table::Key};

/// Who says that a pod has an address, and where the pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The node itself, of its own pod.
    Local,
    /// The control plane, of any pod.
    Anywhere,
}

#[derive(Clone, Debug)]
struct Holder {
    addresses: Box<[IpAddr]>,
    identity: IdentityId,
}

#[derive(Clone, Debug)]
struct Claim {
    place: Place,
    name: PodName,
    identity: IdentityId,
}

/// All pods, and who claims each address: one, but for moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    local: BTreeMap<PodName, Holder>,
    anywhere: BTreeMap<PodName, Holder>,
    claims: BTreeMap<IpAddr, Vec<Claim>>,
}

impl Holders {
    fn of(&mut self, place: Place) -> &mut BTreeMap<PodName, Holder> {
        match place {
            Place::Local => &mut self.local,
            Place::Anywhere => &mut self.anywhere,
        }
    }

    /// Puts a pod; gives the identity it had.
    pub(super) fn put(
        &mut self,
        place: Place,
        name: &PodName,
        addresses: &[IpAddr],
        identity: IdentityId,
        dirty: &mut BTreeSet<IpAddr>,
    ) -> Option<IdentityId> {
        if let Some(old) = self.of(place).get(name)
            && *old.addresses == *addresses
            && old.identity == identity
        {
            return Some(identity);
        }
        let old = self.remove(place, name, dirty);
        for address in addresses {
            let claims = self.claims.entry(*address).or_insert_with(|| Vec::with_capacity(1));
            claims.push(Claim { place, name: name.clone(), identity });
            dirty.insert(*address);
        }
        self.of(place).insert(name.clone(), Holder { addresses: addresses.into(), identity });
        old
    }

    /// Removes a pod; gives the identity it had.
    pub(super) fn remove(
        &mut self,
        place: Place,
        name: &PodName,
        dirty: &mut BTreeSet<IpAddr>,
    ) -> Option<IdentityId> {
        let old = self.of(place).remove(name)?;
        for address in &old.addresses {
            dirty.insert(*address);
            let Some(claims) = self.claims.get_mut(address) else { continue };
            claims.retain(|claim| claim.place != place || claim.name != *name);
            if claims.is_empty() {
                self.claims.remove(address);
            }
        }
        Some(old.identity)
    }

    /// All pods.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &PodName, &[IpAddr], IdentityId)> {
        let all = |place, pods| std::iter::repeat(place).zip(pods);
        all(Place::Local, &self.local)
            .chain(all(Place::Anywhere, &self.anywhere))
            .map(|(place, (name, holder))| (place, name, &*holder.addresses, holder.identity))
    }

    /// Addresses of a local pod.
    pub(super) fn local(&self, name: &PodName) -> &[IpAddr] {
        self.local.get(name).map_or(&[], |holder| &holder.addresses)
    }

    /// Who has an address: name, identity, and whether it is a local pod. The node knows its own; where several claim an
    /// address that differ, nobody has it: so nobody inherits what another may.
    pub(super) fn at(&self, address: IpAddr) -> Option<(&PodName, IdentityId, bool)> {
        let claims = self.claims.get(&address)?;
        let local = claims.iter().any(|claim| claim.place == Place::Local);
        let mut heard = claims.iter().filter(|claim| !local || claim.place == Place::Local);
        let first = heard.next()?;
        heard.all(|claim| claim.identity == first.identity).then_some((&first.name, first.identity, local))
    }
}

impl Compiler {
    pub(super) fn settle_addresses(&mut self) {
        for address in std::mem::take(&mut self.dirty.addresses) {
            let resolver = self.resolver.as_ref().filter(|resolver| resolver.addresses.contains(&address));
            let (identity, local) = match resolver {
                Some(resolver) => (Some(resolver.identity().0), false),
                None => match self.holders.at(address) {
                    Some((_, identity, local)) => (Some(identity), local),
                    None => (None, false),
                },
            };
            self.recorder.set(Key::Identity(address), identity.map(|id| id.0));
            for direction in [Direction::Ingress, Direction::Egress] {
                let profile = identity.filter(|_| local).and_then(|id| self.locals.profile(id, direction));
                self.recorder.set(Key::Profile(direction, address), profile.map(|ProfileId(id)| id));
            }
        }
    }
}
