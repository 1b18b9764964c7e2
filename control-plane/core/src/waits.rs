//! Why a service of type LoadBalancer waits for an address, in words for people.

use weft_model::{Family, Service, ServiceType};

use crate::{State, apply::service::pools, terms::is_our_class};

/// Why a service has fewer load-balancer addresses than families; `None`: it has them, wants none, or somebody else gives them.
pub fn waits_for_address(state: &State, service: &Service) -> Option<String> {
    let spec = &service.spec;
    if spec.kind != ServiceType::LoadBalancer || !is_our_class(spec.load_balancer_class.as_deref()) {
        return None;
    }
    let has =
        |family: &Family| service.load_balancer.iter().any(|given| Family::of(given.address) == *family);
    let family = spec.families.iter().find(|family| !has(family))?;
    let names = |automatic: bool| -> Vec<&str> {
        let of_family = pools(state).filter(|pool| pool.ranges.iter().any(|range| range.family() == *family));
        of_family.filter(|pool| pool.automatic || !automatic).map(|pool| pool.name).collect()
    };
    Some(match (names(false), names(true)) {
        (all, _) if all.is_empty() => format!("there is no LoadBalancerPool with {family} addresses"),
        (all, automatic) if automatic.is_empty() => {
            format!("none of the pools with {family} addresses gives one unasked ({})", all.join(", "))
        }
        (_, automatic) => {
            format!("the pools with {family} addresses have none free ({})", automatic.join(", "))
        }
    })
}
