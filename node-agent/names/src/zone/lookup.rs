//! The lookup: one name and type in, records of our own zones out.
//!
//! The name's last labels say which table has it, those in front of them are the key: one probe. Records stand rendered; only
//! those of SRV are put together, since their target is made of the key.

mod pointer;
mod srv;

use std::net::IpAddr;

use super::{
    Tables, claim,
    head::{Head, SERVER},
    node,
    render::{QUESTION, V4_RECORD, V6_RECORD, pointer},
    service::{ServiceRef, protocol_bit},
    table::Kind,
};
use crate::{
    DomainName, Rcode, RecordType,
    limits::MAX_CNAMES,
    message::{HEADER, Lowered, Reply, Section},
};

/// What a lookup came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The reply has all its records.
    Done(Rcode),
    /// The name asked for doesn't exist; nothing is written yet.
    Missing,
    /// CNAMEs are written; the last one leads outside, its target stands at this place of the reply.
    Outside { target: DomainName, at: usize },
}

/// What one name came to.
enum Found {
    /// Records of the type are written.
    Records,
    /// The name exists, without such records.
    NoData,
    /// There is no such name.
    Missing,
    /// The name is an alias.
    Alias(Vec<u8>),
}

/// One lookup.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) head: &'a Head,
    /// Where rotations begin.
    pub(crate) turn: u64,
    pub(crate) kind: RecordType,
}

/// A name within the cluster's domain: how many of its labels stand in front of the domain, where the name stands in the reply.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a Lowered,
    above: usize,
    at: usize,
}

impl Place<'_> {
    /// An owner that points to the name from label `index` on.
    fn owner(self, index: usize) -> [u8; 2] {
        pointer(self.at + self.name.start(index)).unwrap_or(QUESTION)
    }

    /// Labels from one index to another, in wire form.
    fn labels(&self, from: usize, to: usize) -> &[u8] {
        &self.name.wire()[self.name.start(from)..self.name.start(to)]
    }
}

