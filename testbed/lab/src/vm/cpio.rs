//! Writes a cpio archive (format newc), what the kernel unpacks as its first root.
//!
//! Source of the format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{Result, Write};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// Names and contents begin at multiples of this.
const ALIGNMENT: usize = 4;

/// An archive that is being written.
pub(super) struct Archive<W> {
    out: W,
    number: u32,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub(super) fn new(out: W) -> Self {
        Self { out, number: 0 }
    }

    /// A folder; those above it must be there before it. `path` has no leading `/`.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER, &[])
    }

    /// A file that may be executed.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.entry(path, PROGRAM, content)
    }

    /// Ends the archive.
    pub(super) fn end(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.number += 1;
        let name_size = path.len() + 1;
        let size = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let links = if mode == FOLDER { 2 } else { 1 };
        // Magic, inode, mode, uid, gid, links, time, size, four device numbers, length of the name, checksum.
        write!(self.out, "070701{:08X}{mode:08X}{:08X}{:08X}{links:08X}", self.number, 0, 0)?;
        write!(self.out, "{:08X}{size:08X}{:032X}{name_size:08X}{:08X}{path}\0", 0, 0, 0)?;
        self.pad(HEADER + name_size)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> Result<()> {
        let rest = written.next_multiple_of(ALIGNMENT) - written;
        self.out.write_all(&[0; ALIGNMENT][..rest])
    }
}

/// Bytes of a header without the name.
const HEADER: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_begins_at_a_multiple_of_four_and_says_its_lengths() {
        for content in ["", "a", "ab", "abc", "abcd"] {
            let mut archive = Archive::new(Vec::new());
            archive.folder("etc").unwrap();
            archive.file("etc/some", content.as_bytes()).unwrap();
            let bytes = archive.end().unwrap();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            let mut at = 0;
            for (name, mode, size) in
                [("etc", FOLDER, 0), ("etc/some", PROGRAM, content.len()), ("TRAILER!!!", 0, 0)]
            {
                let field = |i: usize| {
                    let text = std::str::from_utf8(&bytes[at + 6 + 8 * i..][..8]).unwrap();
                    usize::from_str_radix(text, 16).unwrap()
                };
                assert_eq!(&bytes[at..at + 6], b"070701", "{name} in {content:?}");
                assert_eq!((field(1), field(6), field(11)), (mode as usize, size, name.len() + 1), "{name}");
                assert_eq!(&bytes[at + HEADER..][..name.len()], name.as_bytes());
                at = (at + HEADER + name.len() + 1).next_multiple_of(ALIGNMENT);
                assert_eq!(&bytes[at..at + size], &content.as_bytes()[..size]);
                at = (at + size).next_multiple_of(ALIGNMENT);
            }
            assert_eq!(at, bytes.len());
        }
    }
}
