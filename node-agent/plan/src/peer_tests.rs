//! Tests of the WireGuard plan: a table of cases and the laws of every reconciler.

use proptest::prelude::*;

use super::*;

fn key(n: u8) -> WireguardKey {
    WireguardKey([n; 32])
}

fn name(n: u8) -> NodeName {
    NodeName::new(format!("n{n}")).unwrap()
}

fn ranges(text: &str) -> BTreeSet<AddressRange> {
    text.split_whitespace().map(|r| r.parse().unwrap()).collect()
}

fn endpoint(text: &str) -> Option<SocketAddr> {
    (text != "-").then(|| text.parse().unwrap())
}

/// `2 10.0.0.2:51820 10.1.0.0/24 …` for each peer, joined by `|`; the number is both key and node.
fn config(text: &str) -> DeviceConfig {
    let mut config =
        DeviceConfig { name: "weft0".to_owned(), key: key(1), listen_port: 51820, peers: BTreeMap::new() };
    for line in text.split('|').map(str::trim).filter(|l| !l.is_empty()) {
        let mut parts = line.splitn(3, ' ');
        let number: u8 = parts.next().unwrap().parse().unwrap();
        let wanted = PeerConfig {
            node: name(number),
            endpoint: endpoint(parts.next().unwrap()),
            allowed: ranges(parts.next().unwrap_or("")),
            keepalive_secs: 0,
        };
        config.peers.insert(key(number), wanted);
    }
    config
}

/// A device that was set up by `text` alone.
fn state(text: &str) -> DeviceState {
    let mut state = DeviceState::default();
    for step in peer_steps(&state.clone(), &config(text), Sweep::Allowed) {
        state.apply(&step);
    }
    state
}

fn check(before: &DeviceState, after: &str, expected: &[&str]) {
    let steps: Vec<String> =
        peer_steps(before, &config(after), Sweep::Allowed).iter().map(ToString::to_string).collect();
    assert_eq!(steps, expected, "towards {after:?}");
}

#[test]
fn steps_are_minimal_and_new_comes_before_old() {
    let a = "2 10.0.0.2:1 10.1.0.0/24 10.2.0.0/24 | 3 10.0.0.3:1 10.3.0.0/24";
    check(&state(a), a, &[]);
    check(
        &DeviceState::default(),
        "2 10.0.0.2:1 10.1.0.0/24",
        &[
            "set the key to 01010101…",
            "listen on UDP 51820",
            "add peer n2 (02020202…), endpoint 10.0.0.2:1, 1 ranges more",
        ],
    );
    // A move is an addition to the new peer alone.
    check(
        &state(a),
        "2 10.0.0.2:1 10.1.0.0/24 | 3 10.0.0.3:1 10.3.0.0/24 10.2.0.0/24",
        &["change peer n3 (03030303…), 1 ranges more"],
    );
    // Only a range that leaves replaces a list, after the ranges that move.
    check(
        &state(a),
        "2 10.0.0.2:1 | 3 10.0.0.3:1 10.3.0.0/24 10.2.0.0/24",
        &["change peer n3 (03030303…), 1 ranges more", "change peer n2 (02020202…), 0 ranges instead of all"],
    );
    // A node whose key changed alone: the new peer takes all over, then the old one goes.
    check(
        &state(a),
        "9 10.0.0.2:1 10.1.0.0/24 10.2.0.0/24 | 3 10.0.0.3:1 10.3.0.0/24",
        &["add peer n9 (09090909…), endpoint 10.0.0.2:1, 2 ranges more", "remove peer 02020202…"],
    );
}

#[test]
fn the_own_key_is_compared_alone() {
    let mut rotated = config("2 - 10.1.0.0/24");
    rotated.key = key(7);
    assert_eq!(
        peer_steps(&state("2 - 10.1.0.0/24"), &rotated, Sweep::Forbidden),
        vec![PeerStep::SetKey(key(7))]
    );
}

#[test]
fn an_endpoint_that_works_is_never_overwritten() {
    for (age, actual, touched) in [
        (None, "10.9.9.9:1", true),
        (Some(179), "10.9.9.9:1", false),
        (Some(180), "10.9.9.9:1", true),
        (Some(500), "10.0.0.2:1", false),
        (None, "-", true),
    ] {
        let mut observed = state("2 - 10.1.0.0/24");
        let peer = observed.peers.get_mut(&key(2)).unwrap();
        peer.endpoint = endpoint(actual);
        peer.handshake_age = age.map(Duration::from_secs);
        let steps = peer_steps(&observed, &config("2 10.0.0.2:1 10.1.0.0/24"), Sweep::Allowed);
        assert_eq!(!steps.is_empty(), touched, "{age:?} {actual}");
    }
}

#[test]
fn nothing_is_taken_away_while_removal_is_held() {
    let observed = state("2 - 10.1.0.0/24 10.2.0.0/24 | 3 - 10.3.0.0/24");
    let wish = config("2 - 10.1.0.0/24");
    assert_eq!(peer_steps(&observed, &wish, Sweep::Forbidden), vec![]);
    assert_eq!(peer_steps(&observed, &wish, Sweep::Allowed).len(), 2);
}

#[test]
fn a_pre_shared_key_that_nobody_wants_is_taken_off() {
    let mut observed = state("2 - 10.1.0.0/24");
    observed.peers.get_mut(&key(2)).unwrap().preshared = true;
    check(&observed, "2 - 10.1.0.0/24", &["change peer n2 (02020202…), no pre-shared key"]);
}

