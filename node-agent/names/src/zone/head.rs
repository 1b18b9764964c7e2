//! What holds for the whole zone: its name, times to live, the reverse zones, names of our own.

use std::net::{IpAddr, SocketAddr};

use weft_model::{AddressRange, FabricItem, Family, dns_addresses};

use super::{render::address_record, reverse::ReverseName};
use crate::message::{DomainName, Fixed, RecordType};

/// Seconds after which a secondary would ask again, try again, give up: nobody transfers the zone, the values are CoreDNS'.
const REFRESH: u32 = 7200;
const RETRY: u32 = 1800;
const EXPIRE: u32 = 86_400;
/// Labels of the zone's server, in front of the domain.
pub(crate) const SERVER: &[u8] = b"\x02ns\x03dns";
/// Labels of whom to write to.
const HOSTMASTER: &[u8] = b"\x0ahostmaster";
/// Length of a SOA record whose names point to the zone's.
const SOA: usize = 12 + SOA_DATA as usize;
/// Length of its data.
const SOA_DATA: u16 = 7 + 2 + 11 + 2 + 20;

/// What holds for the whole zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The cluster's domain.
    pub(crate) origin: DomainName,
    /// Labels of the domain.
    pub(crate) labels: usize,
    /// Time to live of all records.
    pub(crate) ttl: u32,
    /// `svc.Z`, where the second search domain of pods leads.
    pub(crate) pod_records: bool,
    /// Whether the short cut of search domains is taken.
    pub(crate) search_path: bool,
    /// Ranges whose reverse names are ours.
    ranges: Vec<AddressRange>,
    /// Rendered addresses of `ns.dns.Z`: the cluster's DNS addresses.
    pub(crate) server: Addresses,
    /// Rendered addresses of `control-plane.Z`.
    pub(crate) control: Addresses,
    /// Ports of the control plane, each once.
    pub(crate) control_ports: Vec<u16>,
}

/// Rendered records of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Vec<u8>,
    pub(crate) v6: Vec<u8>,
}

impl Addresses {
    pub(crate) fn new(addresses: impl IntoIterator<Item = IpAddr>, ttl: u32) -> Self {
        let mut new = Self::default();
        for address in addresses {
            let list = if address.is_ipv4() { &mut new.v4 } else { &mut new.v6 };
            address_record(list, address, ttl);
        }
        new
    }
}

impl Head {
    /// `None` when the domain is none: the control plane refuses such a fabric.
    pub(crate) fn new(fabric: &FabricItem) -> Option<Self> {
        let origin: DomainName = fabric.domain.parse().ok()?;
        let ranges = &fabric.ranges;
        let mut control: Vec<IpAddr> = fabric.replicas.iter().map(SocketAddr::ip).collect();
        control.sort();
        control.dedup();
        let mut control_ports: Vec<u16> = fabric.replicas.iter().map(SocketAddr::port).collect();
        control_ports.sort_unstable();
        control_ports.dedup();
        let ttl = fabric.dns.ttl;
        Some(Self {
            labels: origin.labels().count(),
            origin,
            ttl,
            pod_records: fabric.dns.pod_records,
            search_path: fabric.dns.search_path,
            ranges: [&ranges.pods, &ranges.services, &ranges.nodes].into_iter().flatten().copied().collect(),
            server: Addresses::new(dns_addresses(ranges), ttl),
            control: Addresses::new(control, ttl),
            control_ports,
        })
    }

    /// Whether records that stand rendered in tables differ: they are made anew.
    pub(crate) fn needs_new_tables(&self, old: &Self) -> bool {
        self.ttl != old.ttl || self.pod_records != old.pod_records
    }

    /// How many labels of the reverse name, from its right, make the zone of ours that it is in; `None` when it is in none.
    ///
    /// A range that doesn't end with an octet (IPv6: a nibble) is several zones: 10.96.0.0/12 is `96.10.in-addr.arpa` to
    /// `111.10.in-addr.arpa`. What is above them belongs to somebody else.
    pub(crate) fn reverse_zone(&self, name: &ReverseName) -> Option<usize> {
        let range = self.ranges.iter().find(|range| range.contains(name.address()))?;
        let step = step(range.family());
        let needed = usize::from(range.prefix()).div_ceil(step);
        (name.known() >= needed).then_some(needed)
    }

    /// A SOA record of the cluster's zone, where `owner` points to the zone's name: names in the data point there too.
    pub(crate) fn soa(&self, owner: [u8; 2], serial: u32) -> [u8; SOA] {
        let mut record = [0; SOA];
        let numbers = [serial, REFRESH, RETRY, EXPIRE, self.ttl].map(u32::to_be_bytes);
        let parts: [&[u8]; 7] = [
            &owner,
            &self.fixed(RecordType::SOA).octets(SOA_DATA),
            SERVER,
            &owner,
            HOSTMASTER,
            &owner,
            numbers.as_flattened(),
        ];
        let mut at = 0;
        for part in parts {
            record[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        record
    }

    /// Data of the SOA record of another zone, where the cluster's name doesn't stand.
    pub(crate) fn soa_data(&self, serial: u32) -> Vec<u8> {
        let numbers = [serial, REFRESH, RETRY, EXPIRE, self.ttl].map(u32::to_be_bytes);
        [SERVER, self.origin.wire(), HOSTMASTER, self.origin.wire(), numbers.as_flattened()].concat()
    }

    /// Type and time to live of a record.
    pub(crate) const fn fixed(&self, kind: RecordType) -> Fixed {
        Fixed { kind, ttl: self.ttl }
    }
}

/// Bits that a label of a reverse name stands for.
pub(crate) const fn step(family: Family) -> usize {
    match family {
        Family::V4 => 8,
        Family::V6 => 4,
    }
}
