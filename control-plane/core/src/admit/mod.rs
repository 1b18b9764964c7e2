//! Before a command is proposed: defaults, and whether what a person wrote can be accepted now.
//!
//! In: an action as it came. Out: the whole action, or why not. `apply` checks everything once more, because the
//! state may have changed until the entry is committed; it uses the same functions.

mod dns;
mod draft;
mod fabric;
mod facts;
mod labels;
mod load_balancer;
mod namespace;
mod new_fabric;
mod outside;
mod pod_spec;
mod policy;
mod problems;
mod reserved;
mod service;
mod slice;

use weft_model::{Action, Object};

pub use draft::merge;
pub use new_fabric::{default_range, new_fabric, parse_range};

pub(crate) use fabric::{check_fabric, check_family, check_replica_address, replace_fabric};
pub(crate) use facts::check_facts;
pub(crate) use labels::{check_labels, check_metadata, check_text, special};
pub(crate) use load_balancer::{
    FABRIC_POOL, check as check_pool, check_host as check_host_outside_pools, complete as complete_pool,
};
pub(crate) use namespace::{
    check as check_namespace, check_delete as check_delete_namespace, complete as complete_namespace,
};
pub(crate) use pod_spec::complete as complete_pod_spec;
pub(crate) use policy::complete as complete_policy;
pub(crate) use problems::Problems;
pub(crate) use service::{complete as complete_service, has_health_check};
pub(crate) use slice::{check_foreign, complete as complete_slice};

use crate::{Error, State, apply, limits};

/// Completes and checks what people wrote, against the state as it is now.
///
/// Objects come back whole, with the generation and revision that they have now: if that is another one when the command
/// is applied, it is refused as a conflict. Addresses and node ports that are still to be given out stay open, and what
/// depends on other objects (whether the namespace exists, whether an address is free) is left to `apply`: an object of
/// the same write may decide it. Other actions pass through, because only their place in the log decides about them.
/// A dry run that shows everything, also what would be given out and what nodes would get, is `dry_run`.
pub fn admit(state: &State, action: Action) -> Result<Action, Error> {
    match action {
        Action::Write { objects } => {
            if objects.len() > limits::MAX_OBJECTS_PER_WRITE {
                return Err(Error::TooLarge {
                    kind: "write",
                    name: "of objects".to_owned(),
                    what: "objects",
                    limit: limits::MAX_OBJECTS_PER_WRITE,
                });
            }
            let objects = objects.into_iter().map(|object| admit_object(state, object));
            Ok(Action::Write { objects: objects.collect::<Result<_, _>>()? })
        }
        Action::Found { cluster, fabric, member } => {
            check_fabric(&fabric)?;
            check_replica_address(&fabric, &member)?;
            Ok(Action::Found { cluster, fabric, member })
        }
        Action::CreateToken { .. }
        | Action::RevokeToken { .. }
        | Action::JoinNode { .. }
        | Action::JoinReplica { .. }
        | Action::JoinPerson { .. }
        | Action::PublishNode { .. }
        | Action::LeaseBlock { .. }
        | Action::ReturnBlock { .. }
        | Action::PublishPods(_)
        | Action::RemoveNode { .. }
        | Action::ChangeMember { .. }
        | Action::RemoveMember { .. }
        | Action::Delete { .. }
        | Action::AssignOwners { .. }
        | Action::NoteSilence { .. } => Ok(action),
    }
}

fn admit_object(state: &State, object: Object) -> Result<Object, Error> {
    apply::check_revision(state, &object)?;
    match object {
        Object::Fabric(fabric) => {
            let current = state.fabric().ok_or(Error::NotFounded)?;
            replace_fabric(state, current, fabric).map(Object::Fabric)
        }
        Object::Node(node) => apply::merge_node(state, &node).map(Object::Node),
        Object::Pod(pod) => Err(Error::ReadOnlyKind { kind: "pod", name: pod.name.to_string() }),
        Object::Lease(lease) => Err(Error::ReadOnlyKind { kind: "block", name: lease.block.to_string() }),
        Object::Member(member) => Err(Error::ReadOnlyKind { kind: "member", name: member.name.to_string() }),
        Object::Owner(owner) => Err(Error::ReadOnlyKind { kind: "owner", name: owner.address.to_string() }),
        Object::Namespace(namespace) => complete_namespace(state, namespace).map(Object::Namespace),
        Object::Service(service) => complete_service(state, service).map(Object::Service),
        Object::Slice(slice) => complete_slice(state, slice).map(Object::Slice),
        Object::PodSpec(spec) => complete_pod_spec(state, spec).map(Object::PodSpec),
        Object::Pool(pool) => complete_pool(state, pool).map(Object::Pool),
        Object::NetworkPolicy(policy) => complete_policy(state, policy).map(Object::NetworkPolicy),
    }
}
