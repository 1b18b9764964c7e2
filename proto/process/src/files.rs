//! Files that are whole or absent after a crash, and reads with a limit.
//!
//! Every call blocks and may wait for the disk: not for the workers of an async runtime (use a blocking thread there).

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Error;

/// Mode of files with secrets.
pub const MODE_PRIVATE: u32 = 0o600;

/// Mode of files that everybody may read.
pub const MODE_PUBLIC: u32 = 0o644;

/// Replaces a file so that after a crash it holds the old or the new bytes, whole: temporary file in the same
/// directory, fsync, rename, fsync of the directory. `mode` is set exactly, whatever the umask.
///
/// Fails with [`Error::File`]; the old file is then untouched and no temporary file stays behind.
pub fn durable_replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let directory = directory_of(path);
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| rename(&temporary, path));
    if let Err(source) = written {
        // Best effort: the file may not exist, and the first error is the one that matters.
        let _gone = fs::remove_file(&temporary);
        return Err(Error::file("write", path, source));
    }
    sync_directory(directory).map_err(|source| Error::file("sync the directory of", path, source))
}

/// Removes a file durably; a missing one counts as removed.
pub fn durable_remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(directory_of(path))
            .map_err(|source| Error::file("sync the directory of", path, source)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::file("remove", path, source)),
    }
}

/// Reads a whole file of at most `limit` bytes. Fails with [`Error::FileTooLarge`] beyond it, without reading on.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|source| Error::file("read", path, source))?;
    read_open(file, path, limit)
}

/// Like [`read_limited`], for files with secrets: fails with [`Error::KeyExposed`] when group or others have any
/// permission on it. The mode is that of the opened file, so it can't be exchanged in between.
pub fn read_private(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|source| Error::file("read", path, source))?;
    let mode = file.metadata().map_err(|source| Error::file("read", path, source))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed { path: path.to_owned(), mode });
    }
    read_open(file, path, limit)
}

/// Makes a directory of mode 0700 with all its parents; an existing one is kept and narrowed to 0700.
pub fn private_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(|source| Error::file("make", path, source))
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::file("read", path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Error::FileTooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // The open mode is narrow from the start: a secret is never readable by others, not even for a moment.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that may rename: both files are synced around it"
)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// A name no other writer uses: process id and a counter. It begins with a dot, so `*.toml` and the like skip it.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.tmp", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    directory_of(path).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_has_the_new_bytes_and_mode_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        durable_replace(&path, b"old", MODE_PUBLIC).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        durable_replace(&path, b"new", MODE_PRIVATE).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode_of(&path)), (b"new".to_vec(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replace_keeps_the_old_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        let error = durable_replace(&path, b"new", MODE_PRIVATE).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_stop_at_their_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_limited(&path, 4), Err(Error::FileTooLarge { limit: 4, .. })));
        assert!(read_limited(&dir.path().join("none"), 4).unwrap_err().is_missing_file());
        // A file without end is refused, not read for ever.
        assert!(matches!(read_limited(Path::new("/dev/zero"), 10), Err(Error::FileTooLarge { .. })));
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        durable_replace(&path, b"k", MODE_PRIVATE).unwrap();
        assert_eq!(read_private(&path, 10).unwrap(), b"k");
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_private(&path, 10), Err(Error::KeyExposed { .. })), "{mode:o}");
        }
    }

    #[test]
    fn removing_twice_is_fine_and_directories_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        private_dir(&path).unwrap();
        assert_eq!(mode_of(&path), 0o700);
        let file = path.join("f");
        durable_replace(&file, b"", MODE_PRIVATE).unwrap();
        durable_remove(&file).unwrap();
        durable_remove(&file).unwrap();
    }
}
