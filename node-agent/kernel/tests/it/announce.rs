//! Announcements as a neighbour on the link takes them in: its table follows an address to its new owner.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    sync::mpsc,
    time::{Duration, Instant},
};

use weft_kernel::{
    Announce, Announcer, Claims, HeldAddresses, LinkEnd, Namespace, NftSocket, RouteExecutor, Voucher, purge,
    read_host,
};
use weft_model::Family;
use weft_nft::{Batch, DataType, Element, Set, Table, TableFamily, TableRef, Value};
use weft_plan::{
    AWAKE, Claim, Executor, Route, answer_tables, changed_answers, fall_asleep, guard_answers, is_awake,
    remove_answer_tables, stay_awake, try_vouchers, vouched_for,
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

/// Vouches as often as an agent does while something else is done.
fn awake_while<T>(work: impl FnOnce() -> T) -> T {
    let voucher = Voucher::open().unwrap();
    let vouch = || [Family::V4, Family::V6].iter().for_each(|family| voucher.vouch(*family).unwrap());
    vouch();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(AWAKE / 4) == Err(mpsc::RecvTimeoutError::Timeout) {
                vouch();
            }
        });
        let done = work();
        drop(end);
        done
    })
}

/// Both addresses are held at eth0 and in the tables, and nobody has vouched yet.
fn holding() -> (Namespace, NftSocket, BTreeSet<IpAddr>) {
    let (neighbour, _) = beside();
    let addresses: BTreeSet<IpAddr> = ["192.0.2.9", "2001:db8::9"].map(|a| a.parse().unwrap()).into();
    let mut held = HeldAddresses::open().unwrap();
    let mut socket = NftSocket::open().unwrap();
    socket.commit(&guard_answers(&addresses, "eth0", AWAKE)).unwrap();
    socket.commit(&fall_asleep()).unwrap();
    addresses.iter().for_each(|address| held.hold(*address, "eth0").unwrap());
    (neighbour, socket, addresses)
}

fn vouched(socket: &mut NftSocket) -> BTreeSet<Family> {
    vouched_for(&socket.observe(&answer_tables()).unwrap())
}

#[test]
fn nobody_is_told_of_a_held_address_when_the_agent_sleeps() {
    in_namespace(|| {
        let (neighbour, mut socket, addresses) = holding();
        let told = |address: &IpAddr| asks_and_pings(&neighbour, &address.to_string());
        awake_while(|| addresses.iter().for_each(|address| assert!(told(address), "{address}: awake")));
        let began = Instant::now();
        while !vouched(&mut socket).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "its time is never over");
        }
        addresses.iter().for_each(|address| assert!(!told(address), "{address}: asleep"));
        for own in ["192.0.2.1", "2001:db8::1"] {
            assert!(asks_and_pings(&neighbour, own), "{own}: its own address is another matter");
        }
        // Before an agent starts anew it vouches for longer.
        socket.commit(&stay_awake(Duration::from_secs(60))).unwrap();
        addresses.iter().for_each(|address| assert!(told(address), "{address}: for the next agent"));
        assert!(is_awake(&socket.observe(&answer_tables()).unwrap(), "eth0"));
        // The next one's first sign of life counts from then on.
        awake_while(|| ());
        let began = Instant::now();
        while !vouched(&mut socket).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "it sleeps and answers");
        }
        // Another link is none that it vouches for.
        socket.commit(&guard_answers(&addresses, "eth1", Duration::from_secs(60))).unwrap();
        addresses.iter().for_each(|address| assert!(!told(address), "{address}: by another link"));
        assert!(!is_awake(&socket.observe(&answer_tables()).unwrap(), "eth0"));
        socket.commit(&remove_answer_tables()).unwrap();
        assert!(!socket.observe(&answer_tables()).unwrap().has_table(&answer_tables()[0].id));
    });
}

