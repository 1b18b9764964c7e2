//! What the sets hold that doesn't grow with services: devices, ranges, nodes' addresses, and the ways from classes to chains.

use std::{collections::BTreeSet, net::IpAddr};

use weft_model::{
    AddressRange, FabricItem, Family, Overlay, PeerItem, Protocol,
    ownership::{BRIDGE, MESH_DEVICES},
};
use weft_nft::{Data, Element, Elements, SetRef, Value, Verdict};
use weft_view::View;

use super::{
    class::Class,
    element::{address, number, span},
    rules::{CLASSES, SILENT, chain_of, table_ref},
};
use crate::Facts;

/// Numbers of ICMP and ICMPv6.
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// The set of nodes' addresses.
pub(super) const NODE_ADDRESSES: &str = "node_addresses";

/// All of them, of both families as far as the fabric has them.
pub(super) fn elements(view: &View, facts: &Facts, fabric: &FabricItem) -> Elements {
    let mut out = Collector { elements: Elements::default(), families: fabric.families.list() };
    for family in fabric.families.list() {
        out.devices(*family, fabric.overlay);
        out.classes(*family);
        let own = view.peer(&facts.node).and_then(|peer| peer.mesh.of(*family).copied());
        out.own(*family, own);
    }
    let ranges = &fabric.ranges;
    out.ranges("ranges", &ranges.services);
    out.ranges("sources", &[&ranges.pods[..], &ranges.nodes].concat());
    all_node_port_addresses(view, facts, fabric)
        .for_each(|ip| out.insert(ip, NODE_ADDRESSES, vec![address(ip)]));
    for pod in facts.pods.values() {
        pod.addresses.iter().for_each(|ip| out.insert(*ip, "itself", vec![address(*ip), address(*ip)]));
    }
    out.elements
}

/// Those addresses among all elements.
pub(super) fn node_addresses(base: &Elements) -> BTreeSet<IpAddr> {
    let sets = base.iter().filter(|(set, _)| set.name == NODE_ADDRESSES);
    sets.flat_map(|(_, elements)| elements).filter_map(|e| e.key.first()?.address()).collect()
}

/// Addresses of all nodes at which pods and this node reach node ports.
fn all_node_port_addresses<'a>(
    view: &'a View,
    facts: &Facts,
    fabric: &'a FabricItem,
) -> impl Iterator<Item = IpAddr> + use<'a> {
    let of_peers = view.peers().values().flat_map(|peer| chosen(fabric, &peer.underlay));
    of_peers.chain(node_port_addresses(view, facts))
}

/// Whether node ports are reached at an address.
pub(super) fn is_node_address(view: &View, facts: &Facts, address: IpAddr) -> bool {
    view.fabric().is_some_and(|fabric| all_node_port_addresses(view, facts, fabric).any(|own| own == address))
}

/// Addresses on which this node serves node ports and answers health checks: the primary one of each family, or those that the
/// fabric's `nodePortAddresses` choose.
pub fn node_port_addresses(view: &View, facts: &Facts) -> Vec<IpAddr> {
    let Some(fabric) = view.fabric() else { return Vec::new() };
    let known = |peer: &PeerItem| peer.underlay.clone();
    let underlay = || facts.underlay.as_ref().map(|underlay| underlay.addresses.clone());
    let mut addresses = underlay().or_else(|| view.peer(&facts.node).map(known)).unwrap_or_default();
    if !fabric.node_port_addresses.is_empty() {
        addresses.extend(facts.host.addresses.iter().filter(|a| a.global).map(|a| a.address));
    }
    let mut found = chosen(fabric, &addresses);
    found.sort_unstable();
    found.dedup();
    found
}

fn chosen(fabric: &FabricItem, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let of_fabric = addresses.iter().copied().filter(|address| fabric.families.has(Family::of(*address)));
    if fabric.node_port_addresses.is_empty() {
        let first = |family: &Family| of_fabric.clone().find(|address| Family::of(*address) == *family);
        return fabric.families.list().iter().filter_map(first).collect();
    }
    let is_chosen =
        |address: &IpAddr| fabric.node_port_addresses.iter().any(|range| range.contains(*address));
    of_fabric.filter(|address| !address.is_loopback() && is_chosen(address)).collect()
}

struct Collector<'a> {
    elements: Elements,
    families: &'a [Family],
}

impl Collector<'_> {
    fn put(&mut self, family: Family, set: &str, element: Element) {
        self.elements.insert(SetRef { table: table_ref(family), name: set.to_owned() }, element);
    }

    /// Of a family that the fabric lacks nothing is put anywhere.
    fn insert(&mut self, of: IpAddr, set: &str, key: Vec<Value>) {
        let family = Family::of(of);
        if self.families.contains(&family) {
            self.put(family, set, Element::of(key));
        }
    }

    fn devices(&mut self, family: Family, overlay: Overlay) {
        let mut inner = vec![BRIDGE, "lo"];
        if overlay == Overlay::Wireguard {
            inner.extend(MESH_DEVICES);
        }
        for name in inner {
            self.put(family, "inner", Element::of(vec![Value::Name(name.to_owned())]));
        }
    }

    fn classes(&mut self, family: Family) {
        let silent = (Class::Silent, SILENT.to_owned());
        for (class, chain) in Class::serving().map(|class| (class, chain_of(class))).chain([silent]) {
            let verdict = Data::Verdict(Verdict::Goto(chain));
            self.put(family, CLASSES, Element::to(vec![Value::U32(class.code())], verdict));
        }
    }

    fn own(&mut self, family: Family, own: Option<IpAddr>) {
        let Some(own) = own else { return };
        let icmp = if family == Family::V4 { ICMP } else { ICMP6 };
        let transports = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(number);
        for protocol in transports.into_iter().chain([icmp]) {
            self.put(family, "own", Element::to(vec![Value::Protocol(protocol)], Data::Value(address(own))));
        }
    }

    /// Ranges that lie in another of the list are left out: a set of ranges takes no overlap.
    fn ranges(&mut self, set: &str, ranges: &[AddressRange]) {
        for range in ranges {
            let inside = |other: &AddressRange| other != range && other.covers(*range);
            if !ranges.iter().any(inside) {
                self.insert(range.first(), set, vec![span(*range)]);
            }
        }
    }
}
