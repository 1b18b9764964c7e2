//! Why something about services was refused because of what others hold, or what the fabric allows.

use std::net::IpAddr;

use weft_errors::{self as codes, Code};
use weft_model::{AddressRange, Family, Name, NamespaceName, ObjectName};

/// A refusal that names the holder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The namespace of an object doesn't exist.
    #[error("namespace {} of {kind} {name} doesn't exist", name.namespace)]
    NamespaceMissing {
        /// Kind of the object.
        kind: &'static str,
        /// The object.
        name: ObjectName,
    },
    /// A namespace can't go.
    #[error("namespace {namespace} is in use by {holder}")]
    NamespaceInUse {
        /// The namespace.
        namespace: NamespaceName,
        /// Who uses it.
        holder: String,
    },
    /// An address inside the fabric is held by another, or reserved.
    #[error("{address} can't be an address of service {service}: it is held by {holder}")]
    AddressTaken {
        /// Who wants it.
        service: ObjectName,
        /// Field path.
        field: String,
        /// The address.
        address: IpAddr,
        /// Who has it: `service shop/web`, or what it is reserved for.
        holder: String,
    },
    /// No address is left in the service ranges of a family.
    #[error("no {family} service address is free for service {service}")]
    AddressesExhausted {
        /// Who wants one.
        service: ObjectName,
        /// The family.
        family: Family,
        /// What holds them.
        holders: String,
    },
    /// A port of the nodes is held by another service.
    #[error("node port {port} of service {service} is already held by {holder}")]
    NodePortTaken {
        /// Who wants it.
        service: ObjectName,
        /// Field path.
        field: String,
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// No node port is left.
    #[error("no node port is free for service {service}")]
    NodePortsExhausted {
        /// Who wants one.
        service: ObjectName,
        /// Field path.
        field: String,
        /// What holds them.
        holders: String,
    },
    /// An external address that the fabric doesn't allow.
    #[error("service {service} may not name {address} as an external address")]
    ExternalAddressDenied {
        /// Who names it.
        service: ObjectName,
        /// Field path.
        field: String,
        /// The address.
        address: IpAddr,
        /// What is allowed.
        allowed: String,
    },
    /// A load-balancer address can't be had.
    #[error("service {service} can't have load-balancer address {address}: {why}")]
    BalancerAddressTaken {
        /// Who wants it.
        service: ObjectName,
        /// Field path.
        field: &'static str,
        /// The address.
        address: IpAddr,
        /// Who has it and why it can't be shared, or that no pool has it.
        why: String,
    },
    /// The automatic pools of a family have no address left.
    #[error("no {family} load-balancer address is free for service {service}")]
    BalancerAddressesExhausted {
        /// Who wants one.
        service: ObjectName,
        /// The family.
        family: Family,
        /// What holds them.
        holders: String,
    },
    /// A pool, or a part of it, can't go.
    #[error("address {address} of loadbalancerpool {pool} is in use by {holder}")]
    PoolInUse {
        /// The pool.
        pool: Name,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: String,
    },
    /// A range of a pool is another's.
    #[error("range {range} of loadbalancerpool {pool} overlaps {holder}")]
    PoolOverlap {
        /// The pool.
        pool: Name,
        /// Field path.
        field: String,
        /// The range.
        range: AddressRange,
        /// Whose addresses it holds.
        holder: String,
    },
}

impl ServiceError {
    /// The registered code.
    pub(crate) const fn code(&self) -> &'static Code {
        match self {
            Self::NamespaceMissing { .. } => &codes::NOT_FOUND,
            Self::NamespaceInUse { .. } => &codes::NAMESPACE_IN_USE,
            Self::AddressTaken { .. } => &codes::SERVICE_ADDRESS_TAKEN,
            Self::AddressesExhausted { .. } => &codes::SERVICE_ADDRESSES_EXHAUSTED,
            Self::NodePortTaken { .. } => &codes::NODE_PORT_TAKEN,
            Self::NodePortsExhausted { .. } => &codes::NODE_PORTS_EXHAUSTED,
            Self::ExternalAddressDenied { .. } => &codes::EXTERNAL_ADDRESS_DENIED,
            Self::BalancerAddressTaken { .. } => &codes::BALANCER_ADDRESS_TAKEN,
            Self::BalancerAddressesExhausted { .. } => &codes::BALANCER_ADDRESSES_EXHAUSTED,
            Self::PoolInUse { .. } => &codes::RANGE_IN_USE,
            Self::PoolOverlap { .. } => &codes::RANGE_OVERLAP,
        }
    }

    /// Kind and name of the object.
    pub(crate) fn object(&self) -> (&'static str, String) {
        match self {
            Self::NamespaceMissing { kind, name } => (kind, name.to_string()),
            Self::NamespaceInUse { namespace, .. } => ("namespace", namespace.to_string()),
            Self::AddressTaken { service, .. }
            | Self::AddressesExhausted { service, .. }
            | Self::NodePortTaken { service, .. }
            | Self::NodePortsExhausted { service, .. }
            | Self::ExternalAddressDenied { service, .. }
            | Self::BalancerAddressTaken { service, .. }
            | Self::BalancerAddressesExhausted { service, .. } => ("service", service.to_string()),
            Self::PoolInUse { pool, .. } | Self::PoolOverlap { pool, .. } => {
                ("loadbalancerpool", pool.to_string())
            }
        }
    }

    /// Field path; empty when none is meant.
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::NamespaceMissing { .. } => "metadata.namespace",
            Self::NamespaceInUse { .. } => "",
            Self::PoolInUse { .. } => "spec.ranges",
            Self::AddressesExhausted { .. } => "spec.clusterIPs",
            Self::BalancerAddressesExhausted { .. } => "status.loadBalancer",
            Self::BalancerAddressTaken { field, .. } => field,
            Self::AddressTaken { field, .. }
            | Self::NodePortTaken { field, .. }
            | Self::NodePortsExhausted { field, .. }
            | Self::ExternalAddressDenied { field, .. }
            | Self::PoolOverlap { field, .. } => field,
        }
    }

    /// Why, if the message doesn't say it.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::AddressesExhausted { holders, .. }
            | Self::NodePortsExhausted { holders, .. }
            | Self::BalancerAddressesExhausted { holders, .. } => Some(holders.clone()),
            Self::ExternalAddressDenied { allowed, .. } => Some(format!(
                "whoever names an external address gets the packets that others send there (CVE-2020-8554): {allowed}"
            )),
            Self::NamespaceMissing { .. }
            | Self::NamespaceInUse { .. }
            | Self::AddressTaken { .. }
            | Self::NodePortTaken { .. }
            | Self::BalancerAddressTaken { .. }
            | Self::PoolInUse { .. }
            | Self::PoolOverlap { .. } => None,
        }
    }
}
