//! What this host is: read by weft-kernel, kept by the agent, an argument of every subject.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use weft_model::{
    AddressRange, AttachmentId, FabricItem, Family, NodeName, PodName, PodUid, is_link_local,
    ownership::{self, DEFAULT_UNDERLAY_MTU},
};

use crate::{Underlay, mtu};

/// A link of the host, ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLink {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address, where it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The loopback device.
    pub loopback: bool,
    /// Kind as the kernel names it (`bridge`, `veth`, `wireguard`, `tun`), empty for hardware.
    pub kind: String,
    /// Index of its bridge or bond.
    pub master: Option<u32>,
    /// `net.ipv6.conf.<name>.accept_ra` (0, 1, 2); `None` where IPv6 is absent.
    pub accept_ra: Option<u8>,
}

/// An address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// Index of its link.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length of its link's prefix.
    pub prefix: u8,
    /// Of global scope: others can reach it.
    pub global: bool,
    /// Permanent, not deprecated and not a temporary privacy address (RFC 8981).
    pub stable: bool,
}

/// A route of table `main` that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Destination; prefix length 0 is a default route.
    pub destination: AddressRange,
    /// Index of the output link.
    pub link: Option<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Metric; the lowest wins.
    pub metric: u32,
}

/// Links, addresses and routes of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// All links but pods'.
    pub links: Vec<HostLink>,
    /// All addresses on them.
    pub addresses: Vec<HostAddress>,
    /// Routes of table `main` that do not bear our protocol number.
    pub routes: Vec<HostRoute>,
}

impl Host {
    /// A link by name.
    pub fn link(&self, name: &str) -> Option<&HostLink> {
        self.links.iter().find(|l| l.name == name)
    }

    /// A link by index.
    pub fn link_at(&self, index: u32) -> Option<&HostLink> {
        self.links.iter().find(|l| l.index == index)
    }

    /// Default routes, best first; of equal metric IPv4 first.
    pub fn default_routes(&self) -> Vec<&HostRoute> {
        let mut found: Vec<_> = self.routes.iter().filter(|r| r.destination.prefix() == 0).collect();
        found.sort_by_key(|r| (r.metric, r.destination.family()));
        found
    }

    /// What ranges of the fabric may not overlap (M5): every route but defaults, link-local ones, and those of our own links
    /// (the kernel makes some for their addresses).
    pub fn reserved(&self) -> Vec<AddressRange> {
        let of_ours = |r: &&HostRoute| {
            r.link.and_then(|index| self.link_at(index)).is_some_and(|link| is_ours(&link.name))
        };
        let mut found: Vec<_> = self
            .routes
            .iter()
            .filter(|r| !of_ours(r))
            .map(|r| r.destination)
            .filter(|d| d.prefix() != 0 && !is_link_local(d.first()) && !d.first().is_multicast())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Links with a default route: where router advertisements must go on being heard although the node forwards.
    pub fn uplinks(&self) -> Vec<&HostLink> {
        self.links
            .iter()
            .filter(|l| {
                self.routes.iter().any(|r| r.destination.prefix() == 0 && r.link == Some(l.index))
                    && !is_ours(&l.name)
            })
            .collect()
    }
}

/// What the kernel can do, found by trying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Links of kind `wireguard` can be made.
    pub wireguard: Feature,
    /// nf_tables answers over netlink.
    pub nf_tables: Feature,
    /// TUN devices can be made.
    pub tun: Feature,
    /// Links of kind `bridge` can be made.
    pub bridge: Feature,
    /// Links of kind `veth` can be made.
    pub veth: Feature,
    /// Policy rules with marks and several tables work, IPv4.
    pub rules_v4: Feature,
    /// Policy rules with marks and several tables work, IPv6.
    pub rules_v6: Feature,
    /// `net.bridge.bridge-nf-call-*` exists here and must be 0.
    pub bridge_netfilter: bool,
}

/// Whether the kernel can do one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Feature {
    /// Not tried yet.
    #[default]
    Untried,
    /// Tried, works.
    Present,
    /// Tried, refused: the kernel's words.
    Missing(String),
}

impl Feature {
    /// Whether it was tried and works.
    pub const fn is_present(&self) -> bool {
        matches!(self, Self::Present)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untried => f.write_str("untried"),
            Self::Present => f.write_str("present"),
            Self::Missing(why) => write!(f, "missing: {why}"),
        }
    }
}

/// A mesh device that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshDevice {
    /// `weft0` or `weft1`.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
}

/// A pod of this node that has (or should have) a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its life.
    pub uid: PodUid,
    /// Namespace and name.
    pub name: PodName,
    /// The attachment that made it.
    pub attachment: AttachmentId,
    /// Name of the node's end of its veth: see [`pod_link_name`].
    pub link: String,
    /// Hardware address of the pod's end.
    pub mac: [u8; 6],
    /// Addresses, primary family first.
    pub addresses: Vec<IpAddr>,
    /// MTU that its link was made with.
    pub mtu: u32,
}

