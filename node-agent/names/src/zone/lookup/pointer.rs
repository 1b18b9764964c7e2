//! PTR records, and what else is asked of reverse names.

use super::{Found, Lookup, Place};
use crate::{
    Rcode, RecordType,
    message::{HEADER, Lowered, MAX_NAME, Reply, Section},
    zone::{claim, head::SERVER, reverse::ReverseName, table::Kind},
};

impl Lookup<'_> {
    /// Answers a question about a reverse name in one of our zones, which takes `zone` labels of it from the right.
    pub(crate) fn reverse(
        self,
        name: &Lowered,
        reverse: &ReverseName,
        zone: usize,
        reply: &mut Reply<'_>,
    ) -> Rcode {
        reply.set_authoritative();
        let above = name.count().saturating_sub(2 + zone);
        let place = Place { name, above, at: HEADER };
        let is_apex = reverse.known() == zone && reverse.rest() == 0;
        let found =
            if reverse.rest() > 0 { Found::Missing } else { self.pointers(reverse, is_apex, place, reply) };
        let soa = || self.head.soa_data(self.tables.serial());
        let fixed = self.head.fixed(RecordType::SOA);
        match found {
            Found::Missing | Found::NoData if is_apex && self.kind == RecordType::SOA => {
                reply.record(Section::Answer, &place.owner(0), fixed, &[&soa()]);
            }
            Found::Missing | Found::NoData if is_apex && self.kind == RecordType::NS => {
                let data: [&[u8]; 2] = [SERVER, self.head.origin.wire()];
                reply.record(Section::Answer, &place.owner(0), self.head.fixed(RecordType::NS), &data);
            }
            Found::NoData | Found::Alias(_) if self.kind == RecordType::ANY => {
                self.settle(place, &found, reply);
            }
            Found::Missing | Found::NoData | Found::Alias(_) => {
                reply.record(Section::Authority, &place.owner(above), fixed, &[&soa()]);
            }
            Found::Records => {}
        }
        if matches!(found, Found::Missing) { Rcode::NXDOMAIN } else { Rcode::NOERROR }
    }

    /// Names of an address. What is between a zone and an address always counts as there: denying it would deny all below it
    /// (RFC 8020).
    fn pointers(
        self,
        reverse: &ReverseName,
        is_apex: bool,
        place: Place<'_>,
        reply: &mut Reply<'_>,
    ) -> Found {
        if !reverse.is_whole() {
            return Found::NoData;
        }
        let key = claim::address_key(reverse.address());
        let found = self.tables.table.with(Kind::Address, &key, |record| {
            if self.kind != RecordType::PTR {
                return Found::NoData;
            }
            for name in
                claim::names(record).filter(|name| name.len() + self.head.origin.wire().len() <= MAX_NAME)
            {
                let fixed = self.head.fixed(RecordType::PTR);
                if !reply.record(Section::Answer, &place.owner(0), fixed, &[name, self.head.origin.wire()]) {
                    reply.set_truncated();
                    break;
                }
            }
            Found::Records
        });
        found.unwrap_or(if is_apex { Found::NoData } else { Found::Missing })
    }
}
