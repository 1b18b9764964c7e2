//! Roles.

use weft_model::Role;

use super::shape::{ShapeError, Within};
use crate::v1;

/// A role from an enum field.
pub fn role_from_wire(field: &str, value: i32) -> Result<Role, ShapeError> {
    match v1::Role::try_from(value) {
        Ok(v1::Role::Replica) => Ok(Role::Replica),
        Ok(v1::Role::Node) => Ok(Role::Node),
        Ok(v1::Role::Admin) => Ok(Role::Admin),
        Ok(v1::Role::Viewer) => Ok(Role::Viewer),
        Ok(v1::Role::Unspecified) | Err(_) => Err(ShapeError::new("use node, replica, admin or viewer")),
    }
    .within(field)
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Replica => Self::Replica,
            Role::Node => Self::Node,
            Role::Admin => Self::Admin,
            Role::Viewer => Self::Viewer,
        }
    }
}
