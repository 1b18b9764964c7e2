//! Announcements as a neighbour on the link takes them in: its table follows an address to its new owner.

use std::{
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use weft_kernel::{Announce, Announcer, LinkEnd, Namespace};

use crate::world::{in_namespace, ip, pod_namespace};

const OWNER: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const BEFORE: &str = "02:00:00:00:00:99";
const AFTER: &str = "02:00:00:00:00:11";

/// Whether the neighbour's table says, in time, that an address is at a hardware address, while that is said to it.
fn learns(neighbour: &Namespace, address: &str, mac: &str, mut say: impl FnMut()) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    let says = || {
        let table = neighbour.run(|| ip("neigh show dev eth0")).unwrap();
        table.lines().any(|line| line.starts_with(address) && line.contains(mac))
    };
    while Instant::now() < end {
        say();
        if says() {
            return true;
        }
    }
    false
}

#[test]
fn neighbours_follow_an_address_to_who_announces_it() {
    in_namespace(|| {
        let neighbour = pod_namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), neighbour.as_fd().as_raw_fd());
        ip(&format!("link add eth0 address {AFTER} type veth peer name eth0 netns {path}"));
        ip("link set eth0 up");
        let prepare = || {
            // An entry that was just changed is left alone for a second otherwise (arp(7), locktime).
            std::fs::write("/proc/sys/net/ipv4/neigh/eth0/locktime", "0").unwrap();
            ip("link set eth0 up");
            for address in ["192.0.2.9", "2001:db8::9", "192.0.2.10"] {
                ip(&format!("neigh add {address} lladdr {BEFORE} dev eth0 nud stale"));
            }
        };
        neighbour.run(prepare).unwrap();
        let index = ip("-o link show eth0").split(':').next().and_then(|n| n.parse().ok()).unwrap();
        let link = LinkEnd { index, mac: OWNER };
        let mut announcer = Announcer::open().unwrap();
        for address in ["192.0.2.9", "2001:db8::9"] {
            let say = || announcer.announce(link, address.parse().unwrap()).unwrap();
            assert!(learns(&neighbour, address, AFTER, say), "{address}");
        }
        assert!(learns(&neighbour, "192.0.2.10", BEFORE, || ()), "nobody spoke of this one");
        let gone =
            announcer.announce(LinkEnd { index: index + 100, mac: OWNER }, "192.0.2.9".parse().unwrap());
        assert!(gone.is_err(), "a link that isn't there");
    });
}
