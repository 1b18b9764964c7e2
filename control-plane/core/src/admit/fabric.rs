//! A fabric on its own, in place of another one, and against the machines it stands on.

use std::net::IpAddr;

use weft_model::{AddressRange, DomainName, Fabric, Families, Family, Member, NodeName, NodeState, Purpose};

use super::{dns, load_balancer, outside, reserved};
use crate::{Error, RangeAt, State, error::ranges_field, limits, pool};

/// Checks a fabric on its own.
pub(crate) fn check_fabric(fabric: &Fabric) -> Result<(), Error> {
    let bad = |field: &str, why: String| Err(Error::invalid("fabric", "main", field, why));
    if !(20..=28).contains(&fabric.block_prefix_v4) {
        return bad("spec.blockPrefixV4", format!("block prefix {} isn't 20 to 28", fabric.block_prefix_v4));
    }
    if !limits::NODE_GRACE.contains(&fabric.node_grace) {
        let seconds = fabric.node_grace;
        return bad("spec.nodeGraceSeconds", format!("{seconds} isn't 5 to 600 seconds"));
    }
    if let Err(error) = DomainName::new(fabric.domain.as_str()) {
        return bad("spec.domain", error.to_string());
    }
    let too_large =
        |what, limit| Err(Error::TooLarge { kind: "fabric", name: "main".to_owned(), what, limit });
    if fabric.masquerade_exceptions.len() > limits::MAX_EXCEPTIONS {
        return too_large("masquerade exceptions", limits::MAX_EXCEPTIONS);
    }
    for (purpose, ranges) in purposes(fabric) {
        if ranges.len() > limits::MAX_RANGES_PER_PURPOSE {
            return too_large("ranges of one purpose", limits::MAX_RANGES_PER_PURPOSE);
        }
        for family in fabric.families.list().iter().copied() {
            let needed = purpose != Purpose::LoadBalancers;
            if needed && !ranges.iter().any(|range| range.family() == family) {
                return Err(Error::RangeMissing { purpose, family });
            }
        }
    }
    outside::check(fabric)?;
    dns::check_settings(fabric)?;
    let all: Vec<_> = ranges(fabric).collect();
    for (position, at) in all.iter().enumerate() {
        check_range(fabric, *at)?;
        if let Some(other) = all.iter().take(position).find(|other| other.range.overlaps(at.range)) {
            return Err(Error::RangeOverlap { at: *at, other: *other });
        }
    }
    Ok(())
}

/// A range on its own: family, reserved space, size.
fn check_range(fabric: &Fabric, at: RangeAt) -> Result<(), Error> {
    let family = at.range.family();
    if !fabric.families.has(family) {
        return Err(Error::RangeFamily { at, families: fabric.families });
    }
    if let Some(reserved) = reserved::touched(at.range) {
        return Err(Error::RangeReserved { at, reserved: reserved.range, name: reserved.name });
    }
    let block = pool::block_prefix(fabric, family);
    let (longest, holds) = match at.purpose {
        Purpose::Pods => (block - 1, format!("two blocks of /{block}")),
        Purpose::Services => (family.bits() - 4, "16 service addresses".to_owned()),
        Purpose::Nodes => (family.bits() - 2, "two nodes".to_owned()),
        Purpose::LoadBalancers => (family.bits(), String::new()),
    };
    if at.range.prefix() > longest {
        return Err(Error::RangeTooSmall { at, need: format!("it must hold {holds}, /{longest} at most") });
    }
    Ok(())
}

/// The fabric that `wanted` makes of `current`: what it leaves out is kept, what is fixed must be the same, what
/// is in use must stay, and the machines must not be in the way.
pub(crate) fn replace_fabric(state: &State, current: &Fabric, wanted: Fabric) -> Result<Fabric, Error> {
    let mut new = wanted;
    if new.domain.is_empty() {
        new.domain.clone_from(&current.domain);
    }
    if new.block_prefix_v4 == 0 {
        new.block_prefix_v4 = current.block_prefix_v4;
    }
    if new.node_port_range == (0, 0) {
        new.node_port_range = current.node_port_range;
    }
    keep(current.families, &current.ranges.pods, &mut new.ranges.pods);
    keep(current.families, &current.ranges.services, &mut new.ranges.services);
    keep(current.families, &current.ranges.nodes, &mut new.ranges.nodes);
    (new.generation, new.revision) = (current.generation, current.revision);
    check_fixed(current, &new)?;
    check_fabric(&new)?;
    check_removed(state, current, &new)?;
    outside::check_held(state, current, &new)?;
    load_balancer::check_fabric(state, &new)?;
    check_machines(state, &new)?;
    Ok(new)
}

