//! Room for the worst: a file of 64 MiB that can be given up, and how full the disk is.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::Error;

/// Bytes held back for deletes, configuration changes and snapshots when the disk is full.
const RESERVE: u64 = 64 << 20;

/// How full the file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an unprivileged process may still write.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

impl Space {
    /// Below a tenth: new objects are refused, deletes are not.
    pub const fn is_low(self) -> bool {
        self.free < self.total / 10
    }
}

/// Makes the reserve if it isn't there; a file system without `fallocate` has none.
pub(crate) fn ensure(path: &Path) -> Result<(), Error> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(Error::file("made", path))?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE).map_err(io::Error::from) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported || e.kind() == io::ErrorKind::StorageFull => Ok(()),
        other => other.map_err(Error::file("made", path)),
    }
}

/// How full the file system of a directory is.
pub(crate) fn space(path: &Path) -> Result<Space, Error> {
    let found = statvfs(path).map_err(|e| Error::file("examined", path)(e.into()))?;
    Ok(Space { free: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
}
