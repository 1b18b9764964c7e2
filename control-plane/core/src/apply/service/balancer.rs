//! Load-balancer addresses: given out from pools, asked for by people, shared where services agree.
//!
//! Without any pool of a family a service waits for one; that is no error.

use std::{collections::BTreeMap, net::IpAddr};

use weft_model::{AddressRange, Family, IpMode, LoadBalancerAddress, Service, ServiceType, TrafficPolicy};

use super::{external, holders, put};
use crate::{
    Error, ServiceError, State, admit,
    edit::Edit,
    terms::{is_our_class, sharing_key},
};

/// A pool: one that was written, or that of the fabric's own ranges.
#[derive(Clone, Copy)]
pub(crate) struct PoolRef<'a> {
    pub(crate) name: &'a str,
    pub(crate) ranges: &'a [AddressRange],
    pub(crate) automatic: bool,
    pub(crate) announce: bool,
    pub(crate) mode: IpMode,
    pub(crate) nodes: Option<&'a BTreeMap<String, String>>,
}

/// All pools: those that were written in order of their names, then that of the fabric if it has ranges.
pub(crate) fn pools(state: &State) -> impl Iterator<Item = PoolRef<'_>> {
    let written = state.pools().values().map(|pool| PoolRef {
        name: pool.name.as_str(),
        ranges: &pool.ranges,
        automatic: pool.automatic,
        announce: pool.announce,
        mode: pool.mode,
        nodes: Some(&pool.nodes),
    });
    let own = state.fabric().map(|fabric| fabric.ranges.load_balancers.as_slice()).filter(|r| !r.is_empty());
    let (automatic, announce, mode) = (true, true, IpMode::Vip);
    let own = own.map(|ranges| PoolRef {
        name: admit::FABRIC_POOL,
        ranges,
        automatic,
        announce,
        mode,
        nodes: None,
    });
    written.chain(own)
}

/// The pool that holds an address.
pub(crate) fn pool_of(state: &State, address: IpAddr) -> Option<PoolRef<'_>> {
    pools(state).find(|pool| pool.ranges.iter().any(|range| range.contains(address)))
}

/// Gives a service its load-balancer addresses: those asked for, those it has, or free ones.
pub(crate) fn allocate(state: &State, service: &mut Service) -> Result<(), Error> {
    let had = std::mem::take(&mut service.load_balancer);
    let spec = &service.spec;
    if spec.kind != ServiceType::LoadBalancer || !is_our_class(spec.load_balancer_class.as_deref()) {
        return Ok(());
    }
    if let Some(strange) = spec.load_balancer_ips.iter().find(|a| !spec.families.contains(&Family::of(**a))) {
        let why = format!("the service has no {} address", Family::of(*strange));
        return Err(refuse(service, *strange, why));
    }
    let mut given = Vec::new();
    for family in spec.families.iter().copied() {
        let mut pools = pools(state).filter(|pool| of_family(pool, family).next().is_some());
        if pools.next().is_none() {
            continue;
        }
        let asked = spec.load_balancer_ips.iter().copied().find(|a| Family::of(*a) == family);
        let kept = had.iter().map(|given| given.address).find(|a| Family::of(*a) == family);
        let address = match asked.or(kept) {
            Some(address) => Some(check(state, service, address)?),
            None => pick(state, service, family)?,
        };
        given.extend(address.and_then(|address| {
            pool_of(state, address).map(|pool| LoadBalancerAddress { address, mode: pool.mode })
        }));
    }
    service.load_balancer = given;
    Ok(())
}

fn of_family<'a>(pool: &PoolRef<'a>, family: Family) -> impl Iterator<Item = &'a AddressRange> + use<'a> {
    pool.ranges.iter().filter(move |range| range.family() == family)
}

fn refuse(service: &Service, address: IpAddr, why: String) -> Error {
    let (service, field) = (service.name.clone(), "spec.loadBalancerIP");
    ServiceError::BalancerAddressTaken { service, field, address, why }.into()
}

/// An address that people chose, or that the service has.
fn check(state: &State, service: &Service, address: IpAddr) -> Result<IpAddr, Error> {
    if pool_of(state, address).is_none() {
        let names: Vec<_> = pools(state).map(|pool| pool.name).collect();
        let why = format!("it lies in no pool (there are {})", names.join(", "));
        return Err(refuse(service, address, why));
    }
    match obstacle(state, service, address) {
        Some(why) => Err(refuse(service, address, why)),
        None => Ok(address),
    }
}

