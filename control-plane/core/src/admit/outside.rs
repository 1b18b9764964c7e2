//! What a fabric says of the world outside: node ports, the addresses that take them, external addresses of services.

use weft_model::{AddressRange, Fabric};

use super::reserved;
use crate::{Error, State, apply::service::stranded, bands, index::services::ServiceIndex, limits};

/// Checks the settings on their own.
pub(crate) fn check(fabric: &Fabric) -> Result<(), Error> {
    let bad = |field: String, why: String| Err(Error::invalid("fabric", "main", field, why));
    let (first, last) = fabric.node_port_range;
    if first == 0 || last < first {
        let why = format!("{first}-{last} isn't a range of ports from 1 to 65535");
        return bad("spec.nodePortRange".to_owned(), why);
    }
    let lists = [
        ("spec.nodePortAddresses", &fabric.node_port_addresses),
        ("spec.externalIPRanges", &fabric.external_ip_ranges),
    ];
    for (field, list) in lists {
        if list.len() > limits::MAX_RANGES_PER_PURPOSE {
            let (what, limit) = ("ranges in a list", limits::MAX_RANGES_PER_PURPOSE);
            return Err(Error::TooLarge { kind: "fabric", name: "main".to_owned(), what, limit });
        }
        for (index, range) in list.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if list.iter().take(index).any(|earlier| earlier == range) {
                return bad(field, format!("{range} stands there twice"));
            }
            if let Some(why) = why_not(fabric, *range, field.starts_with("spec.external")) {
                return bad(field, format!("{range} {why}"));
            }
        }
    }
    Ok(())
}

/// Node port addresses are filters over what nodes have: only loopback means nothing there. What is external may not
/// touch what can't be anybody's, nor addresses of the fabric's own.
fn why_not(fabric: &Fabric, range: AddressRange, external: bool) -> Option<String> {
    if !external {
        let loopback = range.first().is_loopback();
        return loopback.then(|| "is loopback, where node ports are never served".to_owned());
    }
    if let Some(reserved) = reserved::touched(range).filter(|reserved| !reserved.hosts) {
        return Some(format!("touches {}, which is reserved ({})", reserved.range, reserved.name));
    }
    let own = [&fabric.ranges.pods, &fabric.ranges.services, &fabric.ranges.nodes];
    let touched = own.into_iter().flatten().find(|own| own.overlaps(range))?;
    Some(format!("overlaps {touched}, a range of the fabric itself"))
}

/// What services hold must stay: their addresses, node ports and external addresses.
pub(crate) fn check_held(state: &State, current: &Fabric, new: &Fabric) -> Result<(), Error> {
    let index = &state.index.services;
    let in_use = |what: String, field, holder: String| Err(Error::RangeInUse { what, field, holder });
    for range in current.ranges.services.iter().filter(|range| !new.ranges.services.contains(range)) {
        let held = index.cluster.range(range.first()..=range.last());
        if let Some((address, name)) = held.into_iter().find(|(a, _)| bands::position(new, **a).is_none()) {
            let holder = format!("service {name} ({address})");
            return in_use(format!("service range {range}"), "spec.ranges.services", holder);
        }
    }
    let balancers = &new.ranges.load_balancers;
    let stays = |address| balancers.iter().any(|range| range.contains(address));
    if let Some((address, holder)) = stranded(state, &current.ranges.load_balancers, stays) {
        let what = format!("load-balancer address {address}");
        return in_use(what, "spec.ranges.loadBalancers", holder);
    }
    if let Some((port, holder)) = port_outside(index, new.node_port_range) {
        let what = format!("node port {port}");
        return in_use(what, "spec.nodePortRange", holder);
    }
    let allowed = |address| new.external_ip_ranges.iter().any(|range| range.contains(address));
    if let Some((address, names)) = index.external.iter().find(|(address, _)| !allowed(**address)) {
        let holder = names.first().map(|name| format!("service {name}")).unwrap_or_default();
        return in_use(format!("external address {address}"), "spec.externalIPRanges", holder);
    }
    Ok(())
}

fn port_outside(index: &ServiceIndex, (first, last): (u16, u16)) -> Option<(u16, String)> {
    let mut ends =
        [index.node_ports.first_key_value(), index.node_ports.last_key_value()].into_iter().flatten();
    let (port, name) = ends.find(|(port, _)| !(first..=last).contains(*port))?;
    Some((*port, format!("service {name}")))
}
