//! The node's side of pod networking below IP: bridge, its addresses, pods' ports, forwarding and neighbour entries, settings.
//!
//! In: families and mesh addresses (View), pods and links of this host (Facts). Not here: making a pod's veth, which needs the
//! pod's namespace (weft-kernel, attach); routes (route.rs); port security (guard.rs).

use std::{fmt, net::IpAddr};

use weft_model::{
    FabricItem, Family, ItemKey, PodUid,
    ownership::{BRIDGE, BRIDGE_MAC, GATEWAY_V4, GATEWAY_V6, VETH_ALIAS_PREFIX},
    resolver_addresses,
};
use weft_view::View;

use crate::{
    Facts, LocalPod, Pending, Scope, Setting, Source, Step, Subject, Sweep, Wanted, sysctl::settings,
};

/// Subject: links, and what hangs on them.
#[derive(Debug)]
pub struct Link;

/// One object of the subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkKey {
    /// A kernel setting.
    Setting(Setting),
    /// The pod bridge.
    Bridge,
    /// An address on the bridge, with the length of its prefix.
    Address(IpAddr, u8),
    /// The node's end of a pod's veth, by name.
    Port(String),
    /// A static forwarding entry of the bridge, by hardware address.
    Forwarding([u8; 6]),
    /// A permanent neighbour entry on the bridge.
    Neighbour(IpAddr),
    /// A bridge with our hardware address under another name: somebody renamed ours. Nobody wants it.
    Renamed(String),
}

/// The bridge itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeState {
    /// Hardware address.
    pub mac: [u8; 6],
    /// MTU in bytes: that of pods, else the bridge drops what is larger than a port takes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// IGMP and MLD snooping: off, there is no multicast between pods.
    pub snooping: bool,
    /// Spanning tree: off, the bridge has leaves only.
    pub spanning_tree: bool,
}

/// A pod's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// The pod whose link it is, from the link's alias.
    pub uid: PodUid,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// On the bridge, isolated, with learning and all flooding off: every packet passes the node's IP layer.
    pub guarded: bool,
}

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkValue {
    /// Value of a setting.
    Setting(String),
    /// The bridge.
    Bridge(BridgeState),
    /// An address; whether it is of scope link (IPv4 only) and so never chosen as a source for other destinations.
    Address {
        /// Scope link instead of global.
        link_scope: bool,
    },
    /// A port.
    Port(PortState),
    /// The port behind which the hardware address is.
    Forwarding {
        /// Name of the port.
        port: String,
    },
    /// The hardware address of the neighbour.
    Neighbour {
        /// It.
        mac: [u8; 6],
    },
    /// It is there.
    Renamed,
}

/// One change of the subject.
pub type LinkStep = Step<LinkKey, LinkValue>;

impl Subject for Link {
    const NAME: &'static str = "link";
    type Key = LinkKey;
    type Value = LinkValue;
    type Step = LinkStep;

    fn desired(view: &View, facts: &Facts, scope: Scope<'_>) -> Wanted<LinkKey, LinkValue> {
        let node = || (Source::Node, of_node(view, facts));
        let pod = |uid: &PodUid| (Source::Pod(*uid), facts.pods.get(uid).map(of_pod).unwrap_or_default());
        match scope {
            Scope::All => std::iter::once(node()).chain(facts.pods.keys().map(pod)).collect(),
            Scope::Pods(uids) => uids.iter().map(pod).collect(),
            Scope::Items(keys) => {
                let own = ItemKey::Peer(facts.node.clone());
                let bears = keys.iter().any(|key| *key == ItemKey::Fabric || *key == own);
                bears.then(node).into_iter().collect()
            }
        }
    }

