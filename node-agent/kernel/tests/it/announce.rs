//! Announcements as a neighbour on the link takes them in: its table follows an address to its new owner.

use std::{
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use weft_kernel::{
    Announce, Announcer, Claims, HeldAddresses, LinkEnd, Namespace, NftSocket, RouteExecutor, purge,
    read_host,
};
use weft_plan::{
    AWAKE, Claim, Executor, Route, answer_tables, guard_answers, is_awake, remove_answer_tables, stay_awake,
};

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
            let say = || announcer.announce(link, address.parse().unwrap(), 1).unwrap();
            assert!(learns(&neighbour, address, AFTER, say), "{address}");
        }
        assert!(learns(&neighbour, "192.0.2.10", BEFORE, || ()), "nobody spoke of this one");
        let gone =
            announcer.announce(LinkEnd { index: index + 100, mac: OWNER }, "192.0.2.9".parse().unwrap(), 1);
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
                // A neighbour is asked for once a second.
                let words = ["-c", "1", "-W", "3", address];
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

/// A link to a neighbour: this end has 192.0.2.1 and 2001:db8::1, the neighbour's the same with 2.
fn beside() -> (Namespace, LinkEnd) {
    let neighbour = pod_namespace();
    let path = format!("/proc/{}/fd/{}", std::process::id(), neighbour.as_fd().as_raw_fd());
    ip(&format!("link add eth0 address {AFTER} type veth peer name eth0 netns {path}"));
    let prepare = |own: u8| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0").unwrap();
        ip(&format!("addr add 192.0.2.{own}/24 dev eth0"));
        ip(&format!("-6 addr add 2001:db8::{own}/64 dev eth0 nodad"));
        ip("link set eth0 up");
        ip("link set lo up");
    };
    prepare(1);
    neighbour.run(|| prepare(2)).unwrap();
    let index = ip("-o link show eth0").split(':').next().and_then(|n| n.parse().ok()).unwrap();
    (neighbour, LinkEnd { index, mac: OWNER })
}

/// One ping from the neighbour that has forgotten every hardware address, waiting so many seconds.
fn asks_and_pings(neighbour: &Namespace, address: &str) -> bool {
    let ping = || {
        ip("neigh flush dev eth0");
        // A neighbour is asked for once a second.
        let words = ["-c", "1", "-W", "3", address];
        std::process::Command::new("ping").args(words).output().expect("ping runs").status.success()
    };
    neighbour.run(ping).unwrap()
}

#[test]
fn nobody_is_told_of_a_held_address_when_the_agent_sleeps() {
    in_namespace(|| {
        let (neighbour, _) = beside();
        let addresses: std::collections::BTreeSet<std::net::IpAddr> =
            ["192.0.2.9", "2001:db8::9"].map(|a| a.parse().unwrap()).into();
        let mut held = HeldAddresses::open().unwrap();
        let mut socket = NftSocket::open().unwrap();
        let long = Duration::from_secs(60);
        socket.commit(&guard_answers(&addresses, "eth0", long)).unwrap();
        addresses.iter().for_each(|address| held.hold(*address, "eth0").unwrap());
        for address in &addresses {
            assert!(asks_and_pings(&neighbour, &address.to_string()), "{address}: awake");
        }
        assert!(is_awake(&socket.observe(&answer_tables()).unwrap(), "eth0"));
        let shortly = Duration::from_millis(50);
        socket.commit(&stay_awake("eth0", shortly)).unwrap();
        let began = Instant::now();
        let sleeps = |socket: &mut NftSocket| !is_awake(&socket.observe(&answer_tables()).unwrap(), "eth0");
        while !sleeps(&mut socket) {
            assert!(began.elapsed() < Duration::from_secs(5), "its time is never over");
        }
        for address in &addresses {
            assert!(!asks_and_pings(&neighbour, &address.to_string()), "{address}: asleep");
        }
        for own in ["192.0.2.1", "2001:db8::1"] {
            assert!(asks_and_pings(&neighbour, own), "{own}: its own address is another matter");
        }
        // Each time begins anew, whether or not the last one is over.
        for _ in 0..20 {
            socket.commit(&stay_awake("eth0", AWAKE)).unwrap();
        }
        socket.commit(&stay_awake("eth0", long)).unwrap();
        for address in &addresses {
            assert!(asks_and_pings(&neighbour, &address.to_string()), "{address}: awake again");
        }
        socket.commit(&remove_answer_tables()).unwrap();
        assert!(!socket.observe(&answer_tables()).unwrap().has_table(&answer_tables()[0].id));
    });
}

