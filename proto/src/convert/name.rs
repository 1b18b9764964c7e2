//! Names of objects.

use weft_model::{Name, NamespaceName, NodeName, ObjectName};

use super::shape::{ShapeError, Within};
use crate::v1;

impl TryFrom<v1::ObjectName> for ObjectName {
    type Error = ShapeError;

    fn try_from(wire: v1::ObjectName) -> Result<Self, ShapeError> {
        Ok(Self {
            namespace: NamespaceName::new(wire.namespace).within("namespace")?,
            name: Name::new(wire.name).within("name")?,
        })
    }
}

impl From<&ObjectName> for v1::ObjectName {
    fn from(name: &ObjectName) -> Self {
        Self { namespace: name.namespace.to_string(), name: name.name.to_string() }
    }
}

/// A node that may be absent: empty means so.
pub(super) fn node_or_none(field: &str, name: String) -> Result<Option<NodeName>, ShapeError> {
    if name.is_empty() { Ok(None) } else { NodeName::new(name).map(Some).within(field) }
}

/// A name that may be absent: empty means so.
pub(super) fn name_or_none(field: &str, name: String) -> Result<Option<Name>, ShapeError> {
    if name.is_empty() { Ok(None) } else { Name::new(name).map(Some).within(field) }
}

/// The text of a name that may be absent.
pub(super) fn text_or_empty(name: Option<&impl ToString>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}
