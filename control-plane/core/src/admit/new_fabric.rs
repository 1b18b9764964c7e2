//! The fabric of a new cluster: what was asked for, and a default for everything else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_model::{
    AddressRange, DnsSettings, Fabric, FabricDraft, FabricRanges, Families, Family, Overlay, Purpose,
    RangeError, Revision,
};

use super::fabric::check_fabric;
use crate::Error;

/// The whole fabric, checked on its own: ranges against each other and the reserved ones.
///
/// A family without a range of a purpose gets that purpose's default ([`default_range`]), also where the draft names
/// ranges of the other family alone. Fails with the first range or setting that can't be.
pub fn new_fabric(draft: FabricDraft) -> Result<Fabric, Error> {
    let mut fabric = draft.onto(Fabric {
        families: Families::Dual,
        ranges: FabricRanges::default(),
        block_prefix_v4: DEFAULT_BLOCK_PREFIX_V4,
        overlay: Overlay::Wireguard,
        domain: DEFAULT_DOMAIN.to_owned(),
        dns: DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: weft_model::DEFAULT_NODE_PORT_RANGE,
        external_ip_ranges: Vec::new(),
        node_grace: weft_model::DEFAULT_NODE_GRACE,
        policy: weft_model::PolicySettings::default(),
        generation: 1,
        revision: Revision(0),
    });
    let FabricRanges { pods, services, nodes, load_balancers: _ } = &mut fabric.ranges;
    for (purpose, ranges) in [(Purpose::Pods, pods), (Purpose::Services, services), (Purpose::Nodes, nodes)] {
        fill(fabric.families, purpose, ranges);
    }
    check_fabric(&fabric)?;
    Ok(fabric)
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