#[test]
fn claims_of_others_are_heard_and_nothing_else() {
    in_namespace(|| {
        let (neighbour, link) = beside();
        let addresses: [std::net::IpAddr; 2] = ["192.0.2.9", "2001:db8::9"].map(|a| a.parse().unwrap());
        let mut claims = Claims::open(link, &addresses.into()).unwrap();
        assert!(claims.is_about(link, &addresses.into()) && !claims.is_about(link, &[addresses[0]].into()));
        let mut own = Announcer::open().unwrap();
        addresses.iter().for_each(|address| own.announce(link, *address, 3).unwrap());
        assert!(asks_and_pings(&neighbour, "192.0.2.1") && asks_and_pings(&neighbour, "2001:db8::1"));
        assert!(claims.read().unwrap().is_empty(), "our own, and others' addresses");
        let claim = || {
            let index = ip("-o link show eth0").split(':').next().and_then(|n| n.parse().ok()).unwrap();
            let mut other = Announcer::open().unwrap();
            let link = LinkEnd { index, mac: [2, 0, 0, 0, 0, 0x22] };
            addresses.iter().for_each(|address| other.announce(link, *address, 4).unwrap());
        };
        neighbour.run(claim).unwrap();
        let expected = addresses.map(|address| Claim { address, epoch: Some(4) });
        assert_eq!(claims.read().unwrap(), expected.into());
        assert!(claims.read().unwrap().is_empty(), "each is heard once");
        // Who has them answers a question, without an epoch.
        let take = || {
            ip("addr add 192.0.2.9/32 dev eth0");
            ip("-6 addr add 2001:db8::9/128 dev eth0 nodad");
        };
        neighbour.run(take).unwrap();
        let mut heard = std::collections::BTreeSet::new();
        let began = Instant::now();
        while heard.len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(5), "only {heard:?}");
            addresses.iter().for_each(|address| own.ask(link, *address).unwrap());
            heard.extend(claims.read().unwrap().into_iter().filter(|claim| claim.epoch.is_none()));
        }
        assert_eq!(heard, addresses.map(|address| Claim { address, epoch: None }).into());
    });
}

#[test]
fn who_vouches_all_the_time_keeps_nobody_from_reading_other_tables() {
    in_namespace(|| {
        let mut reader = NftSocket::open().unwrap();
        let tables = answer_tables();
        let held = (0..250).map(|n| std::net::IpAddr::from([192, 0, 2, n])).collect();
        reader.commit(&guard_answers(&held, "eth0", AWAKE)).unwrap();
        let mut other = reader.beside().unwrap();
        let end = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(std::sync::atomic::Ordering::Relaxed) {
                    other.commit_aside(&stay_awake("eth0", AWAKE)).unwrap();
                }
            });
            let seen: Vec<_> = (0..20).map(|_| reader.observe(&tables)).collect();
            end.store(true, std::sync::atomic::Ordering::Relaxed);
            for observed in seen {
                let whole = observed.expect("a picture in spite of commits").elements(&tables);
                let count =
                    whole.iter().filter(|(set, _)| set.name == "held").map(|(_, e)| e.len()).sum::<usize>();
                assert_eq!(count, 250);
            }
        });
    });
}
