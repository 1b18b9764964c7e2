//! Requests about routes.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
        RouteType,
    },
};
use weft_model::{AddressRange, Family, ownership::ROUTE_PROTOCOL};

use weft_plan::ForeignRoute;

use super::{Existing, Request};

/// One route of ours.
#[derive(Clone, Debug)]
pub(crate) struct RouteEntry {
    pub(crate) table: u32,
    pub(crate) destination: AddressRange,
    /// Index of the output link; `None` is an `unreachable` route.
    pub(crate) link: Option<u32>,
    /// Next hop.
    pub(crate) gateway: Option<IpAddr>,
    /// The next hop is on the link although no route says so.
    pub(crate) onlink: bool,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
}

impl RouteEntry {
    /// A route out of a link.
    pub(crate) const fn new(table: u32, destination: AddressRange, link: Option<u32>) -> Self {
        Self { table, destination, link, gateway: None, onlink: false, source: None, mtu: None }
    }
}

impl Request {
    /// Routes of one family with one protocol number, of all tables.
    pub(crate) fn routes_of_protocol(family: Family, protocol: u8) -> Self {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        message.header.protocol = RouteProtocol::from(protocol);
        message.header.kind = RouteType::Unspec;
        Self::new(RouteNetlinkMessage::GetRoute(message), 0, format!("list {family} routes"))
    }

    /// Routes of one family in table `main`.
    pub(crate) fn routes_of_main(family: Family) -> Self {
        Self::routes_of_table(family, u32::from(RouteHeader::RT_TABLE_MAIN))
    }

    /// Routes of one family in one table, whoever made them.
    pub(crate) fn routes_of_table(family: Family, table: u32) -> Self {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        message.header.kind = RouteType::Unspec;
        message.attributes.push(RouteAttribute::Table(table));
        Self::new(RouteNetlinkMessage::GetRoute(message), 0, format!("list {family} routes of table {table}"))
    }

    /// Adds or replaces a route; it bears our protocol number.
    pub(crate) fn put_route(entry: &RouteEntry, existing: Existing) -> Self {
        let what = format!("add route {} in table {}", entry.destination, entry.table);
        Self::new(RouteNetlinkMessage::NewRoute(route_message(entry)), existing.flags(), what)
    }

    /// Makes an address local to the machine, by a route of ours.
    pub(crate) fn put_local_route(address: IpAddr, loopback: u32) -> Self {
        let mut message = local_message(address);
        message.header.scope = RouteScope::Host;
        message.attributes.push(RouteAttribute::Oif(loopback));
        let what = format!("hold address {address}");
        Self::new(RouteNetlinkMessage::NewRoute(message), Existing::Replace.flags(), what)
    }

    /// Takes such a route away.
    pub(crate) fn delete_local_route(address: IpAddr) -> Self {
        let mut message = local_message(address);
        message.header.scope = RouteScope::NoWhere;
        Self::new(RouteNetlinkMessage::DelRoute(message), 0, format!("release address {address}"))
    }

    /// Removes a route of ours: the protocol number must match.
    pub(crate) fn delete_route(table: u32, destination: AddressRange) -> Self {
        let mut message = bare_message(table, destination);
        // RT_SCOPE_NOWHERE matches any scope (`net/ipv4/fib_semantics.c`), RTN_UNSPEC any type.
        message.header.scope = RouteScope::NoWhere;
        message.header.kind = RouteType::Unspec;
        let what = format!("delete route {destination} in table {table}");
        Self::new(RouteNetlinkMessage::DelRoute(message), 0, what)
    }

    /// Removes a route of somebody else from a table of ours.
    pub(crate) fn delete_foreign(route: &ForeignRoute) -> Self {
        let mut message = bare_message(route.table, route.destination);
        message.header.protocol = RouteProtocol::from(route.protocol);
        message.header.scope = RouteScope::NoWhere;
        message.header.kind = RouteType::Unspec;
        message.attributes.push(RouteAttribute::Priority(route.metric));
        let what = format!("delete route {} in table {}", route.destination, route.table);
        Self::new(RouteNetlinkMessage::DelRoute(message), 0, what)
    }
}

fn local_message(address: IpAddr) -> RouteMessage {
    const LOCAL: u32 = 255; // RT_TABLE_LOCAL (linux/rtnetlink.h)
    let mut message = bare_message(LOCAL, AddressRange::host(address));
    message.header.kind = RouteType::Local;
    message
}

fn bare_message(table: u32, destination: AddressRange) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(destination.family());
    message.header.destination_prefix_length = destination.prefix();
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.attributes.push(RouteAttribute::Table(table));
    if destination.prefix() > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.first().into()));
    }
    message
}

fn route_message(entry: &RouteEntry) -> RouteMessage {
    let mut message = bare_message(entry.table, entry.destination);
    message.header.kind = if entry.link.is_some() { RouteType::Unicast } else { RouteType::Unreachable };
    // What is reached without a next hop has scope link; IPv6 ignores scopes.
    message.header.scope = match (entry.link, entry.gateway) {
        (Some(_), None) => RouteScope::Link,
        (Some(_), Some(_)) | (None, _) => RouteScope::Universe,
    };
    if entry.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    attributes.extend(entry.link.map(RouteAttribute::Oif));
    attributes.extend(entry.gateway.map(|g| RouteAttribute::Gateway(g.into())));
    attributes.extend(entry.source.map(|s| RouteAttribute::PrefSource(s.into())));
    attributes.extend(entry.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

pub(super) const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
