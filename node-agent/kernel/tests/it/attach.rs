//! Pods' links against the real kernel: packets pass, the interface is as promised, nothing is left behind.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use weft_kernel::{
    Echo, Error, LinkExecutor, Look, Monitor, Namespace, Pinger, RouteExecutor, attach, detach, inspect,
    is_link_alive, purge, read_setting, reap,
};
use weft_model::{Family, Overlay};
use weft_plan::{Link, LocalPod, Route, Scope, Setting, Subject, Sweep, Tracker};

use crate::world::{facts, in_namespace, ip, pod, pod_link, pod_namespace, view};

const NOTHING: Vec<String> = Vec::new();

/// A node as the agent makes it, before any pod.
fn make_node(pods: &[LocalPod]) {
    ip("link set lo up");
    for device in ["eth0", "weft0"] {
        ip(&format!("link add {device} type bridge"));
        ip(&format!("link set {device} up"));
    }
    converge(pods);
}

/// Plans and executes; returns the steps that were needed.
fn converge(pods: &[LocalPod]) -> Vec<String> {
    let (fabric, facts) = (view(Overlay::Wireguard), facts(pods));
    let mut links = Tracker::new();
    links.want(Scope::All, Link::desired(&fabric, &facts, Scope::All));
    let mut executor = LinkExecutor::open().unwrap();
    links.observe::<Link, _>(&mut executor).unwrap();
    let (link_steps, failures) = links.converge::<Link, _>(&mut executor, Sweep::Allowed);
    assert!(failures.is_empty(), "{failures:?}");
    let mut routes = Tracker::new();
    routes.want(Scope::All, Route::desired(&fabric, &facts, Scope::All));
    let mut executor = RouteExecutor::open().unwrap();
    routes.observe::<Route, _>(&mut executor).unwrap();
    let (route_steps, failures) = routes.converge::<Route, _>(&mut executor, Sweep::Allowed);
    assert!(failures.is_empty(), "{failures:?}");
    let links = link_steps.iter().map(ToString::to_string);
    links.chain(route_steps.iter().map(ToString::to_string)).collect()
}

fn replies(to: IpAddr, from: Option<IpAddr>, size: u32) -> bool {
    let outcome = Pinger::open(to, from).unwrap().echo(size, Duration::from_millis(500)).unwrap();
    matches!(outcome, Echo::Replied { .. })
}

#[test]
fn an_attached_pod_is_as_promised_and_talks_to_its_node() {
    in_namespace(|| {
        make_node(&[]);
        let pods = [pod(1), pod(2)];
        let spaces: Vec<Namespace> = pods.iter().map(|_| pod_namespace()).collect();
        for (pod, space) in pods.iter().zip(&spaces) {
            attach(space, &pod_link(pod)).unwrap();
        }
        assert_eq!(converge(&pods), NOTHING, "the plan finds everything as it wants it");

        let seen = inspect(&spaces[0], "eth0").unwrap().unwrap();
        assert_eq!((seen.mac, seen.mtu, seen.up), (Some(pods[0].mac), 1440, true));
        let addresses: Vec<String> = seen.addresses.iter().map(|(a, p)| format!("{a}/{p}")).collect();
        assert_eq!(addresses, ["10.1.1.1/32", "fd00:0:0:1::1/128"]);
        assert_eq!(seen.default_routes, [Family::V4, Family::V6]);
        assert!(inspect(&spaces[0], "eth1").unwrap().is_none());
        let setting = |name| Setting::of(Family::V6, "eth0", name);
        for (name, value) in [("accept_ra", "0"), ("accept_redirects", "0"), ("accept_dad", "0")] {
            let found = spaces[0].run(|| read_setting(&setting(name)).unwrap()).unwrap();
            assert_eq!(found.as_deref(), Some(value), "{name}");
        }

        for address in &pods[0].addresses {
            assert!(replies(*address, None, 1440), "node to pod {address}");
        }
        // Without a mark a pod goes nowhere, but its own node hears it.
        spaces[0]
            .run(|| {
                assert!(replies("10.111.0.1".parse().unwrap(), None, 100), "pod to its node, IPv4");
                assert!(replies("fd11::1".parse().unwrap(), None, 100), "pod to its node, IPv6");
                assert!(!replies(pods[1].addresses[0], None, 100), "pod to pod without a mark");
                assert!(!replies(pods[1].addresses[1], None, 100), "pod to pod without a mark");
            })
            .unwrap();
        let bridge = ip("-d link show type veth");
        assert_eq!(bridge.matches("isolated on").count(), 2, "{bridge}");
        assert_eq!(bridge.matches("learning off flood off").count(), 2, "{bridge}");
        for flooding in ["mcast_flood off", "bcast_flood off"] {
            assert_eq!(bridge.matches(flooding).count(), 2, "{flooding}: {bridge}");
        }
        let alias = format!("alias weft pod {}", pods[0].uid);
        assert!(bridge.contains(&alias), "{bridge}");
    });
}