/// A family whose ranges were left out keeps those it has.
fn keep(families: Families, current: &[AddressRange], new: &mut Vec<AddressRange>) {
    for family in families.list().iter().copied() {
        if !new.iter().any(|range| range.family() == family) {
            new.extend(current.iter().filter(|range| range.family() == family));
        }
    }
}

fn check_fixed(current: &Fabric, new: &Fabric) -> Result<(), Error> {
    let fixed = [
        ("spec.families", current.families.to_string(), new.families.to_string()),
        ("spec.overlay", current.overlay.to_string(), new.overlay.to_string()),
        ("spec.domain", current.domain.clone(), new.domain.clone()),
        ("spec.blockPrefixV4", current.block_prefix_v4.to_string(), new.block_prefix_v4.to_string()),
    ];
    match fixed.into_iter().find(|(_, was, wanted)| was != wanted) {
        Some((field, was, wanted)) => {
            Err(Error::Immutable { kind: "fabric", name: "main".to_owned(), field, was, wanted })
        }
        None => Ok(()),
    }
}

/// What is held in ranges that go must lie in ranges that stay or come.
fn check_removed(state: &State, current: &Fabric, new: &Fabric) -> Result<(), Error> {
    for at in ranges(current) {
        let stays = ranges(new).any(|other| other.purpose == at.purpose && other.range == at.range);
        if stays {
            continue;
        }
        let holder = match at.purpose {
            Purpose::Pods => state
                .leases_in(at.range)
                .find(|lease| pool::block_position(new, lease.block).is_none())
                .map(|lease| &lease.node),
            Purpose::Nodes => {
                let held = state.index.mesh.range(at.range.first()..=at.range.last());
                held.into_iter()
                    .find(|(address, _)| pool::mesh_position(new, **address).is_none())
                    .map(|x| x.1)
            }
            Purpose::Services | Purpose::LoadBalancers => None,
        };
        if let Some(node) = holder {
            let (what, holder) = (at.to_string(), format!("node {node}"));
            return Err(Error::RangeInUse { what, field: ranges_field(at.purpose), holder });
        }
    }
    Ok(())
}

/// Routes and addresses of the nodes and replicas.
fn check_machines(state: &State, fabric: &Fabric) -> Result<(), Error> {
    for node in state.nodes().values().filter(|node| node.state == NodeState::Active) {
        check_routes(fabric, &node.name, &node.host_routes)?;
        node.underlay
            .iter()
            .try_for_each(|address| check_host(fabric, *address, || format!("node {}", node.name)))?;
    }
    state.members().values().try_for_each(|member| check_replica_address(fabric, member))
}

/// Refuses routes of a machine that overlap a range. Load-balancer ranges may: an announced one must lie inside a
/// connected prefix (design, section 5). A default route, or one half of it, says nothing about a range.
pub(crate) fn check_routes(fabric: &Fabric, node: &NodeName, routes: &[AddressRange]) -> Result<(), Error> {
    for at in ranges(fabric).filter(|at| at.purpose != Purpose::LoadBalancers) {
        let specific = routes.iter().filter(|route| route.prefix() > 1);
        if let Some(route) = specific.into_iter().find(|route| route.overlaps(at.range)) {
            return Err(Error::RouteOverlap { at, node: node.clone(), route: *route });
        }
    }
    Ok(())
}

/// Refuses a machine's underlay address that lies in a range.
pub(crate) fn check_host(fabric: &Fabric, address: IpAddr, holder: impl Fn() -> String) -> Result<(), Error> {
    match ranges(fabric).find(|at| at.range.contains(address)) {
        Some(at) => Err(Error::HostInRange { at, address, holder: holder() }),
        None => Ok(()),
    }
}

/// Refuses a replica that serves inside a range: control traffic never needs the mesh.
pub(crate) fn check_replica_address(fabric: &Fabric, member: &Member) -> Result<(), Error> {
    check_host(fabric, member.address.ip(), || format!("replica {}", member.name))
}

fn purposes(fabric: &Fabric) -> [(Purpose, &[AddressRange]); 4] {
    let ranges = &fabric.ranges;
    [
        (Purpose::Pods, &ranges.pods),
        (Purpose::Services, &ranges.services),
        (Purpose::Nodes, &ranges.nodes),
        (Purpose::LoadBalancers, &ranges.load_balancers),
    ]
}

/// Every range of a fabric with its place.
pub(super) fn ranges(fabric: &Fabric) -> impl Iterator<Item = RangeAt> {
    purposes(fabric).into_iter().flat_map(|(purpose, ranges)| {
        ranges.iter().enumerate().map(move |(index, range)| RangeAt { purpose, index, range: *range })
    })
}

/// Whether an address family is one of the fabric's.
pub(crate) fn check_family(fabric: &Fabric, family: Family) -> Result<(), Error> {
    if fabric.families.has(family) {
        return Ok(());
    }
    Err(Error::RangeMissing { purpose: Purpose::Pods, family })
}
