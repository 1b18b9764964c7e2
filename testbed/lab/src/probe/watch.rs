//! What the kernel says is made and removed in this network namespace: rtnetlink and nf_tables notifications, counted by kind.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt::RcvBuf,
};
use serde_json::{Value, json};

use super::{Event, Stop, print};
use crate::Result;

/// Groups of rtnetlink: links, neighbours, IPv4 and IPv6 addresses, routes, rules (`linux/rtnetlink.h`, RTNLGRP_*).
const ROUTE_GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];
/// Group of nf_tables (`linux/netfilter/nfnetlink.h`, NFNLGRP_NFTABLES).
const NFT_GROUP: u32 = 7;
/// Events kept in words; the others are counted.
const MOST_KEPT: usize = 100;
/// How often both sockets are looked at.
const STEP: Duration = Duration::from_millis(20);

/// Watches until a signal comes; prints `ready` once nothing can be missed any more.
pub(super) fn run(stop: &Stop) -> Result<Value> {
    let route = open(SockProtocol::NetlinkRoute, &ROUTE_GROUPS)?;
    let nft = open_nft()?;
    print(&json!("ready"))?;
    let mut counts = BTreeMap::<&'static str, u64>::new();
    let mut kept = Vec::new();
    let mut lost = false;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let event = stop.or_readable(&route, STEP)?;
        for (socket, name) in [(&route, route_name as fn(u16) -> Option<&'static str>), (&nft, nft_name)] {
            loop {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => note(&buffer[..length], name, &mut counts, &mut kept),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::ENOBUFS) => lost = true,
                    Err(e) => return Err(e).context("read notifications"),
                }
            }
        }
        if event == Event::Stop {
            return Ok(json!({"ok": !lost, "counts": counts, "events": kept, "lost": lost}));
        }
    }
}

/// Notifications of nf_tables.
pub(super) fn open_nft() -> Result<OwnedFd> {
    open(SockProtocol::NetlinkNetFilter, &[NFT_GROUP])
}

fn open(protocol: SockProtocol, groups: &[u32]) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, RcvBuf, &(4 << 20))?;
    let mask = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, mask)).context("subscribe to notifications")?;
    Ok(socket)
}

fn note(
    mut bytes: &[u8],
    name: fn(u16) -> Option<&'static str>,
    counts: &mut BTreeMap<&'static str, u64>,
    kept: &mut Vec<String>,
) {
    while let Some(header) = bytes.first_chunk::<16>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = bytes.get(..length.max(16)) else { break };
        if let Some(name) = name(u16::from_ne_bytes([header[4], header[5]])) {
            *counts.entry(name).or_default() += 1;
            if kept.len() < MOST_KEPT {
                kept.push(format!("{name} {}", hexadecimal(&message[16..])));
            }
        }
        bytes = bytes.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(96).map(|byte| format!("{byte:02x}")).collect()
}

fn route_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        16 => "link added",
        17 => "link removed",
        20 => "address added",
        21 => "address removed",
        24 => "route added",
        25 => "route removed",
        28 => "neighbour added",
        29 => "neighbour removed",
        32 => "rule added",
        33 => "rule removed",
        _ => return None,
    })
}

fn nft_name(kind: u16) -> Option<&'static str> {
    if kind >> 8 != 10 {
        return None;
    }
    Some(match kind & 0xff {
        0 => "table added",
        2 => "table removed",
        3 => "chain added",
        5 => "chain removed",
        6 => "nft rule added",
        8 => "nft rule removed",
        9 => "set added",
        11 => "set removed",
        12 => "element added",
        14 => "element removed",
        _ => return None,
    })
}
