//! What a tunnel must do.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weft_mesh::public_key;

use crate::{
    node::{Node, SOON, private},
    wire::{Wire, datagrams_to, has},
    world::{alone, ip},
};

const MARKER: &str = "weft-marker-in-clear-0123456789";
/// What the nodes may receive from each other.
const ONE: &str = "10.200.0.1/32 10.201.1.0/24";
const TWO: &str = "10.200.0.2/32 10.201.2.0/24";

/// Two nodes with a working mesh; the second echoes.
fn pair() -> (Node, Node, Wire) {
    let (one, two) = (Node::new(1), Node::new(2));
    let wire = Wire::between(&[&one, &two]);
    one.start();
    two.start();
    two.echo();
    one.configure(&[(&two, TWO)]);
    two.configure(&[(&one, ONE)]);
    one.reaches("10.200.0.2:9000", "hello", SOON).expect("the mesh carries");
    (one, two, wire)
}

#[test]
fn the_eavesdropper_sees_only_wireguard() {
    alone("cases::the_eavesdropper_sees_only_wireguard", || {
        let (one, two, wire) = pair();
        let capture = wire.capture();
        assert!(one.reaches("10.200.0.2:9000", MARKER, SOON).is_some());
        assert!(one.reaches("10.201.2.1:9000", MARKER, SOON).is_some());
        let frames = capture.finish();
        assert!(datagrams_to(&frames, 51820) >= 4, "the mesh's datagrams are on the wire");
        assert!(!has(&frames, MARKER.as_bytes()), "the marker is on the wire");

        // The same eavesdropper finds the marker where it is sent in clear.
        let capture = wire.capture();
        assert!(one.reaches("192.168.7.2:9000", MARKER, SOON).is_some());
        assert!(has(&capture.finish(), MARKER.as_bytes()));

        let peer = one.observe().peers.remove(&two.key()).unwrap();
        assert!(peer.handshake_age.is_some_and(|age| age < SOON), "{peer:?}");
        assert!(peer.rx_bytes > 0 && peer.tx_bytes > 0, "{peer:?}");
        assert_eq!(peer.endpoint, Some(two.underlay()));
    });
}

#[test]
fn a_killed_tunnel_is_back_within_a_second_without_its_agent() {
    alone("cases::a_killed_tunnel_is_back_within_a_second_without_its_agent", || {
        let (one, two, wire) = pair();
        one.echo();
        let before = one.observe();
        for sender in [&one, &two] {
            let to = if sender.number == 1 { "10.200.0.2:9000" } else { "10.200.0.1:9000" };
            one.run(|inside| {
                inside.end_tunnel(Signal::SIGKILL);
            });
            let capture = wire.capture();
            assert_eq!(sender.reaches(to, MARKER, Duration::from_millis(100)), None, "the tunnel is down");
            let started = Instant::now();
            one.run(|inside| inside.start_tunnel());
            let back = sender.reaches(to, MARKER, SOON).map(|_| started.elapsed());
            eprintln!("node {} reaches the other {back:?} after the restart", sender.number);
            assert!(back.is_some_and(|back| back < Duration::from_secs(1)), "{back:?}");
            assert!(!has(&capture.finish(), MARKER.as_bytes()), "nothing leaves in clear meanwhile");
        }
        let after = one.observe();
        assert_eq!((after.key, after.listen_port), (before.key, before.listen_port));
        assert_eq!(after.peers[&two.key()].allowed, before.peers[&two.key()].allowed);
        let mode =
            one.run(|_| std::fs::metadata("/run/weft/tunnel/weft0.conf").unwrap().permissions().mode());
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_stop_is_orderly() {
    alone("cases::a_stop_is_orderly", || {
        let (one, _two, _wire) = pair();
        let (status, socket) = one.run(|inside| {
            let status = inside.end_tunnel(Signal::SIGTERM);
            (status, std::path::Path::new("/var/run/wireguard/weft0.sock").exists())
        });
        assert!(status.success(), "{status}");
        assert!(!socket, "the socket's file goes with its server");
        assert!(one.run(|_| weft_kernel::link_kind("weft0").unwrap()).is_some(), "the device stays");
        let error = one.run(|inside| inside.mesh().unwrap().observe().unwrap_err());
        assert!(matches!(error, weft_mesh::Error::TunnelDown { .. }), "{error}");
    });
}

#[test]
fn changes_of_other_peers_lose_no_packet_of_a_flow() {
    alone("cases::changes_of_other_peers_lose_no_packet_of_a_flow", || {
        let (one, two, _wire) = pair();
        let flow = one.run(|_| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                let lost = (0..1500_u32).filter(|number| {
                    socket.send_to(&number.to_be_bytes(), "10.200.0.2:9000").unwrap();
                    !matches!(socket.recv_from(&mut buffer), Ok((4, _)) if buffer[..4] == number.to_be_bytes())
                });
                lost.count()
            })
        });
        let handshakes = |node: &Node| node.observe().peers[&two.key()].handshake_age.unwrap();
        let mut changes = 0;
        while !flow.is_finished() {
            let stranger = public_key(&private(50));
            let ranges = if changes % 2 == 0 { "10.201.50.0/24" } else { "10.201.51.0/24 10.201.52.0/24" };
            let two_ranges = if changes % 3 == 0 { TWO.to_owned() } else { format!("{TWO} 10.201.60.0/24") };
            let known = (two.key(), Some(two.underlay()), two_ranges.as_str());
            if changes % 4 == 3 {
                one.configure_with(one.key(), [known].into_iter());
            } else {
                one.configure_with(one.key(), [known, (stranger, None, ranges)].into_iter());
            }
            changes += 1;
        }
        assert_eq!(flow.join().unwrap(), 0, "packets lost during {changes} changes");
        assert!(changes > 3, "{changes} changes");
        assert!(
            handshakes(&one) >= Duration::from_secs(1) || changes < 50,
            "the session lived through all changes"
        );
    });
}

