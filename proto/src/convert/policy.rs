//! Network policies, and the items that follow from them.

use weft_model::{
    DefaultPolicy, Identity, IdentityId, IdentityItem, LabelOperator, LabelRequirement, LabelSelector,
    NamespaceItem, NamespaceName, NetworkPolicy, NodeEgress, PolicyItem, PolicyPeer, PolicyPort, PolicyRule,
    PolicySettings, PolicySpec, PortMatch, Revision, WallTime,
};

use super::{
    address::{port_from_wire, ranges_from_wire, ranges_to_wire},
    pod::protocol_from_wire,
    shape::{ShapeError, Within, copied, list, missing, object_uid_from_wire, optional, required},
};
use crate::v1::{self, policy_peer::Kind as WirePeer, policy_port::Ports as WirePorts};

/// Settings; absent from a writer that knew none: the default.
pub(super) fn settings_from_wire(
    field: &str,
    wire: Option<v1::PolicySettings>,
) -> Result<PolicySettings, ShapeError> {
    Ok(optional(field, wire)?.unwrap_or_default())
}

/// Settings; the default isn't said.
pub(super) fn settings_to_wire(settings: PolicySettings) -> Option<v1::PolicySettings> {
    (settings != PolicySettings::default()).then(|| v1::PolicySettings {
        default_policy: v1::DefaultPolicy::from(settings.default).into(),
        node_egress: v1::NodeEgress::from(settings.node_egress).into(),
    })
}

impl TryFrom<v1::PolicySettings> for PolicySettings {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicySettings) -> Result<Self, ShapeError> {
        let default = match v1::DefaultPolicy::try_from(wire.default_policy) {
            Ok(v1::DefaultPolicy::Unspecified | v1::DefaultPolicy::Allow) => Ok(DefaultPolicy::Allow),
            Ok(v1::DefaultPolicy::DenyIngress) => Ok(DefaultPolicy::DenyIngress),
            Ok(v1::DefaultPolicy::DenyEgress) => Ok(DefaultPolicy::DenyEgress),
            Ok(v1::DefaultPolicy::Deny) => Ok(DefaultPolicy::Deny),
            Err(_) => Err(ShapeError::new("no such default")),
        };
        let node_egress = match v1::NodeEgress::try_from(wire.node_egress) {
            Ok(v1::NodeEgress::Unspecified | v1::NodeEgress::Policy) => Ok(NodeEgress::Policy),
            Ok(v1::NodeEgress::Allow) => Ok(NodeEgress::Allow),
            Err(_) => Err(ShapeError::new("use policy or allow")),
        };
        Ok(Self {
            default: default.within("default_policy")?,
            node_egress: node_egress.within("node_egress")?,
        })
    }
}

impl From<DefaultPolicy> for v1::DefaultPolicy {
    fn from(default: DefaultPolicy) -> Self {
        match default {
            DefaultPolicy::Allow => Self::Allow,
            DefaultPolicy::DenyIngress => Self::DenyIngress,
            DefaultPolicy::DenyEgress => Self::DenyEgress,
            DefaultPolicy::Deny => Self::Deny,
        }
    }
}

impl From<NodeEgress> for v1::NodeEgress {
    fn from(egress: NodeEgress) -> Self {
        match egress {
            NodeEgress::Policy => Self::Policy,
            NodeEgress::Allow => Self::Allow,
        }
    }
}

fn operator_from_wire(field: &str, value: i32) -> Result<LabelOperator, ShapeError> {
    match v1::LabelOperator::try_from(value) {
        Ok(v1::LabelOperator::In) => Ok(LabelOperator::In),
        Ok(v1::LabelOperator::NotIn) => Ok(LabelOperator::NotIn),
        Ok(v1::LabelOperator::Exists) => Ok(LabelOperator::Exists),
        Ok(v1::LabelOperator::DoesNotExist) => Ok(LabelOperator::DoesNotExist),
        Ok(v1::LabelOperator::Unspecified) | Err(_) => Err(ShapeError::new("no such operator")),
    }
    .within(field)
}

