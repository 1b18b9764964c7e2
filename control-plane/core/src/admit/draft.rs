//! What people wrote, on top of what is there: absent fields keep their value, and so does what nobody can write.

use weft_model::{DEFAULT_POLICY_LABEL, Draft, Kind, Node, NodeDraft, Object};

use crate::{Error, State};

/// The objects that drafts amount to now, in the order in which they are written: what others stand on comes first,
/// however the drafts are ordered. `admit` checks them.
pub fn merge(state: &State, mut drafts: Vec<Draft>) -> Result<Vec<Object>, Error> {
    drafts.sort_by_key(|draft| rank(draft.key().kind()));
    drafts.into_iter().map(|draft| whole(state, draft)).collect()
}

/// In which order kinds are written: a service needs its namespace, its pool and the fabric's ranges; a policy its
/// namespace.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Fabric => 0,
        Kind::Namespace => 1,
        Kind::Pool => 2,
        Kind::Service | Kind::NetworkPolicy => 4,
        Kind::Node | Kind::Pod | Kind::Lease | Kind::Member | Kind::Slice | Kind::PodSpec | Kind::Owner => 3,
    }
}

fn whole(state: &State, draft: Draft) -> Result<Object, Error> {
    match draft {
        Draft::Fabric(draft) => {
            let now = state.fabric().ok_or(Error::NotFounded)?;
            Ok(Object::Fabric(draft.onto(now.clone())))
        }
        Draft::Node(NodeDraft { name, labels }) => match state.nodes().get(&name) {
            Some(node) => Ok(Object::Node(Node { labels, ..node.clone() })),
            None => Err(Error::NotJoined { node: name }),
        },
        Draft::Whole(object) => Ok(known(state, object)),
    }
}

/// An object with what the control plane keeps of the one that is there: its life, its age, and which change it is on
/// top of.
fn known(state: &State, mut object: Object) -> Object {
    let now = state.object(&object.key());
    match (&mut object, now) {
        (Object::Namespace(wanted), Some(Object::Namespace(now))) => {
            (wanted.created, wanted.revision) = (now.created, now.revision);
            // What closes pods goes only by a word that says so: a text that doesn't know of it opens nothing.
            if let Some(word) = now.labels.get(DEFAULT_POLICY_LABEL) {
                wanted.labels.entry(DEFAULT_POLICY_LABEL.to_owned()).or_insert_with(|| word.clone());
            }
        }
        (Object::Service(wanted), Some(Object::Service(now))) => {
            (wanted.uid, wanted.created) = (now.uid, now.created);
            (wanted.generation, wanted.revision) = (now.generation, now.revision);
        }
        (Object::Slice(wanted), Some(Object::Slice(now))) => {
            (wanted.uid, wanted.created) = (now.uid, now.created);
            (wanted.generation, wanted.revision) = (now.generation, now.revision);
        }
        (Object::PodSpec(wanted), Some(Object::PodSpec(now))) => {
            (wanted.generation, wanted.revision) = (now.generation, now.revision);
        }
        (Object::NetworkPolicy(wanted), Some(Object::NetworkPolicy(now))) => {
            (wanted.uid, wanted.created) = (now.uid, now.created);
            (wanted.generation, wanted.revision) = (now.generation, now.revision);
        }
        (Object::Pool(wanted), Some(Object::Pool(now))) => {
            (wanted.generation, wanted.revision) = (now.generation, now.revision);
        }
        _ => {}
    }
    object
}
