//! What upstreams say: read strictly, believed narrowly, written anew.
//!
//! In: bytes from an upstream and what was asked. Out: a [`Verdict`]. Of an answer only the chain from the asked name to records of the
//! asked type is taken, and of a denial the SOA above the name; whatever else stands there is never looked at again.
//! Bounds: pointers lead strictly backwards, 11 CNAMEs, each record is read once.

use std::net::IpAddr;

use super::{
    body::{Body, Builder},
    code::{Rcode, RecordType},
    name::{end_of, within},
    query::{OPCODE, QR, TC},
    record::{Record, data_name, is_well_formed, read_record},
    wire::{CLASS_IN, HEADER, be16, be32},
};
use crate::limits::{MAX_CNAMES, MAX_NEGATIVE_TTL, MAX_TTL};

/// What was asked.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) id: u16,
    /// Name in the case in which it was sent, type, class.
    pub(crate) question: &'a [u8],
    /// The name in lower case.
    pub(crate) name: &'a [u8],
    pub(crate) kind: RecordType,
    /// Signatures were asked for.
    pub(crate) dnssec_ok: bool,
    /// Addresses that this upstream must not give out.
    pub(crate) is_filtered: &'a dyn Fn(IpAddr) -> bool,
    /// The cluster's domain, of which no upstream knows anything.
    pub(crate) own: Option<&'a [u8]>,
}

/// What to make of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not an answer to what was asked: forged or late. The true one may still come.
    Stranger,
    /// The name came back in another case: forged, or a server that doesn't keep it.
    CaseLost,
    /// It didn't fit.
    Truncated,
    /// It can't be read, or contradicts itself.
    Broken,
    /// The server doesn't answer this: SERVFAIL, REFUSED, a referral and the like.
    Failed(Rcode),
    /// An answer or a denial.
    Answer(Body),
}

/// Reads an answer.
pub(crate) fn read_answer(bytes: &[u8], expected: Expected<'_>) -> Verdict {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Verdict::Stranger };
    let flags = u16::from_be_bytes([header[2], header[3]]);
    let is_ours = header[..2] == expected.id.to_be_bytes() && flags & QR != 0 && flags & OPCODE == 0;
    if !is_ours {
        return Verdict::Stranger;
    }
    let low = Rcode(flags & 0x0f);
    if header[4..6] == [0, 0] && low != Rcode::NOERROR && bytes.len() == HEADER {
        return Verdict::Failed(low);
    }
    let question_end = HEADER + expected.question.len();
    let Some(question) = bytes.get(HEADER..question_end).filter(|_| header[4..6] == [0, 1]) else {
        return Verdict::Stranger;
    };
    if end_of(bytes, HEADER) != Some(question_end - 4) || !question.eq_ignore_ascii_case(expected.question) {
        return Verdict::Stranger;
    }
    if question != expected.question {
        return Verdict::CaseLost;
    }
    if flags & TC != 0 {
        return Verdict::Truncated;
    }
    match Message::read(bytes, question_end) {
        Some(message) => message.judge(expected),
        None => Verdict::Broken,
    }
}

/// All records of a message.
struct Message<'a> {
    bytes: &'a [u8],
    rcode: Rcode,
    answer: Vec<Record<'a>>,
    authority: Vec<Record<'a>>,
}

impl<'a> Message<'a> {
    /// `None` when the counts lie, a record is cut, or something stands behind the last one.
    fn read(bytes: &'a [u8], mut at: usize) -> Option<Self> {
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (index, section) in sections.iter_mut().enumerate() {
            for _ in 0..be16(bytes, 6 + 2 * index)? {
                let (record, end) = read_record(bytes, at)?;
                section.push(record);
                at = end;
            }
        }
        let [answer, authority, additional] = sections;
        let is_opt = |record: &&Record<'_>| record.kind == RecordType::OPT;
        let mut opts = additional.iter().filter(is_opt);
        let high = opts.next().map_or(0, |opt| opt.ttl >> 24);
        let is_clean =
            opts.next().is_none() && !answer.iter().chain(&authority).any(|record| is_opt(&record));
        let rcode = Rcode((u16::try_from(high).ok()? << 4) | (be16(bytes, 2)? & 0x0f));
        (at == bytes.len() && is_clean).then_some(Self { bytes, rcode, answer, authority })
    }

