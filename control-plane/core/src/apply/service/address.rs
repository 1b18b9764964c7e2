//! Addresses inside the fabric: checked where people chose them, given out where they didn't.

use std::net::IpAddr;

use weft_model::{ClusterAddresses, Fabric, Family, Service, ServiceType};

use super::holders;
use crate::{Error, ServiceError, State, bands, chance::Chance};

/// Completes the addresses of a service whose families are settled.
pub(crate) fn allocate(
    state: &State,
    fabric: &Fabric,
    service: &mut Service,
    chance: &mut Chance,
) -> Result<(), Error> {
    let mut addresses = match &service.spec.addresses {
        ClusterAddresses::None => return Ok(()),
        _ if service.spec.kind == ServiceType::ExternalName => return Ok(()),
        ClusterAddresses::Wanted => Vec::new(),
        ClusterAddresses::Given(addresses) => addresses.clone(),
    };
    for (index, address) in addresses.iter().enumerate() {
        check(state, fabric, service, index, *address)?;
    }
    for family in service.spec.families.iter().copied().skip(addresses.len()) {
        addresses.push(pick(state, fabric, service, family, chance)?);
    }
    service.spec.addresses = ClusterAddresses::Given(addresses);
    Ok(())
}

/// An address that people chose: in a range, not reserved, and nobody else's.
fn check(
    state: &State,
    fabric: &Fabric,
    service: &Service,
    index: usize,
    address: IpAddr,
) -> Result<(), Error> {
    let field = format!("spec.clusterIPs[{index}]");
    let taken =
        |field, holder| ServiceError::AddressTaken { service: service.name.clone(), field, address, holder };
    match state.index.services.cluster.get(&address) {
        Some(holder) if *holder == service.name => return Ok(()),
        Some(holder) => return Err(taken(field, format!("service {holder}")).into()),
        None => {}
    }
    let Some((_, position)) = bands::position(fabric, address) else {
        let ranges = fabric.ranges.services.iter().filter(|range| range.family() == Family::of(address));
        let ranges: Vec<_> = ranges.map(ToString::to_string).collect();
        let why = format!(
            "{field}: Invalid value: {:?}: the provided IP is not in the valid range. The range of valid IPs is {}",
            address.to_string(),
            ranges.join(", ")
        );
        return Err(Error::invalid("service", &service.name, field, why));
    };
    match bands::reserved(position) {
        Some(what) => Err(taken(field, format!("{what} (reserved)")).into()),
        None => Ok(()),
    }
}

/// A free address of a family: by chance in the upper bands of its ranges, else in the lower ones.
fn pick(
    state: &State,
    fabric: &Fabric,
    service: &Service,
    family: Family,
    chance: &mut Chance,
) -> Result<IpAddr, Error> {
    let ranges: Vec<_> = fabric.ranges.services.iter().filter(|range| range.family() == family).collect();
    let taken = &state.index.services.cluster_taken;
    for upper in [true, false] {
        for range in &ranges {
            let (first, last) = bands::usable(**range);
            let band = bands::address_band(range.size());
            let part = if upper { (first + band, last) } else { (first, band) };
            let chosen = bands::choose(part, chance, |mut from, to| {
                loop {
                    let free = taken.free(range.nth(from)?, range.nth(to)?)?;
                    let position = range.index_of(free)?;
                    if bands::reserved(position).is_none() {
                        return Some(position);
                    }
                    from = position + 1;
                    if from > to {
                        return None;
                    }
                }
            });
            if let Some(address) = chosen.and_then(|position| range.nth(position)) {
                return Ok(address);
            }
        }
    }
    let held = ranges.iter().map(|range| {
        let names = state.index.services.cluster.range(range.first()..=range.last()).map(|(_, name)| name);
        format!("all addresses of {range} are held by {}", holders(names))
    });
    let holders = held.collect::<Vec<_>>().join("; ");
    Err(ServiceError::AddressesExhausted { service: service.name.clone(), family, holders }.into())
}
