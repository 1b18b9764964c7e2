//! What a node says of itself, against the fabric and the other nodes.
//!
//! Held here: an underlay address and a WireGuard key belong to one node; an underlay address lies in a network that the
//! node says it is connected to; neither an underlay address nor a host route touches the fabric; mode routed gets only
//! nodes that it can reach.

use std::net::IpAddr;

use weft_model::{AddressRange, Fabric, Family, Node, NodeFacts, NodeName, NodeState, Overlay};

use super::{fabric, load_balancer, reserved};
use crate::{Error, State, limits};

/// Checks the facts of a node; `name` is the node itself, whose present facts they replace.
pub(crate) fn check_facts(
    state: &State,
    fabric: &Fabric,
    name: &NodeName,
    facts: &NodeFacts,
) -> Result<(), Error> {
    check_shape(name, facts)?;
    check_connected(name, facts)?;
    for address in &facts.underlay {
        fabric::check_host(fabric, *address, || format!("node {name}"))?;
        load_balancer::check_host(state, "node", name.as_str(), *address)?;
        if let Some(holder) = state.index.underlay.get(address)
            && holder != name
        {
            return Err(Error::AddressTaken {
                address: *address,
                claimant: format!("node {name}"),
                holder: format!("node {holder}"),
            });
        }
    }
    fabric::check_routes(fabric, name, &facts.host_routes)?;
    if let Some(key) = facts.wireguard_key
        && let Some(holder) = state.index.keys.get(&key)
        && holder != name
    {
        let why = format!("its WireGuard key is that of node {holder}");
        return Err(Error::invalid("node", name, "status.wireguardKey", why));
    }
    if fabric.overlay == Overlay::Routed {
        check_routed(state, fabric, name, facts)?;
    }
    Ok(())
}

/// Counts, and addresses that can be a machine's.
fn check_shape(name: &NodeName, facts: &NodeFacts) -> Result<(), Error> {
    let too_large = |what, limit| Err(Error::TooLarge { kind: "node", name: name.to_string(), what, limit });
    if facts.underlay.len() > limits::MAX_UNDERLAY {
        return too_large("underlay addresses", limits::MAX_UNDERLAY);
    }
    if facts.host_routes.len() > limits::MAX_HOST_ROUTES {
        return too_large("host routes", limits::MAX_HOST_ROUTES);
    }
    let bad = |field: String, why: String| Err(Error::invalid("node", name, field, why));
    for (index, address) in facts.underlay.iter().enumerate() {
        let field = format!("status.underlay[{index}]");
        if let Some(reserved) = reserved::forbids_host(*address) {
            let why = format!("underlay address {address} is reserved ({})", reserved.name);
            return bad(field, why);
        }
        if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
            return bad(field, format!("underlay address {address} is IPv4-mapped"));
        }
        if facts.underlay.iter().take(index).any(|earlier| earlier == address) {
            return bad(field, format!("underlay address {address} is listed twice"));
        }
    }
    if let Some(endpoint) = facts.endpoint {
        if facts.underlay.first() != Some(&endpoint.ip()) {
            let why = format!("the address of endpoint {endpoint} must be the first underlay address");
            return bad("status.endpoint".to_owned(), why);
        }
        if endpoint.port() == 0 {
            return bad("status.endpoint".to_owned(), format!("endpoint {endpoint} has no port"));
        }
    }
    Ok(())
}

/// Every underlay address but the first of its family lies in a route of the machine: what the others send there goes
/// to this node. The first ones are those of the uplink; in some clouds that is a /32 or /128 without a route.
fn check_connected(name: &NodeName, facts: &NodeFacts) -> Result<(), Error> {
    // A half of the address space is a default route in two parts and connects nothing.
    let routes: Vec<_> = facts.host_routes.iter().copied().filter(|route| route.prefix() > 1).collect();
    let first = |address| first_of(&facts.underlay, Family::of(address)) == Some(address);
    let strange = |address: &IpAddr| !first(*address) && !is_on_link(&routes, *address);
    match facts.underlay.iter().position(strange) {
        Some(index) => {
            let address = facts.underlay.get(index).map(ToString::to_string).unwrap_or_default();
            let why = format!("underlay address {address} lies in no network that the node is connected to");
            Err(Error::invalid("node", name, format!("status.underlay[{index}]"), why))
        }
        None => Ok(()),
    }
}

/// Mode routed: an underlay address of each family of the pods, on one link with the others.
fn check_routed(state: &State, fabric: &Fabric, name: &NodeName, facts: &NodeFacts) -> Result<(), Error> {
    let other = state.nodes().values().find(|node| node.state == NodeState::Active && node.name != *name);
    for family in fabric.families.list().iter().copied() {
        let impossible = |why: String| Err(Error::RoutedImpossible { node: name.clone(), why });
        let Some(own) = first_of(&facts.underlay, family) else {
            return impossible(format!(
                "it has no {family} underlay address, but pods have {family} addresses"
            ));
        };
        let Some((other, theirs)) = other.and_then(|node| Some((node, first_of(&node.underlay, family)?)))
        else {
            continue;
        };
        if !is_on_link(&facts.host_routes, theirs) || !is_on_link(&other.host_routes, own) {
            return impossible(on_other_link(own, other, theirs));
        }
    }
    Ok(())
}

fn on_other_link(own: IpAddr, other: &Node, theirs: IpAddr) -> String {
    format!("its address {own} and {theirs} of node {} lie in no common connected prefix", other.name)
}

fn first_of(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| Family::of(*address) == family)
}

fn is_on_link(routes: &[AddressRange], address: IpAddr) -> bool {
    routes.iter().any(|route| route.contains(address))
}