#[test]
fn a_detached_pod_leaves_nothing_and_its_interface_can_be_made_again() {
    in_namespace(|| {
        make_node(&[]);
        let space = pod_namespace();
        let pod = pod(1);
        attach(&space, &pod_link(&pod)).unwrap();
        detach(&pod.link, pod.mac, &pod.addresses).unwrap();
        detach(&pod.link, pod.mac, &pod.addresses).unwrap();
        assert_eq!(converge(&[]), NOTHING, "no port, entry, neighbour or route is left");
        assert!(!replies(pod.addresses[0], None, 100));
        // The dead link still stands in the way of both names until somebody needs them.
        assert!(inspect(&space, "eth0").unwrap().is_some());
        attach(&space, &pod_link(&pod)).unwrap();
        assert!(replies(pod.addresses[0], None, 100));
        detach(&pod.link, pod.mac, &pod.addresses).unwrap();
        assert!(reap().unwrap());
        assert!(!reap().unwrap(), "none left");
        assert!(inspect(&space, "eth0").unwrap().is_none());
        detach(&pod.link, pod.mac, &pod.addresses).unwrap();
    });
}

#[test]
fn ports_that_others_change_are_noticed_and_our_own_work_is_not() {
    in_namespace(|| {
        make_node(&[]);
        let (first, pod) = (pod(2), pod(1));
        let name = pod.link.clone();
        let both = [first.clone(), pod.clone()];
        let mut monitor = Monitor::open().unwrap();
        let mut noticed = |what: &str| {
            let mut looks = BTreeSet::new();
            // Until nothing comes any more: one change has several notices.
            loop {
                let more = monitor.wait(Duration::from_millis(30)).unwrap();
                if more.is_empty() {
                    break;
                }
                looks.extend(more);
            }
            assert!(!looks.contains(&Look::Everything), "{what}: {looks:?}");
            looks.contains(&Look::Links)
        };
        let (space, other) = (pod_namespace(), pod_namespace());
        // With its first port the bridge gets a carrier, which is a change of what is ours.
        attach(&other, &pod_link(&first)).unwrap();
        noticed("first");
        attach(&space, &pod_link(&pod)).unwrap();
        assert!(!noticed("attach"));
        let isolate = |on: &str| {
            let arguments = ["link", "set", "dev", &pod.link, "isolated", on];
            assert!(std::process::Command::new("bridge").args(arguments).status().unwrap().success());
        };
        ip(&format!("link set {name} down"));
        assert!(noticed("down"));
        assert_eq!(converge(&both).len(), 1, "brought up again");
        noticed("repair");
        isolate("off");
        assert!(noticed("isolated off"));
        assert_eq!(converge(&both).len(), 1, "isolated again");
        noticed("repair");
        ip(&format!("link set {name} nomaster"));
        assert!(noticed("nomaster"));
        assert!(!converge(&both).is_empty());
        noticed("repair");
        assert!(is_link_alive(&name).unwrap());
        detach(&pod.link, pod.mac, &pod.addresses).unwrap();
        assert!(!is_link_alive(&name).unwrap(), "dead");
        reap().unwrap();
        assert!(!is_link_alive(&name).unwrap(), "gone");
    });
}

#[test]
fn what_is_taken_is_refused_and_nothing_is_left_behind() {
    in_namespace(|| {
        make_node(&[]);
        let (first, second) = (pod(1), pod(2));
        let space = pod_namespace();
        attach(&space, &pod_link(&first)).unwrap();
        let taken = attach(&space, &pod_link(&second)).unwrap_err();
        assert!(matches!(&taken, Error::InterfaceTaken { interface } if interface == "eth0"), "{taken}");
        let mut same_name = pod_link(&second);
        same_name.link.clone_from(&first.link);
        let taken = attach(&pod_namespace(), &same_name).unwrap_err();
        assert!(matches!(&taken, Error::NameTaken { name } if *name == first.link), "{taken}");
        // A source that isn't an address of this node is refused by the kernel half-way: all of it is undone.
        let mut wrong = pod_link(&second);
        wrong.mesh = crate::world::mesh(9);
        let refused = attach(&pod_namespace(), &wrong).unwrap_err();
        assert!(refused.errno().is_some(), "{refused}");
        assert_eq!(converge(&[first]), NOTHING, "only the first pod is there");
        let mut nowhere = pod_link(&second);
        ip("link del weftbr0");
        nowhere.link = "wv00000000".to_owned();
        assert!(matches!(attach(&pod_namespace(), &nowhere), Err(Error::NoLink { .. })));
    });
}

