//! Announcements as a neighbour on the link takes them in: its table follows an address to its new owner.

use std::{
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use weft_kernel::{Announce, Announcer, HeldAddresses, LinkEnd, Namespace, RouteExecutor, purge, read_host};
use weft_plan::{Executor, Route};

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

#[test]
fn an_address_is_answered_for_while_it_is_held() {
    in_namespace(|| {
        let neighbour = pod_namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), neighbour.as_fd().as_raw_fd());
        ip(&format!("link add eth0 type veth peer name eth0 netns {path}"));
        let prepare = |own: u8| {
            std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0").unwrap();
            ip(&format!("addr add 192.0.2.{own}/24 dev eth0"));
            ip(&format!("-6 addr add 2001:db8::{own}/64 dev eth0 nodad"));
            ip("link set eth0 up");
            ip("link set lo up");
        };
        prepare(1);
        neighbour.run(|| prepare(2)).unwrap();
        let reaches = |address: &str| {
            let ping = || {
                let words = ["-c", "1", "-W", "1", address];
                std::process::Command::new("ping").args(words).output().expect("ping runs").status.success()
            };
            neighbour.run(ping).unwrap()
        };
        let mut held = HeldAddresses::open().unwrap();
        assert!(held.read().unwrap().is_empty());
        let all = ["192.0.2.9", "2001:db8::9"];
        for address in all {
            for _ in 0..2 {
                held.hold(address.parse().unwrap(), "eth0").unwrap();
            }
            assert!(reaches(address), "{address}");
        }
        assert_eq!(held.read().unwrap(), all.map(|a| a.parse().unwrap()).into());
        let host = read_host().unwrap();
        assert!(!host.addresses.iter().any(|a| all.contains(&a.address.to_string().as_str())), "{host:?}");
        // Others' subjects leave them alone.
        let routes = Executor::<Route>::observe(&mut RouteExecutor::open().unwrap(), &[]).unwrap();
        assert_eq!(routes, []);
        held.release("192.0.2.9".parse().unwrap()).unwrap();
        held.release("192.0.2.9".parse().unwrap()).unwrap();
        neighbour.run(|| ip("neigh flush dev eth0")).unwrap();
        assert!(!reaches("192.0.2.9"));
        assert!(reaches("2001:db8::9"));
        assert_eq!(purge().0, ["release address 2001:db8::9"]);
        neighbour.run(|| ip("neigh flush dev eth0")).unwrap();
        assert!(!reaches("2001:db8::9"));
        assert!(reaches("192.0.2.1"), "its own address stays");
    });
}