/// Why a service can't have an address that may have other holders.
fn obstacle(state: &State, service: &Service, address: IpAddr) -> Option<String> {
    let others = state.balanced_by(address).filter(|other| other.name != service.name);
    let unfit = others.into_iter().find_map(|other| {
        unfit(service, other).map(|why| format!("it is held by service {}, {why}", other.name))
    });
    unfit.or_else(|| external::claimant(state, service, address).map(|who| format!("it is held by {who}")))
}

/// Why two services can't share an address.
pub(crate) fn unfit(service: &Service, other: &Service) -> Option<String> {
    let local = |service: &Service| service.spec.external_policy == TrafficPolicy::Local;
    if sharing_key(service).is_none() || sharing_key(service) != sharing_key(other) {
        return Some("with another value of weft.io/allow-shared-ip or none".to_owned());
    }
    if let Some(port) = external::clashes(service, other) {
        return Some(format!("which has port {port} too"));
    }
    let alike = service.spec.selector == other.spec.selector && !service.spec.selector.is_empty();
    if (local(service) || local(other)) && !alike {
        return Some("and with externalTrafficPolicy Local both must have one selector".to_owned());
    }
    None
}

/// An address of the automatic pools: one that can be shared, else the lowest free one.
fn pick(state: &State, service: &Service, family: Family) -> Result<Option<IpAddr>, Error> {
    let index = &state.index.services;
    let free_of_claims = |address: &IpAddr| obstacle(state, service, *address).is_none();
    let ranges = || pools(state).filter(|pool| pool.automatic).flat_map(|pool| of_family(&pool, family));
    let friends = sharing_key(service).and_then(|key| index.sharing.get(key)).into_iter().flatten();
    let friends =
        friends.filter_map(|name| state.services().get(name)).flat_map(|friend| &friend.load_balancer);
    let shared = friends
        .map(|given| given.address)
        .filter(|address| ranges().any(|range| range.contains(*address)))
        .find(free_of_claims);
    if shared.is_some() {
        return Ok(shared);
    }
    for range in ranges() {
        let mut from = range.first();
        while let Some(address) = index.balanced_taken.free(from, range.last()) {
            if free_of_claims(&address) {
                return Ok(Some(address));
            }
            let Some(next) = range.index_of(address).and_then(|p| range.nth(p + 1)) else { break };
            from = next;
        }
    }
    let held = ranges().map(|range| {
        let names = index.balanced.range(range.first()..=range.last()).flat_map(|(_, names)| names);
        format!("all addresses of {range} are held by {}", holders(names))
    });
    let holders: Vec<_> = held.collect();
    if holders.is_empty() {
        // There are pools, but none gives out addresses that nobody asked for: it waits.
        return Ok(None);
    }
    let (service, holders) = (service.name.clone(), holders.join("; "));
    Err(ServiceError::BalancerAddressesExhausted { service, family, holders }.into())
}

/// After pools have changed: who waited gets an address if there is one, and modes follow their pools.
pub(crate) fn follow_pools(edit: &mut Edit<'_>) {
    let names: Vec<_> = edit.state().index.services.balancers.iter().cloned().collect();
    for name in names {
        let Some(service) = edit.state().services().get(&name) else { continue };
        let mut new = service.clone();
        // Whoever can't get one now waits on, as before.
        if allocate(edit.state(), &mut new).is_ok() && new != *service {
            put(edit, new);
        }
    }
    let owned: Vec<_> = edit.state().owners().keys().copied().collect();
    crate::apply::owner::tidy(edit, owned);
}

/// A load-balancer address of a range that no pool would hold any more, and who has it.
pub(crate) fn stranded(
    state: &State,
    ranges: &[AddressRange],
    stays: impl Fn(IpAddr) -> bool,
) -> Option<(IpAddr, String)> {
    let balanced = &state.index.services.balanced;
    let held = ranges.iter().flat_map(|range| balanced.range(range.first()..=range.last()));
    let (address, names) = held.into_iter().find(|(address, _)| !stays(**address))?;
    Some((*address, format!("service {}", holders(names.iter()))))
}