#[test]
fn a_range_moves_and_really_leaves() {
    alone("cases::a_range_moves_and_really_leaves", || {
        let (one, two, _wire) = pair();
        let stranger = public_key(&private(50));
        let to = "10.201.2.1:9000";
        assert!(one.reaches(to, "here", SOON).is_some());

        let known = |ranges| (two.key(), Some(two.underlay()), ranges);
        one.configure_with(
            one.key(),
            [known("10.200.0.2/32"), (stranger, None, "10.201.2.0/24")].into_iter(),
        );
        assert_eq!(one.reaches(to, "moved away", Duration::from_millis(200)), None);
        // A later change of the former owner doesn't bring the range back to it.
        let ranges = "10.200.0.2/32 10.201.77.0/24";
        one.configure_with(one.key(), [known(ranges), (stranger, None, "10.201.2.0/24")].into_iter());
        assert_eq!(one.reaches(to, "still away", Duration::from_millis(200)), None);
        one.configure_with(one.key(), [known(TWO), (stranger, None, "")].into_iter());
        assert!(one.reaches(to, "back", SOON).is_some());
        one.configure_with(one.key(), [known("10.200.0.2/32")].into_iter());
        assert_eq!(one.reaches(to, "nobody's", Duration::from_millis(200)), None);
        assert!(one.reaches("10.200.0.2:9000", "the rest stays", SOON).is_some());
    });
}

#[test]
fn a_key_that_rotates_alone_is_noticed() {
    alone("cases::a_key_that_rotates_alone_is_noticed", || {
        let (one, two, _wire) = pair();
        let fresh = public_key(&private(77));
        two.run(|inside| inside.open_mesh(private(77)));
        two.configure_with(fresh, [(one.key(), Some(one.underlay()), ONE)].into_iter());
        let state = one.configure_with(one.key(), [(fresh, Some(two.underlay()), TWO)].into_iter());
        assert_eq!(state.peers.keys().copied().collect::<Vec<_>>(), vec![fresh]);
        assert!(one.reaches("10.200.0.2:9000", "new key", SOON).is_some());
    });
}

#[test]
fn a_device_that_goes_ends_the_tunnel_and_a_later_one_is_waited_for() {
    alone("cases::a_device_that_goes_ends_the_tunnel_and_a_later_one_is_waited_for", || {
        let (one, _two, _wire) = pair();
        let status = one.run(|inside| {
            ip("link delete weft0");
            inside.await_end()
        });
        assert!(!status.success(), "{status}");
        one.run(|inside| inside.start_tunnel());
        assert!(
            one.run(|_| weft_kernel::link_kind("weft0").unwrap()).is_none(),
            "the tunnel makes no device"
        );
        one.run(|inside| {
            weft_kernel::ensure_tun("weft0", None).unwrap();
            ip("link set weft0 mtu 1420 up");
            ip("addr add 10.200.0.1/24 dev weft0");
            inside.open_mesh(private(1));
        });
        assert!(
            one.reaches("10.200.0.2:9000", "again", SOON).is_some(),
            "with the stored configuration alone"
        );
    });
}

#[test]
fn a_full_fabric_is_taken_in_one_request() {
    alone("cases::a_full_fabric_is_taken_in_one_request", || {
        let (one, two, _wire) = pair();
        let strangers =
            (3..=200_u8).map(|n| (public_key(&private(n)), format!("10.202.{n}.0/24 fd00:{n:x}::/64")));
        let strangers: Vec<_> = strangers.collect();
        let wide: String = (0..300).map(|i| format!("10.{}.{}.0/24 ", 210 + i / 256, i % 256)).collect();
        let two_ranges = format!("{TWO} {wide}");
        let peers = strangers.iter().map(|(key, ranges)| (*key, None, ranges.as_str()));
        let started = Instant::now();
        let known = (two.key(), Some(two.underlay()), two_ranges.as_str());
        let state = one.configure_with(one.key(), peers.chain([known]));
        eprintln!("198 peers and 300 ranges in {:?}", started.elapsed());
        assert_eq!(state.peers.len(), 199);
        assert!(one.reaches("10.200.0.2:9000", "with all of them", SOON).is_some());
    });
}
