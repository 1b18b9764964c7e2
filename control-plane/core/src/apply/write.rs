//! What people write, one kind after the other. All objects or none.

use weft_model::{AddressRange, Answer, Fabric, Object, RecordKey, Revision, Written};

use super::{node, object, service};
use crate::{Error, State, admit, edit::Edit, limits, pool};

/// Writes the objects in their order; an error undoes those before it.
pub(crate) fn write(edit: &mut Edit<'_>, objects: &[Object]) -> Result<Answer, Error> {
    if objects.len() > limits::MAX_OBJECTS_PER_WRITE {
        return Err(Error::TooLarge {
            kind: "write",
            name: "of objects".to_owned(),
            what: "objects",
            limit: limits::MAX_OBJECTS_PER_WRITE,
        });
    }
    // Before any of them is written: two objects of one write may be the same one.
    objects.iter().try_for_each(|object| check_revision(edit.state(), object))?;
    let written = objects.iter().map(|object| write_one(edit, object)).collect::<Result<_, _>>()?;
    Ok(Answer::Written(written))
}

/// Refuses an object that was made from another revision than the stored one: somebody else's change would be lost.
/// Revision 0 asks for no such check.
pub(crate) fn check_revision(state: &State, object: &Object) -> Result<(), Error> {
    let (kind, name, given, stored) = match object {
        Object::Fabric(wanted) => {
            ("fabric", "main".to_owned(), wanted.revision, state.fabric().map(|f| f.revision))
        }
        Object::Node(wanted) => {
            let stored = state.nodes().get(&wanted.name).map(|node| node.revision);
            ("node", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::Namespace(wanted) => {
            let stored = state.namespaces().get(&wanted.name).map(|o| o.revision);
            ("namespace", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::Service(wanted) => {
            let stored = state.services().get(&wanted.name).map(|o| o.revision);
            ("service", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::Slice(wanted) => {
            let stored = state.slices().get(&wanted.name).map(|o| o.revision);
            ("endpointslice", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::PodSpec(wanted) => {
            let stored = state.pod_specs().get(&wanted.name).map(|o| o.revision);
            ("podspec", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::Pool(wanted) => {
            let stored = state.pools().get(&wanted.name).map(|o| o.revision);
            ("loadbalancerpool", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::NetworkPolicy(wanted) => {
            let stored = state.policies().get(&wanted.name).map(|o| o.revision);
            ("networkpolicy", wanted.name.to_string(), wanted.revision, stored)
        }
        Object::Pod(_) | Object::Lease(_) | Object::Member(_) | Object::Owner(_) => return Ok(()),
    };
    match stored {
        Some(stored) if given != Revision(0) && given != stored => {
            Err(Error::Conflict { kind, name, given, stored })
        }
        Some(_) | None => Ok(()),
    }
}

fn write_one(edit: &mut Edit<'_>, wanted: &Object) -> Result<(Object, Written), Error> {
    let read_only = |kind, name: String| Err(Error::ReadOnlyKind { kind, name });
    let key = wanted.key();
    let written = match wanted {
        Object::Fabric(wanted) => write_fabric(edit, wanted)?,
        Object::Node(wanted) => {
            let node = node::merge_node(edit.state(), wanted)?;
            edit.put_object(Object::Node(node))
        }
        Object::Pod(pod) => return read_only("pod", pod.name.to_string()),
        Object::Lease(lease) => return read_only("block", lease.block.to_string()),
        Object::Member(member) => return read_only("member", member.name.to_string()),
        Object::Owner(owner) => return read_only("owner", owner.address.to_string()),
        Object::Namespace(wanted) => object::write_namespace(edit, wanted)?,
        Object::Service(wanted) => service::write(edit, wanted)?,
        Object::Slice(wanted) => object::write_slice(edit, wanted)?,
        Object::PodSpec(wanted) => object::write_pod_spec(edit, wanted)?,
        Object::Pool(wanted) => object::write_pool(edit, wanted)?,
        Object::NetworkPolicy(wanted) => object::write_policy(edit, wanted)?,
    };
    match edit.state().object(&key) {
        Some(stored) => Ok((stored, written)),
        None => Err(Error::NotFound { kind: "object", name: key.to_string() }),
    }
}

fn write_fabric(edit: &mut Edit<'_>, wanted: &Fabric) -> Result<Written, Error> {
    let current = edit.state().fabric().cloned().ok_or(Error::NotFounded)?;
    let mut new = admit::replace_fabric(edit.state(), &current, wanted.clone())?;
    if new == current {
        return Ok(Written::Unchanged);
    }
    new.generation = current.generation + 1;
    let gone: Vec<AddressRange> =
        current.ranges.pods.iter().filter(|range| !new.ranges.pods.contains(range)).copied().collect();
    // A freed block outside of the ranges is no block any more; one that lies in a grown range keeps its place.
    let lost: Vec<_> = gone
        .iter()
        .flat_map(|range| edit.state().freed_in(*range))
        .map(|freed| freed.block)
        .filter(|block| pool::block_position(&new, *block).is_none())
        .collect();
    for block in lost {
        edit.delete(&RecordKey::Freed(block));
    }
    let pools_changed = current.ranges.load_balancers != new.ranges.load_balancers;
    let written = edit.put_object(Object::Fabric(new));
    if pools_changed {
        service::follow_pools(edit);
    }
    Ok(written)
}
