//! A node for tests of this crate: no kernel, no control plane, a journal in a directory of the test's own.

use tempfile::TempDir;
use weft_ipam::{Holding, Origin, Serving, Uptime};
use weft_model::{
    AttachmentId, ClusterId, Epoch, FabricItem, FabricRanges, Families, Item, Labels, NodeName, Overlay,
    PodUid, Revision, RouteItem, WallTime, WireguardKey,
};
use weft_plan::Facts;
use weft_view::View;

use crate::{
    addresses::Addresses,
    clock,
    node::{Node, Parts},
};

/// Node n1 of a small fabric with one block, whose journal nobody writes and whose loops don't run.
pub(crate) fn node(directory: &TempDir) -> Node {
    let name = NodeName::new("n1").unwrap();
    let fabric = FabricItem {
        cluster: ClusterId([1; 16]),
        families: Families::V4,
        ranges: FabricRanges {
            pods: vec!["10.1.0.0/16".parse().unwrap()],
            services: vec!["10.112.0.0/16".parse().unwrap()],
            ..FabricRanges::default()
        },
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: weft_model::DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        policy: weft_model::PolicySettings::default(),
        replicas: Vec::new(),
    };
    let block = RouteItem { block: "10.1.1.0/24".parse().unwrap(), node: name.clone(), epoch: Epoch(1) };
    let view = View::restored(Revision(1), [Item::Fabric(fabric), Item::Route(block)]);
    let opened =
        Addresses::open(&directory.path().join("journal"), clock::boot_id(), Uptime::default()).unwrap();
    let facts = Facts::new(name.clone());
    let parts = Parts { name, addresses: opened.addresses, view, facts, mesh_key: WireguardKey([1; 32]) };
    Node::new(parts)
}

/// A pod that is attached, made by `weft pod add`.
pub(crate) fn holding() -> Holding {
    Holding {
        attachment: AttachmentId { container: "c1".to_owned(), interface: "eth0".to_owned() },
        uid: PodUid([7; 16]),
        pod: "shop/web".parse().unwrap(),
        labels: Labels::new(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        netns: "/run/netns/x".to_owned(),
        link: "wv07070707".to_owned(),
        mac: [2, 0, 0, 0, 0, 9],
        mtu: 1440,
        origin: Origin::Weft,
        created: WallTime(5),
        attached: true,
        serving: Serving::default(),
    }
}
