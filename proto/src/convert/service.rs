//! Services: what people wrote and what nodes need of it.

use weft_model::{
    ClientAffinity, ClusterAddresses, Revision, Service, ServiceItem, ServicePort, ServicePortItem,
    ServiceSpec, TargetPort, WallTime,
};

use super::{
    address::{
        addresses_from_wire, addresses_to_wire, port_from_wire, port_or_none, ranges_from_wire,
        ranges_to_wire,
    },
    choice::{
        distribution_from_wire, distribution_to_wire, family_policy_from_wire, family_policy_to_wire,
        policy_from_wire, service_type_from_wire,
    },
    fabric::family_from_wire,
    pod::protocol_from_wire,
    shape::{ShapeError, Within, copied, list, list_by, missing, object_uid_from_wire, required},
};
use crate::v1::{self, service_port::Target};

impl TryFrom<v1::ServicePort> for ServicePort {
    type Error = ShapeError;

    fn try_from(wire: v1::ServicePort) -> Result<Self, ShapeError> {
        let target = match wire.target.ok_or_else(missing).within("target")? {
            Target::TargetNumber(port) => TargetPort::Number(port_from_wire("target_number", port)?),
            Target::TargetName(name) => TargetPort::Name(name),
        };
        Ok(Self {
            name: wire.name,
            protocol: protocol_from_wire("protocol", wire.protocol)?,
            port: port_from_wire("port", wire.port)?,
            target,
            node_port: port_or_none("node_port", wire.node_port)?,
            app_protocol: wire.app_protocol,
        })
    }
}

impl From<&ServicePort> for v1::ServicePort {
    fn from(port: &ServicePort) -> Self {
        let target = match &port.target {
            TargetPort::Number(number) => Target::TargetNumber(u32::from(*number)),
            TargetPort::Name(name) => Target::TargetName(name.clone()),
        };
        Self {
            name: port.name.clone(),
            protocol: v1::Protocol::from(port.protocol).into(),
            port: u32::from(port.port),
            target: Some(target),
            node_port: u32::from(port.node_port),
            app_protocol: port.app_protocol.clone(),
        }
    }
}

fn affinity_from_wire(wire: Option<v1::ClientAffinity>) -> Option<ClientAffinity> {
    wire.map(|affinity| ClientAffinity { timeout_seconds: affinity.timeout_seconds })
}

fn affinity_to_wire(affinity: Option<ClientAffinity>) -> Option<v1::ClientAffinity> {
    affinity.map(|affinity| v1::ClientAffinity { timeout_seconds: affinity.timeout_seconds })
}