#[test]
fn only_frames_of_our_own_vouch_and_it_shows_where_none_gets_through() {
    in_namespace(|| {
        let (_neighbour, mut socket, addresses) = holding();
        let ping = std::process::Command::new("ping").args(["-c", "2", "-i", "0.2", "::1"]).output();
        assert!(ping.expect("ping runs").status.success());
        assert_eq!(
            vouched(&mut socket),
            BTreeSet::new(),
            "what others send to themselves vouches for nobody"
        );
        let voucher = Voucher::open().unwrap();
        voucher.vouch(Family::V4).unwrap();
        assert_eq!(vouched(&mut socket), [Family::V4].into(), "for each family by itself");
        voucher.vouch(Family::V6).unwrap();
        assert!(vouched(&mut socket).contains(&Family::V6));
        let seen = socket.observe(&answer_tables()).unwrap();
        assert_eq!(changed_answers(&seen, &addresses, "eth0"), None);
        assert!(changed_answers(&seen, &addresses, "eth1").is_some());
        socket.commit(&try_vouchers("eth0")).unwrap();
        let seen = socket.observe(&answer_tables()).unwrap();
        assert!(changed_answers(&seen, &addresses, "eth0").is_some(), "no address is in there yet");
        assert_eq!(vouched_for(&seen), BTreeSet::new());
        ip("link set lo down");
        assert!(voucher.vouch(Family::V4).is_err(), "the loopback device is down");
    });
}

#[test]
fn signs_of_life_change_no_generation_and_keep_nobody_from_reading_a_large_table() {
    const ELEMENTS: u16 = 30_000;
    in_namespace(|| {
        let (neighbour, mut socket, _) = holding();
        let id = TableRef { family: TableFamily::Inet, name: "large".to_owned() };
        let set = Set::exact("all", &[DataType::InetService], 0);
        let large = Table { id, sets: vec![set], chains: Vec::new() };
        let elements: Vec<Element> = (0..ELEMENTS).map(|port| Element::of(vec![Value::U16(port)])).collect();
        let mut batch = Batch::new();
        batch.replace_table(&large);
        socket.commit(&batch).unwrap();
        for some in elements.chunks(5_000) {
            let mut batch = Batch::new();
            batch.add_elements(&large.id, &large.sets[0], some);
            socket.commit(&batch).unwrap();
        }
        let mut reading = || {
            let began = Instant::now();
            let all = socket.observe(std::slice::from_ref(&large)).expect("a picture");
            assert_eq!(all.elements(std::slice::from_ref(&large)).len(), usize::from(ELEMENTS));
            began.elapsed()
        };
        let quiet = reading();
        let mut other = NftSocket::open().unwrap();
        let (mut times, mut asked) = (Vec::new(), 0);
        awake_while(|| {
            let (before, began) = (other.generation().unwrap().id, Instant::now());
            while began.elapsed() < Duration::from_secs(2) {
                times.push(reading());
                for address in ["192.0.2.9", "2001:db8::9"] {
                    assert!(asks_and_pings(&neighbour, address), "{address}");
                    asked += 1;
                }
            }
            assert_eq!(other.generation().unwrap().id, before, "nothing is committed");
        });
        let longest = times.iter().max().unwrap();
        println!(
            "reading {ELEMENTS} elements: {quiet:?}; while somebody vouches at most {longest:?} ({} times, {asked} questions answered)",
            times.len()
        );
    });
}

#[test]
fn claims_of_others_are_heard_and_nothing_else() {
    in_namespace(|| {
        let (neighbour, link) = beside();
        let addresses: [IpAddr; 2] = ["192.0.2.9", "2001:db8::9"].map(|a| a.parse().unwrap());
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
        let mut heard = BTreeSet::new();
        let began = Instant::now();
        while heard.len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(5), "only {heard:?}");
            addresses.iter().for_each(|address| own.ask(link, *address).unwrap());
            heard.extend(claims.read().unwrap().into_iter().filter(|claim| claim.epoch.is_none()));
        }
        assert_eq!(heard, addresses.map(|address| Claim { address, epoch: None }).into());
    });
}
