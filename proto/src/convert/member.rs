//! Replicas of the control plane.

use weft_model::{Member, MemberRole, ReplicaId, ReplicaName, Revision};

use super::shape::{ShapeError, Within, required};
use crate::v1;

/// A replica's Raft id: never 0.
pub(super) fn replica_id_from_wire(field: &str, id: u64) -> Result<ReplicaId, ShapeError> {
    if id == 0 {
        return Err(ShapeError::new("a replica's id is never 0")).within(field);
    }
    Ok(ReplicaId(id))
}

impl TryFrom<v1::Member> for Member {
    type Error = ShapeError;

    fn try_from(wire: v1::Member) -> Result<Self, ShapeError> {
        Ok(Self {
            id: replica_id_from_wire("id", wire.id)?,
            name: ReplicaName::new(wire.name).within("name")?,
            address: required("address", wire.address)?,
            role: if wire.voter { MemberRole::Voter } else { MemberRole::Learner },
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Member> for v1::Member {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.0,
            name: member.name.to_string(),
            address: Some((&member.address).into()),
            voter: member.role == MemberRole::Voter,
            revision: member.revision.0,
        }
    }
}
