//! A tunnel that came up a moment ago.

use weft_model::{Dual, Item, NodeName, Revision, WireguardKey};
use weft_plan::{DeviceState, PeerState};

use super::*;
use crate::{
    fixture,
    inbox::{Outcome, Work},
    node::MeshSeen,
};

/// The mesh device, whose peer's last handshake was so long ago.
fn seen(key: WireguardKey, handshake_age: Option<Duration>) -> MeshSeen {
    let peer = PeerState { handshake_age, ..PeerState::default() };
    let state = DeviceState { peers: [(key, peer)].into(), ..DeviceState::default() };
    MeshSeen { state, at: Instant::now(), in_kernel: true }
}

#[test]
fn nobody_is_told_that_there_was_no_handshake_before_the_device_was_looked_at_again() {
    let directory = tempfile::tempdir().unwrap();
    let node = fixture::node(&directory);
    let (peer, key) = (NodeName::new("n2").unwrap(), WireguardKey([2; 32]));
    let item = PeerItem {
        node: peer.clone(),
        wireguard_key: Some(key),
        endpoint: None,
        mesh: Dual::new(Some("10.111.0.2".parse().unwrap()), None).unwrap(),
        underlay: Vec::new(),
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    };
    let view = View::restored(Revision(2), node.view().items().chain([Item::Peer(item)]));
    let facts = node.facts();
    let teller = Teller { node: &node, view: &view, facts: &facts, sender: &Sender::Node };
    node.set_mesh_seen(seen(key, None));
    let told = |path: &v1::TracePath| path.backends[0].way.as_ref().and_then(|way| way.handshake_age_s);
    let way = Way::Node {
        node: peer,
        device: "weft0".to_owned(),
        gateway: None,
        route: "10.1.2.0/24".parse().unwrap(),
        mtu: 1440,
    };
    let backend = v1::TraceBackend { way: Some(teller.way(&way)), ..v1::TraceBackend::default() };
    let mut paths = vec![v1::TracePath { backends: vec![backend], ..v1::TracePath::default() }];
    assert_eq!(told(&paths[0]), None, "as it was seen last");
    thread::scope(|scope| {
        // The loop of the mesh device: it looks when it is asked to.
        scope.spawn(|| {
            let Work::Wish(_, ticket) = node.inboxes.mesh.take(Instant::now() + Duration::from_secs(20))
            else {
                panic!("nobody asked")
            };
            node.set_mesh_seen(seen(key, Some(Duration::from_secs(3))));
            node.inboxes.mesh.done(ticket, Outcome::default());
        });
        teller.look_again(&mut paths, Instant::now() + Duration::from_secs(20));
    });
    assert_eq!(told(&paths[0]), Some(3));
}
