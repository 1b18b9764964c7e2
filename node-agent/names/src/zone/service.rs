//! The record of a service: everything at and below `S.N.svc.Z`, in one piece of memory.
//!
//! In: a `ServiceItem`. Out: a record, and [`ServiceRef`] to read it. Answers stand rendered for the question's own name; names stand
//! without the cluster's domain. Layout behind the key, numbers in the order of this machine:
//!
//! ```text
//! flags u8 | protocols u8 | A u16 | AAAA u16 | ports u16 | hosts u16 | start of hosts u32
//! A records, 16 octets each | AAAA records, 28 each
//! ports: protocol u8, is live u8, number u16, length of name u8, name
//! alias: a whole name in wire form (ExternalName alone)
//! hosts: start of each u32, in order of their labels; then per host
//!        length of label u8, label, is canonical u8, A u16, AAAA u16, sets u16, A records, AAAA records,
//!        sets of numbers: u16 per port of the service
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{EndpointItem, Protocol, ServiceItem, ServiceName, ServiceType};

use super::{
    render::{V4_RECORD, V6_RECORD, address_record},
    table::{Kind, begin, body},
};
use crate::message::{DomainName, push_label};

/// No virtual address: the endpoints stand for it.
const HEADLESS: u8 = 1;
/// It is an alias.
const ALIAS: u8 = 2;
/// Octets in front of the address records.
const FIXED: usize = 14;
/// Most endpoints that are told, and most ports: a message holds no more addresses than this.
const MOST: usize = 4096;
/// Most different lists of port numbers of one host name.
const MOST_SETS: usize = 64;

/// Key of a service: its label and its namespace's; `None` when its name is no label, so that nobody can ask for it.
pub(crate) fn service_key(name: &ServiceName) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(name.name.as_str().len() + name.namespace.as_str().len() + 2);
    let is_label = !name.name.as_str().contains('.');
    let whole = is_label
        && push_label(&mut key, name.name.as_str().as_bytes())
        && push_label(&mut key, name.namespace.as_str().as_bytes());
    whole.then_some(key)
}

/// One name below a headless service.
#[derive(Default)]
struct Host {
    canonical: bool,
    addresses: BTreeSet<IpAddr>,
    sets: BTreeSet<Vec<u16>>,
}

/// Names below a headless service, of its ready endpoints: host name or, without one, the dashed address is canonical; the
/// dashed address and the pod's name lead there too.
fn hosts(service: &ServiceItem) -> BTreeMap<Vec<u8>, Host> {
    let mut hosts = BTreeMap::<Vec<u8>, Host>::new();
    for endpoint in ready(service) {
        let dashed = dashed(endpoint.address);
        let canonical = if is_label(&endpoint.hostname) { &*endpoint.hostname } else { &dashed };
        let pod = endpoint.pod.as_ref().map(weft_model::Name::as_str).filter(|name| is_label(name));
        for label in [Some(canonical), Some(dashed.as_str()), pod].into_iter().flatten() {
            let host = hosts.entry(label.to_ascii_lowercase().into_bytes()).or_default();
            host.canonical |= label == canonical;
            host.addresses.insert(endpoint.address);
            if host.sets.len() < MOST_SETS {
                host.sets.insert(endpoint.ports.to_vec());
            }
        }
    }
    hosts
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && !text.contains('.')
}

fn ready(service: &ServiceItem) -> impl Iterator<Item = &EndpointItem> {
    service.endpoints.iter().filter(|endpoint| endpoint.conditions.is_ready()).take(MOST)
}

/// An address as a label: dots and colons become dashes; behind a last dash comes a zero (CoreDNS, `endpointHostname`).
pub(crate) fn dashed(address: IpAddr) -> String {
    let mut text = address.to_string().replace(['.', ':'], "-");
    if text.ends_with('-') {
        text.push('0');
    }
    text
}

