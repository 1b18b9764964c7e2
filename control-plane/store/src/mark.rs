//! The mark of what this replica acknowledged: a small file beside the log, by which a log that lost its tail is known.
//!
//! It is raised each `STEP` entries, at each new term and at an orderly end, and lowered before entries below it are
//! overwritten, so it never claims more than was acknowledged. What it can't notice: the loss of the last entries, fewer
//! than `STEP`, and of a vote that was given in a term known before. Raising it with each write would either cost a
//! second sync or, inside the engine's own batch, be lost with the very tail that it is to miss.
//!
//! Two slots take turns and are written in place: a torn one leaves the other, and no metadata changes, so that the sync
//! doesn't wait for whatever else the file system has to write. A vote leaves only after it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use weft_model::{LogIndex, Term};
use weft_process::{MODE_PRIVATE, durable_replace};

use crate::{
    Error,
    bytes::{Reader, Writer},
};

/// Entries after which the mark is raised: that is one more sync.
const STEP: u64 = 256;
/// Bytes of a slot: a block, so that one torn write damages one slot.
const SLOT: usize = 4096;
const SLOTS: u64 = 2;

/// The mark and its file.
pub(crate) struct Mark {
    path: PathBuf,
    /// Of the newest slot; 0 while there is no file.
    number: u64,
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
}

impl Mark {
    /// Reads the file; a missing one is a mark at 0.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), number: 0, index: LogIndex(0), term: Term(0) });
            }
            Err(e) => return Err(Error::file("read", path)(e)),
        };
        let newest = bytes.chunks(SLOT).filter_map(read_slot).max();
        let (number, index, term) = newest.ok_or_else(|| Error::Damaged {
            what: "the acknowledged mark",
            why: format!("{}: no slot has a right checksum", path.display()),
        })?;
        Ok(Self { path: path.to_owned(), number, index: LogIndex(index), term: Term(term) })
    }

    /// Before entries from `first` on are overwritten.
    pub(crate) fn before_overwriting(&mut self, first: LogIndex) -> Result<(), Error> {
        if first <= self.index { self.set(LogIndex(first.0.saturating_sub(1)), self.term) } else { Ok(()) }
    }

    /// After a durable write.
    pub(crate) fn after(&mut self, last: LogIndex, term: Term) -> Result<(), Error> {
        if term > self.term || last.0 >= self.index.0 + STEP { self.set(last, term) } else { Ok(()) }
    }

    /// To exactly this.
    pub(crate) fn set(&mut self, index: LogIndex, term: Term) -> Result<(), Error> {
        if (index, term) == (self.index, self.term) {
            return Ok(());
        }
        let number = self.number + 1;
        let slot = write_slot(number, index.0, term.0);
        if self.number == 0 {
            // Whole, so that later writes find all their blocks there.
            let mut bytes = vec![0; SLOT * 2];
            bytes.splice(SLOT..SLOT + slot.len(), slot);
            durable_replace(&self.path, &bytes, MODE_PRIVATE)?;
        } else {
            let write = || {
                let file = File::options().write(true).open(&self.path)?;
                file.write_all_at(&slot, number % SLOTS * SLOT as u64)?;
                file.sync_data()
            };
            write().map_err(Error::file("written", &self.path))?;
        }
        (self.number, self.index, self.term) = (number, index, term);
        Ok(())
    }
}

fn read_slot(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let mut reader = Reader::new(bytes);
    let (number, index, term) = (reader.number()?, reader.number()?, reader.number()?);
    (reader.raw::<32>()? == checksum(number, index, term)).then_some((number, index, term))
}

fn write_slot(number: u64, index: u64, term: u64) -> Vec<u8> {
    let sum = checksum(number, index, term);
    Writer::default().number(number).number(index).number(term).raw(&sum).done()
}

fn checksum(number: u64, index: u64, term: u64) -> [u8; 32] {
    let bytes =
        Writer::default().raw(b"weft acknowledged 2").number(number).number(index).number(term).done();
    *blake3::hash(&bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn stands(path: &Path) -> Option<(u64, u64)> {
        Mark::open(path).ok().map(|mark| (mark.index.0, mark.term.0))
    }

    #[test]
    fn the_newest_slot_counts_and_a_torn_one_leaves_the_one_before() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("acknowledged");
        let mut mark = Mark::open(&path).unwrap();
        let mut before = (0, 0);
        // Up, up, down: down counts too.
        for (index, term) in [(300, 1), (600, 1), (500, 2), (900, 2)] {
            mark.set(LogIndex(index), Term(term)).unwrap();
            assert_eq!(stands(&path), Some((index, term)));
            let whole = fs::read(&path).unwrap();
            assert_eq!(whole.len(), SLOT * 2);
            let newest = usize::try_from(mark.number % SLOTS).unwrap() * SLOT;
            let mut torn = whole.clone();
            torn[newest + 12] ^= 1;
            fs::write(&path, &torn).unwrap();
            let expected = Some(before).filter(|before| *before != (0, 0));
            assert_eq!(stands(&path), expected, "{index}: the slot before, or damage when there is none");
            fs::write(&path, &whole).unwrap();
            before = (index, term);
        }
        fs::write(&path, []).unwrap();
        assert_eq!(stands(&path), None);
    }

    #[test]
    fn it_is_raised_in_steps_and_at_once_for_a_term() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("acknowledged");
        let mut mark = Mark::open(&path).unwrap();
        for (last, term, stands) in
            [(10, 1, (10, 1)), (265, 1, (10, 1)), (266, 1, (266, 1)), (267, 2, (267, 2))]
        {
            mark.after(LogIndex(last), Term(term)).unwrap();
            assert_eq!((mark.index.0, mark.term.0), stands, "{last} of term {term}");
        }
    }
}