#[test]
fn purge_leaves_the_namespace_as_it_was() {
    in_namespace(|| {
        ip("link set lo up");
        for device in ["eth0", "weft0"] {
            ip(&format!("link add {device} type bridge"));
            ip(&format!("link set {device} up"));
        }
        ip("addr add 192.168.1.11/24 dev eth0");
        ip("route add 10.5.0.0/16 via 192.168.1.1");
        ip("rule add pref 77 lookup 9");
        let state = || {
            ["-o link", "-4 route show table all", "rule", "-6 rule", "-6 route show table all"]
                .map(ip)
                .concat()
                .lines()
                // The flush of a table's last route and counters of lifetimes aren't state.
                .filter(|line| !line.contains("multicast ff00"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let before = state();
        converge(&[]);
        let spaces = [pod_namespace(), pod_namespace()];
        attach(&spaces[0], &pod_link(&pod(1))).unwrap();
        attach(&spaces[1], &pod_link(&pod(2))).unwrap();
        detach(&pod(2).link, pod(2).mac, &pod(2).addresses).unwrap();
        assert_ne!(state(), before);
        let (done, errors) = purge();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(done.len() > 30, "{done:#?}");
        assert_eq!(state(), before);
        assert!(purge().0.is_empty(), "twice is once");
    });
}

#[test]
fn the_first_packet_to_a_pod_arrives_also_while_many_are_made() {
    const WORKERS: u8 = 6;
    const PODS: u8 = 20;
    in_namespace(|| {
        make_node(&[]);
        let lost: Vec<String> = std::thread::scope(|scope| {
            let work = |worker: u8| {
                let mut lost = Vec::new();
                let space = pod_namespace();
                for round in 0..PODS {
                    let pod = pod(1 + worker * PODS + round);
                    attach(&space, &pod_link(&pod)).unwrap();
                    let silent = pod.addresses.iter().filter(|address| !replies(**address, None, 100));
                    lost.extend(silent.map(ToString::to_string));
                    detach(&pod.link, pod.mac, &pod.addresses).unwrap();
                }
                lost
            };
            let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(lost, NOTHING, "of {} pods", u32::from(WORKERS) * u32::from(PODS));
    });
}

#[test]
fn a_pod_can_come_back_while_its_dead_link_is_deleted() {
    const WORKERS: u8 = 5;
    const LIVES: u8 = 40;
    in_namespace(|| {
        make_node(&[]);
        let over = AtomicBool::new(false);
        let live = |worker: u8| {
            let space = pod_namespace();
            let lives = (0..LIVES).map(|life| {
                let pod = pod(1 + worker * LIVES + life);
                let made = attach(&space, &pod_link(&pod));
                detach(&pod.link, pod.mac, &pod.addresses).unwrap();
                made.map_err(|error| error.to_string())
            });
            lives.filter_map(Result::err).collect::<Vec<_>>()
        };
        let refused: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    reap().unwrap();
                }
            });
            let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || live(worker))).collect();
            let refused = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
            over.store(true, Ordering::Relaxed);
            refused
        });
        assert_eq!(refused, NOTHING, "of {} lives", u32::from(WORKERS) * u32::from(LIVES));
    });
}

#[test]
fn attach_and_detach_are_timed() {
    const PODS: u8 = 40;
    in_namespace(|| {
        make_node(&[]);
        let spaces: Vec<Namespace> = (0..PODS).map(|_| pod_namespace()).collect();
        let mut attached = Vec::new();
        let mut detached = Vec::new();
        for (index, space) in (1..).zip(&spaces) {
            let begin = Instant::now();
            attach(space, &pod_link(&pod(index))).unwrap();
            attached.push(begin.elapsed());
        }
        for index in 1..=PODS {
            let pod = pod(index);
            let begin = Instant::now();
            detach(&pod.link, pod.mac, &pod.addresses).unwrap();
            detached.push(begin.elapsed());
        }
        let begin = Instant::now();
        assert!(reap().unwrap());
        let reaped = begin.elapsed();
        for (what, mut times) in [("attach", attached), ("detach", detached)] {
            times.sort_unstable();
            let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            println!("{what}: p50 {p50:?}, p99 {p99:?} over {PODS} pods");
        }
        println!("reap: {reaped:?} for {PODS} links at once");
    });
}
