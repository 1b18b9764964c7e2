//! Executor of the link subject: the bridge and what hangs on it, settings.
//!
//! Ours are: the bridge by hardware address, whatever its name; addresses by their protocol number (IFA_PROTO, Linux 5.18); ports by
//! their group; neighbours on the bridge by protocol number; static forwarding entries of our bridge.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

use std::collections::BTreeMap;

use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteProtocol,
};
use nix::errno::Errno;
use weft_model::{
    PodUid,
    ownership::{BRIDGE, BRIDGE_MAC, LINK_GROUP_DEAD, LINK_GROUP_PODS, ROUTE_PROTOCOL, VETH_ALIAS_PREFIX},
};
use weft_plan::{BridgeState, Executor, Failure, Link, LinkKey, LinkStep, LinkValue, PortState, Step};

use crate::{
    attach::{index_of, is_gone, kill},
    error::Error,
    netlink::Netlink,
    observe::{LinkFacts, address_facts, all_links, find_link},
    request::{LinkChange, Request},
    setting::{read_setting, write_setting},
};

/// Reads and writes links of the namespace that it was opened in.
#[derive(Debug)]
pub struct LinkExecutor {
    netlink: Netlink,
}

type Seen = Vec<(LinkKey, LinkValue)>;

impl LinkExecutor {
    /// Opens a socket in the calling thread's namespace, where it must be used too: settings belong to the thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open()? })
    }

    fn observe_bridge(
        &mut self,
        bridge: &LinkFacts,
        links: &[LinkFacts],
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let (snooping, spanning_tree) = bridge.bridge.unwrap_or_default();
        let state = BridgeState {
            mac: bridge.mac.unwrap_or_default(),
            mtu: bridge.mtu,
            up: bridge.up,
            snooping,
            spanning_tree,
        };
        seen.push((LinkKey::Bridge, LinkValue::Bridge(state)));
        let addresses = self.netlink.dump(&Request::addresses_of(bridge.index))?;
        for address in addresses.into_iter().filter_map(address_facts).filter(|a| a.ours) {
            // The kernel derives the scope of an IPv6 address from the address itself.
            let value = LinkValue::Address { link_scope: address.link_scope };
            seen.push((LinkKey::Address(address.address, address.prefix), value));
        }
        let neighbours = self.netlink.dump(&Request::neighbours_of(bridge.index))?;
        seen.extend(neighbours.into_iter().filter_map(|m| neighbour(m, bridge.index)));
        let names: BTreeMap<u32, &str> = links.iter().map(|l| (l.index, l.name.as_str())).collect();
        let entries = self.netlink.dump(&Request::forwarding_of(bridge.index))?;
        seen.extend(entries.into_iter().filter_map(|m| forwarding(m, &names)));
        Ok(())
    }

    fn execute_one(&mut self, step: &LinkStep) -> Result<(), Error> {
        match step {
            Step::Put { key, value, was } => self.put(key, value, was.as_ref()),
            Step::Delete { key, was } => self.delete(key, was),
        }
    }

    fn put(&mut self, key: &LinkKey, value: &LinkValue, was: Option<&LinkValue>) -> Result<(), Error> {
        match (key, value) {
            (LinkKey::Setting(setting), LinkValue::Setting(value)) => write_setting(setting, value),
            (LinkKey::Bridge, LinkValue::Bridge(state)) => self.put_bridge(state),
            (LinkKey::Address(address, prefix), LinkValue::Address { link_scope }) => {
                let bridge = index_of(BRIDGE)?;
                if was.is_some() {
                    // A scope can't be changed in place.
                    self.tolerate(Request::delete_address(bridge, *address, *prefix), is_gone)?;
                }
                let add = Request::add_address(bridge, *address, *prefix, *link_scope);
                self.tolerate(add, |errno| errno == Errno::EEXIST)
            }
            (LinkKey::Port(name), LinkValue::Port(state)) => self.put_port(name, state),
            (LinkKey::Forwarding(mac), LinkValue::Forwarding { port }) => {
                let index = self.live_port(port)?.index;
                match self.netlink.one(Request::put_forwarding(index, *mac)) {
                    // Not a port of any bridge: torn out; the port's own step comes first.
                    Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {
                        Err(Error::PortGone { name: port.clone() })
                    }
                    outcome => outcome.map(|_| ()),
                }
            }
            (LinkKey::Neighbour(address), LinkValue::Neighbour { mac }) => {
                let request = Request::put_neighbour(index_of(BRIDGE)?, *address, *mac);
                self.netlink.one(request).map(|_| ())
            }
            // The subject pairs each key with its own kind of value.
            (_, _) => Ok(()),
        }
    }

    fn put_bridge(&mut self, state: &BridgeState) -> Result<(), Error> {
        let add = Request::add_bridge(BRIDGE, state.mac);
        self.tolerate(add, |errno| errno == Errno::EEXIST)?;
        let found =
            find_link(&mut self.netlink, BRIDGE)?.ok_or_else(|| Error::NoLink { name: BRIDGE.to_owned() })?;
        if found.kind != "bridge" {
            return Err(Error::NameTaken { name: BRIDGE.to_owned() });
        }
        let change = LinkChange {
            up: Some(state.up),
            mtu: Some(state.mtu),
            mac: Some(state.mac).filter(|mac| found.mac != Some(*mac)),
            bridge: true,
            ..LinkChange::default()
        };
        self.netlink.one(Request::change_link(found.index, BRIDGE, change)).map(|_| ())
    }

    /// Joins first, since only a port can be guarded; both are done while it is down.
    fn put_port(&mut self, name: &str, state: &PortState) -> Result<(), Error> {
        let bridge = index_of(BRIDGE)?;
        let found = self.live_port(name)?;
        if found.master != Some(bridge) {
            let down = LinkChange { up: Some(false), master: Some(bridge), ..LinkChange::default() };
            self.netlink.one(Request::change_link(found.index, name, down))?;
        }
        let change = LinkChange {
            up: Some(state.up),
            mtu: Some(state.mtu),
            // Said only where it differs: one that a detach kills right now must stay dead.
            group: Some(LINK_GROUP_PODS).filter(|group| *group != found.group),
            alias: Some(format!("{VETH_ALIAS_PREFIX}{}", state.uid)),
            guard: state.guarded,
            ..LinkChange::default()
        };
        self.netlink.one(Request::change_link(found.index, name, change)).map(|_| ())
    }

    /// A pod's link that isn't dead. A dead one is never revived: its pod's side belongs to another life.
    fn live_port(&mut self, name: &str) -> Result<LinkFacts, Error> {
        find_link(&mut self.netlink, name)?
            .filter(|link| link.group != LINK_GROUP_DEAD)
            .ok_or_else(|| Error::PortGone { name: name.to_owned() })
    }

    fn delete(&mut self, key: &LinkKey, was: &LinkValue) -> Result<(), Error> {
        if let LinkKey::Renamed(name) = key {
            return match find_link(&mut self.netlink, name)?.filter(is_our_bridge) {
                Some(found) => self.tolerate(Request::delete_link(found.index, name), is_gone),
                None => Ok(()),
            };
        }
        let bridge = match index_of(BRIDGE) {
            Ok(index) => index,
            // Without the bridge nothing that hung on it is left, but pods' links may be.
            Err(Error::NoLink { .. }) if !matches!(key, LinkKey::Port(_)) => return Ok(()),
            Err(Error::NoLink { .. }) => 0,
            Err(error) => return Err(error),
        };
        match (key, was) {
            (LinkKey::Address(address, prefix), _) => {
                self.tolerate(Request::delete_address(bridge, *address, *prefix), is_gone)
            }
            (LinkKey::Port(name), _) => match find_link(&mut self.netlink, name)? {
                Some(found) => self.tolerate(kill(&found), is_gone),
                None => Ok(()),
            },
            (LinkKey::Forwarding(mac), LinkValue::Forwarding { port }) => match index_of(port) {
                // A link that has left the bridge took its entries along and has no such operation any more.
                Ok(index) => self.tolerate(Request::delete_forwarding(index, *mac), |errno| {
                    is_gone(errno) || errno == Errno::EOPNOTSUPP
                }),
                Err(_) => Ok(()),
            },
            (LinkKey::Neighbour(address), _) => {
                self.tolerate(Request::delete_neighbour(bridge, *address), is_gone)
            }
            // Settings and the bridge are taken back by purge only.
            (LinkKey::Setting(_) | LinkKey::Bridge | LinkKey::Forwarding(_) | LinkKey::Renamed(_), _) => {
                Ok(())
            }
        }
    }

    fn tolerate(&mut self, request: Request, fine: impl Fn(Errno) -> bool) -> Result<(), Error> {
        match self.netlink.one(request) {
            Ok(_) => Ok(()),
            Err(error) if error.errno().is_some_and(fine) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Executor<Link> for LinkExecutor {
    type Error = Error;

    fn observe(&mut self, wanted: &[&LinkKey]) -> Result<Vec<(LinkKey, LinkValue)>, Error> {
        let mut seen = Vec::new();
        for key in wanted {
            if let LinkKey::Setting(setting) = key
                && let Some(value) = read_setting(setting)?
            {
                seen.push(((*key).clone(), LinkValue::Setting(value)));
            }
        }
        let links = all_links(&mut self.netlink)?;
        let bridge = links.iter().find(|link| link.name == BRIDGE && link.kind == "bridge");
        for link in links.iter().filter(|link| link.group == LINK_GROUP_PODS && link.kind == "veth") {
            if let Some(uid) = pod_of(&link.alias) {
                let guarded = link.guarded && link.master.is_some() && link.master == bridge.map(|b| b.index);
                let state = PortState { uid, mtu: link.mtu, up: link.up, guarded };
                seen.push((LinkKey::Port(link.name.clone()), LinkValue::Port(state)));
            }
        }
        let renamed = links.iter().filter(|link| is_our_bridge(link) && link.name != BRIDGE);
        seen.extend(renamed.map(|link| (LinkKey::Renamed(link.name.clone()), LinkValue::Renamed)));
        if let Some(bridge) = bridge {
            self.observe_bridge(bridge, &links, &mut seen)?;
        }
        Ok(seen)
    }

    fn execute(&mut self, steps: &[LinkStep]) -> Result<(), Vec<Failure<Error>>> {
        let mut failures = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            if let Err(error) = self.execute_one(step) {
                failures.push(Failure { step: place, error });
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

/// Whether a link is a pod bridge that an agent made, whatever it is called now.
pub(crate) fn is_our_bridge(link: &LinkFacts) -> bool {
    link.kind == "bridge" && link.mac == Some(BRIDGE_MAC)
}

/// The pod that an alias names.
fn pod_of(alias: &str) -> Option<PodUid> {
    alias.strip_prefix(VETH_ALIAS_PREFIX)?.parse().ok()
}

fn neighbour(message: RouteNetlinkMessage, bridge: u32) -> Option<(LinkKey, LinkValue)> {
    let message = neighbour_message(message)?;
    let ours =
        |a: &NeighbourAttribute| *a == NeighbourAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL));
    let permanent = message.header.state == NeighbourState::Permanent && message.header.ifindex == bridge;
    if !permanent || !message.attributes.iter().any(ours) {
        return None;
    }
    let address = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => Some((*a).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => Some((*a).into()),
        _ => None,
    })?;
    Some((LinkKey::Neighbour(address), LinkValue::Neighbour { mac: hardware(&message)? }))
}

/// Static entries of ports: neither learnt ones (there are none) nor those of the ports' own addresses.
fn forwarding(message: RouteNetlinkMessage, names: &BTreeMap<u32, &str>) -> Option<(LinkKey, LinkValue)> {
    let message = neighbour_message(message)?;
    let of_bridge = message.attributes.iter().any(|a| matches!(a, NeighbourAttribute::Controller(_)));
    let own = message.header.flags.contains(NeighbourFlags::Own);
    if message.header.state != NeighbourState::Noarp || own || !of_bridge {
        return None;
    }
    let port = (*names.get(&message.header.ifindex)?).to_owned();
    Some((LinkKey::Forwarding(hardware(&message)?), LinkValue::Forwarding { port }))
}

fn neighbour_message(message: RouteNetlinkMessage) -> Option<NeighbourMessage> {
    match message {
        RouteNetlinkMessage::NewNeighbour(message) => Some(message),
        _ => None,
    }
}

fn hardware(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    })
}
