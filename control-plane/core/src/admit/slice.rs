//! Endpoints that people wrote (`ValidateEndpointSlice` of Kubernetes).

use std::{collections::BTreeSet, net::IpAddr};

use weft_model::{AddressType, EndpointSlice, Fabric, Family, Hints, ObjectUid, SliceEndpoint, SlicePort};

use super::{Problems, check_metadata, special};
use crate::{Error, State, apply::service::pool_of, limits};

/// The whole slice that `wanted` makes of the stored one.
pub(crate) fn complete(state: &State, wanted: EndpointSlice) -> Result<EndpointSlice, Error> {
    let fabric = state.fabric().ok_or(Error::NotFounded)?;
    let mut new = wanted;
    let mut problems = Problems::new("endpointslice", &new.name);
    let old = state.slices().get(&new.name);
    match old {
        Some(old) => {
            (new.uid, new.generation, new.created) = (old.uid, old.generation, old.created);
            new.revision = old.revision;
            if old.address_type != new.address_type {
                let why = "field is immutable";
                problems.invalid("addressType", type_name(new.address_type), why);
            }
        }
        None => (new.uid, new.generation) = (ObjectUid([0; 16]), 0),
    }
    check_metadata(&new.labels, &Default::default(), &mut problems);
    check_ports(&new.ports, &mut problems);
    if new.endpoints.len() > limits::MAX_SLICE_ENDPOINTS {
        problems.too_many("endpoints", new.endpoints.len(), limits::MAX_SLICE_ENDPOINTS);
    } else {
        for (index, endpoint) in new.endpoints.iter().enumerate() {
            check_endpoint(fabric, new.address_type, endpoint, &format!("endpoints[{index}]"), &mut problems);
        }
    }
    problems.finish()?;
    let others = state.index.services.written - old.map_or(0, |old| old.endpoints.len());
    if others + new.endpoints.len() > limits::MAX_ENDPOINTS {
        let what = "endpoints, together with all other slices";
        let (name, limit) = (new.name.to_string(), limits::MAX_ENDPOINTS);
        return Err(Error::TooLarge { kind: "endpointslice", name, what, limit });
    }
    Ok(new)
}

/// Refuses addresses that pods of another namespace have: who may write in one namespace could lead others' clients to
/// pods that were never meant for them (CVE-2021-25740). Refuses those of pools, too: a packet could go round in circles.
pub(crate) fn check_foreign(state: &State, slice: &EndpointSlice) -> Result<(), Error> {
    let mut problems = Problems::new("endpointslice", &slice.name);
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        for (position, address) in endpoint.addresses.iter().enumerate() {
            let foreign = state.pod_at(*address).filter(|pod| pod.name.namespace != slice.name.namespace);
            let why = if let Some(pod) = foreign {
                format!("is held by pod {}, which is of another namespace (CVE-2021-25740)", pod.name)
            } else if let Some(pool) = pool_of(state, *address) {
                format!("may not be the address of a service: it lies in loadbalancerpool {}", pool.name)
            } else {
                continue;
            };
            let field = format!("endpoints[{index}].addresses[{position}]");
            problems.invalid(field, address.to_string(), &why);
        }
    }
    problems.finish()
}

const fn type_name(kind: AddressType) -> &'static str {
    match kind {
        AddressType::V4 => "IPv4",
        AddressType::V6 => "IPv6",
        AddressType::Fqdn => "FQDN",
    }
}

fn check_ports(ports: &[SlicePort], problems: &mut Problems) {
    if ports.len() > limits::MAX_SLICE_PORTS {
        return problems.too_many("ports", ports.len(), limits::MAX_SLICE_PORTS);
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("ports[{index}].{name}");
        if !port.name.is_empty() {
            problems.label_name(field("name"), &port.name);
        }
        if !names.insert(&port.name) {
            problems.duplicate(field("name"), &port.name);
        }
        if let Some(number) = port.port {
            problems.port_number(field("port"), number);
        }
        if !port.app_protocol.is_empty() {
            problems.qualified(field("appProtocol"), &port.app_protocol);
        }
    }
}

fn check_endpoint(
    fabric: &Fabric,
    kind: AddressType,
    endpoint: &SliceEndpoint,
    at: &str,
    problems: &mut Problems,
) {
    let addresses = format!("{at}.addresses");
    let count = endpoint.addresses.len().max(endpoint.fqdn.len());
    if count == 0 {
        problems.required(&addresses, "must contain at least 1 address");
    }
    if count > limits::MAX_ENDPOINT_ADDRESSES {
        return problems.too_many(&addresses, count, limits::MAX_ENDPOINT_ADDRESSES);
    }
    let wrong = format!("must be of the slice's type, {}", type_name(kind));
    for (index, address) in endpoint.addresses.iter().enumerate() {
        let field = format!("{addresses}[{index}]");
        let family = match kind {
            AddressType::V4 => Some(Family::V4),
            AddressType::V6 => Some(Family::V6),
            AddressType::Fqdn => None,
        };
        if family != Some(Family::of(*address)) {
            problems.invalid(field, address.to_string(), &wrong);
        } else if let Some(why) = unreachable(fabric, *address) {
            problems.invalid(field, address.to_string(), &why);
        }
    }
    for (index, name) in endpoint.fqdn.iter().enumerate() {
        let field = format!("{addresses}[{index}]");
        if kind == AddressType::Fqdn {
            problems.subdomain(field, name.strip_suffix('.').unwrap_or(name));
        } else {
            problems.invalid(field, name, &wrong);
        }
    }
    if !endpoint.hostname.is_empty() {
        problems.label_name(format!("{at}.hostname"), &endpoint.hostname);
    }
    if !endpoint.zone.is_empty() && weft_model::check_label("zone", &endpoint.zone).is_err() {
        problems.invalid(format!("{at}.zone"), &endpoint.zone, "must be a valid label value");
    }
    check_hints(&endpoint.hints, &format!("{at}.hints"), problems);
}

/// Why an address can be no endpoint: what isn't one machine's, and what is a service itself.
fn unreachable(fabric: &Fabric, address: IpAddr) -> Option<String> {
    if let Some(why) = special(address) {
        return Some(why.to_owned());
    }
    let ranges = [("service", &fabric.ranges.services), ("load-balancer", &fabric.ranges.load_balancers)];
    ranges.into_iter().find_map(|(what, ranges)| {
        let range = ranges.iter().find(|range| range.contains(address))?;
        Some(format!("may not be the address of a service: it lies in the {what} range {range}"))
    })
}

fn check_hints(hints: &Hints, at: &str, problems: &mut Problems) {
    let mut check = |name: &str, list: Vec<&str>| {
        let field = format!("{at}.{name}");
        if list.len() > limits::MAX_HINTS {
            problems.too_many(field, list.len(), limits::MAX_HINTS);
            return;
        }
        for (index, value) in list.iter().enumerate() {
            let field = format!("{field}[{index}].name");
            if list.iter().take(index).any(|earlier| earlier == value) {
                problems.duplicate(field, value);
            } else if value.is_empty() || weft_model::check_label("hint", value).is_err() {
                // Names of nodes have been checked where they became names.
                if name == "forZones" {
                    problems.invalid(field, value, "must be a valid label value");
                }
            }
        }
    };
    check("forZones", hints.zones.iter().map(String::as_str).collect());
    check("forNodes", hints.nodes.iter().map(weft_model::NodeName::as_str).collect());
}
