//! What the kernel's device takes and shows.

use std::{collections::BTreeSet, net::UdpSocket};

use weft_mesh::{Backend, Error, public_key};
use weft_model::{AddressRange, Secret};
use weft_plan::{PeerChange, PeerStep};

use crate::world::{DEVICE, PRIVATE, add, change, ip, key, mesh, ranges, with_wireguard};

#[test]
fn the_kernel_is_taken_and_shows_what_was_set() {
    with_wireguard(|| {
        let mesh = mesh();
        assert!(matches!(mesh.observe(), Err(Error::Missing { .. })), "nothing is touched before prepare");
        assert_eq!(mesh.prepare().unwrap(), Backend::Kernel);
        let fresh = mesh.observe().unwrap();
        assert_eq!((fresh.key, fresh.listen_port, fresh.peers.len()), (None, 0, 0));
        let own = public_key(&Secret::new(PRIVATE));
        let four = PeerChange { endpoint: Some("192.0.2.1:51820".parse().unwrap()), ..change(1) };
        let six = PeerChange {
            endpoint: Some("[2001:db8::1]:51820".parse().unwrap()),
            keepalive_secs: Some(25),
            allowed: ranges(&["10.1.0.0/24", "fd00:1::/64"]),
            ..change(2)
        };
        let steps = [
            PeerStep::SetKey(own),
            PeerStep::SetListenPort(51820),
            PeerStep::AddPeer(four),
            PeerStep::AddPeer(six),
        ];
        let state = mesh.execute(&steps).unwrap();
        assert_eq!((state.key, state.listen_port, state.peers.len()), (Some(own), 51820, 2));
        let six = &state.peers[&key(2)];
        assert_eq!(six.endpoint, Some("[2001:db8::1]:51820".parse().unwrap()));
        assert_eq!((six.keepalive_secs, six.preshared, six.handshake_age), (25, false, None));
        assert_eq!(six.allowed, ranges(&["10.1.0.0/24", "fd00:1::/64"]));
        // What is there is found again and left alone, as after a restart of the agent.
        let other = crate::world::mesh();
        assert_eq!(other.prepare().unwrap(), Backend::Kernel);
        assert_eq!(other.observe().unwrap(), state);
        let left = mesh.execute(&[PeerStep::RemovePeer(key(1))]).unwrap();
        assert_eq!(left.peers.keys().collect::<Vec<_>>(), [&key(2)]);
    });
}

#[test]
fn long_lists_of_ranges_arrive_whole_and_are_replaced_whole() {
    with_wireguard(|| {
        let mesh = mesh();
        mesh.prepare().unwrap();
        let many: BTreeSet<AddressRange> = (0..1000)
            .flat_map(|i| [format!("10.{}.{}.0/24", i / 256, i % 256), format!("fd00:{i:x}::/64")])
            .map(|text| text.parse().unwrap())
            .collect();
        let state = mesh.execute(&[add(1, many.clone())]).unwrap();
        assert_eq!(state.peers[&key(1)].allowed, many);
        let few = ranges(&["10.0.0.0/24", "fd00:1::/64"]);
        let less = PeerChange { replace_allowed: true, allowed: few.clone(), ..change(1) };
        assert_eq!(mesh.execute(&[PeerStep::UpdatePeer(less)]).unwrap().peers[&key(1)].allowed, few);
    });
}

#[test]
fn a_thousand_peers_come_and_go_in_one_step_each() {
    with_wireguard(|| {
        let mesh = mesh();
        mesh.prepare().unwrap();
        let adds: Vec<PeerStep> = (0..1000)
            .map(|i| {
                add(i, ranges(&[&format!("10.{}.{}.0/24", i / 256, i % 256), &format!("fd00:{i:x}::/64")]))
            })
            .collect();
        let state = mesh.execute(&adds).unwrap();
        assert_eq!(state.peers.len(), 1000);
        assert!(state.peers.values().all(|peer| peer.allowed.len() == 2));
        let removes: Vec<PeerStep> = (0..999).map(|i| PeerStep::RemovePeer(key(i))).collect();
        assert_eq!(mesh.execute(&removes).unwrap().peers.len(), 1);
    });
}

#[test]
fn a_range_moves_by_being_added_to_its_new_peer() {
    with_wireguard(|| {
        let mesh = mesh();
        mesh.prepare().unwrap();
        mesh.execute(&[add(1, ranges(&["10.1.0.0/24", "10.2.0.0/24"])), add(2, BTreeSet::new())]).unwrap();
        let moved = PeerChange { allowed: ranges(&["10.2.0.0/24"]), ..change(2) };
        let state = mesh.execute(&[PeerStep::UpdatePeer(moved)]).unwrap();
        assert_eq!(state.peers[&key(1)].allowed, ranges(&["10.1.0.0/24"]));
        assert_eq!(state.peers[&key(2)].allowed, ranges(&["10.2.0.0/24"]));
    });
}

#[test]
fn a_device_that_somebody_deleted_is_missed_and_made_again_only_by_prepare() {
    with_wireguard(|| {
        let mesh = mesh();
        mesh.prepare().unwrap();
        assert!(ip(&format!("link delete dev {DEVICE}")));
        // Setting must not make a device by the way: it would lack key, address and MTU.
        let set = mesh.execute(&[add(1, ranges(&["10.1.0.0/24"]))]);
        assert!(matches!(set, Err(Error::Missing { .. })), "{set:?}");
        assert!(!ip(&format!("link show dev {DEVICE}")), "it was made by the way");
        assert!(matches!(mesh.observe(), Err(Error::Missing { .. })));
        assert_eq!(mesh.prepare().unwrap(), Backend::Kernel);
        assert_eq!(mesh.execute(&[add(1, ranges(&["10.1.0.0/24"]))]).unwrap().peers.len(), 1);
    });
}

#[test]
fn a_foreign_link_of_the_name_is_not_taken_for_wireguard() {
    with_wireguard(|| {
        assert!(ip(&format!("link add {DEVICE} type veth peer name other")));
        assert_eq!(mesh().prepare().unwrap(), Backend::Userspace);
        assert!(ip(&format!("link show dev {DEVICE}")), "it was removed");
    });
}

#[test]
fn a_port_that_is_taken_is_refused_and_said_once_the_device_is_up() {
    with_wireguard(|| {
        let mesh = mesh();
        mesh.prepare().unwrap();
        assert!(ip(&format!("link set dev {DEVICE} up")));
        let holder = UdpSocket::bind(("0.0.0.0", 51820)).unwrap();
        let refused = mesh.execute(&[PeerStep::SetListenPort(51820)]);
        let Err(Error::Refused { step, source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse, "{source}");
        assert!(step.contains("51820"), "{step}");
        drop(holder);
        assert_eq!(mesh.execute(&[PeerStep::SetListenPort(51820)]).unwrap().listen_port, 51820);
    });
}
