//! Says on a link which machine answers for an address: gratuitous ARP (RFC 5227 section 3) and unsolicited neighbour
//! advertisements (RFC 4861 section 7.2.6); asks who does: probes (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
//!
//! In: a link and an address. Out: one or two frames. Announcements carry the epoch of the ownership where nobody else looks: in the
//! padding of an ARP frame, in an option of an advertisement that is for experiments. Other owners read it (`claim.rs`). Not here:
//! who may say it and how often (weft-plan), and answers to questions, which are the kernel's.

#![allow(unsafe_code, reason = "socket2 has no safe way to name a link as a destination")]

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::error::{Area, Error};

pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_V6: u16 = 0x86dd;
const BROADCAST: [u8; 6] = [0xff; 6];
/// All nodes of the link, ff02::1 (RFC 4291 section 2.7.1), and its hardware address (RFC 2464 section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Our end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkEnd {
    /// Its index.
    pub index: u32,
    /// Its hardware address: where the packets shall go.
    pub mac: [u8; 6],
}

/// What tells neighbours where an address is: on a link here; another way, such as a routing protocol, has the same calls.
pub trait Announce {
    /// Says once that it is here, and in which epoch of its ownership.
    fn announce(&mut self, link: LinkEnd, address: IpAddr, epoch: u64) -> Result<(), Error>;

    /// Asks whether somebody else has it, without saying anything of ourselves.
    fn ask(&mut self, link: LinkEnd, address: IpAddr) -> Result<(), Error>;
}

/// Sends frames in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
}

impl Announcer {
    /// Opens a socket that only sends. Needs CAP_NET_RAW.
    pub fn open() -> Result<Self, Error> {
        // Protocol 0 receives nothing (packet(7)).
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)
            .map_err(|source| Error::socket("opening a socket for announcements", Area::Link, source))?;
        Ok(Self { socket })
    }

    fn send(&self, link: LinkEnd, protocol: u16, frame: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::socket("sending an announcement", Area::Link, source);
        let to = link_address(link.index, protocol).map_err(failed)?;
        let sent = self.socket.send_to_with_flags(frame, &to, libc::MSG_DONTWAIT).map_err(failed)?;
        if sent == frame.len() { Ok(()) } else { Err(failed(io::ErrorKind::WriteZero.into())) }
    }
}

/// A link as the destination of a raw frame: the frame names the hardware address itself.
pub(crate) fn link_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let bad = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain integers and smaller than the storage (packet(7)).
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET).map_err(bad)?;
    link.sll_protocol = protocol.to_be();
    link.sll_ifindex = i32::try_from(index).map_err(bad)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(bad)?;
    // SAFETY: the storage holds a whole sockaddr_ll, whose length this is.
    Ok(unsafe { SockAddr::new(storage, length) })
}

impl Announce for Announcer {
    /// IPv4: a request and an answer, since some listen to the one, some to the other.
    fn announce(&mut self, link: LinkEnd, address: IpAddr, epoch: u64) -> Result<(), Error> {
        match address {
            IpAddr::V4(address) => {
                self.send(link, ETHERTYPE_ARP, &arp(link.mac, address, Operation::Request, epoch))?;
                self.send(link, ETHERTYPE_ARP, &arp(link.mac, address, Operation::Reply, epoch))
            }
            IpAddr::V6(address) => self.send(link, ETHERTYPE_V6, &advertisement(link.mac, address, epoch)),
        }
    }

