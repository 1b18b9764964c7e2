//! Requests about addresses.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
        CacheInfo,
    },
};
use weft_model::ownership::ROUTE_PROTOCOL;

use super::{Existing, Request};

impl Request {
    /// All addresses.
    pub(crate) fn addresses() -> Self {
        Self::new(RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0, "list addresses")
    }

    /// Addresses of one link.
    pub(crate) fn addresses_of(index: u32) -> Self {
        let mut message = AddressMessage::default();
        message.header.index = index;
        Self::new(RouteNetlinkMessage::GetAddress(message), 0, format!("list addresses of link {index}"))
    }

    /// Adds an address that is usable at once (no duplicate address detection), marked as ours.
    pub(crate) fn add_address(index: u32, address: IpAddr, prefix: u8, link_scope: bool) -> Self {
        let mut message = address_message(index, address, prefix, link_scope);
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ROUTE_PROTOCOL)));
        let what = format!("add address {address}/{prefix}");
        Self::new(RouteNetlinkMessage::NewAddress(message), Existing::Refuse.flags(), what)
    }

    /// Adds an address that the machine answers for and never sends from by itself: deprecated, without a route of its own.
    pub(crate) fn put_held_address(index: u32, address: IpAddr) -> Self {
        let mut message = address_message(index, address, 128, false);
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ROUTE_PROTOCOL)));
        let mut life = CacheInfo::default();
        life.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(life));
        let what = format!("hold address {address}");
        Self::new(RouteNetlinkMessage::NewAddress(message), Existing::Replace.flags(), what)
    }

    /// Removes an address.
    pub(crate) fn delete_address(index: u32, address: IpAddr, prefix: u8) -> Self {
        let message = address_message(index, address, prefix, false);
        let what = format!("delete address {address}/{prefix}");
        Self::new(RouteNetlinkMessage::DelAddress(message), 0, what)
    }
}

fn address_message(index: u32, address: IpAddr, prefix: u8, link_scope: bool) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    if link_scope {
        message.header.scope = AddressScope::Link;
    }
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

pub(super) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
