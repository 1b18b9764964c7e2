//! Network namespaces: opening, entering on a thread of its own, and named ones that last.
//!
//! A namespace is entered only by a plain thread that ends afterwards: `setns` on a thread of a runtime would leak into
//! other tasks. Sockets opened inside work outside. Source: setns(2), network_namespaces(7).

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use crate::error::Error;

const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
}

impl Namespace {
    /// Opens a namespace by its path. Fails when it is gone or is no network namespace.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |why, source| Error::Namespace { path: path.clone(), why, source };
        // Without O_NONBLOCK the path of a pipe would keep us waiting for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = file.map_err(|e| failed("can't be opened", Some(e)))?;
        let kind = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(|e| failed("can't be identified", Some(e)))?;
        let metadata = file.metadata().map_err(|e| failed("can't be identified", Some(e)))?;
        // Bind mounts show the path of the mount, so the file system's own name of it may be hidden: ask by entering.
        let named = kind.to_string_lossy().starts_with("net:[");
        let namespace = Self { identity: (metadata.dev(), metadata.ino()), file, path };
        if !named {
            namespace.run(|| ())?;
        }
        Ok(namespace)
    }

    /// Opens a pod's namespace: one that isn't the caller's own.
    pub fn open_foreign(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let namespace = Self::open(path)?;
        if namespace.identity == Self::current()?.identity {
            let why = "is the node's own, not a pod's";
            return Err(Error::Namespace { path: namespace.path, why, source: None });
        }
        Ok(namespace)
    }

    /// The calling thread's namespace.
    pub fn current() -> Result<Self, Error> {
        let failed =
            |e: io::Error| Error::Namespace { path: OWN.into(), why: "can't be opened", source: Some(e) };
        let file = File::open(OWN).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        Ok(Self { file, path: OWN.into(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// Path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode: equal for two handles of one namespace while both are open.
    pub const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Runs a closure on a thread of its own inside the namespace and waits for it.
    ///
    /// Fails when the namespace can't be entered or the thread can't be started. A panic of the closure is passed on.
    pub fn run<T: Send>(&self, closure: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let failed = |why, source| Error::Namespace { path: self.path.clone(), why, source: Some(source) };
        thread::scope(|scope| {
            let inside = || {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                Ok::<T, Errno>(closure())
            };
            let worker = thread::Builder::new()
                .name("weft-netns".to_owned())
                .spawn_scoped(scope, inside)
                .map_err(|e| failed("no thread can be started for it", e))?;
            match worker.join() {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(Errno::EINVAL)) => Err(failed("isn't a network namespace", Errno::EINVAL.into())),
                Ok(Err(errno)) => Err(failed("can't be entered", errno.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes a network namespace that lasts until [`remove_namespace`]: mounted at `directory/name`, loopback down.
///
/// Fails when the name exists. The directory is made (0755) if it is missing.
pub fn create_namespace(directory: &Path, name: &str) -> Result<Namespace, Error> {
    let path = directory.join(name);
    let failed = |why, source: io::Error| Error::Namespace { path: path.clone(), why, source: Some(source) };
    fs::create_dir_all(directory).map_err(|e| failed("its directory can't be made", e))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path);
    made.map_err(|e| failed("its mount point can't be made", e))?;
    let outcome = thread::scope(|scope| {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some(OWN), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        };
        let worker = thread::Builder::new().name("weft-netns".to_owned()).spawn_scoped(scope, inside);
        let worker = worker.map_err(|e| failed("no thread can be started for it", e))?;
        match worker.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(errno)) => Err(failed("can't be made", errno.into())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match outcome.and_then(|()| Namespace::open(&path)) {
        Ok(namespace) => Ok(namespace),
        Err(error) => {
            // The first error is the one that matters.
            let _ = remove_namespace(directory, name);
            Err(error)
        }
    }
}

/// Takes the mount and its file away; processes inside keep the namespace alive. Removing what is gone is success.
pub fn remove_namespace(directory: &Path, name: &str) -> Result<(), Error> {
    let path = directory.join(name);
    let failed = |why, source: io::Error| Error::Namespace { path: path.clone(), why, source: Some(source) };
    loop {
        match umount2(&path, MntFlags::MNT_DETACH) {
            // Mounts may lie on each other.
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(failed("can't be unmounted", errno.into())),
        }
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed("its mount point can't be removed", e)),
    }
}