    fn steps(pending: &[Pending<'_, LinkKey, LinkValue>], sweep: Sweep) -> Vec<LinkStep> {
        Step::ordered(pending, sweep, put_stage, delete_stage)
    }

    fn effects(step: &LinkStep) -> Vec<(LinkKey, Option<LinkValue>)> {
        step.effects()
    }
}

/// Router advertisements before forwarding, the bridge before what hangs on it, settings of the bridge before its addresses.
fn put_stage(key: &LinkKey) -> u8 {
    match key {
        LinkKey::Setting(setting) if setting.comes_first() => 0,
        LinkKey::Bridge => 1,
        LinkKey::Setting(_) => 2,
        LinkKey::Address(..) => 3,
        LinkKey::Port(_) => 4,
        LinkKey::Forwarding(_) => 5,
        LinkKey::Neighbour(_) | LinkKey::Renamed(_) => 6,
    }
}

/// What makes a pod reachable goes first. Settings and the bridge stay: only purge takes them back.
const fn delete_stage(key: &LinkKey) -> Option<u8> {
    match key {
        LinkKey::Neighbour(_) => Some(0),
        LinkKey::Forwarding(_) => Some(1),
        LinkKey::Port(_) => Some(2),
        LinkKey::Address(..) => Some(3),
        LinkKey::Renamed(_) => Some(4),
        LinkKey::Setting(_) | LinkKey::Bridge => None,
    }
}

fn of_node(view: &View, facts: &Facts) -> Vec<(LinkKey, LinkValue)> {
    let Some(fabric) = view.fabric() else { return Vec::new() };
    let bridge = BridgeState {
        mac: BRIDGE_MAC,
        mtu: facts.pod_mtu(fabric),
        up: true,
        snooping: false,
        spanning_tree: false,
    };
    let mut wanted = vec![(LinkKey::Bridge, LinkValue::Bridge(bridge))];
    for (setting, value) in settings(fabric.families, facts) {
        wanted.push((LinkKey::Setting(setting), LinkValue::Setting(value.to_owned())));
    }
    wanted.extend(gateways(fabric));
    wanted.extend(resolver_addresses(fabric).map(resolver));
    if let Some(own) = view.peer(&facts.node) {
        for (family, address) in own.mesh.iter().filter(|(family, _)| fabric.families.has(*family)) {
            wanted
                .push((LinkKey::Address(*address, family.bits()), LinkValue::Address { link_scope: false }));
        }
    }
    wanted
}

/// The pods' gateways. IPv4's has scope link: otherwise it would be chosen as source towards destinations without a route of ours.
fn gateways(fabric: &FabricItem) -> impl Iterator<Item = (LinkKey, LinkValue)> {
    let v4 = (LinkKey::Address(IpAddr::V4(GATEWAY_V4), 32), LinkValue::Address { link_scope: true });
    let v6 = (LinkKey::Address(IpAddr::V6(GATEWAY_V6), 64), LinkValue::Address { link_scope: true });
    [(Family::V4, v4), (Family::V6, v6)]
        .into_iter()
        .filter(|(family, _)| fabric.families.has(*family))
        .map(|(_, entry)| entry)
}

/// An address at which this node answers questions about names. As the gateways it never becomes the source of other packets: in
/// IPv4 by its scope, in IPv6 since routes into the fabric name theirs.
fn resolver(address: IpAddr) -> (LinkKey, LinkValue) {
    let family = Family::of(address);
    let link_scope = family == Family::V4;
    (LinkKey::Address(address, family.bits()), LinkValue::Address { link_scope })
}

fn of_pod(pod: &LocalPod) -> Vec<(LinkKey, LinkValue)> {
    let port = PortState { uid: pod.uid, mtu: pod.mtu, up: true, guarded: true };
    let mut wanted = vec![
        (LinkKey::Port(pod.link.clone()), LinkValue::Port(port)),
        (LinkKey::Forwarding(pod.mac), LinkValue::Forwarding { port: pod.link.clone() }),
    ];
    for address in &pod.addresses {
        wanted.push((LinkKey::Neighbour(*address), LinkValue::Neighbour { mac: pod.mac }));
    }
    wanted
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(setting) => write!(f, "setting {setting}"),
            Self::Bridge => write!(f, "bridge {BRIDGE}"),
            Self::Address(address, prefix) => write!(f, "address {address}/{prefix} on {BRIDGE}"),
            Self::Port(name) => write!(f, "port {name}"),
            Self::Forwarding(mac) => write!(f, "forwarding entry {}", Mac(mac)),
            Self::Neighbour(address) => write!(f, "neighbour {address} on {BRIDGE}"),
            Self::Renamed(name) => write!(f, "link {name}, which was {BRIDGE}"),
        }
    }
}

impl fmt::Display for LinkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(value) => f.write_str(value),
            Self::Bridge(b) => {
                write!(f, "mac {} mtu {} {}", Mac(&b.mac), b.mtu, if b.up { "up" } else { "down" })?;
                write!(f, "{}", if b.snooping { " snooping" } else { "" })?;
                f.write_str(if b.spanning_tree { " stp" } else { "" })
            }
            Self::Address { link_scope } => {
                f.write_str(if *link_scope { "scope link" } else { "scope global" })
            }
            Self::Port(p) => {
                write!(f, "{VETH_ALIAS_PREFIX}{} mtu {} {}", p.uid, p.mtu, if p.up { "up" } else { "down" })?;
                f.write_str(if p.guarded { " isolated" } else { " open" })
            }
            Self::Forwarding { port } => write!(f, "by {port}"),
            Self::Neighbour { mac } => write!(f, "at {}", Mac(mac)),
            Self::Renamed => f.write_str("a bridge of ours"),
        }
    }
}

/// A hardware address as text.
struct Mac<'a>(&'a [u8; 6]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Unicast, locally administered address of a pod's interface, derived from its uid: the same uid gives the same address,
/// and none equals the bridge's.
pub fn pod_mac(uid: PodUid) -> [u8; 6] {
    let [a, b, c, d, e, ..] = uid.0;
    // 0x0a: locally administered and not the 0x02 of the bridge.
    [0x0a, a, b, c, d, e]
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
