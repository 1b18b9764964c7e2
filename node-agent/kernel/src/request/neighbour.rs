//! Requests about neighbours and forwarding entries.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{RouteProtocol, RouteType},
};
use weft_model::ownership::ROUTE_PROTOCOL;

use super::{Existing, Request, address::family};

impl Request {
    /// Neighbours of one link, both families.
    pub(crate) fn neighbours_of(index: u32) -> Self {
        let mut message = neighbour_message(AddressFamily::Unspec, 0);
        message.attributes.push(NeighbourAttribute::IfIndex(index));
        Self::new(RouteNetlinkMessage::GetNeighbour(message), 0, "list neighbours")
    }

    /// Forwarding entries of a bridge.
    pub(crate) fn forwarding_of(bridge: u32) -> Self {
        let mut message = neighbour_message(AddressFamily::Bridge, 0);
        message.attributes.push(NeighbourAttribute::Controller(bridge));
        Self::new(RouteNetlinkMessage::GetNeighbour(message), 0, "list forwarding entries")
    }

    /// A permanent neighbour, marked as ours.
    pub(crate) fn put_neighbour(index: u32, address: IpAddr, mac: [u8; 6]) -> Self {
        let mut message = neighbour_message(family(address), index);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(destination(address));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)));
        let what = format!("add neighbour {address}");
        Self::new(RouteNetlinkMessage::NewNeighbour(message), Existing::Replace.flags(), what)
    }

    /// Removes a neighbour.
    pub(crate) fn delete_neighbour(index: u32, address: IpAddr) -> Self {
        let mut message = neighbour_message(family(address), index);
        message.attributes.push(destination(address));
        let what = format!("delete neighbour {address}");
        Self::new(RouteNetlinkMessage::DelNeighbour(message), 0, what)
    }

    /// A static forwarding entry of the bridge that `port` belongs to.
    pub(crate) fn put_forwarding(port: u32, mac: [u8; 6]) -> Self {
        let mut message = forwarding_message(port, mac);
        message.header.state = NeighbourState::Noarp;
        let what = format!("add forwarding entry {mac:02x?}");
        Self::new(RouteNetlinkMessage::NewNeighbour(message), Existing::Replace.flags(), what)
    }

    /// Removes a forwarding entry.
    pub(crate) fn delete_forwarding(port: u32, mac: [u8; 6]) -> Self {
        let what = format!("delete forwarding entry {mac:02x?}");
        Self::new(RouteNetlinkMessage::DelNeighbour(forwarding_message(port, mac)), 0, what)
    }
}

fn neighbour_message(family: AddressFamily, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = index;
    message.header.kind = RouteType::Unspec;
    message
}

fn forwarding_message(port: u32, mac: [u8; 6]) -> NeighbourMessage {
    let mut message = neighbour_message(AddressFamily::Bridge, port);
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}

fn destination(address: IpAddr) -> NeighbourAttribute {
    NeighbourAttribute::Destination(match address {
        IpAddr::V4(a) => NeighbourAddress::Inet(a),
        IpAddr::V6(a) => NeighbourAddress::Inet6(a),
    })
}
