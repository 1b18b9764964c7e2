//! Delete: what people wrote goes, all of it or nothing; what others hold is refused with the way that leads there.

use std::time::Instant;

use weft_core::State;
use weft_errors::{Coded, Error, NOT_FOUND, OBJECT_INVALID, READ_ONLY_KIND};
use weft_model::{Action, Key, Kind, Object, ObjectName};
use weft_proto::{convert::kind_from_wire, v1};

use super::{
    apply::foresee,
    changes,
    node::named,
    read::{find, fresh},
};
use crate::context::Context;

/// Deletes objects.
pub(crate) async fn delete(
    context: &Context,
    wire: v1::DeleteRequest,
    deadline: Instant,
) -> Result<v1::DeleteResponse, Error> {
    let v1::DeleteRequest { mutation, kind, namespace, name, more, ignore_missing, dry_run, tell_changes } =
        wire;
    let mut wanted = vec![v1::ObjectRef { kind, namespace, name }];
    wanted.extend(more);
    fresh(context, false, deadline).await?;
    let asked = wanted.clone();
    let chosen = context.handle.query(move |state| choose(state, asked, ignore_missing)).await?;
    let Chosen { revision, action, removed } = chosen?;
    let Some(action) = action else {
        return Ok(v1::DeleteResponse { revision, removed, policy_change: None });
    };
    let (foreseen, sight) = foresee(context, &action, dry_run, tell_changes).await?;
    let revision = match foreseen.filter(|_| dry_run) {
        Some(outcome) => {
            outcome.answer.map_err(|e| e.envelope())?;
            revision
        }
        None => {
            let applied = context.propose(mutation, action, deadline).await?;
            applied.answer?;
            applied.revision.0
        }
    };
    let policy_change = match sight.filter(|_| tell_changes) {
        Some(sight) => changes::tell(context, sight, deadline).await,
        None => None,
    };
    Ok(v1::DeleteResponse { revision, removed, policy_change })
}

/// What a request comes to.
#[derive(Debug)]
struct Chosen {
    /// Revision of the state that was looked at.
    revision: u64,
    /// The command; `None` when everything had been missing.
    action: Option<Action>,
    /// What it removes.
    removed: Vec<v1::ObjectRef>,
}

fn choose(state: &State, wanted: Vec<v1::ObjectRef>, ignore_missing: bool) -> Result<Chosen, Error> {
    let mut keys: Vec<(Key, v1::ObjectRef)> = Vec::new();
    for reference in wanted {
        let kind = kind_from_wire("kind", reference.kind).map_err(|e| e.envelope())?;
        match key_of(state, kind, &reference) {
            Ok(key) if keys.iter().any(|(known, _)| *known == key) => {
                let error = Error::new(&OBJECT_INVALID, format!("{key} is given twice"));
                return Err(error.object(&kind.to_string(), &reference.namespace, &reference.name));
            }
            Ok(key) => keys.push((key, reference)),
            Err(error) if ignore_missing && error.registered() == &NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    // A namespace takes with it what is left in it: it goes last.
    keys.sort_by_key(|(key, _)| matches!(key, Key::Namespace(_)));
    let action = match keys.as_slice() {
        [] => None,
        [(Key::Node(name), _)] => Some(Action::RemoveNode { name: name.clone() }),
        several => {
            if let Some((_, node)) = several.iter().find(|(key, _)| matches!(key, Key::Node(_))) {
                let error = Error::new(&OBJECT_INVALID, "a node is removed alone, not together with others");
                return Err(error
                    .object("node", "", &node.name)
                    .try_this("remove it by itself", format!("weft node remove {}", node.name)));
            }
            Some(Action::Delete { keys: several.iter().map(|(key, _)| key.clone()).collect() })
        }
    };
    let removed = keys.into_iter().map(|(_, reference)| reference).collect();
    Ok(Chosen { revision: state.meta().revision.0, action, removed })
}

/// The key of an object that is there and that people may delete.
fn key_of(state: &State, kind: Kind, reference: &v1::ObjectRef) -> Result<Key, Error> {
    let v1::ObjectRef { namespace, name, .. } = reference;
    let refused = |text: &str, command: String| {
        Err(Error::new(&READ_ONLY_KIND, format!("a {kind} isn't deleted by hand"))
            .object(&kind.to_string(), namespace, name)
            .try_this(text, command))
    };
    let found = find(state, kind, namespace, name);
    match (kind, found) {
        // What was said of a pod can be taken back, whether it lives or not; its life is its node's.
        (Kind::Pod, found) => match (said_of(state, namespace, name), found) {
            (Some(key), _) => Ok(key),
            (None, Err(missing)) => Err(missing),
            (None, Ok(_)) => refused("its node holds it: remove it there", format!("weft pod remove {name}")),
        },
        (_, Err(missing)) => Err(missing),
        (Kind::Node, Ok(_)) => Ok(Key::Node(named(name)?)),
        (
            Kind::Namespace | Kind::Service | Kind::Slice | Kind::PodSpec | Kind::Pool | Kind::NetworkPolicy,
            Ok(object),
        ) => Ok(Object::key(&object)),
        (Kind::Lease, Ok(_)) => {
            refused("it goes when its node gives it back or is removed", "weft node remove NODE".to_owned())
        }
        (Kind::Fabric, Ok(_)) => {
            refused("change it instead: the cluster can't be without it", "weft apply -f FILE".to_owned())
        }
        (Kind::Member, Ok(_)) => refused("end it on its machine: the cluster counts on it", String::new()),
        (Kind::Owner, Ok(_)) => {
            refused("it goes with the service that has the address", "weft delete service NAME".to_owned())
        }
    }
}

/// Key of what people say of a pod.
fn said_of(state: &State, namespace: &str, name: &str) -> Option<Key> {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let name: ObjectName = format!("{namespace}/{name}").parse().ok()?;
    state.pod_specs().contains_key(&name).then_some(Key::PodSpec(name))
}
