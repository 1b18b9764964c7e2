//! For whom endpoints are meant, computed for a service's own pods (KEP 3015, KEP 2433); nodes only filter.
//!
//! `PreferSameZone` and `PreferSameNode` give each ready endpoint its own zone, or node and zone. Topology mode `Auto`
//! wins over both: endpoints are shared out so that each zone gets a part like its part of the nodes, and nobody
//! gets hints when that can't be done well.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use weft_model::{EndpointItem, Family, Hints, Service, TrafficDistribution};

use crate::{State, terms};

/// Gives hints to the ready endpoints of a service's pods.
pub(crate) fn give(state: &State, service: &Service, endpoints: &mut BTreeMap<IpAddr, EndpointItem>) {
    if terms::is_automatic(service) {
        for family in service.spec.families.iter().copied() {
            let ready = endpoints.values_mut().filter(|e| Family::of(e.address) == family);
            let ready: Vec<_> = ready.filter(|e| e.conditions.is_ready()).collect();
            by_size(&state.index.services.zones, ready);
        }
        return;
    }
    let Some(distribution) = service.spec.distribution else { return };
    for endpoint in endpoints.values_mut().filter(|endpoint| endpoint.conditions.is_ready()) {
        let zones = (!endpoint.zone.is_empty()).then(|| endpoint.zone.to_string()).into_iter().collect();
        let nodes = match distribution {
            TrafficDistribution::PreferSameZone => Vec::new(),
            TrafficDistribution::PreferSameNode => endpoint.node.clone().into_iter().collect(),
        };
        endpoint.hints = Arc::new(Hints { zones, nodes });
    }
}

/// Shares the ready endpoints of one family out to the zones by their numbers of nodes.
fn by_size(zones: &BTreeMap<String, u32>, ready: Vec<&mut EndpointItem>) {
    let total: u32 = zones.values().sum();
    let known = ready.iter().all(|endpoint| zones.contains_key(&*endpoint.zone));
    if zones.len() < 2 || !known {
        return;
    }
    let count = u32::try_from(ready.len()).unwrap_or(u32::MAX);
    let Some(mut wanted) = parts(zones, total, count) else { return };
    // First whoever may stay in the own zone, then the rest, each in order of addresses.
    let mut rest = Vec::new();
    for endpoint in ready {
        match wanted.get_mut(&*endpoint.zone).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                Arc::make_mut(&mut endpoint.hints).zones = vec![endpoint.zone.to_string()];
            }
            None => rest.push(endpoint),
        }
    }
    let open = wanted.iter().flat_map(|(zone, left)| std::iter::repeat_n(*zone, *left as usize));
    for (endpoint, zone) in rest.into_iter().zip(open) {
        Arc::make_mut(&mut endpoint.hints).zones = vec![zone.to_owned()];
    }
}

/// How many of `count` endpoints each zone gets: largest remainders first. `None` when a zone's endpoints would carry
/// more than 20 % above their part, or it would have none at all: then everybody takes all endpoints.
fn parts(zones: &BTreeMap<String, u32>, total: u32, count: u32) -> Option<BTreeMap<&str, u32>> {
    let (total, count) = (u64::from(total), u64::from(count));
    let share = |nodes: u32| u64::from(nodes) * count;
    let mut parts: BTreeMap<&str, u64> =
        zones.iter().map(|(zone, nodes)| (zone.as_str(), share(*nodes) / total)).collect();
    let left = count.saturating_sub(parts.values().sum());
    let remainders: BTreeSet<_> =
        zones.iter().map(|(zone, nodes)| (u64::MAX - share(*nodes) % total, zone.as_str())).collect();
    for (_, zone) in remainders.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        *parts.entry(zone).or_default() += 1;
    }
    // Load of one endpoint against the mean: (nodes / total) / part over 1 / count.
    let overloaded = |zone: &str, nodes: u32| {
        let part = parts.get(zone).copied().unwrap_or(0);
        part == 0 || share(nodes) * 10 > part * total * 12
    };
    if zones.iter().any(|(zone, nodes)| overloaded(zone, *nodes)) {
        return None;
    }
    parts.into_iter().map(|(zone, part)| Some((zone, u32::try_from(part).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zones: &[(&str, u32)], count: u32, expected: Option<&[u32]>) {
        let zones: BTreeMap<_, _> = zones.iter().map(|(zone, nodes)| ((*zone).to_owned(), *nodes)).collect();
        let total = zones.values().sum();
        let got = parts(&zones, total, count).map(|parts| parts.into_values().collect::<Vec<_>>());
        assert_eq!(got.as_deref(), expected, "{zones:?} of {count}");
    }

    #[test]
    fn endpoints_are_shared_out_like_nodes_unless_a_zone_would_carry_too_much() {
        check(&[("a", 1), ("b", 1)], 4, Some(&[2, 2]));
        check(&[("a", 3), ("b", 1)], 8, Some(&[6, 2]));
        check(&[("a", 1), ("b", 1), ("c", 1)], 10, Some(&[4, 3, 3]));
        check(&[("a", 1), ("b", 1)], 3, None);
        check(&[("a", 1), ("b", 1)], 1, None);
        check(&[("a", 1), ("b", 1)], 0, None);
        check(&[("a", 9), ("b", 1)], 4, None);
    }
}
