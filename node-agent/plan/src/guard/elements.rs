//! What the sets hold, from pods, peers and ranges.

use std::net::{IpAddr, Ipv6Addr};

use weft_model::{
    AddressRange, Family, Overlay,
    ownership::{BRIDGE, CLOUD_METADATA, MESH_DEVICES},
};
use weft_nft::{Element, Elements, SetRef, TableFamily, Value};

use super::{GuardInput, GuardPod, rule::table_ref};

/// Where clouds serve what is for the machine alone, beside single addresses.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// All elements of both tables.
pub(super) fn wanted(overlay: Overlay, input: &GuardInput) -> Elements {
    let mut out = Collector { elements: Elements::default(), input };
    out.devices(overlay);
    input.pods.iter().for_each(|p| out.pod(p));
    let ranges = &input.ranges;
    let sources: Vec<AddressRange> = [&ranges.pods[..], &ranges.nodes].concat();
    let fabric = [&sources[..], &ranges.services].concat();
    out.ranges("sources", &sources);
    out.ranges("fabric", &fabric);
    out.ranges("direct", &input.masquerade_exceptions);
    out.metadata();
    out.replicas();
    out.resolver();
    match overlay {
        Overlay::Wireguard => out.peers(),
        Overlay::Routed => out.owners(),
    }
    out.elements
}

/// Set and key by which port security lets a source out of a port.
pub(super) fn leased(link: &str, mac: [u8; 6], source: IpAddr) -> (&'static str, Vec<Value>) {
    let set = match Family::of(source) {
        Family::V4 => "ports4",
        Family::V6 => "ports6",
    };
    (set, vec![device(link), Value::Mac(mac), value(source)])
}

struct Collector<'a> {
    elements: Elements,
    input: &'a GuardInput,
}

impl Collector<'_> {
    fn insert(&mut self, family: TableFamily, set: &str, key: Vec<Value>) {
        let set = SetRef { table: table_ref(family), name: set.to_owned() };
        self.elements.insert(set, Element::of(key));
    }

    /// Puts a key into the set of its family; of a family that the fabric lacks nothing is put anywhere.
    fn insert_of(&mut self, family: Family, set: &str, key: Vec<Value>) {
        if self.input.families.has(family) {
            let digit = match family {
                Family::V4 => '4',
                Family::V6 => '6',
            };
            self.insert(TableFamily::Inet, &format!("{set}{digit}"), key);
        }
    }

    fn devices(&mut self, overlay: Overlay) {
        let mut inner = vec![BRIDGE, "lo"];
        if overlay == Overlay::Wireguard {
            inner.extend(MESH_DEVICES);
            MESH_DEVICES.iter().for_each(|name| self.insert(TableFamily::Inet, "mesh", vec![device(name)]));
        } else {
            for name in &self.input.uplinks {
                self.insert(TableFamily::Inet, "uplinks", vec![device(name)]);
            }
        }
        inner.iter().for_each(|name| self.insert(TableFamily::Inet, "inner", vec![device(name)]));
    }

    fn pod(&mut self, pod: &GuardPod) {
        for address in &pod.addresses {
            let family = Family::of(*address);
            if !self.input.families.has(family) {
                continue;
            }
            let (set, key) = leased(&pod.link, pod.mac, *address);
            self.insert(TableFamily::Bridge, set, key.clone());
            if family == Family::V6 {
                let (_, local) = leased(&pod.link, pod.mac, link_local(pod.mac).into());
                self.insert(TableFamily::Bridge, "ports_nd", key);
                self.insert(TableFamily::Bridge, "ports_nd", local);
            }
        }
    }

    /// Ranges that lie in another of the list are left out: a set of ranges takes no overlap.
    fn ranges(&mut self, set: &str, ranges: &[AddressRange]) {
        for range in ranges {
            let inside = |other: &AddressRange| other != range && other.covers(*range);
            if !ranges.iter().any(inside) {
                self.insert_of(range.family(), set, vec![span(*range)]);
            }
        }
    }

    fn metadata(&mut self) {
        let link_local = LINK_LOCAL.iter().filter_map(|text| text.parse().ok());
        let ranges: Vec<AddressRange> = link_local.chain(CLOUD_METADATA.map(AddressRange::host)).collect();
        self.ranges("metadata", &ranges);
    }

    fn replicas(&mut self) {
        for replica in &self.input.replicas {
            let key = vec![value(replica.ip()), Value::U16(replica.port())];
            self.insert_of(Family::of(replica.ip()), "replicas", key);
        }
    }

    /// Who may ask for names here: pods, which come by the bridge, and this node's own processes.
    fn resolver(&mut self) {
        for name in [BRIDGE, "lo"] {
            self.insert(TableFamily::Inet, "near", vec![device(name)]);
        }
        for address in &self.input.resolver {
            self.insert_of(Family::of(*address), "resolver", vec![value(*address)]);
        }
    }

    fn peers(&mut self) {
        for address in &self.input.peers_underlay {
            self.insert_of(Family::of(*address), "peers", vec![value(*address)]);
        }
    }

    fn owners(&mut self) {
        for (range, mac) in &self.input.owners {
            self.insert_of(range.family(), "owners", vec![span(*range), Value::Mac(*mac)]);
        }
    }
}

fn device(name: &str) -> Value {
    Value::Name(name.to_owned())
}

const fn value(address: IpAddr) -> Value {
    match address {
        IpAddr::V4(a) => Value::V4(a),
        IpAddr::V6(a) => Value::V6(a),
    }
}

fn span(range: AddressRange) -> Value {
    let (first, last) = (value(range.first()), value(range.last()));
    Value::between(first.clone(), last).unwrap_or(first)
}

/// The link-local address that a kernel makes from a MAC (RFC 4291 appendix A, RFC 2464 section 5).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