impl Lookup<'_> {
    /// Answers a question about a name of the cluster's domain, with all CNAMEs that stay in it.
    pub(crate) fn answer(self, name: &Lowered, above: usize, reply: &mut Reply<'_>) -> Outcome {
        reply.set_authoritative();
        let question = Place { name, above, at: HEADER };
        match self.find(question, reply) {
            Found::Missing => Outcome::Missing,
            Found::Alias(target) if self.kind != RecordType::ANY => self.chase(question, target, reply),
            found @ (Found::Records | Found::NoData | Found::Alias(_)) => {
                self.settle(question, &found, reply)
            }
        }
    }

    fn settle(self, place: Place<'_>, found: &Found, reply: &mut Reply<'_>) -> Outcome {
        match found {
            Found::Records => Outcome::Done(Rcode::NOERROR),
            Found::NoData | Found::Alias(_) if self.kind == RecordType::ANY => {
                // RFC 8482: somebody who asks for everything gets little.
                let fixed = self.head.fixed(RecordType::HINFO);
                reply.record(Section::Answer, &place.owner(0), fixed, &[b"\x07RFC8482\0"]);
                Outcome::Done(Rcode::NOERROR)
            }
            Found::NoData | Found::Alias(_) => {
                self.deny(place, reply);
                Outcome::Done(Rcode::NOERROR)
            }
            Found::Missing => {
                self.deny(place, reply);
                Outcome::Done(Rcode::NXDOMAIN)
            }
        }
    }

    /// Answers a question as if its name were an alias of `target`.
    pub(crate) fn alias(
        self,
        name: &Lowered,
        above: usize,
        target: Vec<u8>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        self.chase(Place { name, above, at: HEADER }, target, reply)
    }

    /// Follows aliases: CNAME before its target's records.
    fn chase(self, from: Place<'_>, target: Vec<u8>, reply: &mut Reply<'_>) -> Outcome {
        let mut owner = from.owner(0);
        let mut target = target;
        for _ in 0..MAX_CNAMES {
            let at = reply.position() + 12;
            if !reply.record(Section::Answer, &owner, self.head.fixed(RecordType::CNAME), &[&target]) {
                reply.set_truncated();
                return Outcome::Done(Rcode::NOERROR);
            }
            if self.kind == RecordType::CNAME {
                return Outcome::Done(Rcode::NOERROR);
            }
            let mut name = Lowered::default();
            name.take(&target);
            let Some(above) = name.above(self.head.origin.wire(), self.head.labels) else {
                let target = DomainName::from_wire(&target).unwrap_or_else(DomainName::root);
                return Outcome::Outside { target, at };
            };
            let place = Place { name: &name, above, at };
            match self.find(place, reply) {
                Found::Alias(next) => target = next,
                found @ (Found::Records | Found::NoData | Found::Missing) => {
                    return self.settle(place, &found, reply);
                }
            }
            owner = pointer(at).unwrap_or(QUESTION);
        }
        Outcome::Done(Rcode::SERVFAIL)
    }

    /// Writes the SOA of a denial. Without room for it the denial goes without.
    fn deny(self, place: Place<'_>, reply: &mut Reply<'_>) {
        let origin = place.owner(place.above);
        reply.put(Section::Authority, 1, &self.head.soa(origin, self.tables.serial()));
    }

    /// The SOA record of a denial of the question itself, for a reply that is written later.
    pub(crate) fn denial(self, name: &Lowered, above: usize) -> Box<[u8]> {
        let place = Place { name, above, at: HEADER };
        self.head.soa(place.owner(above), self.tables.serial()).into()
    }

    /// The denial of the question itself: for a name that was [`Outcome::Missing`].
    pub(crate) fn missing(self, name: &Lowered, above: usize, reply: &mut Reply<'_>) -> Rcode {
        self.deny(Place { name, above, at: HEADER }, reply);
        Rcode::NXDOMAIN
    }

    fn find(self, place: Place<'_>, reply: &mut Reply<'_>) -> Found {
        let Some(last) = place.above.checked_sub(1) else { return self.apex(place, reply) };
        match place.name.label(last) {
            b"svc" => self.services(place, last, reply),
            b"pod" if self.head.pod_records => self.pods(place, last, reply),
            b"node" => self.nodes(place, last, reply),
            b"dns" | b"dns-version" | b"control-plane" => self.own(place, last, reply),
            _ => Found::Missing,
        }
    }

    fn apex(self, place: Place<'_>, reply: &mut Reply<'_>) -> Found {
        let owner = place.owner(0);
        match self.kind {
            RecordType::SOA => {
                reply.put(Section::Answer, 1, &self.head.soa(owner, self.tables.serial()));
            }
            RecordType::NS => {
                let server = reply.position() + 12;
                reply.record(Section::Answer, &owner, self.head.fixed(RecordType::NS), &[SERVER, &owner]);
                let server = pointer(server).unwrap_or(QUESTION);
                additional(reply, &self.head.server.v4, V4_RECORD, server);
                additional(reply, &self.head.server.v6, V6_RECORD, server);
            }
            _ => return Found::NoData,
        }
        Found::Records
    }

    /// Names of the server's own.
    fn own(self, place: Place<'_>, last: usize, reply: &mut Reply<'_>) -> Found {
        let name = place.labels(0, place.above);
        match name {
            b"\x0bdns-version" => {
                if self.kind != RecordType::TXT {
                    return Found::NoData;
                }
                reply.record(
                    Section::Answer,
                    &place.owner(0),
                    self.head.fixed(RecordType::TXT),
                    &[b"\x051.1.0"],
                );
                Found::Records
            }
            b"\x03dns" | b"\x04_tcp\x0dcontrol-plane" => Found::NoData,
            SERVER => self.addresses(&self.head.server.v4, &self.head.server.v6, place, reply),
            b"\x0dcontrol-plane" => {
                self.addresses(&self.head.control.v4, &self.head.control.v6, place, reply)
            }
            b"\x05_weft\x04_tcp\x0dcontrol-plane" => self.control_ports(place, last, reply),
            _ => Found::Missing,
        }
    }

    fn services(self, place: Place<'_>, last: usize, reply: &mut Reply<'_>) -> Found {
        match last {
            0 => return Found::NoData,
            1 => {
                let exists = self.tables.table.has(Kind::ServiceNamespace, place.name.label(0));
                return if exists { Found::NoData } else { Found::Missing };
            }
            2..=4 => {}
            _ => return Found::Missing,
        }
        let key = place.labels(last - 2, last);
        let found = self.tables.table.with(Kind::Service, key, |record| {
            let service = ServiceRef::new(record);
            match last {
                2 => self.service(service, place, reply),
                3 => self.below(service, place, reply),
                _ => self.port(service, key, place, reply),
            }
        });
        found.unwrap_or(Found::Missing)
    }

    /// `S.N.svc.Z`
    fn service(self, service: ServiceRef<'_>, place: Place<'_>, reply: &mut Reply<'_>) -> Found {
        if let Some(target) = service.alias() {
            return Found::Alias(target.to_vec());
        }
        if !service.exists() {
            return Found::Missing;
        }
        self.addresses(service.v4(), service.v6(), place, reply)
    }

    /// `H.S.N.svc.Z`, or `_tcp.S.N.svc.Z`, which is empty but exists while a port is below it.
    fn below(self, service: ServiceRef<'_>, place: Place<'_>, reply: &mut Reply<'_>) -> Found {
        let label = place.name.label(0);
        if let Some(bit) = protocol_bit(label) {
            return if service.has_protocol(bit) { Found::NoData } else { Found::Missing };
        }
        match service.host(label) {
            Some(host) => self.addresses(host.v4, host.v6, place, reply),
            None => Found::Missing,
        }
    }

    /// `a-b-c-d.N.pod.Z`, for pods that live.
    fn pods(self, place: Place<'_>, last: usize, reply: &mut Reply<'_>) -> Found {
        match last {
            0 => return Found::NoData,
            1 => {
                let exists = self.tables.table.has(Kind::PodNamespace, place.name.label(0));
                return if exists { Found::NoData } else { Found::Missing };
            }
            2 => {}
            _ => return Found::Missing,
        }
        let Some(address) = undashed(place.name.label(0)) else { return Found::Missing };
        let rest = place.labels(1, 3);
        let is_there = |record: &[u8]| {
            claim::read(record).any(|(by, name)| {
                by == claim::Claimant::Pod && name.get(1 + usize::from(name[0])..) == Some(rest)
            })
        };
        if self.tables.table.with(Kind::Address, &claim::address_key(address), is_there) != Some(true) {
            return Found::Missing;
        }
        let fixed = self.head.fixed(self.kind);
        let written = match (address, self.kind) {
            (IpAddr::V4(address), RecordType::A) => {
                reply.record(Section::Answer, &place.owner(0), fixed, &[&address.octets()])
            }
            (IpAddr::V6(address), RecordType::AAAA) => {
                reply.record(Section::Answer, &place.owner(0), fixed, &[&address.octets()])
            }
            _ => return Found::NoData,
        };
        if !written {
            reply.set_truncated();
        }
        Found::Records
    }

    /// `NODE.node.Z`
    fn nodes(self, place: Place<'_>, last: usize, reply: &mut Reply<'_>) -> Found {
        if last == 0 {
            return Found::NoData;
        }
        let found = self.tables.table.with(Kind::Node, place.labels(0, last), |record| {
            let (v4, v6) = node::addresses(record);
            self.addresses(v4, v6, place, reply)
        });
        found.unwrap_or(Found::Missing)
    }

    /// Addresses of the asked family, each time another one first.
    fn addresses(self, v4: &[u8], v6: &[u8], place: Place<'_>, reply: &mut Reply<'_>) -> Found {
        let (records, length) = match self.kind {
            RecordType::A => (v4, V4_RECORD),
            RecordType::AAAA => (v6, V6_RECORD),
            _ => return Found::NoData,
        };
        if records.is_empty() {
            return Found::NoData;
        }
        let count = records.len() / length;
        let first =
            if count == 1 { 0 } else { usize::try_from(self.turn % count as u64).unwrap_or_default() };
        let (behind, front) = records.split_at(first * length);
        let start = reply.position();
        let mut whole = true;
        for part in [front, behind] {
            let fitting = part.len().min(reply.room() / length * length);
            let number = u16::try_from(fitting / length).unwrap_or(u16::MAX);
            whole &= reply.put(Section::Answer, number, &part[..fitting]) && fitting == part.len();
        }
        if !whole {
            reply.set_truncated();
        }
        let owner = place.owner(0);
        if owner != QUESTION {
            (start..reply.position()).step_by(length).for_each(|at| reply.patch(at, owner));
        }
        Found::Records
    }

    /// Whether a name that doesn't exist as asked may be, or become, a name of the cluster under another search domain: its last
    /// label is a service of the namespace, a namespace, or one of the words that our zone is divided by.
    pub(crate) fn may_be_ours(self, last: &[u8], namespace: &[u8]) -> bool {
        let mut key = Vec::with_capacity(last.len() + namespace.len() + 2);
        for label in [last, namespace] {
            key.push(u8::try_from(label.len()).unwrap_or_default());
            key.extend_from_slice(label);
        }
        let table = &self.tables.table;
        matches!(last, b"svc" | b"pod" | b"node" | b"dns" | b"control-plane")
            || table.has(Kind::ServiceNamespace, last)
            || table.has(Kind::PodNamespace, last)
            || table.has(Kind::Service, &key)
    }
}

/// Appends records to the additional section under another owner, as many as fit.
fn additional(reply: &mut Reply<'_>, records: &[u8], length: usize, owner: [u8; 2]) {
    for record in records.chunks_exact(length) {
        let at = reply.position();
        if !reply.put(Section::Additional, 1, record) {
            return;
        }
        reply.patch(at, owner);
    }
}

/// The address that a label such as `10-1-2-3` or `fd00--1` means.
fn undashed(label: &[u8]) -> Option<IpAddr> {
    let is_v4 = label.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
        && label.iter().filter(|byte| **byte == b'-').count() == 3
        && !label.windows(2).any(|pair| pair == b"--");
    let separator = if is_v4 { b'.' } else { b':' };
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    text.copy_from_slice(label);
    text.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = separator);
    let text = std::str::from_utf8(text).ok()?;
    if is_v4 { text.parse().ok().map(IpAddr::V4) } else { text.parse().ok().map(IpAddr::V6) }
}
