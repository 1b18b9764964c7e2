//! Notices that somebody changed what is ours, or what the host is: "look again", never what to do.
//!
//! Notifications get lost (ENOBUFS) and come late; the agent works from full observations. Not here: the slow timer.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

use std::{collections::BTreeSet, time::Duration};

use netlink_packet_core::Nla;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage, LinkProtoInfoBridge},
    neighbour::NeighbourAttribute,
    route::{RouteAttribute, RouteProtocol},
    rule::RuleAttribute,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use weft_model::ownership::{BRIDGE, LINK_GROUP_DEAD, LINK_GROUP_PODS, MESH_DEVICES, ROUTE_PROTOCOL};
use weft_plan::{OWN_TABLES, is_ours};

use crate::{
    attach::index_of,
    error::{Area, Error},
    host::renamed_from,
    link::is_our_bridge,
    netlink::{Attributes, Messages},
    observe::{address_facts, link_facts},
    raw::RawSocket,
};

/// What to look at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// The link subject: a link, address or neighbour of ours changed.
    Links,
    /// The route subject: a route or rule of ours was removed.
    Routes,
    /// A mesh device came, changed or went.
    Mesh,
    /// Links, addresses or routes that aren't ours: the underlay may have changed.
    Host,
    /// Notifications were lost: everything.
    Everything,
}

/// A socket that hears of changes in the namespace it was opened in.
#[derive(Debug)]
pub struct Monitor {
    raw: RawSocket,
}

/// Multicast groups of `linux/rtnetlink.h`.
const GROUPS: [u32; 10] = [
    1,  // RTNLGRP_LINK
    3,  // RTNLGRP_NEIGH
    5,  // RTNLGRP_IPV4_IFADDR
    7,  // RTNLGRP_IPV4_ROUTE
    8,  // RTNLGRP_IPV4_RULE
    9,  // RTNLGRP_IPV6_IFADDR
    11, // RTNLGRP_IPV6_ROUTE
    19, // RTNLGRP_IPV6_RULE
    24, // RTNLGRP_IPV4_NETCONF
    25, // RTNLGRP_IPV6_NETCONF
];
/// A setting below `net.ipv4.conf` or `net.ipv6.conf` changed: `forwarding` or `rp_filter` (`linux/netconf.h`).
const RTM_NEWNETCONF: u16 = 80;
/// How many datagrams are read before what they said is returned.
const BURST: usize = 1024;

impl Monitor {
    /// Opens a monitor in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let failed = Error::of(Area::Link);
        let mut raw = RawSocket::open(NETLINK_ROUTE).map_err(&failed)?;
        for group in GROUPS {
            raw.join(group).map_err(&failed)?;
        }
        Ok(Self { raw })
    }

    /// Waits for changes, at most `limit`, and returns what they concern; empty when time passed without any.
    pub fn wait(&mut self, limit: Duration) -> Result<BTreeSet<Look>, Error> {
        let mut looks = BTreeSet::new();
        self.raw.set_wait(limit).map_err(Error::of(Area::Link))?;
        let mut flags = 0;
        for _ in 0..BURST {
            match self.raw.read(flags) {
                Ok(Some(datagram)) => {
                    looks.extend(Messages::new(datagram).filter_map(|message| match message.kind {
                        RTM_NEWNETCONF => setting_concern(message.payload()),
                        _ => message.decode().and_then(concern),
                    }));
                }
                Ok(None) => break,
                Err(failed) if failed.is_overrun() => {
                    looks.insert(Look::Everything);
                }
                Err(failed) => return Err(Error::of(Area::Link)(failed)),
            }
            if !looks.is_empty() {
                // Whatever else has come already is taken along, but not waited for.
                flags = libc::MSG_DONTWAIT;
            }
        }
        Ok(looks)
    }
}

