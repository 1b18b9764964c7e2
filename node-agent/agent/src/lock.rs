//! Only one agent works on a state directory.

use std::fs::{File, OpenOptions};

use rustix::fs::{FlockOperation, flock};
use weft_errors::{Error, FILE_UNREADABLE, STORE_LOCKED};

use crate::paths::Paths;

/// Held as long as it lives; the kernel frees it with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. Fails when another agent has it.
    pub(crate) fn take(paths: &Paths) -> Result<Self, Error> {
        let path = paths.lock();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| {
            Error::new(&FILE_UNREADABLE, "the agent's lock can't be opened")
                .object("file", "", path.display())
                .because(error)
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) => Err(Error::new(&STORE_LOCKED, "another weft-agent runs on this machine")
                .object("file", "", path.display())
                .because(error)
                .try_this("stop it first", "systemctl stop weft-agent")),
        }
    }
}
