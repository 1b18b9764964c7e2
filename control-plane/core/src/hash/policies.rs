//! Feeding policies.

use weft_model::{
    DefaultPolicy, LabelOperator, LabelRequirement, LabelSelector, NetworkPolicy, NodeEgress, PolicyPeer,
    PolicyPort, PolicyRule, PolicySettings, PolicySpec, PortMatch,
};

use super::{Feed, Hasher, numbered};

feed_fields! {
    NetworkPolicy { name uid labels annotations spec generation created revision }
    PolicySpec { pods isolates_ingress isolates_egress ingress egress }
    PolicyRule { peers ports }
    PolicyPort { protocol port }
    LabelSelector { labels expressions }
    LabelRequirement { key operator values }
    PolicySettings { default node_egress }
}

feed_variants! {
    LabelOperator { In = 0 NotIn = 1 Exists = 2 DoesNotExist = 3 }
    DefaultPolicy { Allow = 0 DenyIngress = 1 DenyEgress = 2 Deny = 3 }
    NodeEgress { Policy = 0 Allow = 1 }
}

impl Feed for PolicyPeer {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Pods { namespaces, pods } => {
                numbered(hasher, 0, namespaces);
                pods.feed(hasher);
            }
            Self::Block { range, except } => {
                numbered(hasher, 1, range);
                except.feed(hasher);
            }
        }
    }
}

impl Feed for PortMatch {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Any => 0_u8.feed(hasher),
            Self::Numbers(first, last) => {
                numbered(hasher, 1, first);
                last.feed(hasher);
            }
            Self::Name(name) => numbered(hasher, 2, name),
        }
    }
}
