//! Replicas of the control plane: how one gets its Raft id, and what Raft made of it.

use std::net::SocketAddr;

use weft_model::{Answer, Key, Member, MemberRole, Object, ReplicaId, ReplicaName, Role};

use crate::{Error, admit, apply::token, edit::Edit};

/// A replica joins: it gets an id that was never given out. It is a learner without a log until Raft's
/// configuration includes it.
pub(crate) fn join(
    edit: &mut Edit<'_>,
    hash: &[u8; 32],
    name: &ReplicaName,
    address: SocketAddr,
) -> Result<Answer, Error> {
    let token = token::redeem(edit, hash, &[Role::Replica])?;
    let revision = edit.revision();
    let id = edit.state().meta().next_replica;
    let member = Member { id, name: name.clone(), address, role: MemberRole::Learner, revision };
    check(edit, &member)?;
    edit.meta().next_replica = id.next();
    edit.put_object(Object::Member(member.clone()));
    token::spend(edit, token, format!("replica/{name}"));
    Ok(Answer::Member(member))
}

/// The member list follows a configuration change that Raft applied.
pub(crate) fn change(edit: &mut Edit<'_>, member: &Member) -> Result<Answer, Error> {
    if member.id == ReplicaId(0) {
        return Err(Error::invalid("member", &member.name, "spec.id", "Raft ids begin with 1"));
    }
    check(edit, member)?;
    let meta = edit.meta();
    meta.next_replica = meta.next_replica.max(member.id.next());
    edit.put_object(Object::Member(member.clone()));
    Ok(Answer::Done)
}

/// A replica left Raft's configuration; again is fine.
pub(crate) fn remove(edit: &mut Edit<'_>, id: ReplicaId) -> Answer {
    edit.delete_object(Key::Member(id));
    Answer::Done
}

/// Name and address belong to one replica, and the address lies outside of the fabric.
fn check(edit: &Edit<'_>, member: &Member) -> Result<(), Error> {
    let taken =
        edit.state().members().values().any(|other| {
            other.id != member.id && (other.name == member.name || other.address == member.address)
        });
    if taken {
        let name = format!("{} at {}", member.name, member.address);
        return Err(Error::AlreadyExists { kind: "member", name });
    }
    let port = member.address.port();
    let known = edit.state().members().get(&member.id).is_some_and(|old| old.address == member.address);
    if let Some(holder) = edit.state().node_port_holder(port).filter(|_| !known) {
        let why = format!("port {port} is a port of the nodes that service {} holds", holder.name);
        return Err(Error::invalid("member", &member.name, "spec.address", why));
    }
    let fabric = edit.state().fabric().ok_or(Error::NotFounded)?;
    admit::check_host_outside_pools(edit.state(), "member", member.name.as_str(), member.address.ip())?;
    admit::check_replica_address(fabric, member)
}
