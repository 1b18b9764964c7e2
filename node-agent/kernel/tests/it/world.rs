//! A small fabric as tests see it, and namespaces that vanish with their thread.

use std::{collections::BTreeMap, net::IpAddr, process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use weft_kernel::{Namespace, PodLink};
use weft_model::{
    AttachmentId, ClusterId, Dual, Epoch, FabricItem, FabricRanges, Families, Item, NodeName, Overlay,
    PeerItem, PodUid, Revision, RouteItem,
};
use weft_plan::{Facts, Host, LocalPod, MeshDevice, Underlay, pod_link_name, pod_mac};
use weft_view::View;

/// Runs a test on a thread in a new network namespace.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect(
                "this test makes network namespaces: be root, or `unshare --user --map-root-user --mount` first, as xtask ci does",
            );
            test()
        };
        scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A namespace of a pod, made by a thread that has ended: only the handle keeps it.
pub(crate) fn pod_namespace() -> Namespace {
    in_namespace(|| Namespace::current().unwrap())
}

/// Runs `ip` in the calling thread's namespace: an independent witness. Its output, or its complaint as a panic.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip (iproute2) runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn node(index: u8) -> NodeName {
    NodeName::new(format!("n{index}")).unwrap()
}

fn both(v4: String, v6: String) -> Dual<IpAddr> {
    Dual::new(Some(v4.parse().unwrap()), Some(v6.parse().unwrap())).unwrap()
}

pub(crate) fn mesh(index: u8) -> Dual<IpAddr> {
    both(format!("10.111.0.{index}"), format!("fd11::{index}"))
}

pub(crate) fn peer(index: u8) -> PeerItem {
    PeerItem {
        node: node(index),
        wireguard_key: None,
        endpoint: Some(format!("192.168.1.1{index}:51820").parse().unwrap()),
        mesh: mesh(index),
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

pub(crate) fn fabric(overlay: Overlay) -> FabricItem {
    let ranges = |list: &[&str]| list.iter().map(|r| r.parse().unwrap()).collect();
    FabricItem {
        cluster: ClusterId([1; 16]),
        families: Families::Dual,
        ranges: FabricRanges {
            pods: ranges(&["10.1.0.0/16", "fd00::/48"]),
            services: ranges(&["10.112.0.0/16", "fd12::/112"]),
            nodes: ranges(&["10.111.0.0/24", "fd11::/64"]),
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

/// Three nodes with a block of each family; this is n1.
pub(crate) fn view(overlay: Overlay) -> View {
    let mut items = vec![Item::Fabric(fabric(overlay))];
    for index in 1..=3 {
        items.push(Item::Peer(peer(index)));
        for block in [format!("10.1.{index}.0/24"), format!("fd00:0:0:{index}::/64")] {
            let block = block.parse().unwrap();
            items.push(Item::Route(RouteItem { block, node: node(index), epoch: Epoch(1) }));
        }
    }
    View::restored(Revision(7), items)
}

/// What n1 is.
pub(crate) fn facts(pods: &[LocalPod]) -> Facts {
    facts_of(1, pods)
}

pub(crate) fn facts_of(index: u8, pods: &[LocalPod]) -> Facts {
    let mut facts = Facts::new(node(index));
    facts.host = Host::default();
    facts.underlay = Some(Underlay {
        interface: "eth0".to_owned(),
        index: 2,
        mac: None,
        mtu: 1500,
        addresses: peer(index).underlay,
    });
    facts.mesh = vec![MeshDevice { name: "weft0".to_owned(), index: 3, mtu: 1440, up: true }];
    facts.pods = pods.iter().map(|pod| (pod.uid, pod.clone())).collect::<BTreeMap<_, _>>();
    facts
}

/// A pod of n1.
pub(crate) fn pod(index: u8) -> LocalPod {
    pod_of(1, index)
}

pub(crate) fn pod_of(node: u8, index: u8) -> LocalPod {
    let uid = PodUid([index; 16]);
    LocalPod {
        uid,
        name: format!("default/p{index}").parse().unwrap(),
        attachment: AttachmentId { container: format!("c{index}"), interface: "eth0".to_owned() },
        link: pod_link_name(uid, 0),
        mac: pod_mac(uid),
        addresses: vec![
            format!("10.1.{node}.{index}").parse().unwrap(),
            format!("fd00:0:0:{node}::{index}").parse().unwrap(),
        ],
        mtu: 1440,
    }
}

pub(crate) fn pod_link(pod: &LocalPod) -> PodLink {
    PodLink {
        uid: pod.uid,
        link: pod.link.clone(),
        interface: "eth0".to_owned(),
        mac: pod.mac,
        addresses: pod.addresses.clone(),
        mtu: pod.mtu,
        mesh: mesh(1),
    }
}
