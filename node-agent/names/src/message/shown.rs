//! Questions that people ask, and responses as people read them (RFC 1035 section 5.1, RFC 3597, RFC 8914).

use std::fmt::Write;

use super::{
    code::{ExtendedError, Rcode, RecordType},
    name::DomainName,
    record::{Record, read_name, read_record},
    wire::{CLASS_IN, HEADER, be16, be32},
};

/// Number of the option with an extended error (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// Octets that the asker takes: as many as there can be.
const ROOM: u16 = 0xffff;

/// A query for records of one type, with recursion and EDNS(0), so that the answer can say why.
pub fn question(id: u16, name: &DomainName, kind: RecordType) -> Vec<u8> {
    let mut query = Vec::with_capacity(HEADER + name.wire().len() + 15);
    // Recursion desired; one question, one additional record.
    for number in [id, 0x0100, 1, 0, 0, 1] {
        query.extend(number.to_be_bytes());
    }
    query.extend(name.wire());
    query.extend([kind.0, CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
    // The root, OPT, the room, no extended code, version 0, no flags, no options.
    query.push(0);
    query.extend([RecordType::OPT.0, ROOM, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes));
    query
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its code, with the bits of EDNS(0).
    pub rcode: Rcode,
    /// Records of the answer section, in order.
    pub answers: Vec<ShownRecord>,
    /// Why, if it says so; may be empty.
    pub note: String,
    /// What was asked, if it repeats that.
    pub question: Option<ShownQuestion>,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownQuestion {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: RecordType,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRecord {
    /// Owner.
    pub name: String,
    /// Type.
    pub kind: RecordType,
    /// Seconds for which it counts.
    pub ttl: u32,
    /// Data in the form of zone files; what has none there as `\# LENGTH HEX`.
    pub data: String,
}

/// Reads a response, or a query; `None` when it isn't whole.
pub fn show(response: &[u8]) -> Option<Shown> {
    let mut at = HEADER;
    let mut question = None;
    for _ in 0..be16(response, 4)? {
        let (name, end) = read_name(response, at)?;
        let name = DomainName::from_wire(&name)?.to_string();
        question = Some(ShownQuestion { name, kind: RecordType(be16(response, end)?) });
        at = end + 4;
    }
    let rcode = Rcode(be16(response, 2)? & 0x0f);
    let mut shown = Shown { rcode, answers: Vec::new(), note: String::new(), question };
    let [answers, authorities, additional] = [be16(response, 6)?, be16(response, 8)?, be16(response, 10)?];
    for _ in 0..answers {
        let (record, end) = read_record(response, at)?;
        shown.answers.push(show_record(response, &record)?);
        at = end;
    }
    for _ in 0..u32::from(authorities) + u32::from(additional) {
        let (record, end) = read_record(response, at)?;
        if record.kind == RecordType::OPT {
            shown.rcode.0 |= u16::try_from(record.ttl >> 24).ok()? << 4;
            shown.note = extended_error(record.data).unwrap_or_default();
        }
        at = end;
    }
    Some(shown)
}

fn show_record(response: &[u8], record: &Record<'_>) -> Option<ShownRecord> {
    Some(ShownRecord {
        name: DomainName::from_wire(&record.name)?.to_string(),
        kind: record.kind,
        ttl: record.ttl,
        data: show_data(response, record).unwrap_or_else(|| generic(record.data)),
    })
}

fn show_data(response: &[u8], record: &Record<'_>) -> Option<String> {
    let (data, at) = (record.data, record.at);
    let name = |at: usize| {
        let (wire, end) = read_name(response, at)?;
        Some((DomainName::from_wire(&wire)?.to_string(), end))
    };
    let number = |offset| be16(data, offset);
    Some(match record.kind {
        RecordType::A | RecordType::AAAA => record.address()?.to_string(),
        RecordType::NS | RecordType::CNAME | RecordType::PTR => name(at)?.0,
        RecordType::MX => format!("{} {}", number(0)?, name(at + 2)?.0),
        RecordType::SRV => {
            format!("{} {} {} {}", number(0)?, number(2)?, number(4)?, name(at + 6)?.0)
        }
        RecordType::SOA => {
            let (server, end) = name(at)?;
            let (person, end) = name(end)?;
            let numbers = [0, 4, 8, 12, 16].map(|offset| be32(response, end + offset));
            let [serial, refresh, retry, expire, minimum] = numbers;
            format!("{server} {person} {} {} {} {} {}", serial?, refresh?, retry?, expire?, minimum?)
        }
        RecordType::TXT | RecordType::HINFO => strings(data)?,
        _ => return None,
    })
}

/// Strings of characters, quoted.
fn strings(mut data: &[u8]) -> Option<String> {
    let mut words = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        words.push(quoted(text));
        data = rest;
    }
    Some(words.join(" "))
}

fn quoted(text: &[u8]) -> String {
    let mut word = String::from("\"");
    for byte in text {
        // Writing into a text can't fail.
        let _ = match byte {
            b'"' | b'\\' => write!(word, "\\{}", char::from(*byte)),
            b' '..=b'~' => write!(word, "{}", char::from(*byte)),
            _ => write!(word, "\\{byte:03}"),
        };
    }
    word + "\""
}

fn generic(data: &[u8]) -> String {
    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\# {} {hex}", data.len()).trim_end().to_owned()
}

/// The first extended error among options: `no reachable authority: all upstreams are down`.
fn extended_error(mut options: &[u8]) -> Option<String> {
    while !options.is_empty() {
        let (code, length) = (be16(options, 0)?, usize::from(be16(options, 2)?));
        let value = options.get(4..4 + length)?;
        if code == EXTENDED_ERROR {
            let why = ExtendedError(be16(value, 0)?).to_string();
            let more = String::from_utf8_lossy(value.get(2..)?);
            let more = more.trim_end_matches('\0').replace(char::is_control, "?");
            return Some(if more.is_empty() { why } else { format!("{why}: {more}") });
        }
        options = options.get(4 + length..)?;
    }
    None
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
