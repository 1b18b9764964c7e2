//! What the kernel can do, found by trying in a namespace that is thrown away; versions say nothing.
//!
//! In: the calling thread's rights. Out: [`Features`]. Used by `weft check` and by the agent's choice of the mesh engine.

use std::{path::Path, thread};

use netlink_packet_route::link::InfoKind;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sched::{CloneFlags, unshare};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use weft_model::{Family, ownership::BRIDGE_MAC};
use weft_plan::{Feature, Features, Rule, RuleAction};

use crate::{
    error::Error,
    netlink::{Messages, Netlink},
    request::Request,
    tun::TUN_CONTROL,
};

/// Tries everything. What needs a right that is missing counts as missing, with the kernel's words.
pub fn detect_features() -> Features {
    let inside = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => try_all(),
        Err(errno) => {
            all_missing(&format!("no network namespace can be made to try it in: {}", errno.desc()))
        }
    };
    let worker = thread::Builder::new().name("weft-features".to_owned()).spawn(inside);
    let mut features = match worker.map(thread::JoinHandle::join) {
        Ok(Ok(features)) => features,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => all_missing(&format!("no thread can be started to try it: {error}")),
    };
    // Asked where the agent works: the settings exist per namespace.
    features.bridge_netfilter = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    features
}

fn all_missing(why: &str) -> Features {
    let missing = || Feature::Missing(why.to_owned());
    Features {
        wireguard: missing(),
        nf_tables: missing(),
        tun: missing(),
        bridge: missing(),
        veth: missing(),
        rules_v4: missing(),
        rules_v6: missing(),
        bridge_netfilter: false,
    }
}

fn try_all() -> Features {
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => return all_missing(&error.to_string()),
    };
    Features {
        wireguard: told(netlink.one(Request::add_plain("wt-wg", InfoKind::Wireguard))),
        nf_tables: try_nf_tables(),
        tun: try_tun(),
        bridge: told(netlink.one(Request::add_bridge("wt-bridge", BRIDGE_MAC))),
        veth: told(netlink.one(Request::add_plain("wt-veth", InfoKind::Veth))),
        rules_v4: told(netlink.one(Request::add_rule(&rule(Family::V4)))),
        rules_v6: told(netlink.one(Request::add_rule(&rule(Family::V6)))),
        bridge_netfilter: false,
    }
}

const fn rule(family: Family) -> Rule {
    Rule { family, priority: 1, interface: None, mark: Some((0, 1)), action: RuleAction::Lookup(8701) }
}

fn told<T>(outcome: Result<T, Error>) -> Feature {
    match outcome {
        Ok(_) => Feature::Present,
        Err(error) => Feature::Missing(error.to_string()),
    }
}

/// Opening the device says that the driver is there.
fn try_tun() -> Feature {
    match std::fs::OpenOptions::new().read(true).write(true).open(TUN_CONTROL) {
        Ok(_) => Feature::Present,
        Err(error) => Feature::Missing(format!("{TUN_CONTROL} can't be opened: {error}")),
    }
}

/// Asks nf_tables for its generation (`NFT_MSG_GETGEN`): any answer but an error says that it is there.
fn try_nf_tables() -> Feature {
    match ask_generation() {
        Ok(true) => Feature::Present,
        Ok(false) => {
            Feature::Missing("the kernel was built without nf_tables, or its module isn't loaded".to_owned())
        }
        Err(error) => Feature::Missing(error.to_string()),
    }
}

fn ask_generation() -> std::io::Result<bool> {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    const NFT_MSG_GETGEN: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(std::time::Duration::from_secs(5)))?;
    let mut message = 20_u32.to_ne_bytes().to_vec();
    message.extend(((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN).to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 12]);
    socket.send(&message, 0)?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut &mut buffer[..], 0)?;
    let answer = Messages::new(&buffer[..length]).next();
    Ok(answer.is_some_and(|m| m.kind >> 8 == NFNL_SUBSYS_NFTABLES))
}