    fn ask(&mut self, link: LinkEnd, address: IpAddr) -> Result<(), Error> {
        match address {
            IpAddr::V4(address) => self.send(link, ETHERTYPE_ARP, &arp_probe(link.mac, address)),
            IpAddr::V6(address) => self.send(link, ETHERTYPE_V6, &solicitation(link.mac, address)),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Request = 1,
    Reply = 2,
}

/// Ethernet, IPv4, their lengths.
pub(crate) const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Least frame without its check sum (IEEE 802.3): an ARP message leaves 18 bytes of it unused.
const LEAST_FRAME: usize = 60;
/// Where the padding of an ARP frame begins.
pub(crate) const ARP_PADDING: usize = 42;
/// What our own padding and option begin with.
pub(crate) const MAGIC: [u8; 4] = *b"weft";
/// Option for experiments (RFC 4727 section 6.1.3); who doesn't know it skips it (RFC 4861 section 4.6).
pub(crate) const OPTION: u8 = 253;

/// Sender and target are the address (RFC 5227 section 2.1.1).
pub(crate) fn arp(mac: [u8; 6], address: Ipv4Addr, operation: Operation, epoch: u64) -> Vec<u8> {
    let mut frame = head(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend((operation as u16).to_be_bytes());
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(match operation {
        Operation::Request => [0; 6],
        Operation::Reply => mac,
    });
    frame.extend(address.octets());
    frame.extend(MAGIC);
    frame.extend(epoch.to_be_bytes());
    frame.resize(LEAST_FRAME, 0);
    frame
}

/// The sender's address is left out, so that nobody learns anything from it.
fn arp_probe(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = head(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend((Operation::Request as u16).to_be_bytes());
    frame.extend(mac);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(LEAST_FRAME, 0);
    frame
}

/// To all nodes; it replaces what they know (RFC 4861 section 4.4).
pub(crate) fn advertisement(mac: [u8; 6], address: Ipv6Addr, epoch: u64) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let mut message = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]); // target link-layer address, in units of 8 bytes
    message.extend(mac);
    message.extend([OPTION, 2]);
    message.extend(MAGIC);
    message.extend(epoch.to_be_bytes());
    message.extend([0; 2]);
    discovery(mac, ALL_NODES_MAC, address, ALL_NODES, message)
}

/// As in duplicate address detection: from the unspecified address to the address' own group (RFC 4291 section 2.7.1).
fn solicitation(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    discovery(mac, [0x33, 0x33, 0xff, a, b, c], Ipv6Addr::UNSPECIFIED, group, message)
}

/// A frame of neighbour discovery; the check sum is put into the message.
fn discovery(mac: [u8; 6], to_mac: [u8; 6], from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    let sum = checksum(from, to, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = head(to_mac, mac, ETHERTYPE_V6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(message.len()).unwrap_or_default().to_be_bytes());
    frame.extend([ICMPV6, 255]); // neighbour discovery needs hop limit 255
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

fn head(to: [u8; 6], from: [u8; 6], ethertype: u16) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// RFC 4443 section 2.3, over the pseudo-header of RFC 8200 section 8.1.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, next: u8, message: &[u8]) -> u16 {
    let mut words: Vec<u8> = source.octets().to_vec();
    words.extend(destination.octets());
    words.extend(u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
    words.extend([0, 0, 0, next]);
    words.extend(message);
    let pairs = words.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn arp_names_the_address_as_sender_and_target() {
        let frame = arp(MAC, "192.0.2.9".parse().unwrap(), Operation::Request, 7);
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 1, 192, 0, 2, 9]);
        assert_eq!(frame[32..42], [0, 0, 0, 0, 0, 0, 192, 0, 2, 9]);
        let probe = arp_probe(MAC, "192.0.2.9".parse().unwrap());
        assert_eq!(probe[22..42], [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9]);
    }

    #[test]
    fn the_checksum_of_a_message_sums_to_nothing() {
        let address = "2001:db8::1:2:3".parse().unwrap();
        let said = advertisement(MAC, address, 7);
        assert_eq!(said.len(), 14 + 40 + 48);
        // A message with its right checksum in place has the checksum 0.
        assert_eq!(checksum(address, ALL_NODES, 58, &said[54..]), 0);
        let asked = solicitation(MAC, address);
        let group = "ff02::1:ff02:3".parse().unwrap();
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, group, 58, &asked[54..]), 0);
        assert_eq!(asked[..6], [0x33, 0x33, 0xff, 2, 0, 3]);
    }
}
