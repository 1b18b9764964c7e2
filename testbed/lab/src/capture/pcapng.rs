//! The capture file format pcapng: sections, one interface per file, enhanced packets with nanoseconds.
//! Source: draft-ietf-opsawg-pcapng, sections 3 and 4.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::Result;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Longest frame kept, in bytes: more than any MTU of the lab.
pub const SNAP_LENGTH: usize = 65_550;

/// Writes one capture file.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Makes the file and writes the headers; `interface` is shown by programs that read it.
    pub fn create(path: &Path, interface: &str) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        let mut writer = Self { file: BufWriter::with_capacity(1 << 18, file) };
        let mut section = BYTE_ORDER.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        writer.block(SECTION, &section)?;
        let mut description = vec![1, 0, 0, 0];
        description.extend(u32::try_from(SNAP_LENGTH).unwrap_or(u32::MAX).to_le_bytes());
        option(&mut description, 2, interface.as_bytes());
        option(&mut description, 9, &[9]);
        option(&mut description, 0, &[]);
        writer.block(INTERFACE, &description)?;
        Ok(writer)
    }

    /// Writes one frame.
    pub fn frame(&mut self, at: SystemTime, bytes: &[u8]) -> Result {
        let nanoseconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let stamp = u64::try_from(nanoseconds).unwrap_or(u64::MAX).to_le_bytes();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut body = Vec::with_capacity(bytes.len() + 24);
        body.extend([0; 4]);
        body.extend(&stamp[4..]);
        body.extend(&stamp[..4]);
        body.extend(length);
        body.extend(length);
        body.extend(bytes);
        self.block(PACKET, &body)
    }

    /// Everything written so far is in the file.
    pub fn flush(&mut self) -> Result {
        Ok(self.file.flush()?)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> Result {
        let padded = body.len().next_multiple_of(4);
        let total = u32::try_from(padded + 12).unwrap_or(u32::MAX).to_le_bytes();
        self.file.write_all(&kind.to_le_bytes())?;
        self.file.write_all(&total)?;
        self.file.write_all(body)?;
        self.file.write_all(&[0; 3][..padded - body.len()])?;
        Ok(self.file.write_all(&total)?)
    }
}

/// One frame of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Since 1970, in UTC.
    pub at: Duration,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Reads all frames of a file that [`Writer`] wrote.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .with_context(|| format!("read {}", path.display()))?;
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (Some(kind), Some(total)) = (word(rest, 0), word(rest, 4)) else {
            bail!("{}: cut short", path.display());
        };
        let Some(block) = rest.get(..total as usize).filter(|b| b.len() >= 12) else {
            bail!("{}: a block of {total} bytes doesn't fit", path.display());
        };
        if kind == PACKET {
            records.push(record(block).with_context(|| format!("{}: broken packet", path.display()))?);
        }
        rest = &rest[block.len()..];
    }
    Ok(records)
}

fn record(block: &[u8]) -> Option<Record> {
    let stamp = (u64::from(word(block, 12)?) << 32) | u64::from(word(block, 16)?);
    let length = word(block, 20)? as usize;
    Some(Record { at: Duration::from_nanos(stamp), bytes: block.get(28..28 + length)?.to_vec() })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four))
}

fn option(into: &mut Vec<u8>, code: u16, value: &[u8]) {
    into.extend(code.to_le_bytes());
    into.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut writer = Writer::create(&path, "n1").unwrap();
        let at = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        for frame in [b"abc".as_slice(), b"abcd", b""] {
            writer.frame(at, frame).unwrap();
        }
        writer.flush().unwrap();
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(
            records[0],
            Record { at: Duration::from_nanos(1_700_000_000_123_456_789), bytes: b"abc".to_vec() }
        );
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(read(&path).is_err());
    }
}
