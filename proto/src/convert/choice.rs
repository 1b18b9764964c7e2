//! The enums of a service.

use weft_model::{FamilyPolicy, ServiceType, TrafficDistribution, TrafficPolicy};

use super::shape::{ShapeError, Within};
use crate::v1;

pub(super) fn service_type_from_wire(field: &str, value: i32) -> Result<ServiceType, ShapeError> {
    match v1::ServiceType::try_from(value) {
        Ok(v1::ServiceType::ClusterIp) => Ok(ServiceType::ClusterIp),
        Ok(v1::ServiceType::NodePort) => Ok(ServiceType::NodePort),
        Ok(v1::ServiceType::LoadBalancer) => Ok(ServiceType::LoadBalancer),
        Ok(v1::ServiceType::ExternalName) => Ok(ServiceType::ExternalName),
        Ok(v1::ServiceType::Unspecified) | Err(_) => Err(ShapeError::new("no such type")),
    }
    .within(field)
}

impl From<ServiceType> for v1::ServiceType {
    fn from(kind: ServiceType) -> Self {
        match kind {
            ServiceType::ClusterIp => Self::ClusterIp,
            ServiceType::NodePort => Self::NodePort,
            ServiceType::LoadBalancer => Self::LoadBalancer,
            ServiceType::ExternalName => Self::ExternalName,
        }
    }
}

pub(super) fn policy_from_wire(field: &str, value: i32) -> Result<TrafficPolicy, ShapeError> {
    match v1::TrafficPolicy::try_from(value) {
        Ok(v1::TrafficPolicy::Cluster) => Ok(TrafficPolicy::Cluster),
        Ok(v1::TrafficPolicy::Local) => Ok(TrafficPolicy::Local),
        Ok(v1::TrafficPolicy::Unspecified) | Err(_) => Err(ShapeError::new("use Cluster or Local")),
    }
    .within(field)
}

impl From<TrafficPolicy> for v1::TrafficPolicy {
    fn from(policy: TrafficPolicy) -> Self {
        match policy {
            TrafficPolicy::Cluster => Self::Cluster,
            TrafficPolicy::Local => Self::Local,
        }
    }
}

pub(super) fn family_policy_from_wire(field: &str, value: i32) -> Result<Option<FamilyPolicy>, ShapeError> {
    match v1::FamilyPolicy::try_from(value) {
        Ok(v1::FamilyPolicy::Unspecified) => Ok(None),
        Ok(v1::FamilyPolicy::SingleStack) => Ok(Some(FamilyPolicy::SingleStack)),
        Ok(v1::FamilyPolicy::PreferDualStack) => Ok(Some(FamilyPolicy::PreferDualStack)),
        Ok(v1::FamilyPolicy::RequireDualStack) => Ok(Some(FamilyPolicy::RequireDualStack)),
        Err(_) => Err(ShapeError::new("no such policy")),
    }
    .within(field)
}

pub(super) const fn family_policy_to_wire(policy: Option<FamilyPolicy>) -> v1::FamilyPolicy {
    match policy {
        None => v1::FamilyPolicy::Unspecified,
        Some(FamilyPolicy::SingleStack) => v1::FamilyPolicy::SingleStack,
        Some(FamilyPolicy::PreferDualStack) => v1::FamilyPolicy::PreferDualStack,
        Some(FamilyPolicy::RequireDualStack) => v1::FamilyPolicy::RequireDualStack,
    }
}

pub(super) fn distribution_from_wire(
    field: &str,
    value: i32,
) -> Result<Option<TrafficDistribution>, ShapeError> {
    match v1::TrafficDistribution::try_from(value) {
        Ok(v1::TrafficDistribution::Unspecified) => Ok(None),
        Ok(v1::TrafficDistribution::PreferSameZone) => Ok(Some(TrafficDistribution::PreferSameZone)),
        Ok(v1::TrafficDistribution::PreferSameNode) => Ok(Some(TrafficDistribution::PreferSameNode)),
        Err(_) => Err(ShapeError::new("no such distribution")),
    }
    .within(field)
}

pub(super) const fn distribution_to_wire(
    distribution: Option<TrafficDistribution>,
) -> v1::TrafficDistribution {
    match distribution {
        None => v1::TrafficDistribution::Unspecified,
        Some(TrafficDistribution::PreferSameZone) => v1::TrafficDistribution::PreferSameZone,
        Some(TrafficDistribution::PreferSameNode) => v1::TrafficDistribution::PreferSameNode,
    }
}
