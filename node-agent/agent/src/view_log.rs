//! Changes of the View since it was last written whole (view_file.rs): an agent that is killed begins with what its kernel
//! has, not with what was true a few seconds ago.
//!
//! In: frames of the stream, before the loops hear of them. Out: two files that take turns, one per writing of the View.
//! Nothing is forced to the disk: a process that is killed loses nothing of what it wrote, and a machine that loses its power
//! loses its kernel's tables too.
//! Format: records of length (u32, little-endian), the first 8 bytes of the body's SHA-256, body: a frame. The first record is
//! "in sync": the revision from which the others go on. What doesn't fit to what is there is left out, with all after it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message;
use sha2::{Digest, Sha256};
use weft_errors::{Coded, Error};
use weft_model::Revision;
use weft_proto::{
    convert::{Frame, delta_frame, in_sync_frame},
    v1::{WatchResponse, watch_response::Frame as Wire},
};
use weft_view::{Update, View};

use crate::{limits, paths::Paths};

const HASH: usize = 8;
const HEAD: usize = size_of::<u32>() + HASH;

/// What a burst of frames adds to the log.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// A part of a snapshot came: the log ends before it, and begins again when the View is written whole.
    ends: bool,
}

impl Records {
    /// Takes a frame down.
    pub(crate) fn take(&mut self, frame: &WatchResponse) {
        match &frame.frame {
            Some(Wire::Delta(_)) if !self.ends => self.push(frame),
            // What is read from a disk is in sync with nobody.
            Some(Wire::InSync(said)) if !self.ends => {
                self.push(&delta_frame(Revision(said.revision), [], []));
            }
            Some(Wire::Snapshot(_)) => self.ends = true,
            Some(Wire::Delta(_) | Wire::InSync(_) | Wire::Ask(_)) | None => {}
        }
    }

    fn push(&mut self, frame: &WatchResponse) {
        let body = frame.encode_to_vec();
        // A frame is far below 4 GiB: the stream has a limit.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(&Sha256::digest(&body)[..HASH]);
        self.bytes.extend(body);
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct ViewLog {
    files: [PathBuf; 2],
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    /// `None`: something is missing in it, so nothing may follow.
    file: Option<File>,
    turn: usize,
    /// The View of the last turn isn't on disk yet.
    unsaved: bool,
}

impl ViewLog {
    /// A log of what comes after `revision`, which is on disk.
    pub(crate) fn begin(paths: &Paths, revision: Revision) -> Self {
        let files = paths.view_logs();
        let file = start(&files[0], revision);
        clear(&files[1]);
        Self { files, writing: Mutex::new(Writing { file, turn: 0, unsaved: false }) }
    }

    /// Writes records down, then does what makes their changes known: nobody sees one without the other.
    pub(crate) fn record<T>(&self, records: &Records, make_known: impl FnOnce() -> T) -> T {
        let mut writing = self.lock();
        if let Some(file) = &mut writing.file
            && let Err(error) = file.write_all(&records.bytes)
        {
            told(&self.files[writing.turn], &error);
            writing.file = None;
        }
        if records.ends {
            writing.file = None;
        }
        make_known()
    }

    /// From now on the other file is written. Returns the View as it is at this moment; once it is on disk, what was written
    /// before isn't needed any more ([`Self::forget_before`]). While the View of the last turn couldn't be written, both files
    /// are needed, and the same one goes on.
    pub(crate) fn turn(&self, view: impl FnOnce() -> Arc<View>) -> Arc<View> {
        let mut writing = self.lock();
        let view = view();
        if !std::mem::replace(&mut writing.unsaved, true) {
            writing.turn = 1 - writing.turn;
            writing.file = start(&self.files[writing.turn], view.revision());
        } else if writing.file.is_none() {
            // Something is missing in it: what follows stands on this View.
            writing.file = start(&self.files[writing.turn], view.revision());
        }
        view
    }

    /// The View is on disk as it was at the last [`Self::turn`].
    pub(crate) fn forget_before(&self) {
        let mut writing = self.lock();
        writing.unsaved = false;
        clear(&self.files[1 - writing.turn]);
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a View from the disk what came later. Says whether that was anything.
pub(crate) fn replay(paths: &Paths, view: &mut View) -> bool {
    let before = view.revision();
    let mut logs: Vec<_> = paths.view_logs().iter().filter_map(|path| read(path)).collect();
    logs.sort_by_key(|log| log.from);
    for log in logs {
        // Something is missing between the two.
        if log.from > view.revision() {
            break;
        }
        for (revision, update) in log.updates {
            if let Err(error) = view.fold(update) {
                tracing::warn!(%error, revision = revision.0, "the rest of the log of the view can't be used");
                return view.revision() != before;
            }
        }
    }
    view.revision() != before
}

/// Removes the log: it belongs to another View.
///
/// Fails when a file can't be removed.
pub(crate) fn remove(paths: &Paths) -> Result<(), Error> {
    paths.view_logs().iter().try_for_each(|path| weft_process::durable_remove(path).map_err(|e| e.envelope()))
}

struct Log {
    from: Revision,
    updates: Vec<(Revision, Update)>,
}

/// The file as far as it is whole; `None`: there is nothing in it.
fn read(path: &Path) -> Option<Log> {
    let bytes = match weft_process::read_limited(path, limits::VIEW_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            if !error.is_missing_file() {
                tracing::warn!(error = %error.envelope(), "a log of the view can't be read");
            }
            return None;
        }
    };
    let mut rest = bytes.as_slice();
    let Some(Frame::InSync(from)) = next(&mut rest) else { return None };
    let mut updates = Vec::new();
    while let Some(Frame::Delta { revision, upserts, deletes }) = next(&mut rest) {
        updates.push((revision, Update::Delta { revision, upserts, deletes }));
    }
    Some(Log { from, updates })
}

/// The next record; `None` at the end, or where the file is cut or damaged.
fn next(rest: &mut &[u8]) -> Option<Frame> {
    let (head, behind) = rest.split_at_checked(HEAD)?;
    let (length, hash) = head.split_at_checked(HEAD - HASH)?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (body, behind) = behind.split_at_checked(length)?;
    if Sha256::digest(body)[..HASH] != *hash {
        return None;
    }
    *rest = behind;
    WatchResponse::decode(body).ok()?.try_into().ok()
}

/// An empty log from `revision` on; `None` when it can't be written.
fn start(path: &Path, revision: Revision) -> Option<File> {
    let mut first = Records::default();
    first.push(&in_sync_frame(revision));
    let begun = open(path).and_then(|mut file| file.write_all(&first.bytes).map(|()| file));
    begun.inspect_err(|error| told(path, error)).ok()
}

/// Nothing is read from an empty file.
fn clear(path: &Path) {
    if let Err(error) = open(path) {
        told(path, &error);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(weft_process::MODE_PRIVATE).open(path)
}

fn told(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "the log of the view can't be written; after a crash a few seconds are missing");
}

#[cfg(test)]
#[path = "view_log_tests.rs"]
mod tests;
