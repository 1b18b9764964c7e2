//! Hears on a link who else says that an address is his: ARP messages and neighbour advertisements of other machines.
//!
//! In: our end of the link and the addresses to listen for. Out: claims, with the epoch where the other is an owner of ours
//! (`announce.rs`). A filter in the kernel lets only messages about these addresses through, so that a busy link costs nothing
//! here. Not here: who is right (weft-plan, `Duties`).

use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use socket2::{Domain, SockFilter, Socket, Type};
use weft_model::Family;
use weft_plan::Claim;

use crate::{
    announce::{ARP_PADDING, ETHERTYPE_ARP, ETHERTYPE_V6, LinkEnd, MAGIC, OPTION, link_address},
    error::{Area, Error},
};

/// Frames read at once: more stay for the next time.
const FRAMES: usize = 256;
/// Most addresses that a filter names; with more of them it lets all messages of their kind through.
const FILTERED: usize = 1_500;
/// Bytes of a frame that matter.
const SNAP: usize = 128;

/// Ethernet header.
const LINK_HEADER: usize = 14;
/// Where the sender's MAC and address stand in an ARP frame.
const ARP_SENDER_MAC: usize = 22;
const ARP_SENDER: usize = 28;
/// Next header of IPv6; ICMPv6 type, target and options of an advertisement without extension headers.
const NEXT_HEADER: usize = LINK_HEADER + 6;
const MESSAGE: usize = LINK_HEADER + 40;
const TARGET: usize = MESSAGE + 8;
const OPTIONS: usize = TARGET + 16;
const ICMPV6: u8 = 58;
const ADVERTISEMENT: u8 = 136;

/// Listens on one link for some addresses.
#[derive(Debug)]
pub struct Claims {
    link: LinkEnd,
    addresses: BTreeSet<IpAddr>,
    sockets: Vec<(Family, Socket)>,
}

impl Claims {
    /// Begins to listen in the calling thread's namespace. Needs CAP_NET_RAW.
    pub fn open(link: LinkEnd, addresses: &BTreeSet<IpAddr>) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_family: Vec<IpAddr> =
                addresses.iter().filter(|a| Family::of(**a) == family).copied().collect();
            if !of_family.is_empty() {
                let failed = |source| Error::socket("listening for claims on the link", Area::Link, source);
                sockets.push((family, listen(link, family, &of_family).map_err(failed)?));
            }
        }
        Ok(Self { link, addresses: addresses.clone(), sockets })
    }

    /// Whether it listens there, for these addresses.
    pub fn is_about(&self, link: LinkEnd, addresses: &BTreeSet<IpAddr>) -> bool {
        self.link == link && self.addresses == *addresses
    }

    /// What other machines have said since the last time. Never waits.
    pub fn read(&mut self) -> Result<BTreeSet<Claim>, Error> {
        let mut claims = BTreeSet::new();
        let mut frame = [0; SNAP];
        for (family, socket) in &self.sockets {
            for _ in 0..FRAMES {
                let length = match (&*socket).read(&mut frame) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => {
                        return Err(Error::socket("reading claims on the link", Area::Link, source));
                    }
                };
                let claim = claim(*family, self.link.mac, &frame[..length.min(SNAP)]);
                claims.extend(claim.filter(|claim| self.addresses.contains(&claim.address)));
            }
        }
        Ok(claims)
    }
}

fn listen(link: LinkEnd, family: Family, addresses: &[IpAddr]) -> io::Result<Socket> {
    let protocol = match family {
        Family::V4 => ETHERTYPE_ARP,
        Family::V6 => ETHERTYPE_V6,
    };
    // Without a protocol it hears nothing until the filter is in place (packet(7)).
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter(family, addresses))?;
    socket.bind(&link_address(link.index, protocol)?)?;
    Ok(socket)
}

