//! Tells the kernel that the agent is awake: frames from the agent to its own machine by the loopback device. Rules of
//! `arp weft_link` and `ip6 weft_link` take them in (weft-plan, `answer_tables`), and none gets further.
//!
//! In: families. Out: one frame each. No transaction, so nobody who reads nf_tables begins anew because of it. Not here: what follows
//! from it, and how often it is done.

use std::net::Ipv6Addr;

use socket2::{Domain, SockAddr, Socket, Type};
use weft_model::{Family, ownership::VOUCHER_MAC};

use crate::{
    announce::{ARP_HEAD, ETHERTYPE_ARP, ETHERTYPE_V6, link_address},
    attach::index_of,
    error::{Area, Error},
};

/// The loopback device's own hardware address: a frame to any other isn't for this machine.
const LOOPBACK: [u8; 6] = [0; 6];
/// For experiments (RFC 5494 section 2): who isn't asked by our rules leaves it alone.
const ARP_EXPERIMENT: u16 = 24;
const ICMPV6: u8 = 58;

/// Sends in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Voucher {
    socket: Socket,
    /// Where to, and what, by family.
    frames: [(Family, SockAddr, Vec<u8>); 2],
}

impl Voucher {
    /// Opens a socket that only sends. Needs CAP_NET_RAW.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::socket("opening a socket for signs of life", Area::Link, source);
        // Protocol 0 receives nothing (packet(7)).
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(failed)?;
        let loopback = index_of("lo")?;
        let to = |protocol| link_address(loopback, protocol).map_err(failed);
        let frames =
            [(Family::V4, to(ETHERTYPE_ARP)?, arp()), (Family::V6, to(ETHERTYPE_V6)?, empty_message())];
        Ok(Self { socket, frames })
    }

    /// The agent is awake, as answers of this family need. Never waits; whether a rule took it in isn't known here.
    pub fn vouch(&self, family: Family) -> Result<(), Error> {
        let failed = |source| Error::socket("sending a sign of life", Area::Link, source);
        for (_, to, frame) in self.frames.iter().filter(|(of, ..)| *of == family) {
            self.socket.send_to_with_flags(frame, to, libc::MSG_DONTWAIT).map_err(failed)?;
        }
        Ok(())
    }
}

fn head(ethertype: u16) -> Vec<u8> {
    let mut frame = LOOPBACK.to_vec();
    frame.extend(VOUCHER_MAC);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// About IPv4, and about nobody.
fn arp() -> Vec<u8> {
    const HARDWARE_AND_ADDRESS: usize = 6 + 4;
    let mut frame = head(ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend(ARP_EXPERIMENT.to_be_bytes());
    frame.extend([0; 2 * HARDWARE_AND_ADDRESS]);
    frame
}

/// ICMPv6 without a message.
fn empty_message() -> Vec<u8> {
    const HOP_LIMIT: u8 = 1;
    let mut frame = head(ETHERTYPE_V6);
    frame.extend([0x60, 0, 0, 0, 0, 0, ICMPV6, HOP_LIMIT]);
    frame.extend(Ipv6Addr::LOCALHOST.octets());
    frame.extend(Ipv6Addr::LOCALHOST.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_messages_from_our_own_address_to_this_machine() {
        for (frame, length) in [(arp(), 14 + 28), (empty_message(), 14 + 40)] {
            assert_eq!(frame.len(), length);
            assert_eq!(frame[..12], [LOOPBACK, VOUCHER_MAC].concat());
        }
        assert_eq!(arp()[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 24]);
        assert_eq!(empty_message()[12..22], [0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 58, 1]);
    }
}