/// What this host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name of this node.
    pub node: NodeName,
    /// Links, addresses, routes.
    pub host: Host,
    /// The chosen underlay; `None` while there is none.
    pub underlay: Option<Underlay>,
    /// Mesh devices that exist, the active one first.
    pub mesh: Vec<MeshDevice>,
    /// What the kernel can do.
    pub features: Features,
    /// Pods of this node.
    pub pods: BTreeMap<PodUid, LocalPod>,
    /// All of them have been read: an address of this node's blocks that none of them holds is nobody's.
    pub pods_read: bool,
    /// Largest packet that was proved to reach a peer through the mesh, in bytes; absent: not probed yet.
    pub probed_mtus: BTreeMap<NodeName, u32>,
}

impl Facts {
    /// A host of which only the node's name is known.
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            host: Host::default(),
            underlay: None,
            mesh: Vec::new(),
            features: Features::default(),
            pods: BTreeMap::new(),
            pods_read: false,
            probed_mtus: BTreeMap::new(),
        }
    }

    /// MTU of pods and of the bridge, bytes: what the underlay leaves, or the least that the families need where it leaves less
    /// (which [`crate::problems`] reports).
    pub fn pod_mtu(&self, fabric: &FabricItem) -> u32 {
        let underlay = self.underlay.as_ref();
        let (size, outer) = underlay.map_or((DEFAULT_UNDERLAY_MTU, Family::V4), |u| (u.mtu, u.outer()));
        let families = fabric.families.list();
        mtu::pod_mtu(fabric.overlay, size, outer, families).unwrap_or_else(|_| mtu::least(families))
    }

    /// MTU that the mesh device should have, bytes: the whole underlay less the mesh's overhead, at least what the families need.
    pub fn mesh_mtu(&self, fabric: &FabricItem) -> u32 {
        let underlay = self.underlay.as_ref();
        let (size, outer) = underlay.map_or((DEFAULT_UNDERLAY_MTU, Family::V4), |u| (u.mtu, u.outer()));
        mtu::mesh_mtu(size, outer).max(mtu::least(fabric.families.list()))
    }

    /// The mesh device that routes use.
    pub fn active_mesh(&self) -> Option<&MeshDevice> {
        self.mesh.first()
    }
}

/// Whether a link's name is one that only Weft uses.
pub fn is_ours(link: &str) -> bool {
    link == ownership::BRIDGE || ownership::MESH_DEVICES.contains(&link) || is_pod_link(link)
}

/// Name of the node's end of a pod's veth: prefix and 8 hexadecimal digits of a hash of the pod's uid.
///
/// `attempt` counts up from 0 while the name is taken by another pod (15 bytes leave no room for the uid itself).
pub fn pod_link_name(uid: PodUid, attempt: u8) -> String {
    // FNV-1a: it has only to spread; uids are random.
    let hash = uid
        .0
        .iter()
        .chain([&attempt])
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{}{hash:08x}", ownership::VETH_PREFIX)
}

fn is_pod_link(name: &str) -> bool {
    name.strip_prefix(ownership::VETH_PREFIX)
        .is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pod_links_fit_and_are_recognised() {
        let a = pod_link_name(PodUid([7; 16]), 0);
        assert!(a.len() <= 15 && is_ours(&a), "{a}");
        assert_ne!(a, pod_link_name(PodUid([7; 16]), 1), "the next attempt is another name");
        assert_ne!(a, pod_link_name(PodUid([8; 16]), 0));
        assert!(is_ours("weftbr0") && is_ours("weft1"));
        assert!(!is_ours("wvlan0") && !is_ours("wv") && !is_ours("eth0") && !is_ours("weft2"));
    }

    #[test]
    fn host_routes_that_reserve_space() {
        let route = |d: &str, metric| HostRoute {
            destination: d.parse().unwrap(),
            link: Some(2),
            gateway: None,
            metric,
        };
        let host = Host {
            routes: vec![
                route("::/0", 100),
                route("0.0.0.0/0", 100),
                route("192.168.1.0/24", 0),
                route("fe80::/64", 256),
                route("169.254.0.0/16", 1000),
                route("ff00::/8", 256),
            ],
            ..Host::default()
        };
        assert_eq!(host.reserved(), ["192.168.1.0/24".parse().unwrap()]);
        let defaults = host.default_routes();
        assert_eq!(defaults[0].destination.to_string(), "0.0.0.0/0", "IPv4 first of equal metric");
        assert_eq!(defaults.len(), 2);
    }
}
