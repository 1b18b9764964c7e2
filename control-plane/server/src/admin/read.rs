//! Get, List and Items: linearizable unless asked for as stale; every answer carries its revision.

use std::{collections::BTreeMap, time::Instant};

use weft_core::State;
use weft_errors::{Coded, Error, NOT_FOUND, OBJECT_INVALID};
use weft_model::{
    Item, ItemKey, Key, Kind, Labels, Member, Name, NamespaceName, NodeName, Object, ObjectName, Pod,
    ReplicaId, Selector, SelectorError, plural,
};
use weft_proto::{convert::kind_from_wire, v1};

use crate::context::Context;

/// One object.
pub(crate) async fn get(
    context: &Context,
    wire: v1::GetRequest,
    deadline: Instant,
) -> Result<v1::GetResponse, Error> {
    let kind = kind_from_wire("kind", wire.kind).map_err(|e| e.envelope())?;
    fresh(context, wire.stale, deadline).await?;
    let (namespace, name) = (wire.namespace, wire.name);
    let found = context
        .handle
        .query(move |state| {
            find(state, kind, &namespace, &name).map(|object| (object, state.meta().revision))
        })
        .await?;
    let (object, revision) = found?;
    Ok(v1::GetResponse { object: Some((&object).into()), revision: revision.0 })
}

/// Objects of a kind.
pub(crate) async fn list(
    context: &Context,
    wire: v1::ListRequest,
    deadline: Instant,
) -> Result<v1::ListResponse, Error> {
    let kind = kind_from_wire("kind", wire.kind).map_err(|e| e.envelope())?;
    let scope = Scope::new(kind, &wire.namespace, &wire.selector)?;
    fresh(context, wire.stale, deadline).await?;
    let (objects, revision) =
        context.handle.query(move |state| (scope.objects(state), state.meta().revision)).await?;
    Ok(v1::ListResponse { objects: objects.iter().map(Into::into).collect(), revision: revision.0 })
}

/// What every agent holds at this revision.
pub(crate) async fn items(
    context: &Context,
    wire: v1::ItemsRequest,
    deadline: Instant,
) -> Result<v1::ItemsResponse, Error> {
    let kind = v1::ItemKind::try_from(wire.kind)
        .map_err(|_| Error::new(&OBJECT_INVALID, "no such kind of items").field("kind"))?;
    let stale = wire.stale;
    let wanted = move |key: &ItemKey| is_wanted(key, kind, &wire.namespace, &wire.name);
    fresh(context, stale, deadline).await?;
    let look = move |state: &State| {
        let keys = state.item_keys().filter(wanted);
        let items: Vec<Item> = keys.filter_map(|key| state.item(&key)).collect();
        (items, state.meta().revision)
    };
    let (items, revision) = context.handle.query(look).await?;
    let snapshot = v1::SnapshotPart {
        revision: revision.0,
        first: true,
        last: true,
        items: items.iter().map(Into::into).collect(),
    };
    Ok(v1::ItemsResponse { snapshot: Some(snapshot) })
}

/// Whether an item is of a kind, a namespace and a name; those that are empty don't narrow.
fn is_wanted(key: &ItemKey, kind: v1::ItemKind, namespace: &str, name: &str) -> bool {
    let (own, in_namespace, named) = match key {
        ItemKey::Fabric => (v1::ItemKind::Fabric, None, "main".to_owned()),
        ItemKey::Peer(node) => (v1::ItemKind::Peer, None, node.to_string()),
        ItemKey::Route(block) => (v1::ItemKind::Route, None, block.to_string()),
        ItemKey::Service(name) => (v1::ItemKind::Service, Some(&name.namespace), name.name.to_string()),
        ItemKey::Probe(pod) => (v1::ItemKind::Probe, Some(&pod.namespace), pod.name.to_string()),
        ItemKey::Owner(address) => (v1::ItemKind::Owner, None, address.to_string()),
        ItemKey::Pod(pod) => (v1::ItemKind::Pod, Some(&pod.namespace), pod.name.to_string()),
        ItemKey::Setup(pod) => (v1::ItemKind::Setup, Some(&pod.namespace), pod.name.to_string()),
        ItemKey::Policy(name) => (v1::ItemKind::Policy, Some(&name.namespace), name.name.to_string()),
        ItemKey::Namespace(name) => (v1::ItemKind::Namespace, None, name.to_string()),
        ItemKey::Identity(id) => (v1::ItemKind::Identity, None, id.to_string()),
    };
    (kind == v1::ItemKind::Unspecified || kind == own)
        && (namespace.is_empty() || in_namespace.is_none_or(|own| own.as_str() == namespace))
        && (name.is_empty() || named == name)
}

/// After this a query sees every write that was acknowledged before the call; stale reads skip it.
pub(crate) async fn fresh(context: &Context, stale: bool, deadline: Instant) -> Result<(), Error> {
    if stale { Ok(()) } else { context.handle.barrier(deadline).await }
}

/// Which objects a list or watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    kind: Kind,
    namespace: Option<NamespaceName>,
    selector: Selector,
}

impl Scope {
    /// Checks namespace and selector; an empty namespace means all.
    pub(crate) fn new(kind: Kind, namespace: &str, selector: &str) -> Result<Self, Error> {
        let namespace = match namespace {
            "" => None,
            name => Some(
                NamespaceName::new(name)
                    .map_err(|e| Error::new(&OBJECT_INVALID, e.to_string()).field("namespace"))?,
            ),
        };
        Ok(Self { kind, namespace, selector: selector.parse().map_err(not_a_selector)? })
    }

