//! The writer of replies: header, the client's own question, records as long as they fit, OPT.
//!
//! Records come rendered, with owners that point into the question or at a name written before; so nothing is searched for
//! compression (RUSTSEC-2026-0119) and what doesn't fit is simply left out.

use super::{
    code::{ExtendedError, Rcode},
    query::{AA, CD, OPCODE, QR, Query, RA, RD, TC},
    wire::{HEADER, Transport},
};

/// Longest datagram: fits into any path of IPv6 without fragments (DNS flag day 2020).
pub(crate) const UDP_MAX: u16 = 1232;
/// Longest datagram for a client without EDNS (RFC 1035).
const UDP_PLAIN: u16 = 512;
/// An OPT record without options.
const OPT: usize = 11;
/// An option with an extended error without text.
const EXTENDED: usize = 6;
/// Its length as OPT says it.
const EXTENDED_LENGTH: u8 = 6;

/// Sections that a reply is filled in, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// A reply under construction.
pub(crate) struct Reply<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Where records begin.
    records: usize,
    /// No record goes beyond: what OPT needs is kept free.
    limit: usize,
    counts: [u16; 3],
    flags: u16,
    edns: Option<bool>,
    truncated: bool,
}

impl<'a> Reply<'a> {
    /// Begins a reply to `query`. `None` when `out` can't even take the question.
    pub(crate) fn begin(out: &'a mut [u8], query: &Query<'_>, transport: Transport) -> Option<Self> {
        let room = match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => {
                usize::from(query.edns.map_or(UDP_PLAIN, |edns| edns.size.clamp(UDP_PLAIN, UDP_MAX)))
            }
        };
        let kept = if query.edns.is_some() { OPT + EXTENDED } else { 0 };
        let limit = room.min(out.len()).checked_sub(kept)?;
        let at = HEADER + query.question.len();
        if at > limit {
            return None;
        }
        out[..2].copy_from_slice(&query.id.to_be_bytes());
        out[HEADER..at].copy_from_slice(query.question);
        let flags = QR | RA | (query.flags & (RD | CD));
        let edns = query.edns.map(|edns| edns.dnssec_ok);
        Some(Self { out, at, records: at, limit, counts: [0; 3], flags, edns, truncated: false })
    }

    /// Where the next octet goes: what later owners may point at.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// Octets that are left.
    pub(crate) const fn room(&self) -> usize {
        self.limit - self.at
    }

    /// The answer is our own (AA).
    pub(crate) const fn set_authoritative(&mut self) {
        self.flags |= AA;
    }

    /// Something that belongs to the answer didn't fit (TC).
    pub(crate) const fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// Appends `count` whole records; false, and nothing is written, when they don't fit.
    pub(crate) fn put(&mut self, section: Section, count: u16, records: &[u8]) -> bool {
        if records.len() > self.room() {
            return false;
        }
        self.out[self.at..self.at + records.len()].copy_from_slice(records);
        self.at += records.len();
        self.counts[section as usize] += count;
        true
    }

    /// Appends one record from its parts.
    pub(crate) fn record(&mut self, section: Section, owner: &[u8], fixed: Fixed, data: &[&[u8]]) -> bool {
        let length: usize = data.iter().map(|part| part.len()).sum();
        let Ok(data_length) = u16::try_from(length) else { return false };
        if owner.len() + 10 + length > self.room() {
            return false;
        }
        let fixed = fixed.octets(data_length);
        for part in [owner, &fixed].into_iter().chain(data.iter().copied()) {
            self.out[self.at..self.at + part.len()].copy_from_slice(part);
            self.at += part.len();
        }
        self.counts[section as usize] += 1;
        true
    }

    /// All records so far, which must be answers, and how many.
    pub(crate) fn answers(&self) -> (&[u8], u16) {
        (&self.out[self.records..self.at], self.counts[0])
    }

    /// Writes a big-endian number over what stands at `at`.
    pub(crate) fn patch<const N: usize>(&mut self, at: usize, octets: [u8; N]) {
        if let Some(place) = self.out[..self.at].get_mut(at..at + N) {
            place.copy_from_slice(&octets);
        }
    }

    /// Ends the reply: OPT, header. Returns its length.
    pub(crate) fn finish(mut self, rcode: Rcode, why: Option<ExtendedError>) -> usize {
        let mut additional = self.counts[2];
        if let Some(dnssec_ok) = self.edns {
            additional += 1;
            self.limit += OPT + EXTENDED;
            let head = self.at;
            let option_length = if why.is_some() { EXTENDED_LENGTH } else { 0 };
            let [size_high, size_low] = UDP_MAX.to_be_bytes();
            let [high, _] = (rcode.0 << 4).to_be_bytes();
            let dnssec = if dnssec_ok { 0x80 } else { 0 };
            let opt = [0, 0, 41, size_high, size_low, high, 0, dnssec, 0, 0, option_length];
            self.out[head..head + OPT].copy_from_slice(&opt);
            self.at += OPT;
            if let Some(why) = why {
                let [code_high, code_low] = why.0.to_be_bytes();
                self.out[self.at..self.at + EXTENDED].copy_from_slice(&[0, 15, 0, 2, code_high, code_low]);
                self.at += EXTENDED;
            }
        }
        if self.truncated {
            self.flags |= TC;
        }
        self.flags |= u16::from(rcode.low());
        self.out[2..4].copy_from_slice(&self.flags.to_be_bytes());
        self.out[4..6].copy_from_slice(&[0, 1]);
        for (at, count) in [(6, self.counts[0]), (8, self.counts[1]), (10, additional)] {
            self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.at
    }
}

/// What stands between a record's owner and its data: type, class IN, time to live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    pub(crate) kind: super::RecordType,
    pub(crate) ttl: u32,
}

impl Fixed {
    /// The ten octets.
    pub(crate) const fn octets(self, data_length: u16) -> [u8; 10] {
        let [k0, k1] = self.kind.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.ttl.to_be_bytes();
        let [l0, l1] = data_length.to_be_bytes();
        [k0, k1, 0, 1, t0, t1, t2, t3, l0, l1]
    }
}

/// A reply without a question, to what couldn't be read: the header goes back with a code (and OPT for those above 15).
/// Returns its length; `None` when `out` is too short or the query has no header.
pub(crate) fn bare(out: &mut [u8], query: &[u8], rcode: Rcode) -> Option<usize> {
    let header: &[u8; HEADER] = query.first_chunk()?;
    let flags = u16::from_be_bytes([header[2], header[3]]);
    let flags = QR | (flags & (OPCODE | RD | CD)) | RA | u16::from(rcode.low());
    let extended = rcode.0 > 15;
    let length = if extended { HEADER + OPT } else { HEADER };
    let out = out.get_mut(..length)?;
    out[..2].copy_from_slice(&header[..2]);
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..HEADER].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, u8::from(extended)]);
    if extended {
        let [size_high, size_low] = UDP_MAX.to_be_bytes();
        let [high, _] = (rcode.0 << 4).to_be_bytes();
        out[HEADER..].copy_from_slice(&[0, 0, 41, size_high, size_low, high, 0, 0, 0, 0, 0]);
    }
    Some(length)
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
