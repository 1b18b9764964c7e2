//! Namespaces.

use weft_model::{Namespace, NamespaceName, Revision, WallTime};

use super::shape::{ShapeError, Within};
use crate::v1;

impl TryFrom<v1::Namespace> for Namespace {
    type Error = ShapeError;

    fn try_from(wire: v1::Namespace) -> Result<Self, ShapeError> {
        Ok(Self {
            name: NamespaceName::new(wire.name).within("name")?,
            labels: wire.labels,
            created: WallTime(wire.created_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Namespace> for v1::Namespace {
    fn from(namespace: &Namespace) -> Self {
        Self {
            name: namespace.name.to_string(),
            labels: namespace.labels.clone(),
            created_ms: namespace.created.0,
            revision: namespace.revision.0,
        }
    }
}