/// A program of the kernel's packet filter (linux/filter.h): messages about one of the addresses get through.
fn filter(family: Family, addresses: &[IpAddr]) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let take = || SockFilter::new(RETURN, 0, 0, offset(SNAP));
    let leave = || SockFilter::new(RETURN, 0, 0, 0);
    let mut program = Vec::new();
    let mut need = |at, value: u8| {
        program.push(SockFilter::new(LOAD_BYTE, 0, 0, offset(at)));
        program.push(SockFilter::new(JUMP_EQUAL, 1, 0, value.into()));
        program.push(leave());
    };
    let word = match family {
        Family::V4 => ARP_SENDER,
        Family::V6 => {
            need(NEXT_HEADER, ICMPV6);
            need(MESSAGE, ADVERTISEMENT);
            TARGET + 12
        }
    };
    if addresses.len() > FILTERED {
        program.push(take());
        return program;
    }
    program.push(SockFilter::new(LOAD_WORD, 0, 0, offset(word)));
    for address in addresses {
        let last = match address {
            IpAddr::V4(address) => u32::from(*address),
            IpAddr::V6(address) => u32::try_from(u128::from(*address) & 0xffff_ffff).unwrap_or_default(),
        };
        program.push(SockFilter::new(JUMP_EQUAL, 0, 1, last));
        program.push(take());
    }
    program.push(leave());
    program
}

/// What a frame of another machine claims.
fn claim(family: Family, own: [u8; 6], frame: &[u8]) -> Option<Claim> {
    let sender: &[u8; 6] = frame.get(6..12)?.first_chunk()?;
    if *sender == own {
        return None;
    }
    match family {
        Family::V4 => arp_claim(own, frame),
        Family::V6 => advertised_claim(frame),
    }
}

fn arp_claim(own: [u8; 6], frame: &[u8]) -> Option<Claim> {
    let mac: &[u8; 6] = frame.get(ARP_SENDER_MAC..)?.first_chunk()?;
    let address: &[u8; 4] = frame.get(ARP_SENDER..)?.first_chunk()?;
    let epoch = frame.get(ARP_PADDING..).and_then(epoch);
    (*mac != own).then(|| Claim { address: Ipv4Addr::from(*address).into(), epoch })
}

fn advertised_claim(frame: &[u8]) -> Option<Claim> {
    if *frame.get(NEXT_HEADER)? != ICMPV6 || *frame.get(MESSAGE)? != ADVERTISEMENT {
        return None;
    }
    let address: &[u8; 16] = frame.get(TARGET..)?.first_chunk()?;
    let mut rest = frame.get(OPTIONS..).unwrap_or(&[]);
    let mut said = None;
    while let [kind, units, ..] = *rest {
        // An option without length would never end (RFC 4861 section 4.6).
        let Some((option, behind)) = rest.split_at_checked(usize::from(units) * 8).filter(|_| units > 0)
        else {
            break;
        };
        if kind == OPTION {
            said = option.get(2..).and_then(epoch);
        }
        rest = behind;
    }
    Some(Claim { address: Ipv6Addr::from(*address).into(), epoch: said })
}

fn epoch(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; 8] = bytes.strip_prefix(&MAGIC)?.first_chunk()?;
    Some(u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{Operation, advertisement, arp};

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn what_one_says_another_reads_with_its_epoch() {
        let (v4, v6): (Ipv4Addr, Ipv6Addr) = ("192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap());
        let epoch = Some(u64::MAX - 1);
        for operation in [Operation::Request, Operation::Reply] {
            let frame = arp(OTHER, v4, operation, u64::MAX - 1);
            let expected = Claim { address: v4.into(), epoch };
            assert_eq!(claim(Family::V4, US, &frame), Some(expected));
            assert_eq!(claim(Family::V4, OTHER, &frame), None, "our own");
            let others = Claim { epoch: None, ..expected };
            assert_eq!(claim(Family::V4, US, &frame[..ARP_PADDING]), Some(others), "of a foreign machine");
        }
        let frame = advertisement(OTHER, v6, u64::MAX - 1);
        assert_eq!(claim(Family::V6, US, &frame), Some(Claim { address: v6.into(), epoch }));
        assert_eq!(
            claim(Family::V6, US, &frame[..OPTIONS + 8]),
            Some(Claim { address: v6.into(), epoch: None })
        );
    }

    #[test]
    fn frames_cut_anywhere_and_options_without_length_are_survived() {
        let mut frame = advertisement(OTHER, "2001:db8::9".parse().unwrap(), 1);
        for end in 0..frame.len() {
            let _ = claim(Family::V6, US, &frame[..end]);
            let _ = claim(Family::V4, US, &frame[..end]);
        }
        frame[OPTIONS + 1] = 0;
        assert!(claim(Family::V6, US, &frame).is_some_and(|claim| claim.epoch.is_none()));
    }
}