/// The record of a service; `None` when nobody can ask for it.
pub(crate) fn encode(service: &ServiceItem, ttl: u32) -> Option<Vec<u8>> {
    let mut record = begin(Kind::Service, &service_key(&service.name)?);
    let is_alias = service.kind == ServiceType::ExternalName;
    let is_headless = !is_alias && service.addresses.is_empty();
    let hosts = if is_headless { hosts(service) } else { BTreeMap::new() };
    let addresses: BTreeSet<IpAddr> = if is_headless {
        hosts.values().flat_map(|host| host.addresses.iter().copied()).collect()
    } else {
        service.addresses.iter().copied().collect()
    };
    let target = if is_alias { alias(&service.external_name) } else { None };
    let is_live = |index: usize| {
        let has = |set: &Vec<u16>| set.get(index).is_some_and(|number| *number != 0);
        !is_headless || hosts.values().any(|host| host.sets.iter().any(has))
    };
    let ports: Vec<_> = service.ports.iter().enumerate().filter(|_| !is_alias).take(MOST).collect();
    let (v4, v6) = split(&addresses);
    let flags = (u8::from(is_headless) * HEADLESS) | (u8::from(target.is_some()) * ALIAS);
    let named = ports.iter().filter(|(index, port)| !port.name.is_empty() && is_live(*index));
    let protocols = named.fold(0, |bits, (_, port)| bits | bit(port.protocol));
    record.extend([flags, protocols]);
    for count in [v4.len(), v6.len(), ports.len(), hosts.len()] {
        record.extend(number(count));
    }
    let hosts_at = record.len();
    record.extend([0; 4]);
    v4.iter().chain(&v6).for_each(|address| address_record(&mut record, *address, ttl));
    for (index, port) in &ports {
        record.extend([bit(port.protocol), u8::from(is_live(*index))]);
        record.extend(port.port.to_ne_bytes());
        let name = port.name.as_bytes();
        let name = name.get(..name.len().min(63)).unwrap_or_default();
        record.push(u8::try_from(name.len()).unwrap_or_default());
        record.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    if let Some(target) = &target {
        record.extend_from_slice(target.wire());
    }
    let start = u32::try_from(record.len()).ok()?;
    record[hosts_at..hosts_at + 4].copy_from_slice(&start.to_ne_bytes());
    encode_hosts(&mut record, &hosts, ports.len(), ttl);
    Some(record)
}

fn encode_hosts(record: &mut Vec<u8>, hosts: &BTreeMap<Vec<u8>, Host>, ports: usize, ttl: u32) {
    let count = hosts.len();
    let starts = record.len();
    record.resize(starts + 4 * count, 0);
    for (index, (label, host)) in hosts.iter().enumerate() {
        let start = u32::try_from(record.len()).unwrap_or_default();
        record[starts + 4 * index..starts + 4 * index + 4].copy_from_slice(&start.to_ne_bytes());
        record.push(u8::try_from(label.len()).unwrap_or_default());
        record.extend_from_slice(label);
        record.push(u8::from(host.canonical));
        let (v4, v6) = split(&host.addresses);
        for count in [v4.len(), v6.len(), host.sets.len()] {
            record.extend(number(count));
        }
        v4.iter().chain(&v6).for_each(|address| address_record(record, *address, ttl));
        for set in &host.sets {
            let numbers = set.iter().copied().chain(std::iter::repeat(0)).take(ports);
            numbers.for_each(|number| record.extend(number.to_ne_bytes()));
        }
    }
}

/// Where an `ExternalName` leads; an address in place of a name leads nowhere.
fn alias(external_name: &str) -> Option<DomainName> {
    let text = external_name.strip_suffix('.').unwrap_or(external_name);
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return None;
    }
    text.parse().ok()
}

fn split(addresses: &BTreeSet<IpAddr>) -> (Vec<IpAddr>, Vec<IpAddr>) {
    addresses.iter().partition(|address| address.is_ipv4())
}

fn number(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_ne_bytes()
}

/// Bit of a protocol in the list of those that named ports have.
const fn bit(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 1,
        Protocol::Udp => 2,
        Protocol::Sctp => 4,
    }
}

/// Bit of a label such as `_tcp`; `None` for other labels.
pub(crate) fn protocol_bit(label: &[u8]) -> Option<u8> {
    match label {
        b"_tcp" => Some(bit(Protocol::Tcp)),
        b"_udp" => Some(bit(Protocol::Udp)),
        b"_sctp" => Some(bit(Protocol::Sctp)),
        _ => None,
    }
}

/// A record of a service, read in place. Records are our own: what a field says holds.
#[derive(Clone, Copy)]
pub(crate) struct ServiceRef<'a> {
    record: &'a [u8],
    body: &'a [u8],
}

/// A port of a service.
#[derive(Clone, Copy)]
pub(crate) struct PortRef<'a> {
    pub(crate) index: usize,
    pub(crate) protocol: u8,
    pub(crate) is_live: bool,
    pub(crate) number: u16,
    pub(crate) name: &'a [u8],
}

/// A name below a headless service.
#[derive(Clone, Copy)]
pub(crate) struct HostRef<'a> {
    pub(crate) label: &'a [u8],
    pub(crate) is_canonical: bool,
    /// Rendered records of both families.
    pub(crate) v4: &'a [u8],
    pub(crate) v6: &'a [u8],
    sets: &'a [u8],
}

