//! Answers and refusals.

use weft_model::{Answer, Object, Refusal, Written};

use super::{
    role::role_from_wire,
    shape::{ShapeError, Within, list, list_by, missing, required},
};
use crate::{
    internal::{self, answer::Result as Wire},
    v1,
};

/// What a command came to: the answer or the refusal, as kept for exactly-once.
pub type AnswerResult = Result<Answer, Box<Refusal>>;

/// What became of an object, for `Admin.Apply`.
pub const fn change_to_wire(written: Written) -> v1::Change {
    match written {
        Written::Created => v1::Change::Created,
        Written::Changed => v1::Change::Changed,
        Written::Unchanged => v1::Change::Unchanged,
    }
}

pub(crate) fn answer_to_wire(result: &AnswerResult) -> internal::Answer {
    let wire = match result {
        Ok(Answer::Done) => Wire::Done(true),
        Ok(Answer::Written(objects)) => Wire::Written(internal::WrittenObjects {
            objects: objects
                .iter()
                .map(|(object, written)| internal::WrittenObject {
                    object: Some(object.into()),
                    change: change_number(*written),
                })
                .collect(),
        }),
        Ok(Answer::Node(node, leases)) => Wire::Node(internal::JoinedNode {
            node: Some(node.into()),
            leases: leases.iter().map(Into::into).collect(),
        }),
        Ok(Answer::Member(member)) => Wire::Member(member.into()),
        Ok(Answer::Person(role)) => Wire::Person(v1::Role::from(*role).into()),
        Ok(Answer::Lease(lease)) => Wire::Lease(lease.into()),
        Err(refusal) => Wire::Refusal(refusal.as_ref().into()),
    };
    internal::Answer { result: Some(wire) }
}

pub(crate) fn answer_from_wire(wire: internal::Answer) -> Result<AnswerResult, ShapeError> {
    Ok(match wire.result.ok_or_else(missing).within("result")? {
        Wire::Done(_) => Ok(Answer::Done),
        Wire::Written(written) => {
            Ok(Answer::Written(list_by("written.objects", written.objects, written_from_wire)?))
        }
        Wire::Node(joined) => {
            Ok(Answer::Node(required("node.node", joined.node)?, list("node.leases", joined.leases)?))
        }
        Wire::Member(member) => Ok(Answer::Member(member.try_into().within("member")?)),
        Wire::Person(role) => Ok(Answer::Person(role_from_wire("person", role)?)),
        Wire::Lease(lease) => Ok(Answer::Lease(lease.try_into().within("lease")?)),
        Wire::Refusal(refusal) => Err(Box::new(refusal.try_into().within("refusal")?)),
    })
}

const fn change_number(written: Written) -> u32 {
    match written {
        Written::Created => 1,
        Written::Changed => 2,
        Written::Unchanged => 3,
    }
}

fn written_from_wire(wire: internal::WrittenObject) -> Result<(Object, Written), ShapeError> {
    let written = match wire.change {
        1 => Written::Created,
        2 => Written::Changed,
        3 => Written::Unchanged,
        other => return Err(ShapeError::new(format!("{other} is no change"))).within("change"),
    };
    Ok((required("object", wire.object)?, written))
}

impl From<&Refusal> for internal::Refusal {
    fn from(refusal: &Refusal) -> Self {
        let (object_kind, object_namespace, object_name) = refusal.object.clone();
        Self {
            code: u32::from(refusal.code),
            message: refusal.message.clone(),
            object_kind,
            object_namespace,
            object_name,
            field: refusal.field.clone(),
            cause: refusal.cause.clone(),
        }
    }
}

impl TryFrom<internal::Refusal> for Refusal {
    type Error = ShapeError;

    fn try_from(wire: internal::Refusal) -> Result<Self, ShapeError> {
        let code = u16::try_from(wire.code)
            .map_err(|_| ShapeError::new(format!("{} is no code", wire.code)))
            .within("code")?;
        Ok(Self {
            code,
            message: wire.message,
            object: (wire.object_kind, wire.object_namespace, wire.object_name),
            field: wire.field,
            cause: wire.cause,
        })
    }
}