fn item(n: u8, allowed: &str) -> (NodeName, PeerItem) {
    let mesh = weft_model::Dual::new(Some("10.200.0.1".parse().unwrap()), None).unwrap();
    let item = PeerItem {
        node: name(n),
        wireguard_key: (n != 0).then(|| key(n)),
        endpoint: endpoint("10.0.0.2:51820"),
        mesh,
        underlay: vec![],
        uplink_mac: None,
        allowed: ranges(allowed).into_iter().collect(),
        zone: String::new(),
        silent: false,
    };
    (name(n), item)
}

#[test]
fn a_fabric_makes_a_device_of_the_others_with_keys() {
    let local = LocalDevice { name: "weft0".to_owned(), key: key(1), listen_port: 51820 };
    let peers: BTreeMap<_, _> =
        [item(1, "10.1.0.0/24"), item(2, "10.2.0.0/24"), item(0, "10.3.0.0/24")].into_iter().collect();
    let device = desired_device(&name(1), &local, &peers).unwrap();
    assert_eq!(device.peers.keys().copied().collect::<Vec<_>>(), vec![key(2)]);

    for (second, first_range, second_range) in [
        ("10.2.0.128/25", "10.2.0.0/24", "10.2.0.128/25"),
        ("10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/24"),
        ("10.1.0.7/32", "10.1.0.0/24", "10.1.0.7/32"),
    ] {
        let peers: BTreeMap<_, _> =
            [item(1, "10.1.0.0/24"), item(2, "10.2.0.0/24"), item(3, second)].into_iter().collect();
        let Err(PeerError::Overlap { first_range: a, second_range: b, .. }) =
            desired_device(&name(1), &local, &peers)
        else {
            panic!("{second} was taken")
        };
        assert_eq!((a.to_string().as_str(), b.to_string().as_str()), (first_range, second_range));
    }
    let same = LocalDevice { key: key(2), ..local };
    let error = desired_device(&name(1), &same, &peers).unwrap_err();
    assert_eq!(error, PeerError::SameKey { first: name(1), second: name(2) });
    assert_eq!(error.envelope().code, "W4101");
}

/// Small fabrics in which ranges belong to at most one peer.
fn configs() -> impl Strategy<Value = DeviceConfig> {
    let owners = proptest::collection::vec(proptest::option::of(2u8..6), 8);
    (owners, proptest::collection::btree_set(2u8..6, 0..4), 1u8..3, 1u16..3, 1u16..4).prop_map(
        |(owners, more, own, port, seed)| {
            let mut config = config("");
            config.key = key(own);
            config.listen_port = port;
            let owned = owners.iter().flatten().copied();
            for number in owned.chain(more).filter(|n| key(*n) != config.key).collect::<BTreeSet<_>>() {
                let allowed = (0u8..).zip(&owners).filter(|(_, o)| **o == Some(number));
                let wanted = PeerConfig {
                    node: name(number),
                    endpoint: endpoint(&format!("10.0.0.{number}:{seed}")),
                    allowed: allowed.map(|(i, _)| format!("10.{i}.0.0/24").parse().unwrap()).collect(),
                    keepalive_secs: seed - 1,
                };
                config.peers.insert(key(number), wanted);
            }
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn from_any_device_the_steps_lead_to_the_wish_and_then_nothing_is_pending(from in configs(), to in configs()) {
        let mut device = DeviceState::default();
        for step in peer_steps(&device.clone(), &from, Sweep::Allowed) {
            device.apply(&step);
        }
        prop_assert_eq!(peer_steps(&device, &from, Sweep::Allowed), vec![]);
        let steps = peer_steps(&device, &to, Sweep::Allowed);
        for step in &steps {
            let before = device.clone();
            device.apply(step);
            // No address is ever at two peers, and none that both want is without a peer in between.
            let mut seen = BTreeSet::new();
            for range in device.peers.values().flat_map(|p| &p.allowed) {
                prop_assert!(seen.insert(*range), "{} twice after {}", range, step);
            }
            let kept = to.peers.values().flat_map(|p| &p.allowed);
            for range in kept.filter(|r| before.peers.values().any(|p| p.allowed.contains(*r))) {
                let replaced_key = matches!(step, PeerStep::SetKey(_));
                prop_assert!(seen.contains(range) || replaced_key, "{} lost by {}", range, step);
            }
        }
        prop_assert_eq!(device.first_unmet(&steps), None);
        prop_assert_eq!(peer_steps(&device, &to, Sweep::Allowed), vec![]);
        prop_assert_eq!(device.peers.keys().copied().collect::<Vec<_>>(), to.peers.keys().copied().collect::<Vec<_>>());
        for (key, wanted) in &to.peers {
            prop_assert_eq!(&device.peers[key].allowed, &wanted.allowed);
        }
    }

    #[test]
    fn a_step_that_did_not_happen_is_found(from in configs(), to in configs()) {
        let mut device = DeviceState::default();
        for step in peer_steps(&device.clone(), &from, Sweep::Allowed) {
            device.apply(&step);
        }
        let steps = peer_steps(&device, &to, Sweep::Allowed);
        if let Some(first) = steps.first() {
            let endpoint_only = matches!(first, PeerStep::UpdatePeer(c) if c.allowed.is_empty() && !c.replace_allowed && c.keepalive_secs.is_none());
            prop_assert!(endpoint_only || device.first_unmet(&steps).is_some());
        }
    }
}
