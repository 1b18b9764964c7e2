//! The guard's rulesets in a real kernel: loaded, read back, changed, refused, heard of; and as the `nft` program lists them.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use weft_kernel::{NftError, NftSocket, Notice, udp_port_holder};
use weft_model::{AddressRange, FabricRanges, Families, Overlay};
use weft_nft::{Batch, Element, Elements, Set, SetRef, Value};
use weft_plan::{GuardInput, GuardPod, Ruleset};

use crate::world::{in_namespace, ip};

const MODES: [Overlay; 2] = [Overlay::Wireguard, Overlay::Routed];

fn range(text: &str) -> AddressRange {
    text.parse().expect("a range")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn guard_pod(n: u8) -> GuardPod {
    GuardPod {
        link: format!("wv000000{n:02x}"),
        mac: [0x02, 0, 0, 0, 1, n],
        addresses: vec![address(&format!("10.128.1.{n}")), address(&format!("fd5a:7e00:0:1::{n:x}"))],
    }
}

fn input(families: Families) -> GuardInput {
    GuardInput {
        families,
        ranges: FabricRanges {
            pods: vec![range("10.128.0.0/14"), range("fd5a:7e00::/48")],
            services: vec![range("10.112.0.0/16"), range("fd5a:7e01::/112")],
            nodes: vec![range("10.111.0.0/16"), range("fd5a:7e02::/64")],
            load_balancers: vec![],
        },
        masquerade_exceptions: vec![range("192.168.0.0/16")],
        replicas: ["192.0.2.1:7443", "[2001:db8::1]:7443"].iter().map(|r| r.parse().unwrap()).collect(),
        resolver: ["10.112.0.10", "169.254.1.53", "fd5a:7e01::a"].map(address).to_vec(),
        pods: (1..4).map(guard_pod).collect(),
        peers_underlay: vec![address("192.0.2.12"), address("192.0.2.13"), address("2001:db8::12")],
        uplinks: vec!["eth0".into()],
        owners: vec![
            (range("10.128.2.0/24"), [0x02, 0, 0, 0, 0, 0x12]),
            (range("10.128.3.0/24"), [0x02, 0, 0, 0, 0, 0x13]),
            (range("10.111.0.2/32"), [0x02, 0, 0, 0, 0, 0x12]),
            (range("fd5a:7e00:0:2::/64"), [0x02, 0, 0, 0, 0, 0x12]),
        ],
    }
}

/// Changes of every kind of set: gone, come, moved, a range that grows.
fn changed(families: Families) -> GuardInput {
    let mut input = input(families);
    input.pods.remove(0);
    input.pods.push(guard_pod(9));
    input.pods[0].mac = [0x02, 0, 0, 0, 9, 9];
    input.ranges.pods[0] = range("10.128.0.0/12");
    input.ranges.nodes.push(range("10.110.0.0/16"));
    input.masquerade_exceptions.clear();
    input.replicas[0].set_port(8443);
    input.resolver.swap_remove(0);
    input.peers_underlay.remove(0);
    input.uplinks.push("eth1".into());
    input.owners[0].1 = [0x02, 0, 0, 0, 0, 0x99];
    input.owners.remove(1);
    input
}

fn commit_all(socket: &mut NftSocket, batches: &[Batch]) {
    for batch in batches {
        socket.commit(batch).expect("the kernel takes it");
    }
}

fn differences(socket: &mut NftSocket, ruleset: &Ruleset, wanted: &Elements) -> Vec<String> {
    let observed = socket.observe(ruleset.tables()).expect("the kernel answers");
    ruleset.verify(wanted, &observed).iter().map(ToString::to_string).collect()
}

fn each_kind(mut test: impl FnMut(&Ruleset, Families)) {
    for overlay in MODES {
        for families in Families::ALL {
            test(&Ruleset::new(overlay), families);
        }
    }
}

#[test]
fn each_ruleset_is_read_back_as_it_was_loaded_and_changed() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        each_kind(|ruleset, families| {
            let wanted = ruleset.elements(&input(families));
            commit_all(&mut socket, &ruleset.full(&wanted));
            assert_eq!(differences(&mut socket, ruleset, &wanted), [""; 0], "{families}");

            let after = ruleset.elements(&changed(families));
            assert_ne!(differences(&mut socket, ruleset, &after), [""; 0]);
            commit_all(&mut socket, &ruleset.update(&after, &wanted));
            assert_eq!(differences(&mut socket, ruleset, &after), [""; 0], "{families}");

            // From what was read, not from what was remembered.
            let read = socket.observe(ruleset.tables()).unwrap().elements(ruleset.tables());
            assert_eq!(read, after);
        });
        let ruleset = Ruleset::new(Overlay::Routed);
        socket.commit(&ruleset.remove()).unwrap();
        let none = differences(&mut socket, &ruleset, &Elements::default());
        assert_eq!(none, ["table bridge weft is missing", "table inet weft is missing"]);
    });
}

