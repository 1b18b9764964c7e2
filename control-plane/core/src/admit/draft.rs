//! The fabric of a new cluster: what was asked for, and a default for everything else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_model::{
    AddressRange, Fabric, FabricRanges, Families, Family, Overlay, Purpose, RangeError, Revision,
};

use super::fabric::check_fabric;
use crate::Error;

/// What `weft init` was told of the fabric; `None` or no range of a family means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricDraft {
    /// Families; default dual, IPv4 first.
    pub families: Option<Families>,
    /// Ranges; a family without one gets the default of the purpose. Load balancers have no default.
    pub ranges: FabricRanges,
    /// Prefix length of IPv4 blocks; default 24.
    pub block_prefix_v4: Option<u8>,
    /// Mode between nodes; default `wireguard`.
    pub overlay: Option<Overlay>,
    /// Domain of names; default `cluster.local`.
    pub domain: Option<String>,
    /// Destinations that see the pod's own address.
    pub masquerade_exceptions: Vec<AddressRange>,
    /// Addresses of nodes that take node ports; empty: the primary one of each family.
    pub node_port_addresses: Vec<AddressRange>,
    /// First and last node port; default 30000 to 32767.
    pub node_port_range: Option<(u16, u16)>,
    /// What services may name as external addresses; default nothing.
    pub external_ip_ranges: Vec<AddressRange>,
}

impl FabricDraft {
    /// The whole fabric, checked on its own: ranges against each other and the reserved ones.
    pub fn complete(self) -> Result<Fabric, Error> {
        let families = self.families.unwrap_or(Families::Dual);
        let mut ranges = self.ranges;
        fill(families, Purpose::Pods, &mut ranges.pods);
        fill(families, Purpose::Services, &mut ranges.services);
        fill(families, Purpose::Nodes, &mut ranges.nodes);
        let fabric = Fabric {
            families,
            ranges,
            block_prefix_v4: self.block_prefix_v4.unwrap_or(DEFAULT_BLOCK_PREFIX_V4),
            overlay: self.overlay.unwrap_or(Overlay::Wireguard),
            domain: self.domain.unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()),
            masquerade_exceptions: self.masquerade_exceptions,
            node_port_addresses: self.node_port_addresses,
            node_port_range: self.node_port_range.unwrap_or(weft_model::DEFAULT_NODE_PORT_RANGE),
            external_ip_ranges: self.external_ip_ranges,
            generation: 1,
            revision: Revision(0),
        };
        check_fabric(&fabric)?;
        Ok(fabric)
    }
}

/// Reads a range of a purpose, the `index`-th of its list: the error names both.
pub fn parse_range(purpose: Purpose, index: usize, text: &str) -> Result<AddressRange, Error> {
    text.parse().map_err(|source: RangeError| Error::RangeMalformed { purpose, index, source })
}

/// The range that a purpose has by default; `None` for load balancers.
///
/// From RFC 1918 and RFC 4193 space, away from what home routers, clouds and container engines use.
pub fn default_range(purpose: Purpose, family: Family) -> Option<AddressRange> {
    let v4 = |second: u8, prefix: u8| (IpAddr::from(Ipv4Addr::new(10, second, 0, 0)), prefix);
    let v6 =
        |second: u16, prefix: u8| (IpAddr::from(Ipv6Addr::new(0xfd5a, second, 0, 0, 0, 0, 0, 0)), prefix);
    let (address, prefix) = match (purpose, family) {
        (Purpose::Pods, Family::V4) => v4(128, 14),
        (Purpose::Pods, Family::V6) => v6(0x7e00, 48),
        (Purpose::Services, Family::V4) => v4(112, 16),
        (Purpose::Services, Family::V6) => v6(0x7eff, 112),
        (Purpose::Nodes, Family::V4) => v4(111, 20),
        (Purpose::Nodes, Family::V6) => v6(0x7efe, 64),
        (Purpose::LoadBalancers, _) => return None,
    };
    AddressRange::new(IpNet::new(address, prefix).ok()?).ok()
}

fn fill(families: Families, purpose: Purpose, ranges: &mut Vec<AddressRange>) {
    for family in families.list() {
        if !ranges.iter().any(|range| range.family() == *family) {
            ranges.extend(default_range(purpose, *family));
        }
    }
}

/// 254 pods on a node before it needs a second block.
const DEFAULT_BLOCK_PREFIX_V4: u8 = 24;
/// The domain Kubernetes uses, so that names in existing configurations keep their meaning.
const DEFAULT_DOMAIN: &str = "cluster.local";
