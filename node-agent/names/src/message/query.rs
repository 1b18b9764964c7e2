//! The query parser: strict, without copies.
//!
//! In: bytes from anybody. Out: a [`Query`] that borrows them, or a [`Reject`]: what the RFCs say shall be told, if anything.
//! Bounds: one question, one pseudo record; work is linear in the length.

use super::{
    code::{Rcode, RecordType},
    name::end_of,
    wire::{HEADER, be16},
};

/// Bits of the third and fourth octet of the header.
pub(crate) const QR: u16 = 0x8000;
pub(crate) const OPCODE: u16 = 0x7800;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const CD: u16 = 0x0010;

/// What a client says with EDNS(0) (RFC 6891). Options are checked for their form and not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edns {
    /// Longest datagram it takes.
    pub size: u16,
    /// It wants signatures (DO, RFC 3225).
    pub dnssec_ok: bool,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Its number, to be repeated.
    pub id: u16,
    /// The flags as they came.
    pub(crate) flags: u16,
    /// Name, type and class as they came: repeated to the letter, so that mixed case comes back (draft-vixie-dnsext-dns0x20).
    pub question: &'a [u8],
    /// The name in it, in the client's case.
    pub name: &'a [u8],
    /// Type asked for.
    pub kind: RecordType,
    /// Class asked for.
    pub class: u16,
    /// What it says with EDNS(0), if anything.
    pub edns: Option<Edns>,
}

impl Query<'_> {
    /// Recursion is desired: names of the outside may be asked for.
    pub const fn is_recursive(&self) -> bool {
        self.flags & RD != 0
    }

    /// Checking is disabled (CD, RFC 4035): handed on to upstreams.
    pub const fn is_unchecked(&self) -> bool {
        self.flags & CD != 0
    }

    /// Signatures are wanted.
    pub const fn wants_signatures(&self) -> bool {
        matches!(self.edns, Some(Edns { dnssec_ok: true, .. }))
    }
}

/// Why a message isn't a query that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Nothing is said: shorter than a header, or itself an answer (no loops of answers to answers).
    Drop,
    /// The header goes back with this code and nothing else.
    Refuse {
        /// `FORMERR`, `NOTIMP`, or `BADVERS`, which needs an OPT record.
        rcode: Rcode,
    },
}

/// Reads a query. Exactly one question (RFC 9619) whose name is whole and uncompressed, no other records but at most one OPT
/// of the root, nothing behind it.
pub fn parse(bytes: &[u8]) -> Result<Query<'_>, Reject> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Reject::Drop)?;
    let flags = u16::from_be_bytes([header[2], header[3]]);
    if flags & QR != 0 {
        return Err(Reject::Drop);
    }
    if flags & OPCODE != 0 {
        return Err(Reject::Refuse { rcode: Rcode::NOTIMP });
    }
    // QDCOUNT 1, ANCOUNT 0, NSCOUNT 0; ARCOUNT 0 or 1.
    if header[4..11] != [0, 1, 0, 0, 0, 0, 0] || header[11] > 1 {
        return Err(MALFORMED);
    }
    let name_end = end_of(bytes, HEADER).ok_or(MALFORMED)?;
    let kind = RecordType(be16(bytes, name_end).ok_or(MALFORMED)?);
    let class = be16(bytes, name_end + 2).ok_or(MALFORMED)?;
    let end = name_end + 4;
    let edns = if header[11] == 1 { Some(opt(bytes, end)?) } else { None };
    if edns.is_none() && bytes.len() != end {
        return Err(MALFORMED);
    }
    Ok(Query {
        id: u16::from_be_bytes([header[0], header[1]]),
        flags,
        question: &bytes[HEADER..end],
        name: &bytes[HEADER..name_end],
        kind,
        class,
        edns,
    })
}

const MALFORMED: Reject = Reject::Refuse { rcode: Rcode::FORMERR };

/// The one record that a query may have; it ends the message.
fn opt(bytes: &[u8], at: usize) -> Result<Edns, Reject> {
    let record: &[u8; 11] = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(MALFORMED)?;
    let options = &bytes[at + 11..];
    let length = usize::from(u16::from_be_bytes([record[9], record[10]]));
    if record[..3] != [0, 0, 41] || options.len() != length || !are_options(options) {
        return Err(MALFORMED);
    }
    if record[6] != 0 {
        return Err(Reject::Refuse { rcode: Rcode::BADVERS });
    }
    Ok(Edns { size: u16::from_be_bytes([record[3], record[4]]), dnssec_ok: record[7] & 0x80 != 0 })
}

/// Whether the octets are a list of options (RFC 6891 section 6.1.2).
pub(crate) fn are_options(mut options: &[u8]) -> bool {
    while !options.is_empty() {
        let rest = be16(options, 2).and_then(|length| options.get(4 + usize::from(length)..));
        let Some(rest) = rest else { return false };
        options = rest;
    }
    true
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