    fn judge(&self, expected: Expected<'_>) -> Verdict {
        if self.rcode != Rcode::NOERROR && self.rcode != Rcode::NXDOMAIN {
            return Verdict::Failed(self.rcode);
        }
        let mut builder = Builder::new(expected.name);
        let mut name = expected.name.to_vec();
        for _ in 0..=MAX_CNAMES {
            let found = self.take(&mut builder, &name, expected.kind, expected);
            let Some(found) = found else { return Verdict::Broken };
            if found {
                let is_denied = self.rcode == Rcode::NXDOMAIN;
                return if is_denied { Verdict::Broken } else { Verdict::Answer(builder.answer(MAX_TTL)) };
            }
            let is_own = |name: &[u8]| expected.own.is_some_and(|own| within(name, own).is_some());
            match self.follow(&mut builder, &name, expected) {
                // What the upstream says of that name doesn't count.
                Some(Some(target)) if is_own(&target) => return Verdict::Answer(builder.open(MAX_TTL)),
                Some(Some(target)) => name = target,
                Some(None) => return self.deny(builder, &name, expected),
                None => return Verdict::Broken,
            }
        }
        Verdict::Broken
    }

    /// Takes the records of one name and type; whether there are any. `None`: one of them is malformed.
    fn take(
        &self,
        builder: &mut Builder,
        name: &[u8],
        kind: RecordType,
        expected: Expected<'_>,
    ) -> Option<bool> {
        let mut found = false;
        let set = self.answer.iter().filter(|record| record.class == CLASS_IN && record.name == name);
        for record in set {
            let is_signature = expected.dnssec_ok && record.is_signature_of(kind);
            if record.kind != kind && !is_signature {
                continue;
            }
            if !is_well_formed(self.bytes, record) {
                return None;
            }
            found |= record.kind == kind;
            if record.address().is_some_and(|address| (expected.is_filtered)(address)) {
                builder.set_filtered();
            } else {
                builder.answer_record(self.bytes, record)?;
            }
        }
        Some(found)
    }

    /// Takes the CNAME of a name, and says where it leads: `Some(None)` when there is none, `None` when it can't be right.
    #[expect(clippy::option_option, reason = "none, malformed and found are three things")]
    fn follow(&self, builder: &mut Builder, name: &[u8], expected: Expected<'_>) -> Option<Option<Vec<u8>>> {
        if !self.take(builder, name, RecordType::CNAME, expected)? {
            return Some(None);
        }
        let is_alias = |record: &&Record<'_>| {
            record.kind == RecordType::CNAME && record.class == CLASS_IN && record.name == name
        };
        let mut aliases = self.answer.iter().filter(is_alias);
        let target = data_name(self.bytes, aliases.next()?)?;
        // RFC 2181 section 10.1: a name has one canonical name.
        aliases.all(|other| data_name(self.bytes, other) == Some(target.clone())).then_some(Some(target))
    }

    /// No records at the end of the chain: a denial, or an end that somebody else knows.
    fn deny(&self, mut builder: Builder, name: &[u8], expected: Expected<'_>) -> Verdict {
        let above = |record: &&Record<'_>| record.class == CLASS_IN && within(name, &record.name).is_some();
        let mut authority = self.authority.iter().filter(above);
        let soa = authority.clone().find(|record| record.kind == RecordType::SOA);
        let Some(soa) = soa else {
            let is_referral = authority.any(|record| record.kind == RecordType::NS);
            if is_referral && builder.is_empty() {
                return Verdict::Failed(Rcode::NOERROR);
            }
            let is_open = self.rcode == Rcode::NOERROR && !builder.is_empty();
            return Verdict::Answer(if is_open {
                builder.open(MAX_TTL)
            } else {
                builder.denial(self.rcode, 0)
            });
        };
        if !is_well_formed(self.bytes, soa) {
            return Verdict::Broken;
        }
        let minimum = be32(soa.data, soa.data.len() - 4).unwrap_or_default();
        let ttl = soa.ttl.min(minimum).min(MAX_NEGATIVE_TTL);
        if builder.authority_record(self.bytes, &Record { ttl, ..soa.clone() }).is_none() {
            return Verdict::Broken;
        }
        let is_proof = |record: &&Record<'_>| {
            matches!(record.kind, RecordType::NSEC | RecordType::NSEC3)
                || [RecordType::SOA, RecordType::NSEC, RecordType::NSEC3]
                    .iter()
                    .any(|kind| record.is_signature_of(*kind))
        };
        let zone = |record: &&Record<'_>| within(&record.name, &soa.name).is_some();
        if expected.dnssec_ok {
            for record in self.authority.iter().filter(zone).filter(is_proof) {
                if !is_well_formed(self.bytes, record)
                    || builder.authority_record(self.bytes, record).is_none()
                {
                    return Verdict::Broken;
                }
            }
        }
        Verdict::Answer(builder.denial(self.rcode, ttl))
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
