//! Pods and their ports.

use weft_model::{
    AttachmentId, Name, NamedPort, NamespaceName, NodeName, Pod, PodName, PodPhase, Protocol, Revision,
    WallTime,
};

use super::{
    address::{addresses_from_wire, addresses_to_wire, port_from_wire},
    shape::{ShapeError, Within, copied, list, pod_uid_from_wire},
};
use crate::v1;

pub(super) fn protocol_from_wire(field: &str, value: i32) -> Result<Protocol, ShapeError> {
    match v1::Protocol::try_from(value) {
        Ok(v1::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(v1::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(v1::Protocol::Sctp) => Ok(Protocol::Sctp),
        Ok(v1::Protocol::Unspecified) | Err(_) => Err(ShapeError::new("use TCP, UDP or SCTP")),
    }
    .within(field)
}

impl From<Protocol> for v1::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

impl TryFrom<v1::NamedPort> for NamedPort {
    type Error = ShapeError;

    fn try_from(wire: v1::NamedPort) -> Result<Self, ShapeError> {
        Ok(Self {
            name: wire.name,
            protocol: protocol_from_wire("protocol", wire.protocol)?,
            port: port_from_wire("port", wire.port)?,
        })
    }
}

impl From<&NamedPort> for v1::NamedPort {
    fn from(port: &NamedPort) -> Self {
        Self {
            name: port.name.clone(),
            protocol: v1::Protocol::from(port.protocol).into(),
            port: u32::from(port.port),
        }
    }
}

impl TryFrom<v1::Pod> for Pod {
    type Error = ShapeError;

    fn try_from(wire: v1::Pod) -> Result<Self, ShapeError> {
        Ok(Self {
            uid: pod_uid_from_wire("uid", &wire.uid)?,
            name: PodName {
                namespace: NamespaceName::new(wire.namespace).within("namespace")?,
                name: Name::new(wire.name).within("name")?,
            },
            labels: wire.labels,
            node: NodeName::new(wire.node).within("node")?,
            attachment: AttachmentId { container: wire.container, interface: wire.interface },
            addresses: addresses_from_wire("addresses", wire.addresses)?,
            ports: list("ports", wire.ports)?,
            phase: if wire.superseded { PodPhase::Superseded } else { PodPhase::Active },
            ready: wire.ready,
            terminating: wire.terminating,
            created: WallTime(wire.created_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Pod> for v1::Pod {
    fn from(pod: &Pod) -> Self {
        Self {
            uid: copied(&pod.uid.0),
            namespace: pod.name.namespace.to_string(),
            name: pod.name.name.to_string(),
            labels: pod.labels.clone(),
            node: pod.node.to_string(),
            container: pod.attachment.container.clone(),
            interface: pod.attachment.interface.clone(),
            addresses: addresses_to_wire(&pod.addresses),
            ports: pod.ports.iter().map(Into::into).collect(),
            superseded: pod.phase == PodPhase::Superseded,
            ready: pod.ready,
            terminating: pod.terminating,
            created_ms: pod.created.0,
            revision: pod.revision.0,
        }
    }
}
