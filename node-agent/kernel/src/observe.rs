//! What netlink messages say, as plain values: links, addresses, routes of any owner.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

use std::net::IpAddr;

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope},
    link::{
        BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkFlags,
        LinkInfo, LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};
use nix::errno::Errno;
use weft_model::{AddressRange, Family, ownership::ROUTE_PROTOCOL};
use weft_plan::{HostAddress, HostRoute};

use crate::{error::Error, netlink::Netlink, request::Request};

/// A link, as far as we care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    pub(crate) kind: String,
    pub(crate) master: Option<u32>,
    pub(crate) group: u32,
    pub(crate) alias: String,
    /// IFLA_LINK: a veth's other end, an index in that end's namespace.
    pub(crate) parent: Option<u32>,
    /// A bridge: whether it snoops, whether it runs spanning tree.
    pub(crate) bridge: Option<(bool, bool)>,
    /// A bridge port: isolated, with learning and flooding off.
    pub(crate) guarded: bool,
}

/// Reads one link; `None` for other messages.
pub(crate) fn link_facts(message: RouteNetlinkMessage) -> Option<LinkFacts> {
    match message {
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message) => {
            Some(read_link(message))
        }
        _ => None,
    }
}

fn read_link(message: LinkMessage) -> LinkFacts {
    let flags = message.header.flags;
    let mut link = LinkFacts {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        ..LinkFacts::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Link(parent) => link.parent = Some(parent),
            LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|info| read_info(&mut link, info)),
            _ => {}
        }
    }
    link
}

fn read_info(link: &mut LinkFacts, info: LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
        LinkInfo::Data(InfoData::Bridge(data)) => {
            let mut snooping = false;
            let mut spanning_tree = false;
            for part in data {
                match part {
                    InfoBridge::MulticastSnooping(on) => snooping = on,
                    InfoBridge::StpState(state) => spanning_tree = state != BridgeStpState::Disabled,
                    _ => {}
                }
            }
            link.bridge = Some((snooping, spanning_tree));
        }
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => link.guarded = is_guarded(&data),
        _ => {}
    }
}

fn is_guarded(data: &[InfoBridgePort]) -> bool {
    let mut isolated = false;
    let mut open = false;
    for part in data {
        match part {
            InfoBridgePort::Isolated(on) => isolated = *on,
            InfoBridgePort::Learning(on)
            | InfoBridgePort::UnicastFlood(on)
            | InfoBridgePort::MulticastFlood(on)
            | InfoBridgePort::BroadcastFlood(on) => open |= *on,
            _ => {}
        }
    }
    isolated && !open
}

/// A link by name; `None` when there is none.
pub(crate) fn find_link(netlink: &mut Netlink, name: &str) -> Result<Option<LinkFacts>, Error> {
    match netlink.one(Request::link(name)) {
        Ok(found) => Ok(found.and_then(link_facts)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All links.
pub(crate) fn all_links(netlink: &mut Netlink) -> Result<Vec<LinkFacts>, Error> {
    Ok(netlink.dump(&Request::links())?.into_iter().filter_map(link_facts).collect())
}

/// An address with what tells whose it is.
pub(crate) struct AddressFacts {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) global: bool,
    pub(crate) link_scope: bool,
    pub(crate) stable: bool,
    pub(crate) ours: bool,
}

impl AddressFacts {
    pub(crate) fn into_host(self) -> HostAddress {
        let Self { link, address, prefix, global, stable, .. } = self;
        HostAddress { link, address, prefix, global, stable }
    }
}

/// Reads one address; `None` for other messages.
pub(crate) fn address_facts(message: RouteNetlinkMessage) -> Option<AddressFacts> {
    match message {
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            read_address(&message)
        }
        _ => None,
    }
}

fn read_address(message: &AddressMessage) -> Option<AddressFacts> {
    let mut local = None;
    let mut remote = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(protocol) => {
                ours = *protocol == AddressProtocol::Other(ROUTE_PROTOCOL);
            }
            _ => {}
        }
    }
    // IPv4 has both on every link, where Local is the own one; IPv6 has Local only on point-to-point links.
    let address = local.or(remote)?;
    // IFA_F_SECONDARY is IFA_F_TEMPORARY for IPv6 (`linux/if_addr.h`).
    let temporary = address.is_ipv6() && flags.contains(AddressFlags::Secondary);
    Some(AddressFacts {
        link: message.header.index,
        address,
        prefix: message.header.prefix_len,
        global: message.header.scope == AddressScope::Universe,
        link_scope: message.header.scope == AddressScope::Link,
        stable: !temporary && !flags.intersects(AddressFlags::Deprecated | AddressFlags::Dadfailed),
        ours,
    })
}

/// A route with what tells whose it is.
pub(crate) struct RouteFacts {
    pub(crate) table: u32,
    pub(crate) protocol: RouteProtocol,
    pub(crate) kind: RouteType,
    pub(crate) destination: AddressRange,
    pub(crate) link: Option<u32>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) metric: u32,
    pub(crate) mtu: Option<u32>,
}

/// Reads one route; `None` for other messages and families.
pub(crate) fn route_facts(family: Family, message: RouteNetlinkMessage) -> Option<RouteFacts> {
    match message {
        RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message) => {
            read_route(family, message)
        }
        _ => None,
    }
}

fn read_route(family: Family, message: RouteMessage) -> Option<RouteFacts> {
    let unspecified: IpAddr = match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let mut destination = unspecified;
    let mut route = RouteFacts {
        table: u32::from(message.header.table),
        protocol: message.header.protocol,
        kind: message.header.kind,
        destination: AddressRange::host(unspecified),
        link: None,
        gateway: None,
        source: None,
        metric: 0,
        mtu: None,
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = plain(&address)?,
            RouteAttribute::Table(table) => route.table = table,
            RouteAttribute::Oif(link) => route.link = Some(link),
            RouteAttribute::Gateway(address) => route.gateway = plain(&address),
            RouteAttribute::PrefSource(address) => route.source = plain(&address),
            RouteAttribute::Priority(metric) => route.metric = metric,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.into_iter().find_map(|metric| match metric {
                    netlink_packet_route::route::RouteMetric::Mtu(mtu) => Some(mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let net = ipnet::IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    route.destination = AddressRange::new(net).ok()?;
    (Family::of(destination) == family).then_some(route)
}

const fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

/// Unicast routes of table `main` that aren't ours by protocol number; those of pods' namespaces bear it and are wanted there.
pub(crate) fn main_routes(netlink: &mut Netlink, family: Family) -> Result<Vec<HostRoute>, Error> {
    let found = netlink.dump(&Request::routes_of_main(family))?;
    let routes = found.into_iter().filter_map(|message| route_facts(family, message));
    Ok(routes
        .filter(|r| r.table == 254 && r.kind == RouteType::Unicast)
        .map(|r| HostRoute { destination: r.destination, link: r.link, gateway: r.gateway, metric: r.metric })
        .collect())
}
