//! Get, List and Items: linearizable unless asked for as stale; every answer carries its revision.

use std::time::Instant;

use weft_core::State;
use weft_errors::{Coded, Error, NOT_FOUND, OBJECT_INVALID};
use weft_model::{Key, Kind, Member, NamespaceName, NodeName, Object, PodName, ReplicaId};
use weft_proto::{convert::kind_from_wire, v1};

use super::select::Selector;
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
    fresh(context, wire.stale, deadline).await?;
    let (items, revision) = context.handle.query(|state| (state.items(), state.meta().revision)).await?;
    let snapshot = v1::SnapshotPart {
        revision: revision.0,
        first: true,
        last: true,
        items: items.iter().map(Into::into).collect(),
    };
    Ok(v1::ItemsResponse { snapshot: Some(snapshot) })
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
        Ok(Self { kind, namespace, selector: Selector::parse(selector)? })
    }

    /// The objects, in order of their keys (pods by name).
    pub(crate) fn objects(&self, state: &State) -> Vec<Object> {
        let mut objects: Vec<Object> = match self.kind {
            Kind::Fabric => state.fabric().cloned().map(Object::Fabric).into_iter().collect(),
            Kind::Node => state.nodes().values().cloned().map(Object::Node).collect(),
            Kind::Pod => {
                let inside =
                    |pod: &&weft_model::Pod| self.namespace.as_ref().is_none_or(|n| pod.name.namespace == *n);
                let mut pods: Vec<_> = state.pods().values().filter(inside).cloned().collect();
                pods.sort_by(|a, b| (&a.name, a.uid).cmp(&(&b.name, b.uid)));
                pods.into_iter().map(Object::Pod).collect()
            }
            Kind::Lease => state.leases().values().cloned().map(Object::Lease).collect(),
            Kind::Member => state.members().values().cloned().map(Object::Member).collect(),
        };
        objects.retain(|object| self.selector.selects(object));
        objects
    }
}

/// One object by the name that people use for its kind.
pub(crate) fn find(state: &State, kind: Kind, namespace: &str, name: &str) -> Result<Object, Error> {
    let missing = || {
        Error::new(&NOT_FOUND, format!("{kind} {name:?} doesn't exist"))
            .object(&kind.to_string(), namespace, name)
            .try_this("list what there is", format!("weft get {kind}s"))
    };
    let invalid = |e: &dyn std::fmt::Display| Error::new(&OBJECT_INVALID, e.to_string()).field("name");
    let found = match kind {
        Kind::Fabric => state.object(&Key::Fabric).filter(|_| name == "main" || name.is_empty()),
        Kind::Node => state.object(&Key::Node(NodeName::new(name).map_err(|e| invalid(&e))?)),
        Kind::Pod => {
            let namespace = if namespace.is_empty() { "default" } else { namespace };
            let named: PodName =
                format!("{namespace}/{name}").parse().map_err(|e: weft_model::NameError| invalid(&e))?;
            state.pod_named(&named).cloned().map(Object::Pod)
        }
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
    };
    found.ok_or_else(missing)
}