#[test]
fn what_is_taken_away_is_noticed_and_put_back() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let wanted = ruleset.elements(&input(Families::Dual));
        commit_all(&mut socket, &ruleset.full(&wanted));

        let (bridge, inet) = (&ruleset.tables()[0], &ruleset.tables()[1]);
        let lost = [Element::of(vec![Value::V4("192.0.2.12".parse().unwrap())])];
        let mut batch = Batch::new();
        batch.remove_table(&bridge.id);
        batch.remove_elements(&inet.id, inet.set("peers4").unwrap(), &lost);
        socket.commit(&batch).unwrap();
        let found = differences(&mut socket, &ruleset, &wanted);
        assert!(found.contains(&"table bridge weft is missing".to_owned()), "{found:?}");
        assert!(
            found.contains(&"element { 192.0.2.12 } of set inet weft peers4 is missing".to_owned()),
            "{found:?}"
        );

        commit_all(&mut socket, &ruleset.full(&wanted));
        assert_eq!(differences(&mut socket, &ruleset, &wanted), [""; 0]);
    });
}

#[test]
fn changed_rules_are_mended_in_place_and_sets_keep_what_they_hold() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let wanted = ruleset.elements(&input(Families::Dual));
        // Also from the rules of the other mode, which has other sets.
        let other = Ruleset::new(Overlay::Routed);
        commit_all(&mut socket, &other.full(&other.elements(&input(Families::Dual))));
        for script in [
            "flush chain inet weft forward",
            "add chain bridge weft stranger { type filter hook prerouting priority -500; policy drop; }",
            "insert rule inet weft forward ip saddr { 10.9.9.8, 10.9.9.7 } jump { drop; }",
            "add set inet weft odd { type ipv4_addr; elements = { 10.9.9.9 }; }",
            "add table inet weft { flags dormant; }",
        ] {
            let output = Command::new("nft").arg(script).output().unwrap();
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
            let observed = socket.observe(ruleset.tables()).unwrap();
            assert!(!ruleset.verify(&wanted, &observed).is_empty(), "{script} is seen");
            let batches = ruleset.mend(&wanted, &observed);
            commit_all(&mut socket, &batches);
            assert_eq!(differences(&mut socket, &ruleset, &wanted), [""; 0], "{script}");
        }
        Command::new("nft").arg("flush chain inet weft forward").status().unwrap();
        let observed = socket.observe(ruleset.tables()).unwrap();
        let text = ruleset.mend(&wanted, &observed).iter().map(ToString::to_string).collect::<String>();
        assert!(text.contains("flush table inet weft"), "{text}");
        assert!(
            !text.contains("element") && !text.contains("delete"),
            "sets and their elements stay: {text}"
        );
        Command::new("nft").arg("delete table bridge weft").status().unwrap();
        let observed = socket.observe(ruleset.tables()).unwrap();
        commit_all(&mut socket, &ruleset.mend(&wanted, &observed));
        assert_eq!(differences(&mut socket, &ruleset, &wanted), [""; 0], "a table that went");
    });
}

#[test]
fn a_refusal_names_the_object_and_changes_nothing() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let wanted = ruleset.elements(&input(Families::Dual));
        commit_all(&mut socket, &ruleset.full(&wanted));
        let generation = socket.generation().unwrap().id;
        let refused = |socket: &mut NftSocket, batch: &Batch| match socket.commit(batch) {
            Err(NftError::Refused { object, errno, .. }) => (object, errno),
            other => panic!("{other:?}"),
        };

        // An element that isn't there, between others that are.
        let inet = &ruleset.tables()[1];
        let peer = |text: &str| Element::of(vec![Value::V4(text.parse().unwrap())]);
        let mut batch = Batch::new();
        let gone = [peer("192.0.2.12"), peer("192.0.2.99"), peer("192.0.2.13")];
        batch.remove_elements(&inet.id, inet.set("peers4").unwrap(), &gone);
        let expected = "element { 192.0.2.99 } of set inet weft peers4".to_owned();
        assert_eq!(refused(&mut socket, &batch), (expected, Errno::ENOENT));

        // A rule that jumps nowhere.
        let mut broken = inet.clone();
        broken.chains.retain(|c| c.name != "from_mesh");
        let mut batch = Batch::new();
        batch.replace_table(&broken);
        let expected = "rule 4 of chain inet weft marks".to_owned();
        assert_eq!(refused(&mut socket, &batch), (expected, Errno::ENOENT));

        // A set that isn't there.
        let mut batch = Batch::new();
        batch.add_elements(&inet.id, &Set { name: "nowhere".into(), ..inet.sets[0].clone() }, &gone[..1]);
        assert_eq!(refused(&mut socket, &batch).1, Errno::ENOENT);

        assert_eq!(socket.generation().unwrap().id, generation);
        assert_eq!(differences(&mut socket, &ruleset, &wanted), [""; 0]);
    });
}

