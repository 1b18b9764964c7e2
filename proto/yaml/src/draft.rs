//! What a text says, before defaults and validation: absent stays absent.

use std::collections::BTreeMap;

use weft_model::{AddressRange, Families, Key, Kind, NodeName, Object, Overlay};

use crate::Place;

/// One object of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// `weft.io/v1 Fabric`.
    Fabric(FabricDraft),
    /// `weft.io/v1 Node`.
    Node(NodeDraft),
    /// Namespace, Service, EndpointSlice, Pod, LoadBalancerPool: an object is what its text says, with Kubernetes'
    /// defaults for the rest.
    Whole(WholeDraft),
}

impl Draft {
    /// Where the object begins.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Fabric(fabric) => &fabric.place,
            Self::Node(node) => &node.place,
            Self::Whole(whole) => &whole.place,
        }
    }

    /// What it is stored under.
    pub fn key(&self) -> Key {
        match self {
            Self::Fabric(_) => Key::Fabric,
            Self::Node(node) => Key::Node(node.name.clone()),
            Self::Whole(whole) => whole.object.key(),
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
    /// `spec.nodePortAddresses`.
    pub node_port_addresses: Option<Vec<AddressRange>>,
    /// `spec.nodePortRange`.
    pub node_port_range: Option<(u16, u16)>,
    /// `spec.externalIPRanges`.
    pub external_ip_ranges: Option<Vec<AddressRange>>,
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

/// An object as written. What the control plane makes (identity, times, revision, status) is zero or empty in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeDraft {
    /// Where it begins.
    pub place: Place,
    /// The object.
    pub object: Object,
}

/// An object that a text names, for whoever needs no more than its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it begins.
    pub place: Place,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
