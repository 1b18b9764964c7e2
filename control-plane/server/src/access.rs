//! Who asks, and may they: default deny, one row per call.

use tonic::Request;
use weft_errors::{Error, ROLE_DENIED};
use weft_model::{Holder, NodeName, NodeUid, Part, ReplicaId, Role};

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Reads that show no secret.
    Read,
    /// Changes.
    Write,
}

/// The holder of the caller's certificate.
pub(crate) fn holder<T>(request: &Request<T>) -> Result<Holder, Error> {
    weft_rpc::caller(request).map(|caller| caller.holder).map_err(|status| weft_rpc::error_of(&status))
}

/// A person or program for `Admin`; replicas may ask on behalf of one.
pub(crate) fn person<T>(request: &Request<T>, need: Need) -> Result<Holder, Error> {
    let holder = holder(request)?;
    match (holder.part.role(), need) {
        (Role::Admin, _) | (Role::Viewer, Need::Read) => Ok(holder),
        (Role::Viewer, Need::Write) => Err(denied(&holder, "a context of role admin")),
        (Role::Node | Role::Replica, _) => Err(denied(&holder, "a context of role admin or viewer")),
    }
}

/// A node, for `Sync`: it can only speak for itself.
pub(crate) fn node<T>(request: &Request<T>) -> Result<(NodeName, NodeUid), Error> {
    let holder = holder(request)?;
    match &holder.part {
        Part::Node { name, uid } => Ok((name.clone(), *uid)),
        Part::Replica { .. } | Part::Admin { .. } | Part::Viewer { .. } => {
            Err(denied(&holder, "a node's certificate"))
        }
    }
}

/// A replica, for `Raft`: its id is bound to its certificate.
pub(crate) fn replica<T>(request: &Request<T>) -> Result<ReplicaId, Error> {
    let holder = holder(request)?;
    match &holder.part {
        Part::Replica { id, .. } => Ok(*id),
        Part::Node { .. } | Part::Admin { .. } | Part::Viewer { .. } => {
            Err(denied(&holder, "a replica's certificate"))
        }
    }
}

fn denied(holder: &Holder, needed: &str) -> Error {
    let role = holder.part.role();
    Error::new(&ROLE_DENIED, format!("{role} {} may not do this; it needs {needed}", holder.part.name()))
        .object(&role.to_string(), "", holder.part.name())
}
