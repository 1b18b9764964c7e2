//! What can't be changed in a service that is there (`ValidateServiceUpdate` of Kubernetes).

use weft_model::{ClusterAddresses, ServiceSpec, ServiceType};

use super::{Problems, has_health_check};

const FIXED: &str = "may not change once set";

/// Compares a whole new spec with the stored one.
pub(crate) fn check(old: &ServiceSpec, new: &ServiceSpec, problems: &mut Problems) {
    if old.kind != ServiceType::ExternalName && new.kind != ServiceType::ExternalName {
        addresses(old, new, problems);
    }
    let both = old.kind == ServiceType::LoadBalancer && new.kind == ServiceType::LoadBalancer;
    if both && old.load_balancer_class != new.load_balancer_class {
        let class = new.load_balancer_class.clone().unwrap_or_default();
        problems.invalid("spec.loadBalancerClass", class, FIXED);
    }
    let port = new.health_check_node_port;
    let checked = has_health_check(old) && has_health_check(new);
    if checked && old.health_check_node_port != 0 && port != old.health_check_node_port {
        problems.invalid("spec.healthCheckNodePort", port, "field is immutable");
    }
}

/// The first address stays for ever; the second may come and go, but not become another.
fn addresses(old: &ServiceSpec, new: &ServiceSpec, problems: &mut Problems) {
    let shown = |addresses: &ClusterAddresses, index: usize| match addresses {
        ClusterAddresses::None => "None".to_owned(),
        ClusterAddresses::Wanted | ClusterAddresses::Given(_) => {
            addresses.list().get(index).map(ToString::to_string).unwrap_or_default()
        }
    };
    let headless = [old, new].map(|spec| spec.addresses == ClusterAddresses::None);
    if headless == [true, true] {
        return;
    }
    let (was, is) = (old.addresses.list(), new.addresses.list());
    for index in 0..2 {
        let changed = match (was.get(index), is.get(index)) {
            (Some(was), Some(is)) => was != is,
            // Before anything was given out there is nothing to hold on to.
            (Some(_), None) | (None, Some(_)) => index == 0,
            (None, None) => index == 0 && headless != [false, false],
        };
        if changed {
            return problems.invalid(
                format!("spec.clusterIPs[{index}]"),
                shown(&new.addresses, index),
                FIXED,
            );
        }
    }
}
