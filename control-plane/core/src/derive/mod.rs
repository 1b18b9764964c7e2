//! What nodes need, from the rows: one file per item. Nothing is cached: an item is made from its own rows.

mod fabric;
mod peer;
mod route;

use weft_model::{Item, ItemKey, Object, Record};

use crate::State;

/// Keys of the items that follow from a row: the reverse index of derivation.
pub(crate) fn touched(record: &Record) -> Vec<ItemKey> {
    match record {
        Record::Object(Object::Fabric(_) | Object::Member(_)) => vec![ItemKey::Fabric],
        Record::Object(Object::Node(node)) => vec![ItemKey::Peer(node.name.clone())],
        Record::Object(Object::Lease(lease)) => {
            vec![ItemKey::Peer(lease.node.clone()), ItemKey::Route(lease.block)]
        }
        Record::Object(Object::Pod(_))
        | Record::Meta(_)
        | Record::Token(_)
        | Record::Client(_)
        | Record::Freed(_) => Vec::new(),
    }
}

/// One item as it follows from the state; `None` when there is none.
pub(crate) fn item(state: &State, key: &ItemKey) -> Option<Item> {
    match key {
        ItemKey::Fabric => fabric::derive(state).map(Item::Fabric),
        ItemKey::Peer(node) => peer::derive(state, node).map(Item::Peer),
        ItemKey::Route(block) => route::derive(state, *block).map(Item::Route),
    }
}

/// All items, in order of their keys.
pub(crate) fn all(state: &State) -> Vec<Item> {
    let keys = std::iter::once(ItemKey::Fabric)
        .chain(state.nodes().keys().cloned().map(ItemKey::Peer))
        .chain(state.leases().keys().copied().map(ItemKey::Route));
    keys.filter_map(|key| item(state, &key)).collect()
}