    /// Rows of the namespace.
    fn inside<'a, V: Clone>(
        &'a self,
        rows: &'a BTreeMap<ObjectName, V>,
    ) -> impl Iterator<Item = V> + use<'a, V> {
        let inside = |name: &ObjectName| self.namespace.as_ref().is_none_or(|n| name.namespace == *n);
        rows.iter().filter(move |(name, _)| inside(name)).map(|(_, row)| row.clone())
    }

    /// The objects, in order of their keys (pods by name).
    pub(crate) fn objects(&self, state: &State) -> Vec<Object> {
        let mut objects: Vec<Object> = match self.kind {
            Kind::Fabric => state.fabric().cloned().map(Object::Fabric).into_iter().collect(),
            Kind::Node => state.nodes().values().cloned().map(Object::Node).collect(),
            Kind::Pod => {
                let inside = |pod: &&Pod| self.namespace.as_ref().is_none_or(|n| pod.name.namespace == *n);
                let mut pods: Vec<_> = state.pods().values().filter(inside).collect();
                pods.sort_by(|a, b| (&a.name, a.uid).cmp(&(&b.name, b.uid)));
                pods.into_iter().map(|pod| Object::Pod(effective(state, pod))).collect()
            }
            Kind::Lease => state.leases().values().cloned().map(Object::Lease).collect(),
            Kind::Member => state.members().values().cloned().map(Object::Member).collect(),
            Kind::Namespace => state.namespaces().values().cloned().map(Object::Namespace).collect(),
            Kind::Service => self.inside(state.services()).map(Object::Service).collect(),
            Kind::Slice => self.inside(state.slices()).map(Object::Slice).collect(),
            Kind::PodSpec => self.inside(state.pod_specs()).map(Object::PodSpec).collect(),
            Kind::Pool => state.pools().values().cloned().map(Object::Pool).collect(),
            Kind::Owner => state.owners().values().cloned().map(Object::Owner).collect(),
            Kind::NetworkPolicy => self.inside(state.policies()).map(Object::NetworkPolicy).collect(),
        };
        let none = Labels::new();
        objects.retain(|object| self.selector.selects(object.labels().unwrap_or(&none)));
        objects
    }
}

fn not_a_selector(error: SelectorError) -> Error {
    Error::new(&OBJECT_INVALID, error.to_string())
        .field("selector")
        .try_this("write KEY=VALUE, KEY!=VALUE, KEY or !KEY, joined by commas", "")
}

/// A pod as services see it: joined with what people say of it. One whose name a younger pod owns stays as it is.
fn effective(state: &State, pod: &Pod) -> Pod {
    let mut shown = pod.clone();
    if let Some(known) = state.effective_pod(&pod.name).filter(|known| known.pod.uid == pod.uid) {
        shown.labels = known.labels();
        shown.ports = known.ports().to_vec();
        shown.ready = known.is_serving();
        shown.terminating = known.is_terminating();
    }
    shown
}

/// One object by the name that people use for its kind.
pub(crate) fn find(state: &State, kind: Kind, namespace: &str, name: &str) -> Result<Object, Error> {
    let missing = || {
        Error::new(&NOT_FOUND, format!("{kind} {name:?} doesn't exist"))
            .object(&kind.to_string(), namespace, name)
            .try_this("list what there is", format!("weft get {}", plural(&kind.to_string())))
    };
    let invalid = |e: &dyn std::fmt::Display| Error::new(&OBJECT_INVALID, e.to_string()).field("name");
    let whole_name = || {
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        format!("{namespace}/{name}").parse::<ObjectName>().map_err(|e| invalid(&e))
    };
    let found = match kind {
        Kind::Fabric => state.object(&Key::Fabric).filter(|_| name == "main" || name.is_empty()),
        Kind::Node => state.object(&Key::Node(NodeName::new(name).map_err(|e| invalid(&e))?)),
        Kind::Pod => state.pod_named(&whole_name()?).map(|pod| Object::Pod(effective(state, pod))),
        Kind::Lease => {
            let block = name.parse().map_err(|e: weft_model::RangeError| invalid(&e))?;
            state.object(&Key::Lease(block))
        }
        Kind::Member => {
            let matches = |member: &&Member| {
                member.name.as_str() == name || name.parse().is_ok_and(|id: u64| member.id == ReplicaId(id))
            };
            state.members().values().find(matches).cloned().map(Object::Member)
        }
        Kind::Namespace => {
            let name = NamespaceName::new(name).map_err(|e| invalid(&e))?;
            state.object(&Key::Namespace(name))
        }
        Kind::Service => state.object(&Key::Service(whole_name()?)),
        Kind::Slice => state.object(&Key::Slice(whole_name()?)),
        Kind::PodSpec => state.object(&Key::PodSpec(whole_name()?)),
        Kind::NetworkPolicy => state.object(&Key::NetworkPolicy(whole_name()?)),
        Kind::Pool => state.object(&Key::Pool(Name::new(name).map_err(|e| invalid(&e))?)),
        Kind::Owner => {
            let address = name.parse().map_err(|_| invalid(&format_args!("{name:?} is not an address")))?;
            state.object(&Key::Owner(address))
        }
    };
    found.ok_or_else(missing)
}
