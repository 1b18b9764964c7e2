//! SRV records (RFC 2782), with their targets' addresses beside them.

use super::{Found, Lookup, Place, additional};
use crate::{
    RecordType,
    message::{MAX_NAME, Reply, Section},
    zone::{
        render::{V4_RECORD, V6_RECORD, pointer},
        service::{HostRef, ServiceRef, protocol_bit},
    },
};

impl Lookup<'_> {
    /// `_weft._tcp.control-plane.Z`
    pub(super) fn control_ports(self, place: Place<'_>, last: usize, reply: &mut Reply<'_>) -> Found {
        if self.kind != RecordType::SRV || self.head.control_ports.is_empty() {
            return Found::NoData;
        }
        let weight = weight(self.head.control_ports.len());
        for port in &self.head.control_ports {
            let fixed = self.head.fixed(RecordType::SRV);
            let data: [&[u8]; 5] =
                [&[0, 0], &weight, &port.to_be_bytes(), b"\x0dcontrol-plane", self.head.origin.wire()];
            if !reply.record(Section::Answer, &place.owner(0), fixed, &data) {
                reply.set_truncated();
                return Found::Records;
            }
        }
        additional(reply, &self.head.control.v4, V4_RECORD, place.owner(last));
        additional(reply, &self.head.control.v6, V6_RECORD, place.owner(last));
        Found::Records
    }

    /// `_port._protocol.S.N.svc.Z`
    pub(super) fn port(
        self,
        service: ServiceRef<'_>,
        key: &[u8],
        place: Place<'_>,
        reply: &mut Reply<'_>,
    ) -> Found {
        let protocol = protocol_bit(place.name.label(1));
        let port = protocol.and_then(|protocol| service.port(place.name.label(0), protocol));
        let Some(port) = port else { return Found::Missing };
        if self.kind != RecordType::SRV {
            return Found::NoData;
        }
        let fixed = self.head.fixed(RecordType::SRV);
        let own = [key, b"\x03svc"];
        if !service.is_headless() {
            let number = port.number.to_be_bytes();
            let data: [&[u8]; 6] = [&[0, 0], &[0, 100], &number, own[0], own[1], self.head.origin.wire()];
            if !reply.record(Section::Answer, &place.owner(0), fixed, &data) {
                reply.set_truncated();
                return Found::Records;
            }
            additional(reply, service.v4(), V4_RECORD, place.owner(2));
            additional(reply, service.v6(), V6_RECORD, place.owner(2));
            return Found::Records;
        }
        let below = key.len() + own[1].len() + self.head.origin.wire().len();
        let fits = |host: &HostRef<'_>| host.is_canonical && 1 + host.label.len() + below <= MAX_NAME;
        let hosts = service.hosts().filter(fits);
        let weight = weight(hosts.clone().flat_map(|host| service.numbers(host, port)).take(100).count());
        let mut targets = reply.position() + 18;
        let mut written = 0;
        for (host, number) in
            hosts.clone().flat_map(|host| service.numbers(host, port).map(move |number| (host, number)))
        {
            let length = [u8::try_from(host.label.len()).unwrap_or_default()];
            let number = number.to_be_bytes();
            let data: [&[u8]; 8] =
                [&[0, 0], &weight, &number, &length, host.label, own[0], own[1], self.head.origin.wire()];
            if !reply.record(Section::Answer, &place.owner(0), fixed, &data) {
                reply.set_truncated();
                return Found::Records;
            }
            written += 1;
        }
        for host in hosts {
            let count = service.numbers(host, port).count();
            let Some(owner) = pointer(targets).filter(|_| count > 0 && written > 0) else { continue };
            additional(reply, host.v4, V4_RECORD, owner);
            additional(reply, host.v6, V6_RECORD, owner);
            targets += count * (18 + 1 + host.label.len() + below);
        }
        Found::Records
    }
}

/// Weight of each of `count` equal targets: as CoreDNS, 100 divided by them, at least 1.
fn weight(count: usize) -> [u8; 2] {
    let weight = 100 / u16::try_from(count.clamp(1, 100)).unwrap_or(100);
    weight.to_be_bytes()
}
