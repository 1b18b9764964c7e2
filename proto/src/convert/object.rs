//! Any object, and kinds.

use weft_model::{Kind, Object};

use super::shape::{ShapeError, Within, list, missing};
use crate::v1::{self, object::Kind as Wire};

impl TryFrom<v1::Object> for Object {
    type Error = ShapeError;

    fn try_from(wire: v1::Object) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            Wire::Fabric(fabric) => fabric.try_into().map(Self::Fabric).within("fabric"),
            Wire::Node(node) => node.try_into().map(Self::Node).within("node"),
            Wire::Pod(pod) => pod.try_into().map(Self::Pod).within("pod"),
            Wire::Lease(lease) => lease.try_into().map(Self::Lease).within("lease"),
            Wire::Member(member) => member.try_into().map(Self::Member).within("member"),
        }
    }
}

impl From<&Object> for v1::Object {
    fn from(object: &Object) -> Self {
        let kind = match object {
            Object::Fabric(fabric) => Wire::Fabric(fabric.into()),
            Object::Node(node) => Wire::Node(node.into()),
            Object::Pod(pod) => Wire::Pod(pod.into()),
            Object::Lease(lease) => Wire::Lease(lease.into()),
            Object::Member(member) => Wire::Member(member.into()),
        };
        Self { kind: Some(kind) }
    }
}

/// Objects of a repeated field.
pub fn objects_from_wire(field: &str, values: Vec<v1::Object>) -> Result<Vec<Object>, ShapeError> {
    list(field, values)
}

/// A kind from an enum field.
pub fn kind_from_wire(field: &str, value: i32) -> Result<Kind, ShapeError> {
    match v1::Kind::try_from(value) {
        Ok(v1::Kind::Fabric) => Ok(Kind::Fabric),
        Ok(v1::Kind::Node) => Ok(Kind::Node),
        Ok(v1::Kind::Pod) => Ok(Kind::Pod),
        Ok(v1::Kind::Lease) => Ok(Kind::Lease),
        Ok(v1::Kind::Member) => Ok(Kind::Member),
        Ok(v1::Kind::Unspecified) | Err(_) => Err(ShapeError::new("no such kind")),
    }
    .within(field)
}

impl From<Kind> for v1::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Fabric => Self::Fabric,
            Kind::Node => Self::Node,
            Kind::Pod => Self::Pod,
            Kind::Lease => Self::Lease,
            Kind::Member => Self::Member,
        }
    }
}
