//! What a tunnel must do.

use std::{
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weft_mesh::{Backend, BackendChoice, Error, Mesh, MeshOptions, public_key};
use weft_plan::PeerStep;
use weft_process::wait::until_blocking;

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
        assert!(matches!(error, Error::TunnelDown { .. }), "{error}");
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
        let sent = |node: &Node| node.observe().peers[&two.key()].tx_bytes;
        let before = sent(&one);
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
        assert!(sent(&one) >= before + 1000 * 32, "the peer lived through all changes with its counters");
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

#[test]
fn no_key_reaches_a_log() {
    alone("cases::no_key_reaches_a_log", || {
        let (one, two) = (Node::new(1), Node::new(2));
        let _wire = Wire::between(&[&one, &two]);
        one.run(|inside| inside.log_to = Some("/run/tunnel.log".to_owned()));
        one.start();
        two.start();
        two.echo();
        one.configure(&[(&two, TWO)]);
        two.configure(&[(&one, ONE)]);
        assert!(one.reaches("10.200.0.2:9000", "hello", SOON).is_some());
        let log = one.run(|inside| {
            // A request that can't be read is logged too, without its text.
            let bad = format!("set=1\nprivate_key={}\nnonsense\n\n", "01".repeat(32));
            assert_eq!(ask(&bad), "errno=22\n\n");
            inside.end_tunnel(Signal::SIGTERM);
            std::fs::read_to_string("/run/tunnel.log").unwrap()
        });
        assert!(log.contains("a request can't be read"), "the log is this tunnel's: {log}");
        assert!(log.contains("TRACE"), "it is complete");
        for secret in ["01".repeat(16), "AQEBAQEBAQEB".to_owned(), "1, 1, 1, 1".to_owned()] {
            assert!(!log.contains(&secret), "{secret} is in the log");
        }
    });
}

/// Speaks to the UAPI socket as any WireGuard tool would.
fn ask(request: &str) -> String {
    let mut stream = UnixStream::connect("/var/run/wireguard/weft0.sock").unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn other_tools_get_the_answers_of_the_interface() {
    alone("cases::other_tools_get_the_answers_of_the_interface", || {
        let (one, two, _wire) = pair();
        let (theirs, mine) = (two.key(), one.key());
        one.run(move |_| {
            let hex =
                |key: weft_model::WireguardKey| key.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let shown = ask("get=1\n\n");
            for line in [
                format!("private_key={}\nlisten_port=51820\npublic_key={}\n", "01".repeat(32), hex(theirs)),
                "\nendpoint=192.168.7.2:51820\n".to_owned(),
                "\nprotocol_version=1\n".to_owned(),
                "\nallowed_ip=10.201.2.0/24\nerrno=0\n\n".to_owned(),
            ] {
                assert!(shown.contains(&line), "{line} is not in {shown}");
            }
            assert!(!shown.contains("last_handshake_time_sec=0\n"), "{shown}");

            // The port is taken: refused, and all stays as it was.
            let taken = std::net::UdpSocket::bind("0.0.0.0:7777").unwrap();
            assert_eq!(ask("set=1\nlisten_port=7777\n\n"), "errno=98\n\n");
            drop(taken);
            assert!(ask("get=1\n\n").contains("listen_port=51820\n"));
            assert_eq!(
                ask(&format!("set=1\npublic_key={}\nupdate_only=true\n\n", "09".repeat(32))),
                "errno=0\n\n"
            );
            assert_eq!(ask(&format!("set=1\npublic_key={}\n\n", hex(mine))), "errno=0\n\n");
            let text = ask("get=1\n\n");
            assert_eq!(text.matches("public_key=").count(), 1, "{text}");
            // Any free port, and the answer tells which.
            assert_eq!(ask("set=1\nlisten_port=0\n\n"), "errno=0\n\n");
            assert!(!ask("get=1\n\n").contains("listen_port=51820\n"));
            assert_eq!(ask("set=1\nlisten_port=51820\n\n"), "errno=0\n\n");
        });
        assert!(one.reaches("10.200.0.2:9000", "after all of that", SOON).is_some());
        // Without a key nothing runs; with it again everything does.
        let no_key = "00".repeat(32);
        assert_eq!(one.run(move |_| ask(&format!("set=1\nprivate_key={no_key}\n\n"))), "errno=0\n\n");
        assert_eq!(one.reaches("10.200.0.2:9000", "nothing", Duration::from_millis(100)), None);
        one.configure(&[(&two, TWO)]);
        assert!(one.reaches("10.200.0.2:9000", "again", SOON).is_some());
    });
}

#[test]
fn a_tunnel_that_hangs_or_babbles_is_reported_and_survived() {
    alone("cases::a_tunnel_that_hangs_or_babbles_is_reported_and_survived", || {
        Node::new(1).run(|inside| {
            std::fs::create_dir("/run/wireguard").unwrap();
            let options = MeshOptions {
                device: "weft0".to_owned(),
                private_key: private(inside.number),
                backend: BackendChoice::UserspaceOnly,
            };
            let mesh = Mesh::open(options).unwrap();
            assert!(matches!(mesh.observe(), Err(Error::Missing { .. })), "nothing is prepared yet");
            mesh.prepare().unwrap();
            assert!(matches!(mesh.observe(), Err(Error::TunnelDown { .. })), "nobody listens");

            let listener = UnixListener::bind("/run/wireguard/weft0.sock").unwrap();
            let started = Instant::now();
            assert!(matches!(mesh.observe(), Err(Error::Deadline { .. })), "nobody answers");
            assert!(started.elapsed() < Duration::from_secs(3));
            // The owner still hangs in that call until the other side goes: then calls work again.
            drop(listener);
            std::fs::remove_file("/run/wireguard/weft0.sock").unwrap();
            until_blocking(SOON, "the owner's return", || {
                matches!(mesh.observe(), Err(Error::TunnelDown { .. })).then_some(())
            })
            .unwrap();

            // An errno that is no number makes the library panic: that ends the call, not the owner.
            let listener = UnixListener::bind("/run/wireguard/weft0.sock").unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    // The first connection of a call is only a knock.
                    if matches!(stream.read(&mut [0; 64]), Ok(length) if length > 0) {
                        stream.write_all(b"errno=many\n\n").unwrap();
                    }
                }
            });
            assert!(matches!(mesh.observe(), Err(Error::Panicked { .. })));
            assert!(matches!(mesh.observe(), Err(Error::Panicked { .. })), "the owner lives");
        });
    });
}

#[test]
fn the_kernels_wireguard_is_taken_where_there_is_one() {
    alone("cases::the_kernels_wireguard_is_taken_where_there_is_one", || {
        let backend = Node::new(1).run(|inside| {
            let options = MeshOptions {
                device: "weft0".to_owned(),
                private_key: private(inside.number),
                backend: BackendChoice::Best,
            };
            let mesh = Mesh::open(options).unwrap();
            let backend = mesh.prepare().unwrap();
            assert_eq!(mesh.prepare().unwrap(), backend, "twice is once");
            let there = weft_kernel::link_kind("weft0").unwrap();
            match backend {
                Backend::Kernel => {
                    assert_eq!(there.as_deref(), Some("wireguard"));
                    let state = mesh.execute(&[PeerStep::SetListenPort(51820)]).unwrap();
                    assert_eq!(state.listen_port, 51820);
                    ip("link delete weft0");
                    assert!(mesh.execute(&[PeerStep::SetListenPort(51821)]).is_err());
                    assert_eq!(weft_kernel::link_kind("weft0").unwrap(), None, "setting makes no device");
                }
                Backend::Userspace => assert_eq!(there, None, "looking makes no device"),
            }
            backend
        });
        eprintln!("backend here: {backend:?}");
    });
}
