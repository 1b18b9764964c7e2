//! The first entry of a cluster.

use weft_model::{Answer, ClusterId, Fabric, Member, MemberRole, Object, ReplicaId};

use crate::{Error, admit, edit::Edit};

/// Founds the cluster: identity, fabric, first replica.
pub(crate) fn found(
    edit: &mut Edit<'_>,
    cluster: ClusterId,
    fabric: &Fabric,
    member: &Member,
) -> Result<Answer, Error> {
    if edit.state().fabric().is_some() {
        return Err(Error::AlreadyFounded);
    }
    let mut fabric = fabric.clone();
    if fabric.node_port_range == (0, 0) {
        fabric.node_port_range = weft_model::DEFAULT_NODE_PORT_RANGE;
    }
    admit::check_fabric(&fabric)?;
    admit::check_replica_address(&fabric, member)?;
    if member.id == ReplicaId(0) {
        return Err(Error::invalid("member", &member.name, "spec.id", "Raft ids begin with 1"));
    }
    edit.put_object(Object::Fabric(Fabric { generation: 1, ..fabric }));
    edit.put_object(Object::Member(Member { role: MemberRole::Voter, ..member.clone() }));
    let meta = edit.meta();
    meta.cluster = cluster;
    meta.next_replica = member.id.next();
    Ok(Answer::Done)
}