/// Our own additions concern nobody; removals and changes of what is ours do, whoever made them.
fn concern(message: RouteNetlinkMessage) -> Option<Look> {
    use RouteNetlinkMessage as M;
    match message {
        M::NewLink(link) if is_port_notice(&link) => port_concern(link, false),
        M::DelLink(link) if is_port_notice(&link) => port_concern(link, true),
        M::NewLink(_) => {
            let link = link_facts(message)?;
            if MESH_DEVICES.contains(&link.name.as_str()) || renamed_from(&link).is_some() {
                return Some(Look::Mesh);
            }
            if link.name == BRIDGE || is_our_bridge(&link) {
                return Some(Look::Links);
            }
            if is_ours(&link.name) {
                // One that is being made has no alias yet, and a detach moves its link to the dead.
                let made = link.group == LINK_GROUP_PODS && !link.alias.is_empty();
                return (made && !(link.up && link.guarded)).then_some(Look::Links);
            }
            Some(Look::Host)
        }
        M::DelLink(_) => {
            let link = link_facts(message)?;
            if MESH_DEVICES.contains(&link.name.as_str()) {
                return Some(Look::Mesh);
            }
            if !is_ours(&link.name) {
                return Some(Look::Host);
            }
            // The dead are deleted by us.
            (link.group != LINK_GROUP_DEAD).then_some(Look::Links)
        }
        M::DelAddress(_) | M::NewAddress(_) => {
            let gone = matches!(message, M::DelAddress(_));
            let address = address_facts(message)?;
            match (address.ours, gone) {
                (true, true) => Some(Look::Links),
                (true, false) => None,
                // The kernel's own addresses of our bridge don't make another underlay.
                (false, _) => (index_of(BRIDGE).ok() != Some(address.link)).then_some(Look::Host),
            }
        }
        M::NewRoute(route) if route.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL) => None,
        M::NewRoute(route) if is_in_own_table(&route) => Some(Look::Routes),
        M::NewRoute(route) => is_main(&route).then_some(Look::Host),
        M::DelRoute(route) => {
            if route.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL) {
                return Some(Look::Routes);
            }
            is_main(&route).then_some(Look::Host)
        }
        M::DelRule(rule) => rule
            .attributes
            .contains(&RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)))
            .then_some(Look::Routes),
        M::DelNeighbour(neighbour) => neighbour
            .attributes
            .contains(&NeighbourAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)))
            .then_some(Look::Links),
        _ => None,
    }
}

/// Whether a notice comes from the bridge and is about one of its ports (`net/bridge/br_netlink.c`, `br_fill_ifinfo`).
fn is_port_notice(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Bridge
}

/// A pod's port that was opened, or left the bridge. It is up only once it is guarded, and a detach takes it down first.
fn port_concern(link: LinkMessage, gone: bool) -> Option<Look> {
    let up = link.header.flags.contains(LinkFlags::Up);
    let mut ours = false;
    let mut open = gone;
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => ours = name != BRIDGE && is_ours(&name),
            LinkAttribute::ProtoInfoBridge(parts) => open |= is_open(&parts),
            _ => {}
        }
    }
    (ours && up && open).then_some(Look::Links)
}

/// Whether a port isn't isolated, learns or floods (`linux/if_link.h`, IFLA_BRPORT_*).
fn is_open(parts: &[LinkProtoInfoBridge]) -> bool {
    const ISOLATED: u16 = 33;
    const OPENINGS: [u16; 4] = [8, 9, 27, 30]; // learning; flooding of unicast, multicast, broadcast
    let mut buffer = [0; 1];
    parts.iter().any(|part| match part.kind() {
        ISOLATED if part.value_len() == 1 => {
            part.emit_value(&mut buffer);
            buffer == [0]
        }
        kind if OPENINGS.contains(&kind) && part.value_len() == 1 => {
            part.emit_value(&mut buffer);
            buffer != [0]
        }
        _ => false,
    })
}

/// Settings of all links, of our bridge and mesh devices; every new link announces settings of its own, which are nobody's concern.
fn setting_concern(payload: &[u8]) -> Option<Look> {
    const NETCONFA_IFINDEX: u16 = 1;
    const ALL: i32 = -1;
    // `struct netconfmsg` is a family and padding.
    let mut attributes = Attributes::new(payload.get(4..)?);
    let (_, value) = attributes.find(|(kind, _)| *kind == NETCONFA_IFINDEX)?;
    let index = i32::from_ne_bytes(value.try_into().ok()?);
    let watched = || std::iter::once(BRIDGE).chain(MESH_DEVICES);
    let ours = || watched().any(|name| index_of(name).is_ok_and(|own| i32::try_from(own) == Ok(index)));
    (index == ALL || ours()).then_some(Look::Links)
}

fn is_in_own_table(route: &netlink_packet_route::route::RouteMessage) -> bool {
    // Their numbers don't fit the header's byte.
    route.attributes.iter().any(|a| matches!(a, RouteAttribute::Table(table) if OWN_TABLES.contains(table)))
}

const fn is_main(route: &netlink_packet_route::route::RouteMessage) -> bool {
    route.header.table == netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN
}
