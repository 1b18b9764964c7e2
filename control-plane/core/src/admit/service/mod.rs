//! A service as people wrote it, made whole: what they left out, what stays, and whether it can be as it is.
//!
//! As `pkg/registry/core/service` and `pkg/apis/core/validation` of Kubernetes decide it. Not here: what other services
//! hold (apply/service.rs); the addresses and ports that are still to be given out stay open.
//! Invariant: a service that was made whole stays as it is when it is made whole again from the same state.

mod change;
mod families;
mod merge;
mod shape;

use weft_model::{Fabric, ObjectUid, Service, ServiceSpec, ServiceType, TrafficPolicy};

use super::Problems;
use crate::{Error, State};

/// The whole service that `wanted` makes of the stored one, if there is one.
pub(crate) fn complete(state: &State, wanted: Service) -> Result<Service, Error> {
    let fabric = state.fabric().ok_or(Error::NotFounded)?;
    complete_over(fabric, state.services().get(&wanted.name), wanted)
}

fn complete_over(fabric: &Fabric, old: Option<&Service>, wanted: Service) -> Result<Service, Error> {
    let mut new = wanted;
    match old {
        Some(old) => {
            (new.uid, new.generation, new.created) = (old.uid, old.generation, old.created);
            new.revision = old.revision;
            new.load_balancer.clone_from(&old.load_balancer);
        }
        None => {
            (new.uid, new.generation) = (ObjectUid([0; 16]), 0);
            new.load_balancer.clear();
        }
    }
    let mut problems = Problems::new("service", &new.name);
    if let Some(old) = old {
        merge::keep(&old.spec, &mut new.spec);
    }
    merge::wipe(&mut new.spec);
    // First: only then it is known whether the service has addresses.
    families::settle(fabric, old.map(|old| &old.spec), &mut new.spec, &mut problems);
    shape::check(&new, &mut problems);
    if let Some(old) = old {
        change::check(&old.spec, &new.spec, &mut problems);
    }
    problems.finish()?;
    Ok(new)
}

/// Whether a service takes packets from outside: only then the external policy means something.
pub(crate) fn is_external(spec: &ServiceSpec) -> bool {
    spec.kind.has_node_ports() || (spec.kind == ServiceType::ClusterIp && !spec.external_ips.is_empty())
}

/// Whether nodes answer health checks for a service.
pub(crate) fn has_health_check(spec: &ServiceSpec) -> bool {
    spec.kind == ServiceType::LoadBalancer && spec.external_policy == TrafficPolicy::Local
}
