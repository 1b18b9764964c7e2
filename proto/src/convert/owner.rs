//! Owners of load-balancer addresses.

use weft_model::{AddressOwner, NodeName, Revision};

use super::{
    address::{address_from_wire, address_to_wire},
    name::{node_or_none, text_or_empty},
    shape::{ShapeError, Within},
};
use crate::v1;

impl TryFrom<v1::AddressOwner> for AddressOwner {
    type Error = ShapeError;

    fn try_from(wire: v1::AddressOwner) -> Result<Self, ShapeError> {
        Ok(Self {
            address: address_from_wire(&wire.address).within("address")?,
            node: NodeName::new(wire.node).within("node")?,
            successor: node_or_none("successor", wire.successor)?,
            epoch: wire.epoch,
            revision: Revision(wire.revision),
        })
    }
}

impl From<&AddressOwner> for v1::AddressOwner {
    fn from(owner: &AddressOwner) -> Self {
        Self {
            address: address_to_wire(owner.address),
            node: owner.node.to_string(),
            successor: text_or_empty(owner.successor.as_ref()),
            epoch: owner.epoch,
            revision: owner.revision.0,
        }
    }
}
