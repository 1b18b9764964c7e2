//! Records of messages of others: owners without compression, data still as they came.

use std::net::IpAddr;

use super::{
    code::RecordType,
    name::MAX_NAME,
    wire::{be16, be32},
};

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    /// Owner, lower case, in wire form.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: RecordType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'a [u8],
    /// Where the data begin in the message: names in them may point elsewhere.
    pub(crate) at: usize,
}

impl Record<'_> {
    /// Whether it is the signature of records of that type (RFC 4034 section 3.1).
    pub(crate) fn is_signature_of(&self, kind: RecordType) -> bool {
        self.kind == RecordType::RRSIG && be16(self.data, 0) == Some(kind.0)
    }

    /// The address of an A or AAAA record.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.kind {
            RecordType::A => <[u8; 4]>::try_from(self.data).ok().map(IpAddr::from),
            RecordType::AAAA => <[u8; 16]>::try_from(self.data).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// Reads a record and says where the next one begins. A time to live with its highest bit set counts as 0 (RFC 2181 section 8), but
/// for OPT, where it is no time.
pub(crate) fn read_record(bytes: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let (mut name, fixed) = read_name(bytes, at)?;
    name.make_ascii_lowercase();
    let kind = RecordType(be16(bytes, fixed)?);
    let class = be16(bytes, fixed + 2)?;
    let ttl = be32(bytes, fixed + 4)?;
    let ttl = if kind != RecordType::OPT && ttl >> 31 == 1 { 0 } else { ttl };
    let start = fixed + 10;
    let end = start + usize::from(be16(bytes, fixed + 8)?);
    let data = bytes.get(start..end)?;
    Some((Record { name, kind, class, ttl, data, at: start }, end))
}

/// Reads a name that may be compressed, and says where what follows begins. Each pointer leads before the place where the name, or
/// the part of it that was pointed at, begins: so there are no loops.
pub(crate) fn read_name(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::with_capacity(64);
    let (mut at, mut before, mut end) = (start, start, None);
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => {
                name.push(0);
                return (name.len() <= MAX_NAME).then_some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                name.extend_from_slice(bytes.get(at..=at + usize::from(length))?);
                if name.len() >= MAX_NAME {
                    return None;
                }
                at += 1 + usize::from(length);
            }
            64..=191 => return None,
            192..=255 => {
                let target = usize::from(be16(bytes, at)? & 0x3fff);
                if target >= before {
                    return None;
                }
                end.get_or_insert(at + 2);
                before = target;
                at = target;
            }
        }
    }
}

/// How the data of a type are made up where names in them may be compressed: octets before, names, strings of characters
/// between, and whether more octets follow (RFC 3597 section 4).
struct Layout {
    before: usize,
    strings: usize,
    names: usize,
    /// Octets behind the names; `None`: any number.
    after: Option<usize>,
}

const fn layout(kind: RecordType) -> Option<Layout> {
    let (before, strings, names, after) = match kind.0 {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => (0, 0, 1, Some(0)),
        // SOA
        6 => (0, 0, 2, Some(20)),
        // MINFO, RP
        14 | 17 => (0, 0, 2, Some(0)),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 0, 1, Some(0)),
        // PX
        26 => (2, 0, 2, Some(0)),
        // SRV
        33 => (6, 0, 1, Some(0)),
        // NAPTR
        35 => (4, 3, 1, Some(0)),
        // SIG, RRSIG
        24 | 46 => (18, 0, 1, None),
        // NXT, NSEC
        30 | 47 => (0, 0, 1, None),
        _ => return None,
    };
    Some(Layout { before, strings, names, after })
}

/// Appends the data of a record with all names whole; `None` when they don't have the form of their type.
pub(crate) fn write_data(bytes: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    let fits = match record.kind {
        RecordType::A => record.data.len() == 4,
        RecordType::AAAA => record.data.len() == 16,
        _ => true,
    };
    let Some(layout) = layout(record.kind) else {
        out.extend_from_slice(record.data);
        return fits.then_some(());
    };
    let end = record.at + record.data.len();
    let mut at = record.at + layout.before;
    for _ in 0..layout.strings {
        at += 1 + usize::from(*bytes.get(at)?);
    }
    if at > end {
        return None;
    }
    out.extend_from_slice(bytes.get(record.at..at)?);
    for _ in 0..layout.names {
        let (name, next) = read_name(bytes, at)?;
        out.extend(name);
        at = next;
    }
    let rest = bytes.get(at..end)?;
    out.extend_from_slice(rest);
    layout.after.is_none_or(|after| rest.len() == after).then_some(())
}

/// Whether the data have the form of their type.
pub(crate) fn is_well_formed(bytes: &[u8], record: &Record<'_>) -> bool {
    write_data(bytes, record, &mut Vec::new()).is_some()
}

/// The name that the data of a CNAME, NS, PTR consist of; lower case.
pub(crate) fn data_name(bytes: &[u8], record: &Record<'_>) -> Option<Vec<u8>> {
    let (mut name, _) = read_name(bytes, record.at)?;
    name.make_ascii_lowercase();
    Some(name)
}