#[test]
fn a_foreign_commit_is_heard_and_an_own_one_is_not() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let mut monitor = socket.monitor().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let wanted = ruleset.elements(&input(Families::V4));
        let made = socket.commit(&ruleset.full(&wanted)[0]).unwrap();
        assert_eq!(socket.generation().unwrap().id, made);
        assert_eq!(monitor.next(Duration::from_millis(50)).unwrap(), Notice::Quiet);

        let mut other = NftSocket::open().unwrap();
        let theirs = other.commit(&ruleset.remove()).unwrap();
        assert_eq!(theirs, made + 1);
        let notice = monitor.next(Duration::from_secs(2)).unwrap();
        let Notice::Foreign(generation) = notice else { panic!("{notice:?}") };
        assert_eq!(generation.id, theirs);
        assert!(!generation.name.is_empty() && generation.process != 0);
        // Overtaken by another, the same transaction still succeeds: it is tried anew.
        assert_eq!(socket.commit(&ruleset.full(&wanted)[0]).unwrap(), theirs + 1);
    });
}

#[test]
fn a_large_load_goes_in_whole() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let mut large = input(Families::Dual);
        large.peers_underlay = (0..30_000_u32).map(|i| IpAddr::V4((0xc612_0000 + i).into())).collect();
        let wanted = ruleset.elements(&large);
        let batches = ruleset.full(&wanted);
        assert!(batches.len() > 1);
        commit_all(&mut socket, &batches);
        assert_eq!(differences(&mut socket, &ruleset, &wanted), [""; 0]);
    });
}

#[test]
fn the_nft_program_lists_what_our_text_says() {
    if Command::new("nft").arg("--version").output().is_err() {
        // On a machine of somebody who works there is nothing to compare with; CI installs it and may not pass without.
        assert!(std::env::var_os("CI").is_none(), "the nft program is missing: .ci/run must install it");
        eprintln!("the nft program isn't here: nothing to compare with");
        return;
    }
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        each_kind(|ruleset, families| {
            let wanted = ruleset.elements(&input(families));
            commit_all(&mut socket, &ruleset.full(&wanted));
            let listed = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            let listed = String::from_utf8(listed.stdout).unwrap();
            let (listed, ours) = (normal(&listed), normal(&ruleset.text(&wanted)));
            let differing = listed.lines().zip(ours.lines()).find(|(a, b)| a != b);
            assert_eq!(differing, None, "{families}: nft on the left, our text on the right");
            assert_eq!(listed.lines().count(), ours.lines().count(), "{families}");
        });
    });
}

/// One line per line of rules; elements in one line and in order; counters without their numbers.
pub(crate) fn normal(text: &str) -> String {
    let text = text.replace("counter packets 0 bytes 0", "counter").replace(",\n", ", ");
    let line = |line: &str| {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.strip_prefix("elements = { ").and_then(|rest| rest.strip_suffix(" }")) {
            None => words,
            Some(elements) => {
                let sorted: BTreeSet<&str> = elements.split(", ").collect();
                format!("elements = {{ {} }}", sorted.into_iter().collect::<Vec<_>>().join(", "))
            }
        }
    };
    // Newer programs know the target of neighbour discovery by name.
    let text = text.lines().map(line).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
    text.replace("icmpv6 taddr", "@th,64,128").replace("0x0101", "0x101").replace("0x0201", "0x201")
}

