//! Tests of the table: what requests do to it, and that its text makes it again.

use proptest::prelude::*;

use super::*;
use crate::uapi::{Request, parse_request, parse_set};

fn hex(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

/// Short lines: `port 1`, `peer 2`, `+10.0.0.0/8`, `-10.0.0.0/8`, or whole UAPI lines.
fn apply(table: &mut Table, script: &str) {
    let mut text = String::from("set=1\n");
    for part in script.split_whitespace() {
        match part.split_at(1) {
            ("p", key) => writeln!(text, "public_key={}", hex(key.parse().unwrap())).unwrap(),
            ("+", range) => writeln!(text, "allowed_ip={range}").unwrap(),
            ("-", range) => writeln!(text, "allowed_ip=-{range}").unwrap(),
            _ => writeln!(text, "{}", part.trim_start_matches('/')).unwrap(),
        }
    }
    let Request::Set(set) = parse_request(text.as_bytes()).unwrap() else { panic!("{text}") };
    table.apply(&set);
}

fn shown(table: &Table) -> String {
    let peers = table.peers().iter().map(|(key, peer)| {
        let ranges: Vec<String> = peer.allowed.iter().map(ToString::to_string).collect();
        format!("{}:{}", key[0], ranges.join(","))
    });
    peers.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_range_has_one_owner_and_leaves_when_it_is_told_to() {
    let start = "p2 +10.1.0.0/16 +10.2.0.0/16 p3 +10.3.0.0/16";
    for (script, expected) in [
        ("p3 +10.2.0.0/16", "2:10.1.0.0/16 3:10.2.0.0/16,10.3.0.0/16"),
        ("p2 /replace_allowed_ips=true +10.1.0.0/16", "2:10.1.0.0/16 3:10.3.0.0/16"),
        ("p2 -10.1.0.0/16 -10.3.0.0/16", "2:10.2.0.0/16 3:10.3.0.0/16"),
        ("p2 /remove=true", "3:10.3.0.0/16"),
        ("p4 /update_only=true +10.4.0.0/16", "2:10.1.0.0/16,10.2.0.0/16 3:10.3.0.0/16"),
        ("p2 /update_only=true +10.4.0.0/16", "2:10.1.0.0/16,10.2.0.0/16,10.4.0.0/16 3:10.3.0.0/16"),
        ("/replace_peers=true p3 +10.1.0.0/16", "3:10.1.0.0/16"),
        ("p2 /remove=true p3 +10.1.0.0/16 p2 +10.1.0.0/16", "2:10.1.0.0/16 3:10.3.0.0/16"),
        ("p9 /remove=true", "2:10.1.0.0/16,10.2.0.0/16 3:10.3.0.0/16"),
    ] {
        let mut table = Table::default();
        apply(&mut table, start);
        apply(&mut table, script);
        assert_eq!(shown(&table), expected, "{script}");
    }
}

#[test]
fn a_device_is_never_its_own_peer_and_zero_keys_mean_none() {
    let mut table = Table::default();
    let own: String = SecretKey::new([7; 32]).public().iter().map(|b| format!("{b:02x}")).collect();
    apply(&mut table, &format!("/private_key={} /public_key={own} p2 /preshared_key={}", hex(7), hex(8)));
    assert_eq!(shown(&table), "2:");
    assert!(table.peers()[&[2; 32]].preshared_key.is_some());
    apply(&mut table, &format!("/private_key={0} p2 /preshared_key={0}", hex(0)));
    assert!(table.private_key.is_none());
    assert!(table.peers()[&[2; 32]].preshared_key.is_none());
}

#[test]
fn a_get_tells_all_that_the_interface_asks_for() {
    let mut table = Table::default();
    apply(
        &mut table,
        &format!("/private_key={} /listen_port=51820 p2 /endpoint=10.0.0.2:1 +10.1.0.0/16 p3", hex(7)),
    );
    let status = PeerStatus {
        endpoint: Some("10.9.9.9:2".parse().unwrap()),
        last_handshake: Some(Duration::new(5, 6)),
        rx_bytes: 7,
        tx_bytes: 8,
    };
    let text = table.to_get_text(&BTreeMap::from([([2; 32], status)]));
    let expected = format!(
        "private_key={}\nlisten_port=51820\npublic_key={}\nendpoint=10.9.9.9:2\npersistent_keepalive_interval=0\n\
         protocol_version=1\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\ntx_bytes=8\nrx_bytes=7\n\
         allowed_ip=10.1.0.0/16\npublic_key={}\npersistent_keepalive_interval=0\nprotocol_version=1\n\
         last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\nerrno=0\n\n",
        hex(7),
        hex(2),
        hex(3)
    );
    assert_eq!(text.as_str(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn its_text_makes_it_again_and_ranges_stay_disjoint(
        scripts in proptest::collection::vec(
            proptest::collection::vec((2u8..6, 0u8..4, 0u8..6), 0..6), 1..5),
    ) {
        let mut table = Table::default();
        for script in scripts {
            let words: Vec<String> = script.iter().map(|(peer, verb, range)| match verb {
                0 => format!("p{peer} +10.{range}.0.0/16"),
                1 => format!("p{peer} -10.{range}.0.0/16"),
                2 => format!("p{peer} /replace_allowed_ips=true +10.{range}.0.0/16"),
                _ => format!("p{peer} /remove=true"),
            }).collect();
            apply(&mut table, &words.join(" "));
            let ranges: Vec<_> = table.peers().values().flat_map(|p| &p.allowed).collect();
            let distinct: BTreeSet<_> = ranges.iter().collect();
            prop_assert_eq!(ranges.len(), distinct.len());
        }
        let mut again = Table::default();
        again.apply(&parse_set(&table.to_set_text()).unwrap());
        prop_assert_eq!(again, table);
    }
}
