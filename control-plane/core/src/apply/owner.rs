//! Who answers for load-balancer addresses: the leader decides, here it is written down.

use std::net::IpAddr;

use weft_model::{AddressOwner, Answer, IpMode, Key, NodeName, NodeState, Object};

use super::service::pool_of;
use crate::{State, edit::Edit};

/// Takes over what the leader decided; what the state has outrun meanwhile is passed over.
pub(crate) fn assign(edit: &mut Edit<'_>, owners: &[AddressOwner]) -> Answer {
    for owner in owners {
        let state = edit.state();
        if !is_announced(state, owner.address) || !is_active(state, &owner.node) {
            continue;
        }
        let successor = owner.successor.clone().filter(|node| *node != owner.node && is_active(state, node));
        let old = state.owners().get(&owner.address).filter(|old| old.node == owner.node);
        // The revision rises for ever, also when an address was without an owner in between.
        let epoch = old.map_or(edit.revision().0, |old| old.epoch);
        edit.put_object(Object::Owner(AddressOwner { successor, epoch, ..owner.clone() }));
    }
    Answer::Done
}

/// Takes the owner from addresses that no service has any more, or that nobody is to announce.
pub(crate) fn tidy(edit: &mut Edit<'_>, addresses: Vec<IpAddr>) {
    for address in addresses {
        let state = edit.state();
        if state.owners().contains_key(&address) && !is_announced(state, address) {
            edit.delete_object(Key::Owner(address));
        }
    }
}

/// Whether one node is to answer for an address. In mode Proxy it is another machine's: nodes don't serve it.
pub(crate) fn is_announced(state: &State, address: IpAddr) -> bool {
    state.index.services.balanced.contains_key(&address)
        && pool_of(state, address).is_some_and(|pool| pool.announce && pool.mode == IpMode::Vip)
}

fn is_active(state: &State, name: &NodeName) -> bool {
    state.nodes().get(name).is_some_and(|node| node.state == NodeState::Active)
}
