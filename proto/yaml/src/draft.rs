//! What a text says, before defaults and validation: absent stays absent.

use std::collections::BTreeMap;

use weft_model::{AddressRange, Families, NodeName, Overlay};

use crate::Place;

/// One object of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// `weft.io/v1 Fabric`.
    Fabric(FabricDraft),
    /// `weft.io/v1 Node`.
    Node(NodeDraft),
}

impl Draft {
    /// Where the object begins.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Fabric(fabric) => &fabric.place,
            Self::Node(node) => &node.place,
        }
    }
}

/// A Fabric as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricDraft {
    /// Where it begins.
    pub place: Place,
    /// `spec.families`.
    pub families: Option<Families>,
    /// `spec.overlay`.
    pub overlay: Option<Overlay>,
    /// `spec.domain`.
    pub domain: Option<String>,
    /// `spec.blockPrefixV4`.
    pub block_prefix_v4: Option<u8>,
    /// `spec.ranges.pods`.
    pub pods: Option<Vec<AddressRange>>,
    /// `spec.ranges.services`.
    pub services: Option<Vec<AddressRange>>,
    /// `spec.ranges.nodes`.
    pub nodes: Option<Vec<AddressRange>>,
    /// `spec.ranges.loadBalancers`.
    pub load_balancers: Option<Vec<AddressRange>>,
    /// `spec.masqueradeExceptions`.
    pub masquerade_exceptions: Option<Vec<AddressRange>>,
}

/// A Node as written: people write its labels, the rest is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDraft {
    /// Where it begins.
    pub place: Place,
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.labels`: all labels of the node.
    pub labels: BTreeMap<String, String>,
}