#[test]
fn loading_and_changing_stay_quick() {
    in_namespace(|| {
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        let wanted = ruleset.elements(&input(Families::Dual));
        let full = ruleset.full(&wanted);
        let timed = |socket: &mut NftSocket, batches: &[Batch]| {
            let begin = Instant::now();
            commit_all(socket, batches);
            begin.elapsed()
        };
        let mut loads: Vec<Duration> = (0..7).map(|_| timed(&mut socket, &full)).collect();
        let set = SetRef { table: ruleset.tables()[1].id.clone(), name: "peers4".into() };
        let mut changes = Vec::new();
        let mut actual = wanted.clone();
        for i in 0..100_u32 {
            let mut next = actual.clone();
            next.insert(set.clone(), Element::of(vec![Value::V4((0xc633_6400 + i).into())]));
            changes.push(timed(&mut socket, &ruleset.update(&next, &actual)));
            actual = next;
        }
        loads.sort();
        changes.sort();
        let (load, change) = (loads[3], changes[50]);
        println!(
            "full: {load:?} ({} bytes, {} messages), one element: {change:?}",
            full[0].size(),
            full[0].len()
        );
        // Far above what is measured: this finds a wait for a timer or a lock, not a slow machine.
        assert!(change < Duration::from_millis(100) && load < Duration::from_secs(2), "{load:?} {change:?}");
    });
}

/// Frames of pod 1 that its node lets in, by name.
fn frames_let_in() -> String {
    let output = Command::new("python3")
        .args(["-c", include_str!("frames.py"), "pod1"])
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_pods_frames_pass_only_as_its_lease_says() {
    in_namespace(|| {
        // As the agent does: with 1 the bridge would trim the trailers by which the frames are known.
        for name in ["iptables", "ip6tables"].map(|n| format!("/proc/sys/net/bridge/bridge-nf-call-{n}")) {
            if std::path::Path::new(&name).exists() {
                std::fs::write(name, "0").unwrap();
            }
        }
        let own_mac = "02:57:45:46:54:01";
        ip("link set lo up");
        ip(&format!("link add weftbr0 address {own_mac} type bridge"));
        ip("addr add 10.111.0.1/32 dev weftbr0");
        ip("link add wv00000001 type veth peer name pod1 address 02:00:00:00:01:01");
        ip("link set wv00000001 master weftbr0");
        for name in ["weftbr0", "wv00000001", "pod1"] {
            ip(&format!("link set {name} up"));
        }
        for name in ["all", "weftbr0", "wv00000001"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").unwrap();
        }
        let mut socket = NftSocket::open().unwrap();
        let ruleset = Ruleset::new(Overlay::Wireguard);
        commit_all(&mut socket, &ruleset.full(&ruleset.elements(&input(Families::Dual))));
        assert_eq!(frames_let_in(), "ip4 ip6 arp solicit solicit-bare detect advertise advertise-bare");

        // The twin: without the guard each of them arrives, so the test can see them all.
        socket.commit(&ruleset.remove()).unwrap();
        let all = frames_let_in();
        assert_eq!(all.split(' ').count(), 31, "{all}");
    });
}

#[test]
fn firewalls_of_others_are_read_and_left_alone() {
    in_namespace(|| {
        let nft = |command: &str| {
            let output = Command::new("nft").args(command.split_whitespace()).output().unwrap();
            assert!(output.status.success(), "nft {command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut socket = NftSocket::open().unwrap();
        let mut seen = || {
            let policies = socket.survey().unwrap().drop_policies(&["weftbr0", "weft0"]);
            policies
                .iter()
                .map(|p| format!("{} {} {} {}", p.table, p.chain, p.hook.name(), p.accepts))
                .collect::<Vec<_>>()
        };
        assert!(seen().is_empty());
        nft("add table ip filter");
        nft("add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
        nft("add chain ip filter other");
        nft("add rule ip filter FORWARD tcp dport { 22, 80 } ct state established,related counter accept");
        nft("add table inet wall");
        nft("add chain inet wall in { type filter hook input priority 5 ; policy drop ; }");
        nft("add rule inet wall in iifname weftbr0 accept");
        nft("add table ip6 fine");
        nft("add chain ip6 fine out { type filter hook output priority 0 ; policy accept ; }");
        let before = nft("list ruleset");
        let mut found = seen();
        found.sort();
        assert_eq!(found, ["inet wall in input true", "ip filter FORWARD forward false"]);
        assert_eq!(nft("list ruleset"), before);
        nft("add rule ip filter other iifname weft0 accept");
        assert!(seen().contains(&"ip filter FORWARD forward true".to_owned()));
    });
}

#[test]
fn bound_udp_ports_are_seen() {
    in_namespace(|| {
        ip("link set lo up");
        assert!(udp_port_holder(51820).is_none());
        let socket = std::net::UdpSocket::bind("127.0.0.1:51820").unwrap();
        assert!(udp_port_holder(51820).is_some());
        drop(socket);
        let socket = std::net::UdpSocket::bind("[::]:51820").unwrap();
        assert!(udp_port_holder(51820).is_some() && udp_port_holder(5182).is_none());
        drop(socket);
        assert!(udp_port_holder(51820).is_none());
    });
}
