//! Block leases.

use weft_model::{BlockLease, Epoch, NodeName, Revision, WallTime};

use super::shape::{ShapeError, Within, required};
use crate::v1;

impl TryFrom<v1::BlockLease> for BlockLease {
    type Error = ShapeError;

    fn try_from(wire: v1::BlockLease) -> Result<Self, ShapeError> {
        Ok(Self {
            block: required("block", wire.block)?,
            node: NodeName::new(wire.node).within("node")?,
            epoch: Epoch(wire.epoch),
            granted: WallTime(wire.granted_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&BlockLease> for v1::BlockLease {
    fn from(lease: &BlockLease) -> Self {
        Self {
            block: Some((&lease.block).into()),
            node: lease.node.to_string(),
            epoch: lease.epoch.0,
            granted_ms: lease.granted.0,
            revision: lease.revision.0,
        }
    }
}
