//! Room for the worst: a file of 64 MiB that is given up when the disk is all but full, and how full it is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use weft_process::durable_remove;

use crate::Error;

/// Bytes held back for removals, configuration changes and snapshots when the disk is full.
const RESERVE: u64 = 64 << 20;
/// Below so many free bytes the reserve is given up.
const LAST: u64 = 16 << 20;
/// Free bytes that are always enough: log and state are bounded far below.
const AMPLE: u64 = 1 << 30;

/// How full the file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an unprivileged process may still write, without what the reserve is to have.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

impl Space {
    /// Below 64 MiB, or below a tenth and 1 GiB: nothing is added any more, removals go on.
    pub const fn is_low(self) -> bool {
        self.free < RESERVE || (self.free < self.total / 10 && self.free < AMPLE)
    }
}

/// What has to be done about the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Keep,
    GiveUp,
    Make,
}

/// The reserve of a data directory.
#[derive(Debug)]
pub struct Reserve {
    directory: PathBuf,
    held: bool,
    /// False on a file system that can't hold room back.
    possible: bool,
}

impl Reserve {
    /// The reserve of a directory; made at the first look if there is room for it.
    pub(crate) fn new(directory: &Path) -> Self {
        let held = fs::metadata(file(directory)).is_ok_and(|meta| meta.blocks() * 512 >= RESERVE);
        Self { directory: directory.to_owned(), held, possible: true }
    }

    /// Looks how full the disk is, gives the reserve up when nothing else is left, makes it again once there is room.
    /// To be called about each second; may wait for the disk.
    pub fn look(&mut self) -> Result<Space, Error> {
        let found =
            statvfs(&self.directory).map_err(|e| Error::file("examined", &self.directory)(e.into()))?;
        let (free, total) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
        let (step, space) = plan(free, total, self.held);
        match step {
            Step::GiveUp => {
                durable_remove(&file(&self.directory))?;
                self.held = false;
            }
            Step::Make if self.possible => self.make()?,
            Step::Make | Step::Keep => {}
        }
        Ok(space)
    }

    fn make(&mut self) -> Result<(), Error> {
        let path = file(&self.directory);
        let made = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE)?));
        match made.map_err(|e| (e.kind(), e)) {
            Ok(()) => self.held = true,
            Err((io::ErrorKind::StorageFull, _)) => durable_remove(&path)?,
            Err((io::ErrorKind::Unsupported, _)) => {
                self.possible = false;
                durable_remove(&path)?;
            }
            Err((_, e)) => return Err(Error::file("made", path)(e)),
        }
        Ok(())
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("reserve")
}

/// A reserve that isn't held still counts as taken: giving it up makes no room for new objects.
fn plan(free: u64, total: u64, held: bool) -> (Step, Space) {
    let space = Space { free: if held { free } else { free.saturating_sub(RESERVE) }, total };
    let step = match held {
        true if free < LAST => Step::GiveUp,
        false if !space.is_low() => Step::Make,
        true | false => Step::Keep,
    };
    (step, space)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Free and all MiB, whether the reserve is held -> what to do, whether the disk is low.
    fn check(free: u64, total: u64, held: bool, step: Step, low: bool) {
        let (planned, space) = plan(free * MIB, total * MIB, held);
        assert_eq!((planned, space.is_low()), (step, low), "{free} of {total} MiB, held: {held}");
    }

    #[test]
    fn the_reserve_goes_last_and_comes_back_only_with_room_for_more() {
        check(500, 1_000, true, Step::Keep, false);
        check(500, 1_000, false, Step::Make, false);
        check(99, 1_000, true, Step::Keep, true);
        check(100, 1_000, true, Step::Keep, false);
        check(163, 1_000, false, Step::Keep, true);
        check(164, 1_000, false, Step::Make, false);
        check(63, 200, true, Step::Keep, true);
        check(15, 200, true, Step::GiveUp, true);
        check(79, 200, false, Step::Keep, true);
        check(0, 200, false, Step::Keep, true);
        // A tenth of a large disk is more than anything here needs.
        check(1_024, 1_000_000, true, Step::Keep, false);
        check(1_023, 1_000_000, true, Step::Keep, true);
    }

    #[test]
    fn the_reserve_takes_the_room_it_promises_and_is_found_again() {
        let dir = TempDir::new().unwrap();
        let mut reserve = Reserve::new(dir.path());
        assert!(!reserve.held);
        reserve.make().unwrap();
        assert!(reserve.held && Reserve::new(dir.path()).held);
        let space = reserve.look().unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        durable_remove(&file(dir.path())).unwrap();
        assert!(!Reserve::new(dir.path()).held);
    }
}