impl From<LabelOperator> for v1::LabelOperator {
    fn from(operator: LabelOperator) -> Self {
        match operator {
            LabelOperator::In => Self::In,
            LabelOperator::NotIn => Self::NotIn,
            LabelOperator::Exists => Self::Exists,
            LabelOperator::DoesNotExist => Self::DoesNotExist,
        }
    }
}

impl TryFrom<v1::LabelRequirement> for LabelRequirement {
    type Error = ShapeError;

    fn try_from(wire: v1::LabelRequirement) -> Result<Self, ShapeError> {
        Ok(Self {
            key: wire.key,
            operator: operator_from_wire("operator", wire.operator)?,
            values: wire.values.into_iter().collect(),
        })
    }
}

impl From<&LabelRequirement> for v1::LabelRequirement {
    fn from(requirement: &LabelRequirement) -> Self {
        Self {
            key: requirement.key.clone(),
            operator: v1::LabelOperator::from(requirement.operator).into(),
            values: requirement.values.iter().cloned().collect(),
        }
    }
}

impl TryFrom<v1::LabelSelector> for LabelSelector {
    type Error = ShapeError;

    fn try_from(wire: v1::LabelSelector) -> Result<Self, ShapeError> {
        Ok(Self { labels: wire.labels, expressions: list("expressions", wire.expressions)? })
    }
}

impl From<&LabelSelector> for v1::LabelSelector {
    fn from(selector: &LabelSelector) -> Self {
        Self {
            labels: selector.labels.clone(),
            expressions: selector.expressions.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::PolicyPeer> for PolicyPeer {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicyPeer) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            WirePeer::Pods(peer) => {
                let selector = |field: &str, wire| optional(field, wire).within("pods");
                Ok(Self::Pods {
                    namespaces: selector("namespaces", peer.namespaces)?,
                    pods: selector("pods", peer.pods)?,
                })
            }
            WirePeer::Block(peer) => Ok(Self::Block {
                range: required("range", peer.range).within("block")?,
                except: ranges_from_wire("except", peer.except).within("block")?,
            }),
        }
    }
}