/// No addresses and not headless: still to be given out.
fn addresses(wire: Vec<bytes::Bytes>, headless: bool) -> Result<ClusterAddresses, ShapeError> {
    let list = addresses_from_wire("addresses", wire)?;
    match (headless, list.is_empty()) {
        (true, true) => Ok(ClusterAddresses::None),
        (true, false) => Err(ShapeError::new("a headless service has no address")).within("addresses"),
        (false, true) => Ok(ClusterAddresses::Wanted),
        (false, false) => Ok(ClusterAddresses::Given(list)),
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = ShapeError;

    fn try_from(wire: v1::ServiceSpec) -> Result<Self, ShapeError> {
        Ok(Self {
            kind: service_type_from_wire("type", wire.r#type)?,
            selector: wire.selector,
            addresses: addresses(wire.addresses, wire.headless)?,
            families: list_by("families", wire.families, |family| family_from_wire("", family))?,
            family_policy: family_policy_from_wire("family_policy", wire.family_policy)?,
            ports: list("ports", wire.ports)?,
            external_ips: addresses_from_wire("external_ips", wire.external_ips)?,
            external_name: wire.external_name,
            affinity: affinity_from_wire(wire.affinity),
            external_policy: policy_from_wire("external_policy", wire.external_policy)?,
            internal_policy: policy_from_wire("internal_policy", wire.internal_policy)?,
            health_check_node_port: port_or_none("health_check_node_port", wire.health_check_node_port)?,
            publish_not_ready: wire.publish_not_ready,
            allocate_node_ports: wire.allocate_node_ports,
            load_balancer_ips: addresses_from_wire("load_balancer_ips", wire.load_balancer_ips)?,
            load_balancer_class: wire.load_balancer_class,
            source_ranges: ranges_from_wire("source_ranges", wire.source_ranges)?,
            distribution: distribution_from_wire("distribution", wire.distribution)?,
        })
    }
}

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        Self {
            r#type: v1::ServiceType::from(spec.kind).into(),
            selector: spec.selector.clone(),
            headless: spec.addresses == ClusterAddresses::None,
            addresses: addresses_to_wire(spec.addresses.list()),
            families: spec.families.iter().map(|family| v1::Family::from(*family).into()).collect(),
            family_policy: family_policy_to_wire(spec.family_policy).into(),
            ports: spec.ports.iter().map(Into::into).collect(),
            external_ips: addresses_to_wire(&spec.external_ips),
            external_name: spec.external_name.clone(),
            affinity: affinity_to_wire(spec.affinity),
            external_policy: v1::TrafficPolicy::from(spec.external_policy).into(),
            internal_policy: v1::TrafficPolicy::from(spec.internal_policy).into(),
            health_check_node_port: u32::from(spec.health_check_node_port),
            publish_not_ready: spec.publish_not_ready,
            allocate_node_ports: spec.allocate_node_ports,
            load_balancer_ips: addresses_to_wire(&spec.load_balancer_ips),
            load_balancer_class: spec.load_balancer_class.clone(),
            source_ranges: ranges_to_wire(&spec.source_ranges),
            distribution: distribution_to_wire(spec.distribution).into(),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = ShapeError;

    fn try_from(wire: v1::Service) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            uid: object_uid_from_wire("uid", &wire.uid)?,
            labels: wire.labels,
            annotations: wire.annotations,
            spec: required("spec", wire.spec)?,
            load_balancer: list("load_balancer", wire.load_balancer)?,
            generation: wire.generation,
            created: WallTime(wire.created_ms),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        Self {
            name: Some((&service.name).into()),
            uid: copied(&service.uid.0),
            labels: service.labels.clone(),
            annotations: service.annotations.clone(),
            spec: Some((&service.spec).into()),
            load_balancer: service.load_balancer.iter().map(Into::into).collect(),
            generation: service.generation,
            created_ms: service.created.0,
            revision: service.revision.0,
        }
    }
}

impl TryFrom<v1::ServicePortItem> for ServicePortItem {
    type Error = ShapeError;

    fn try_from(wire: v1::ServicePortItem) -> Result<Self, ShapeError> {
        Ok(Self {
            name: wire.name,
            protocol: protocol_from_wire("protocol", wire.protocol)?,
            port: port_from_wire("port", wire.port)?,
            node_port: port_or_none("node_port", wire.node_port)?,
        })
    }
}

impl From<&ServicePortItem> for v1::ServicePortItem {
    fn from(port: &ServicePortItem) -> Self {
        Self {
            name: port.name.clone(),
            protocol: v1::Protocol::from(port.protocol).into(),
            port: u32::from(port.port),
            node_port: u32::from(port.node_port),
        }
    }
}

impl TryFrom<v1::ServiceItem> for ServiceItem {
    type Error = ShapeError;

    fn try_from(wire: v1::ServiceItem) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            uid: object_uid_from_wire("uid", &wire.uid)?,
            kind: service_type_from_wire("type", wire.r#type)?,
            addresses: addresses_from_wire("addresses", wire.addresses)?,
            external_ips: addresses_from_wire("external_ips", wire.external_ips)?,
            load_balancer: list("load_balancer", wire.load_balancer)?,
            external_name: wire.external_name,
            ports: list("ports", wire.ports)?,
            affinity: affinity_from_wire(wire.affinity),
            external_policy: policy_from_wire("external_policy", wire.external_policy)?,
            internal_policy: policy_from_wire("internal_policy", wire.internal_policy)?,
            health_check_node_port: port_or_none("health_check_node_port", wire.health_check_node_port)?,
            source_ranges: ranges_from_wire("source_ranges", wire.source_ranges)?,
            endpoints: list("endpoints", wire.endpoints)?,
        })
    }
}

impl From<&ServiceItem> for v1::ServiceItem {
    fn from(item: &ServiceItem) -> Self {
        Self {
            name: Some((&item.name).into()),
            uid: copied(&item.uid.0),
            r#type: v1::ServiceType::from(item.kind).into(),
            addresses: addresses_to_wire(&item.addresses),
            external_ips: addresses_to_wire(&item.external_ips),
            load_balancer: item.load_balancer.iter().map(Into::into).collect(),
            external_name: item.external_name.clone(),
            ports: item.ports.iter().map(Into::into).collect(),
            affinity: affinity_to_wire(item.affinity),
            external_policy: v1::TrafficPolicy::from(item.external_policy).into(),
            internal_policy: v1::TrafficPolicy::from(item.internal_policy).into(),
            health_check_node_port: u32::from(item.health_check_node_port),
            source_ranges: ranges_to_wire(&item.source_ranges),
            endpoints: item.endpoints.iter().map(Into::into).collect(),
        }
    }
}