impl<'a> ServiceRef<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self { record, body: body(record) }
    }

    pub(crate) fn is_headless(self) -> bool {
        self.body[0] & HEADLESS != 0
    }

    /// Where it leads, in wire form.
    pub(crate) fn alias(self) -> Option<&'a [u8]> {
        (self.body[0] & ALIAS != 0).then(|| &self.record[self.after_ports()..self.hosts_start()])
    }

    /// Whether there is a name below it that ends with this protocol.
    pub(crate) fn has_protocol(self, bit: u8) -> bool {
        self.body[1] & bit != 0
    }

    /// Rendered A records.
    pub(crate) fn v4(self) -> &'a [u8] {
        &self.body[FIXED..FIXED + self.number(2) * V4_RECORD]
    }

    /// Rendered AAAA records.
    pub(crate) fn v6(self) -> &'a [u8] {
        let start = FIXED + self.number(2) * V4_RECORD;
        &self.body[start..start + self.number(4) * V6_RECORD]
    }

    /// Whether its own name exists.
    pub(crate) fn exists(self) -> bool {
        self.number(2) + self.number(4) > 0 || self.body[0] & ALIAS != 0
    }

    /// The port that `_name._protocol` means.
    pub(crate) fn port(self, label: &[u8], protocol: u8) -> Option<PortRef<'a>> {
        let name = label.strip_prefix(b"_").filter(|name| !name.is_empty())?;
        self.ports().find(|port| port.name == name && port.protocol == protocol && port.is_live)
    }

    fn ports(self) -> impl Iterator<Item = PortRef<'a>> {
        let mut rest = &self.body[self.ports_start()..];
        (0..self.number(6)).map(move |index| {
            let end = 5 + usize::from(rest[4]);
            let number = u16::from_ne_bytes([rest[2], rest[3]]);
            let port =
                PortRef { index, protocol: rest[0], is_live: rest[1] != 0, number, name: &rest[5..end] };
            rest = &rest[end..];
            port
        })
    }

    /// All names below it, in order.
    pub(crate) fn hosts(self) -> impl Iterator<Item = HostRef<'a>> + Clone {
        (0..self.number(8)).map(move |index| self.host_at(index))
    }

    /// One name below it.
    pub(crate) fn host(self, label: &[u8]) -> Option<HostRef<'a>> {
        let (mut low, mut high) = (0, self.number(8));
        while low < high {
            let middle = usize::midpoint(low, high);
            let host = self.host_at(middle);
            match host.label.cmp(label) {
                std::cmp::Ordering::Equal => return Some(host),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn host_at(self, index: usize) -> HostRef<'a> {
        let at = self.hosts_start() + 4 * index;
        let record = self.record;
        let start = u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]) as usize;
        let rest = &record[start..];
        let label_end = 1 + usize::from(rest[0]);
        let count = |at: usize| usize::from(u16::from_ne_bytes([rest[at], rest[at + 1]]));
        let v4 = label_end + 7;
        let v6 = v4 + count(label_end + 1) * V4_RECORD;
        let sets = v6 + count(label_end + 3) * V6_RECORD;
        let end = sets + count(label_end + 5) * self.number(6) * 2;
        HostRef {
            label: &rest[1..label_end],
            is_canonical: rest[label_end] != 0,
            v4: &rest[v4..v6],
            v6: &rest[v6..sets],
            sets: &rest[sets..end],
        }
    }

    /// Numbers that a host has for a port, each once, in order.
    pub(crate) fn numbers(self, host: HostRef<'a>, port: PortRef<'a>) -> impl Iterator<Item = u16> + Clone {
        let sets = host.sets.chunks_exact((self.number(6) * 2).max(1));
        let number = move |set: &[u8]| u16::from_ne_bytes([set[2 * port.index], set[2 * port.index + 1]]);
        let all = sets.clone().map(number).enumerate();
        let is_first = move |(index, wanted): &(usize, u16)| {
            !sets.clone().take(*index).any(|set| number(set) == *wanted)
        };
        all.filter(|(_, number)| *number != 0).filter(is_first).map(|(_, number)| number)
    }

    fn number(self, at: usize) -> usize {
        usize::from(u16::from_ne_bytes([self.body[at], self.body[at + 1]]))
    }

    fn ports_start(self) -> usize {
        FIXED + self.number(2) * V4_RECORD + self.number(4) * V6_RECORD
    }

    fn after_ports(self) -> usize {
        let ports: usize = self.ports().map(|port| 5 + port.name.len()).sum();
        self.record.len() - self.body.len() + self.ports_start() + ports
    }

    fn hosts_start(self) -> usize {
        u32::from_ne_bytes([self.body[10], self.body[11], self.body[12], self.body[13]]) as usize
    }
}
