//! Which endpoints this node knows to be gone, whatever the control plane says yet: addresses of its own blocks that no pod of it holds.
//!
//! A pod that ends while no replica answers stays an endpoint everywhere; its own node knows better, and sends it nothing. Not here: what
//! other nodes do meanwhile, which nobody told, and who gets such an address next (weft-ipam).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{Block, ServiceItem, ServiceName};
use weft_view::View;

use crate::Facts;

/// What this node knows of its own addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Its blocks; none until its pods have been read.
    blocks: Vec<Block>,
    /// Addresses of its pods.
    held: BTreeSet<IpAddr>,
}

impl Local {
    /// A node whose pods were not read yet knows nothing.
    pub fn new(view: &View, facts: &Facts) -> Self {
        if !facts.pods_read {
            return Self::default();
        }
        let blocks = view.blocks_of(&facts.node).map(|route| route.block).collect();
        Self { blocks, held: held(facts) }
    }

    /// The same after pods came or went; blocks are as before.
    pub(super) fn with_pods(&self, facts: &Facts) -> Self {
        let held = if facts.pods_read { held(facts) } else { BTreeSet::new() };
        Self { blocks: self.blocks.clone(), held }
    }

    /// Whether nobody can be there.
    pub fn lacks(&self, address: IpAddr) -> bool {
        self.is_ours(address) && !self.held.contains(&address)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.blocks.iter().any(|block| block.contains(address))
    }

    /// Addresses that came or went; `None`: blocks did, so it may be any.
    pub(super) fn changes_from(&self, before: &Self) -> Option<BTreeSet<IpAddr>> {
        let changed = || self.held.symmetric_difference(&before.held).copied().collect();
        (self.blocks == before.blocks).then(changed)
    }
}

fn held(facts: &Facts) -> BTreeSet<IpAddr> {
    facts.pods.values().flat_map(|pod| pod.addresses.iter().copied()).collect()
}

/// Services by those of their endpoints that are addresses of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Here(BTreeMap<IpAddr, BTreeSet<ServiceName>>);

impl Here {
    /// Forgets a service.
    pub(super) fn remove(&mut self, name: &ServiceName) {
        self.0.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
    }

    /// Takes a service that isn't in here.
    pub(super) fn add(&mut self, name: &ServiceName, item: &ServiceItem, local: &Local) {
        let addresses = item.endpoints.iter().map(|endpoint| endpoint.address);
        for address in addresses.filter(|address| local.is_ours(*address)) {
            self.0.entry(address).or_default().insert(name.clone());
        }
    }

    /// Who has an endpoint at one of these.
    pub(super) fn at(&self, addresses: &BTreeSet<IpAddr>) -> impl Iterator<Item = &ServiceName> {
        addresses.iter().filter_map(|address| self.0.get(address)).flatten()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
