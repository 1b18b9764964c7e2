//! A small fabric for the tests of this crate: node `n1` among others.

use proptest::prelude::*;
use weft_model::{
    AttachmentId, ClusterId, Dual, Epoch, FabricItem, FabricRanges, Families, Family, Item, ItemKey,
    NodeName, Overlay, PeerItem, PodUid, Revision, RouteItem,
};
use weft_view::{Update, View};

use crate::{Facts, LocalPod, MeshDevice, Underlay, pod_link_name, pod_mac};

pub(crate) fn node(index: u8) -> NodeName {
    NodeName::new(format!("n{index}")).unwrap()
}

pub(crate) fn fabric(families: Families, overlay: Overlay) -> FabricItem {
    let ranges = |v4: &str, v6: &str| {
        let all = [(Family::V4, v4), (Family::V6, v6)];
        all.into_iter().filter(|(f, _)| families.has(*f)).map(|(_, text)| text.parse().unwrap()).collect()
    };
    FabricItem {
        cluster: ClusterId([1; 16]),
        families,
        ranges: FabricRanges {
            pods: ranges("10.1.0.0/16", "fd00::/48"),
            services: ranges("10.112.0.0/16", "fd12::/112"),
            nodes: ranges("10.111.0.0/24", "fd11::/64"),
            load_balancers: Vec::new(),
        },
        overlay,
        domain: "cluster.local".to_owned(),
        dns: weft_model::DnsSettings::default(),
        policy: weft_model::PolicySettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        replicas: Vec::new(),
    }
}

pub(crate) fn peer(families: Families, index: u8, endpoint: &str) -> PeerItem {
    let of = |family, text: String| families.has(family).then(|| text.parse().unwrap());
    PeerItem {
        node: node(index),
        wireguard_key: None,
        endpoint: Some(endpoint.parse().unwrap()),
        mesh: Dual::new(
            of(Family::V4, format!("10.111.0.{index}")),
            of(Family::V6, format!("fd11::{index}")),
        )
        .unwrap(),
        underlay: vec![
            format!("192.168.1.1{index}").parse().unwrap(),
            format!("fd99::1{index}").parse().unwrap(),
        ],
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    }
}

pub(crate) fn block(family: Family, index: u8, holder: u8) -> RouteItem {
    let block = match family {
        Family::V4 => format!("10.1.{index}.0/24"),
        Family::V6 => format!("fd00:0:0:{index}::/64"),
    };
    RouteItem { block: block.parse().unwrap(), node: node(holder), epoch: Epoch(1) }
}

/// Nodes 1 to 2, each with its block of each family.
pub(crate) fn view(families: Families, overlay: Overlay) -> View {
    let mut items = vec![Item::Fabric(fabric(families, overlay))];
    for index in 1..=2 {
        items.push(Item::Peer(peer(families, index, "192.168.1.12:51820")));
        items.extend(families.list().iter().map(|family| Item::Route(block(*family, index, index))));
    }
    View::restored(Revision(1), items)
}

pub(crate) fn facts() -> Facts {
    let mut facts = Facts::new(node(1));
    facts.underlay = Some(Underlay {
        interface: "eth0".to_owned(),
        index: 2,
        mac: None,
        mtu: 1500,
        addresses: vec!["192.168.1.11".parse().unwrap(), "fd99::11".parse().unwrap()],
    });
    facts.mesh = vec![MeshDevice { name: "weft0".to_owned(), index: 3, mtu: 1440, up: true }];
    facts
}

pub(crate) fn pod(families: Families, index: u8) -> LocalPod {
    let uid = PodUid([index; 16]);
    let address = |family: &Family| match family {
        Family::V4 => format!("10.1.1.{index}").parse().unwrap(),
        Family::V6 => format!("fd00:0:0:1::{index}").parse().unwrap(),
    };
    LocalPod {
        uid,
        name: format!("default/p{index}").parse().unwrap(),
        attachment: AttachmentId { container: format!("c{index}"), interface: "eth0".to_owned() },
        link: pod_link_name(uid, 0),
        mac: pod_mac(uid),
        addresses: families.list().iter().map(address).collect(),
        mtu: 1440,
    }
}

/// One thing that happens to a node.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Items come, change or go.
    Fabric(Vec<Item>, Vec<ItemKey>),
    /// A pod comes, or goes.
    Pod(u8, bool),
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let families = Families::Dual;
    let item = prop_oneof![
        (1_u8..5, 0_u8..2).prop_map(move |(n, v6)| {
            Item::Peer(peer(families, n, if v6 == 1 { "[fd99::7]:51820" } else { "192.168.1.7:51820" }))
        }),
        (0_u8..6, 1_u8..5, any::<bool>()).prop_map(|(b, n, v6)| Item::Route(block(
            if v6 { Family::V6 } else { Family::V4 },
            b,
            n
        ))),
        any::<bool>().prop_map(move |routed| {
            Item::Fabric(fabric(families, if routed { Overlay::Routed } else { Overlay::Wireguard }))
        }),
    ];
    let gone = prop_oneof![
        (1_u8..5).prop_map(|n| ItemKey::Peer(node(n))),
        (0_u8..6).prop_map(|b| ItemKey::Route(block(Family::V4, b, 1).block)),
    ];
    let event = prop_oneof![
        3 => (prop::collection::vec(item, 0..4), prop::collection::vec(gone, 0..2))
            .prop_map(|(upserts, deletes)| Event::Fabric(upserts, deletes)),
        1 => (1_u8..5, any::<bool>()).prop_map(|(pod, comes)| Event::Pod(pod, comes)),
    ];
    prop::collection::vec(event, 0..25)
}

pub(crate) fn delta(revision: u64, upserts: Vec<Item>, deletes: Vec<ItemKey>) -> Update {
    Update::Delta { revision: Revision(revision), upserts, deletes }
}
