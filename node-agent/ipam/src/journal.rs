//! The journal's bytes: a header, then records with a checksum and a number each.
//!
//! File: `WEFTIPAM`, version (u32), CRC32C of both (u32). Record: length of the payload (u32), CRC32C over number and
//! payload (u32), number (u64, rises by one), payload. All little-endian. A length of 0 ends the file: space that was
//! allocated ahead reads as zeros.
//! A record that is cut or damaged with nothing valid behind it is a torn write: it was never answered for, and is cut.
//! A damaged record with valid ones behind it is damage of the disk (CRC32C: RFC 3720 appendix B.4).

use crate::{Entry, Error, codec};

const MAGIC: &[u8; 8] = b"WEFTIPAM";
const VERSION: u32 = 1;
/// Length of the file's header.
const HEADER: usize = 16;
/// Length of a record's header.
const FRAME: usize = 16;
/// Largest payload of a record, bytes; an entry is a few hundred.
pub const MAX_RECORD: usize = 256 * 1024;

/// Writes records; knows only the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    next: u64,
}

/// Damage in the middle of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong and where.
    pub error: Error,
    /// Entries behind the damage.
    pub salvaged: Vec<Entry>,
}

/// What a journal's bytes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Entries up to the end or the first damage.
    pub entries: Vec<Entry>,
    /// Where the next record goes: behind the last good one. A torn tail begins here.
    pub end: u64,
    /// Bytes of a torn record that are to be cut.
    pub torn: u64,
    /// Set when a record in the middle is damaged.
    pub damage: Option<Damage>,
    /// Goes on writing behind the last good record.
    pub journal: Journal,
}

impl Journal {
    /// A new file: its first bytes, and the writer of its records.
    pub fn create(entries: &[Entry]) -> (Self, Vec<u8>) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let mut journal = Self { next: 1 };
        entries.iter().for_each(|entry| journal.append(entry, &mut bytes));
        (journal, bytes)
    }

    /// Appends the record of an entry to a buffer.
    pub fn append(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let payload = codec::encode(entry);
        out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(checksum(self.next, &payload).to_le_bytes());
        out.extend(self.next.to_le_bytes());
        out.extend(payload);
        self.next += 1;
    }

    /// Reads a whole journal. Fails only when its header is damaged; an empty file is a new journal.
    pub fn scan(bytes: &[u8]) -> Result<Scan, Error> {
        let mut scan = Scan { entries: Vec::new(), end: 0, torn: 0, damage: None, journal: Self { next: 1 } };
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(scan);
        }
        check_header(bytes)?;
        let mut at = HEADER;
        let why = loop {
            scan.end = at as u64;
            match record(bytes, at, scan.journal.next) {
                Found::Entry(entry, next) => {
                    scan.entries.push(*entry);
                    scan.journal.next += 1;
                    at = next;
                }
                Found::End => return Ok(scan),
                Found::Bad(why) => break why,
            }
        };
        let tail = bytes.get(at..).unwrap_or_default();
        let salvaged = salvage(bytes, at + 1, scan.journal.next);
        let unreadable = matches!(why, Bad::Content(_));
        if salvaged.is_empty() && !unreadable {
            scan.torn = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        } else {
            let error = Error::Corrupt { offset: at as u64, why: why.text() };
            scan.damage = Some(Damage { error, salvaged });
        }
        Ok(scan)
    }
}

fn check_header(bytes: &[u8]) -> Result<(), Error> {
    let corrupt = |why| Err(Error::Corrupt { offset: 0, why });
    let (Some(head), Some(crc)) = (bytes.get(..12), u32_at(bytes, 12)) else {
        return corrupt("the file's header is cut");
    };
    if head.get(..8) != Some(MAGIC) {
        return corrupt("the file isn't an allocation journal");
    }
    if crc32c::crc32c(head) != crc {
        return corrupt("the checksum of the file's header is wrong");
    }
    if u32_at(bytes, 8) != Some(VERSION) {
        return corrupt("the file is of a newer version");
    }
    Ok(())
}

enum Found {
    Entry(Box<Entry>, usize),
    End,
    Bad(Bad),
}

/// What is wrong with a record.
#[derive(Clone, Copy)]
enum Bad {
    /// Its bytes aren't what was written.
    Bytes(&'static str),
    /// Its checksum holds, but this version can't read it: never a torn write.
    Content(&'static str),
}

impl Bad {
    const fn text(self) -> &'static str {
        match self {
            Self::Bytes(why) | Self::Content(why) => why,
        }
    }
}

fn record(bytes: &[u8], at: usize, expected: u64) -> Found {
    let tail = bytes.get(at..).unwrap_or_default();
    if tail.iter().take(FRAME).all(|byte| *byte == 0) && tail.iter().all(|byte| *byte == 0) {
        return Found::End;
    }
    let Some((number, payload)) = frame(tail) else { return Found::Bad(Bad::Bytes("its checksum is wrong")) };
    if number != expected {
        return Found::Bad(Bad::Bytes("records before it are missing"));
    }
    match codec::decode(payload) {
        Ok(entry) => Found::Entry(Box::new(entry), at + FRAME + payload.len()),
        Err(why) => Found::Bad(Bad::Content(why)),
    }
}

/// A record whose length and checksum hold.
fn frame(tail: &[u8]) -> Option<(u64, &[u8])> {
    let length = usize::try_from(u32_at(tail, 0)?).ok()?;
    if length == 0 || length > MAX_RECORD {
        return None;
    }
    let number = u64::from_le_bytes(tail.get(8..16)?.try_into().ok()?);
    let payload = tail.get(FRAME..FRAME + length)?;
    (checksum(number, payload) == u32_at(tail, 4)?).then_some((number, payload))
}

/// Every good record behind a damaged one, wherever it begins. Numbers must go on from the last good one, so that old
/// bytes behind a cut tail aren't taken for records.
fn salvage(bytes: &[u8], mut at: usize, mut expected: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    while at + FRAME < bytes.len() {
        let tail = bytes.get(at..).unwrap_or_default();
        match frame(tail) {
            Some((number, payload)) if number >= expected => {
                entries.extend(codec::decode(payload).ok());
                expected = number + 1;
                at += FRAME + payload.len();
            }
            Some(_) | None => at += 1,
        }
    }
    entries
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), payload)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
