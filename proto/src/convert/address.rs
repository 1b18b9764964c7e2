//! Addresses, socket addresses, ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use ipnet::IpNet;
use weft_model::{AddressRange, DEFAULT_NODE_PORT_RANGE, Dual};

use super::shape::{ShapeError, Within, copied, list, list_by};
use crate::v1;

/// An address from 4 or 16 bytes. IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are refused: one address has
/// one form.
pub fn address_from_wire(bytes: &[u8]) -> Result<IpAddr, ShapeError> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| {
        ShapeError::new(format!("an address has 4 or 16 bytes and this one has {}", bytes.len()))
    })?;
    let address = Ipv6Addr::from(sixteen);
    if address.to_ipv4_mapped().is_some() {
        return Err(ShapeError::new(format!("{address} is an IPv4-mapped address; write it as IPv4")));
    }
    Ok(IpAddr::V6(address))
}

/// The bytes of an address, 4 or 16.
pub fn address_to_wire(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => copied(&address.octets()),
        IpAddr::V6(address) => copied(&address.octets()),
    }
}

/// Addresses of a repeated field.
pub fn addresses_from_wire(field: &str, values: Vec<Bytes>) -> Result<Vec<IpAddr>, ShapeError> {
    list_by(field, values, |bytes| address_from_wire(&bytes))
}

/// Addresses for a repeated field.
pub fn addresses_to_wire(addresses: &[IpAddr]) -> Vec<Bytes> {
    addresses.iter().copied().map(address_to_wire).collect()
}

/// Ranges of a repeated field.
pub fn ranges_from_wire(field: &str, values: Vec<v1::Range>) -> Result<Vec<AddressRange>, ShapeError> {
    list(field, values)
}

/// Ranges for a repeated field.
pub fn ranges_to_wire(ranges: &[AddressRange]) -> Vec<v1::Range> {
    ranges.iter().map(v1::Range::from).collect()
}

impl TryFrom<v1::Range> for AddressRange {
    type Error = ShapeError;

    fn try_from(wire: v1::Range) -> Result<Self, ShapeError> {
        let address = address_from_wire(&wire.address).within("address")?;
        let prefix = u8::try_from(wire.prefix).ok().and_then(|prefix| IpNet::new(address, prefix).ok());
        let Some(net) = prefix else {
            return Err(ShapeError::new(format!("{} is too long for {address}", wire.prefix)))
                .within("prefix");
        };
        Self::new(net).map_err(ShapeError::new)
    }
}

impl From<&AddressRange> for v1::Range {
    fn from(range: &AddressRange) -> Self {
        Self { address: address_to_wire(range.first()), prefix: u32::from(range.prefix()) }
    }
}

impl TryFrom<v1::SocketAddress> for SocketAddr {
    type Error = ShapeError;

    fn try_from(wire: v1::SocketAddress) -> Result<Self, ShapeError> {
        let address = address_from_wire(&wire.address).within("address")?;
        Ok(Self::new(address, port_from_wire("port", wire.port)?))
    }
}

impl From<&SocketAddr> for v1::SocketAddress {
    fn from(address: &SocketAddr) -> Self {
        Self { address: address_to_wire(address.ip()), port: u32::from(address.port()) }
    }
}

/// A socket address that must be there.
pub fn socket_from_wire(field: &str, wire: Option<v1::SocketAddress>) -> Result<SocketAddr, ShapeError> {
    super::required(field, wire)
}

/// A port from 1 to 65535.
pub(super) fn port_from_wire(field: &str, port: u32) -> Result<u16, ShapeError> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| ShapeError::new(format!("a port is 1 to 65535 and this one is {port}")))
        .within(field)
}

/// A port from 1 to 65535, or 0 for none.
pub(super) fn port_or_none(field: &str, port: u32) -> Result<u16, ShapeError> {
    u16::try_from(port)
        .map_err(|_| ShapeError::new(format!("a port is at most 65535 and this one is {port}")))
        .within(field)
}

/// First and last port of a range; absent: the default.
pub(super) fn port_range_from_wire(
    field: &str,
    wire: Option<v1::PortRange>,
) -> Result<(u16, u16), ShapeError> {
    let Some(wire) = wire else { return Ok(DEFAULT_NODE_PORT_RANGE) };
    let first = port_from_wire("first", wire.first).within(field)?;
    let last = port_from_wire("last", wire.last).within(field)?;
    if last < first {
        return Err(ShapeError::new(format!("it ends at {last}, before its beginning {first}")))
            .within(field);
    }
    Ok((first, last))
}

/// A range of ports.
pub(super) fn port_range_to_wire((first, last): (u16, u16)) -> v1::PortRange {
    v1::PortRange { first: u32::from(first), last: u32::from(last) }
}

/// Mesh addresses: at most one range of full length per family, at least one in all.
pub fn mesh_from_wire(field: &str, values: Vec<v1::Range>) -> Result<Dual<IpAddr>, ShapeError> {
    let (mut v4, mut v6) = (None, None);
    for range in ranges_from_wire(field, values)? {
        let address = range.first();
        let place = if address.is_ipv4() { &mut v4 } else { &mut v6 };
        if range.prefix() != range.family().bits() {
            return Err(ShapeError::new(format!("{range} is not a single address"))).within(field);
        }
        if place.replace(address).is_some() {
            return Err(ShapeError::new(format!("there are two {} addresses", range.family()))).within(field);
        }
    }
    Dual::new(v4, v6).ok_or_else(|| ShapeError::new("there is no address")).within(field)
}

/// Mesh addresses for a repeated field, IPv4 first.
pub fn mesh_to_wire(mesh: &Dual<IpAddr>) -> Vec<v1::Range> {
    mesh.iter().map(|(_, address)| v1::Range::from(&AddressRange::host(*address))).collect()
}
