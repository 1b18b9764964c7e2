//! The mark of what this replica acknowledged: a small file beside the log, by which a log that lost its tail is known.
//!
//! It is raised each `STEP` entries, at each new term and at an orderly end, and lowered before entries below it are
//! overwritten, so it never claims more than was acknowledged. What it can't notice: the loss of the last entries, fewer
//! than `STEP`, and of a vote that was given in a term known before. Raising it with each write would either cost a
//! second sync or, inside the engine's own batch, be lost with the very tail that it is to miss.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use weft_model::{LogIndex, Term};
use weft_process::{MODE_PRIVATE, durable_replace};

use crate::{
    Error,
    bytes::{Reader, Writer},
};

/// Entries after which the mark is raised: a file replaced durably is two syncs.
const STEP: u64 = 256;

/// The mark and its file.
pub(crate) struct Mark {
    path: PathBuf,
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
}

impl Mark {
    /// Reads the file; a missing one is a mark at 0.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), index: LogIndex(0), term: Term(0) });
            }
            Err(e) => return Err(Error::file("read", path)(e)),
        };
        let damaged =
            || Error::Damaged { what: "the acknowledged mark", why: "its checksum is wrong".to_owned() };
        let mut reader = Reader::new(&bytes);
        let (index, term) = reader.number().zip(reader.number()).ok_or_else(damaged)?;
        let sum = reader.raw::<32>().ok_or_else(damaged)?;
        if sum != checksum(index, term) || !reader.rest().is_empty() {
            return Err(damaged());
        }
        Ok(Self { path: path.to_owned(), index: LogIndex(index), term: Term(term) })
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
        let bytes = Writer::default().number(index.0).number(term.0).raw(&checksum(index.0, term.0)).done();
        durable_replace(&self.path, &bytes, MODE_PRIVATE)?;
        (self.index, self.term) = (index, term);
        Ok(())
    }
}

fn checksum(index: u64, term: u64) -> [u8; 32] {
    let bytes = Writer::default().raw(b"weft acknowledged 1").number(index).number(term).done();
    *blake3::hash(&bytes).as_bytes()
}
