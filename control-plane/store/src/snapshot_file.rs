//! The snapshot as a file: magic, head, data, and a BLAKE3 over all of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use weft_model::{LogIndex, Term};
use weft_process::{MODE_PRIVATE, durable_replace};
use weft_raft::Snapshot;

use crate::{
    Error,
    bytes::{Reader, Writer},
};

const MAGIC: [u8; 16] = *b"weft snapshot 1\n";

/// Where the snapshot is, and the index of the one that is there: it never goes back.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    index: Mutex<LogIndex>,
}

impl SnapshotFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let file = Self { path, index: Mutex::new(LogIndex(0)) };
        let index = file.read()?.map_or(LogIndex(0), |snapshot| snapshot.index);
        Ok(Self { index: Mutex::new(index), ..file })
    }

    /// Writes it durably in place of an older one; false when the one that is there is as young or younger.
    ///
    /// Two threads write: one installs snapshots of the leader, one shortens the log.
    pub(crate) fn replace(&self, snapshot: &Snapshot) -> Result<bool, Error> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshot.index <= *index {
            return Ok(false);
        }
        self.write(snapshot)?;
        *index = snapshot.index;
        Ok(true)
    }

    fn write(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let body = Writer::default()
            .raw(&MAGIC)
            .number(snapshot.index.0)
            .number(snapshot.term.0)
            .conf(&snapshot.conf)
            .raw(&snapshot.digest)
            .raw(&snapshot.data)
            .done();
        let sum = *blake3::hash(&body).as_bytes();
        let bytes = Writer::default().raw(&sum).raw(&body).done();
        Ok(durable_replace(&self.path, &bytes, MODE_PRIVATE)?)
    }

    /// Reads it; `None` when there is none.
    pub(crate) fn read(&self) -> Result<Option<Snapshot>, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => parse(&self.path, bytes).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file("read", &self.path)(e)),
        }
    }
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<Snapshot, Error> {
    let damaged =
        |why: &str| Error::Damaged { what: "the snapshot", why: format!("{}: {why}", path.display()) };
    let bytes = Bytes::from(bytes);
    let (sum, body) = bytes.split_first_chunk::<32>().ok_or_else(|| damaged("it is cut off"))?;
    if blake3::hash(body).as_bytes() != sum {
        return Err(damaged("its checksum is wrong"));
    }
    let mut reader = Reader::new(body);
    let parsed = (|| {
        (reader.raw::<16>()? == MAGIC).then_some(())?;
        let (index, term) = (LogIndex(reader.number()?), Term(reader.number()?));
        let conf = reader.conf()?;
        let digest = reader.raw::<32>()?;
        Some(Snapshot { index, term, conf, digest, data: Bytes::new() })
    })();
    let snapshot = parsed.ok_or_else(|| damaged("its head is malformed"))?;
    Ok(Snapshot { data: bytes.slice_ref(reader.rest()), ..snapshot })
}
