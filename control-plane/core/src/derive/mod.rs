//! What nodes need, from the rows: one file per item. Nothing is cached: an item is made from its own rows.

mod fabric;
mod hints;
mod peer;
mod pod;
mod policy;
mod probe;
mod route;
mod service;
mod silence;

use weft_model::{Item, ItemKey, Labels, NamespaceName, Node, Object, Record};

use crate::{State, index::services::zone_of, limits, state::joined};

/// Keys of the items that follow from a row, as it is or will be: the reverse index of derivation. The work is
/// proportional to them.
pub(crate) fn touched(state: &State, record: &Record) -> Vec<ItemKey> {
    let Record::Object(object) = record else { return Vec::new() };
    match object {
        Object::Fabric(_) => std::iter::once(ItemKey::Fabric).chain(fixed_namespaces(state)).collect(),
        Object::Member(_) => vec![ItemKey::Fabric],
        Object::Node(node) => {
            let services = if moves(state, node) { around(state, node) } else { Vec::new() };
            std::iter::once(ItemKey::Peer(node.name.clone())).chain(services).collect()
        }
        Object::Lease(lease) => vec![ItemKey::Peer(lease.node.clone()), ItemKey::Route(lease.block)],
        Object::Pod(pod) => {
            let labels = joined(&pod.labels, state.pod_specs().get(&pod.name));
            let written = state.written_at(&pod.addresses).map(ItemKey::Service);
            let own = std::iter::once(ItemKey::Pod(pod.name.clone()));
            let own = own.chain(unwritten(state, &pod.name.namespace));
            own.chain(selecting(state, &pod.name.namespace, &labels)).chain(written).collect()
        }
        Object::PodSpec(spec) => {
            let name = || spec.name.clone();
            let own = [ItemKey::Probe(name()), ItemKey::Pod(name()), ItemKey::Setup(name())];
            let services = state.effective_pod(&spec.name).map_or_else(Vec::new, |pod| {
                selecting(state, &spec.name.namespace, &joined(&pod.pod.labels, Some(spec)))
            });
            own.into_iter().chain(services).collect()
        }
        Object::Service(service) => vec![ItemKey::Service(service.name.clone())],
        Object::Slice(slice) => slice.service().map(ItemKey::Service).into_iter().collect(),
        Object::Owner(owner) => vec![ItemKey::Owner(owner.address)],
        Object::NetworkPolicy(policy) => vec![ItemKey::Policy(policy.name.clone())],
        Object::Namespace(namespace) => vec![ItemKey::Namespace(namespace.name.clone())],
        Object::Pool(_) => Vec::new(),
    }
}

/// Namespaces that exist from the first fabric on.
fn fixed_namespaces(state: &State) -> impl Iterator<Item = ItemKey> {
    let names = limits::FIXED_NAMESPACES.iter().filter(|_| state.fabric().is_none());
    names.filter_map(|name| NamespaceName::new(*name).ok()).map(ItemKey::Namespace)
}

/// A namespace that exists only while pods live in it.
fn unwritten(state: &State, name: &NamespaceName) -> Option<ItemKey> {
    let stays = limits::FIXED_NAMESPACES.contains(&name.as_str()) || state.namespaces().contains_key(name);
    (!stays).then(|| ItemKey::Namespace(name.clone()))
}

/// Whether a node goes to another zone by a row, falls silent or is heard again.
fn moves(state: &State, node: &Node) -> bool {
    let known = state.nodes().get(&node.name);
    known.and_then(zone_of) != zone_of(node)
        || known.is_some_and(|known| known.silent.is_some()) != node.silent.is_some()
}

/// Services that follow the zone of a node and whether it is heard.
fn around(state: &State, node: &Node) -> Vec<ItemKey> {
    let mut services = state.services_on(&node.name);
    services.extend(state.index.services.automatic.iter().cloned());
    services.into_iter().map(ItemKey::Service).collect()
}

fn selecting(state: &State, namespace: &NamespaceName, labels: &Labels) -> Vec<ItemKey> {
    state.selecting_services(namespace, labels).into_iter().map(ItemKey::Service).collect()
}

/// One item as it follows from the state; `None` when there is none.
pub(crate) fn item(state: &State, key: &ItemKey) -> Option<Item> {
    match key {
        ItemKey::Fabric => fabric::derive(state).map(Item::Fabric),
        ItemKey::Peer(node) => peer::derive(state, node).map(Item::Peer),
        ItemKey::Route(block) => route::derive(state, *block).map(Item::Route),
        ItemKey::Service(name) => service::derive(state, name).map(Item::Service),
        ItemKey::Probe(pod) => probe::derive(state, pod).map(Item::Probe),
        ItemKey::Owner(address) => state.owners().get(address).cloned().map(Item::Owner),
        ItemKey::Pod(name) => pod::derive(state, name).map(Item::Pod),
        ItemKey::Setup(name) => pod::setup(state, name).map(Item::Setup),
        ItemKey::Policy(name) => policy::derive(state, name).map(Item::Policy),
        ItemKey::Namespace(name) => policy::namespace(state, name).map(Item::Namespace),
        ItemKey::Identity(id) => policy::identity(state, *id).map(Item::Identity),
    }
}

/// All items, in order of their keys.
pub(crate) fn all(state: &State) -> Vec<Item> {
    keys(state).filter_map(|key| item(state, &key)).collect()
}

/// Keys of the items there may be, in order.
pub(crate) fn keys(state: &State) -> impl Iterator<Item = ItemKey> {
    std::iter::once(ItemKey::Fabric)
        .chain(state.nodes().keys().cloned().map(ItemKey::Peer))
        .chain(state.leases().keys().copied().map(ItemKey::Route))
        .chain(state.services().keys().cloned().map(ItemKey::Service))
        .chain(state.pod_specs().keys().cloned().map(ItemKey::Probe))
        .chain(state.owners().keys().copied().map(ItemKey::Owner))
        .chain(state.pod_names().cloned().map(ItemKey::Pod))
        .chain(state.pod_specs().keys().cloned().map(ItemKey::Setup))
        .chain(state.policies().keys().cloned().map(ItemKey::Policy))
        .chain(state.existing_namespaces().into_iter().map(ItemKey::Namespace))
        .chain(state.index.policies.ids().map(ItemKey::Identity))
}