impl From<&PolicyPeer> for v1::PolicyPeer {
    fn from(peer: &PolicyPeer) -> Self {
        let kind = match peer {
            PolicyPeer::Pods { namespaces, pods } => WirePeer::Pods(v1::PodsPeer {
                namespaces: namespaces.as_ref().map(Into::into),
                pods: pods.as_ref().map(Into::into),
            }),
            PolicyPeer::Block { range, except } => {
                WirePeer::Block(v1::BlockPeer { range: Some(range.into()), except: ranges_to_wire(except) })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::PolicyPort> for PolicyPort {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicyPort) -> Result<Self, ShapeError> {
        let port = match wire.ports {
            None => PortMatch::Any,
            Some(WirePorts::Name(name)) => PortMatch::Name(name),
            Some(WirePorts::Numbers(numbers)) => {
                let first = port_from_wire("first", numbers.first).within("numbers")?;
                PortMatch::Numbers(first, port_from_wire("last", numbers.last).within("numbers")?)
            }
        };
        Ok(Self { protocol: protocol_from_wire("protocol", wire.protocol)?, port })
    }
}

impl From<&PolicyPort> for v1::PolicyPort {
    fn from(port: &PolicyPort) -> Self {
        let ports = match &port.port {
            PortMatch::Any => None,
            PortMatch::Name(name) => Some(WirePorts::Name(name.clone())),
            PortMatch::Numbers(first, last) => {
                Some(WirePorts::Numbers(v1::PortRange { first: (*first).into(), last: (*last).into() }))
            }
        };
        Self { protocol: v1::Protocol::from(port.protocol).into(), ports }
    }
}

impl TryFrom<v1::PolicyRule> for PolicyRule {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicyRule) -> Result<Self, ShapeError> {
        Ok(Self { peers: list("peers", wire.peers)?, ports: list("ports", wire.ports)? })
    }
}

impl From<&PolicyRule> for v1::PolicyRule {
    fn from(rule: &PolicyRule) -> Self {
        Self {
            peers: rule.peers.iter().map(Into::into).collect(),
            ports: rule.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::PolicySpec> for PolicySpec {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicySpec) -> Result<Self, ShapeError> {
        Ok(Self {
            pods: optional("pods", wire.pods)?.unwrap_or_default(),
            isolates_ingress: wire.isolates_ingress,
            isolates_egress: wire.isolates_egress,
            ingress: list("ingress", wire.ingress)?,
            egress: list("egress", wire.egress)?,
        })
    }
}

impl From<&PolicySpec> for v1::PolicySpec {
    fn from(spec: &PolicySpec) -> Self {
        Self {
            pods: (!spec.pods.is_empty()).then(|| (&spec.pods).into()),
            isolates_ingress: spec.isolates_ingress,
            isolates_egress: spec.isolates_egress,
            ingress: spec.ingress.iter().map(Into::into).collect(),
            egress: spec.egress.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::NetworkPolicy> for NetworkPolicy {
    type Error = ShapeError;

    fn try_from(wire: v1::NetworkPolicy) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            uid: object_uid_from_wire("uid", &wire.uid)?,
            labels: wire.labels,
            annotations: wire.annotations,
            spec: required("spec", wire.spec)?,
            generation: wire.generation,
            created: WallTime(wire.created_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&NetworkPolicy> for v1::NetworkPolicy {
    fn from(policy: &NetworkPolicy) -> Self {
        Self {
            name: Some((&policy.name).into()),
            uid: copied(&policy.uid.0),
            labels: policy.labels.clone(),
            annotations: policy.annotations.clone(),
            spec: Some((&policy.spec).into()),
            generation: policy.generation,
            created_ms: policy.created.0,
            revision: policy.revision.0,
        }
    }
}

impl TryFrom<v1::PolicyItem> for PolicyItem {
    type Error = ShapeError;

    fn try_from(wire: v1::PolicyItem) -> Result<Self, ShapeError> {
        Ok(Self { name: required("name", wire.name)?, spec: required("spec", wire.spec)? })
    }
}

impl From<&PolicyItem> for v1::PolicyItem {
    fn from(item: &PolicyItem) -> Self {
        Self { name: Some((&item.name).into()), spec: Some((&item.spec).into()) }
    }
}

impl TryFrom<v1::NamespaceItem> for NamespaceItem {
    type Error = ShapeError;

    fn try_from(wire: v1::NamespaceItem) -> Result<Self, ShapeError> {
        Ok(Self { name: NamespaceName::new(wire.name).within("name")?, labels: wire.labels })
    }
}

impl From<&NamespaceItem> for v1::NamespaceItem {
    fn from(item: &NamespaceItem) -> Self {
        Self { name: item.name.to_string(), labels: item.labels.clone() }
    }
}

impl TryFrom<v1::IdentityItem> for IdentityItem {
    type Error = ShapeError;

    fn try_from(wire: v1::IdentityItem) -> Result<Self, ShapeError> {
        let identity = Identity {
            namespace: NamespaceName::new(wire.namespace).within("namespace")?,
            labels: wire.labels,
            ports: list("ports", wire.ports)?,
        };
        Ok(Self { id: IdentityId(wire.id), identity })
    }
}

impl From<&IdentityItem> for v1::IdentityItem {
    fn from(item: &IdentityItem) -> Self {
        Self {
            id: item.id.0,
            namespace: item.identity.namespace.to_string(),
            labels: item.identity.labels.clone(),
            ports: item.identity.ports.iter().map(Into::into).collect(),
        }
    }
}
