//! Any object, and kinds.

use weft_model::{Key, Kind, Name, NamespaceName, NodeName, Object};

use super::{
    address::{address_from_wire, address_to_wire},
    member::replica_id_from_wire,
    shape::{ShapeError, Within, copied, list, missing, pod_uid_from_wire},
};
use crate::v1::{self, object::Kind as Wire, object_key::Kind as WireKey};

impl TryFrom<v1::Object> for Object {
    type Error = ShapeError;

    fn try_from(wire: v1::Object) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            Wire::Fabric(fabric) => fabric.try_into().map(Self::Fabric).within("fabric"),
            Wire::Node(node) => node.try_into().map(Self::Node).within("node"),
            Wire::Pod(pod) => pod.try_into().map(Self::Pod).within("pod"),
            Wire::Lease(lease) => lease.try_into().map(Self::Lease).within("lease"),
            Wire::Member(member) => member.try_into().map(Self::Member).within("member"),
            Wire::Namespace(namespace) => namespace.try_into().map(Self::Namespace).within("namespace"),
            Wire::Service(service) => service.try_into().map(Self::Service).within("service"),
            Wire::Slice(slice) => slice.try_into().map(Self::Slice).within("slice"),
            Wire::PodSpec(spec) => spec.try_into().map(Self::PodSpec).within("pod_spec"),
            Wire::Pool(pool) => pool.try_into().map(Self::Pool).within("pool"),
            Wire::Owner(owner) => owner.try_into().map(Self::Owner).within("owner"),
            Wire::NetworkPolicy(policy) => {
                policy.try_into().map(Self::NetworkPolicy).within("network_policy")
            }
        }
    }
}

impl From<&Object> for v1::Object {
    fn from(object: &Object) -> Self {
        let kind = match object {
            Object::Fabric(fabric) => Wire::Fabric(fabric.into()),
            Object::Node(node) => Wire::Node(node.into()),
            Object::Pod(pod) => Wire::Pod(pod.into()),
            Object::Lease(lease) => Wire::Lease(lease.into()),
            Object::Member(member) => Wire::Member(member.into()),
            Object::Namespace(namespace) => Wire::Namespace(namespace.into()),
            Object::Service(service) => Wire::Service(service.into()),
            Object::Slice(slice) => Wire::Slice(slice.into()),
            Object::PodSpec(spec) => Wire::PodSpec(spec.into()),
            Object::Pool(pool) => Wire::Pool(pool.into()),
            Object::Owner(owner) => Wire::Owner(owner.into()),
            Object::NetworkPolicy(policy) => Wire::NetworkPolicy(policy.into()),
        };
        Self { kind: Some(kind) }
    }
}

/// Objects of a repeated field.
pub fn objects_from_wire(field: &str, values: Vec<v1::Object>) -> Result<Vec<Object>, ShapeError> {
    list(field, values)
}

/// A kind from an enum field.
pub fn kind_from_wire(field: &str, value: i32) -> Result<Kind, ShapeError> {
    match v1::Kind::try_from(value) {
        Ok(v1::Kind::Fabric) => Ok(Kind::Fabric),
        Ok(v1::Kind::Node) => Ok(Kind::Node),
        Ok(v1::Kind::Pod) => Ok(Kind::Pod),
        Ok(v1::Kind::Lease) => Ok(Kind::Lease),
        Ok(v1::Kind::Member) => Ok(Kind::Member),
        Ok(v1::Kind::Namespace) => Ok(Kind::Namespace),
        Ok(v1::Kind::Service) => Ok(Kind::Service),
        Ok(v1::Kind::Slice) => Ok(Kind::Slice),
        Ok(v1::Kind::PodSpec) => Ok(Kind::PodSpec),
        Ok(v1::Kind::Pool) => Ok(Kind::Pool),
        Ok(v1::Kind::Owner) => Ok(Kind::Owner),
        Ok(v1::Kind::NetworkPolicy) => Ok(Kind::NetworkPolicy),
        Ok(v1::Kind::Unspecified) | Err(_) => Err(ShapeError::new("no such kind")),
    }
    .within(field)
}

impl From<Kind> for v1::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Fabric => Self::Fabric,
            Kind::Node => Self::Node,
            Kind::Pod => Self::Pod,
            Kind::Lease => Self::Lease,
            Kind::Member => Self::Member,
            Kind::Namespace => Self::Namespace,
            Kind::Service => Self::Service,
            Kind::Slice => Self::Slice,
            Kind::PodSpec => Self::PodSpec,
            Kind::Pool => Self::Pool,
            Kind::Owner => Self::Owner,
            Kind::NetworkPolicy => Self::NetworkPolicy,
        }
    }
}

impl TryFrom<v1::ObjectKey> for Key {
    type Error = ShapeError;

    fn try_from(wire: v1::ObjectKey) -> Result<Self, ShapeError> {
        match wire.kind.ok_or_else(missing).within("kind")? {
            WireKey::Fabric(_) => Ok(Self::Fabric),
            WireKey::Node(name) => NodeName::new(name).map(Self::Node).within("node"),
            WireKey::Pod(uid) => pod_uid_from_wire("pod", &uid).map(Self::Pod),
            WireKey::Lease(block) => block.try_into().map(Self::Lease).within("lease"),
            WireKey::Member(id) => replica_id_from_wire("member", id).map(Self::Member),
            WireKey::Namespace(name) => NamespaceName::new(name).map(Self::Namespace).within("namespace"),
            WireKey::Service(name) => name.try_into().map(Self::Service).within("service"),
            WireKey::Slice(name) => name.try_into().map(Self::Slice).within("slice"),
            WireKey::PodSpec(name) => name.try_into().map(Self::PodSpec).within("pod_spec"),
            WireKey::Pool(name) => Name::new(name).map(Self::Pool).within("pool"),
            WireKey::Owner(address) => address_from_wire(&address).map(Self::Owner).within("owner"),
            WireKey::NetworkPolicy(name) => name.try_into().map(Self::NetworkPolicy).within("network_policy"),
        }
    }
}

impl From<&Key> for v1::ObjectKey {
    fn from(key: &Key) -> Self {
        let kind = match key {
            Key::Fabric => WireKey::Fabric(true),
            Key::Node(name) => WireKey::Node(name.to_string()),
            Key::Pod(uid) => WireKey::Pod(copied(&uid.0)),
            Key::Lease(block) => WireKey::Lease(block.into()),
            Key::Member(id) => WireKey::Member(id.0),
            Key::Namespace(name) => WireKey::Namespace(name.to_string()),
            Key::Service(name) => WireKey::Service(name.into()),
            Key::Slice(name) => WireKey::Slice(name.into()),
            Key::PodSpec(name) => WireKey::PodSpec(name.into()),
            Key::Pool(name) => WireKey::Pool(name.to_string()),
            Key::Owner(address) => WireKey::Owner(address_to_wire(*address)),
            Key::NetworkPolicy(name) => WireKey::NetworkPolicy(name.into()),
        };
        Self { kind: Some(kind) }
    }
}
