//! The CNI socket under its name: whoever deletes the file finds it made anew a moment later.
//!
//! Without that a `rm -rf /run/weft` would leave a healthy agent that no runtime can reach until it is restarted.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use crate::limits;

/// A listening socket that knows its file.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    listener: UnixListener,
    file: FileId,
}

/// Device and inode.
type FileId = (u64, u64);

impl Socket {
    /// Listens at `path`, 0600; makes its directory. The caller knows that no other agent lives: a file that is there is
    /// a dead one's.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Two could wait for one connection when a caller gives up in between.
        listener.set_nonblocking(true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { path: path.to_owned(), listener, file: file_id(path)? })
    }

    /// Makes the socket anew if its file is gone or another's. `true`: it was.
    fn keep(&mut self) -> io::Result<bool> {
        match file_id(&self.path) {
            Ok(file) if file == self.file => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        *self = Self::bind(&self.path)?;
        Ok(true)
    }

    /// The next connection; `None` when none came within a look's time.
    fn next(&self) -> io::Result<Option<UnixStream>> {
        let pause = Timespec::try_from(limits::SOCKET_LOOK).ok();
        let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
        match poll(&mut ready, pause.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match self.listener.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Connections until `stop`; `renewed` is called after the socket was made anew.
    pub(crate) fn connections(
        mut self,
        stop: CancellationToken,
        renewed: impl Fn(),
    ) -> impl Iterator<Item = io::Result<UnixStream>> {
        let mut looked = Instant::now();
        std::iter::from_fn(move || {
            while !stop.is_cancelled() {
                if looked.elapsed() >= limits::SOCKET_LOOK {
                    looked = Instant::now();
                    match self.keep() {
                        Ok(false) => {}
                        Ok(true) => {
                            tracing::warn!(path = %self.path.display(), "a socket of the agent was gone and has been made again");
                            renewed();
                        }
                        Err(error) => return Some(Err(error)),
                    }
                }
                if let Some(connection) = self.next().transpose() {
                    return Some(connection);
                }
            }
            None
        })
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_socket_whose_directory_was_deleted_is_served_again() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("weft");
        let path = run.join("cni.sock");
        let socket = Socket::bind(&path).unwrap();
        let (stop, renewals) = (CancellationToken::new(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let connections = socket.connections(stop.clone(), || {
                renewals.fetch_add(1, Ordering::SeqCst);
            });
            let served = scope.spawn(move || connections.filter_map(Result::ok).count());
            let connect = || UnixStream::connect(&path).ok();
            assert!(connect().is_some());
            for round in 1..=2 {
                fs::remove_dir_all(&run).unwrap();
                assert!(connect().is_none());
                let back =
                    weft_process::wait::until_blocking(Duration::from_secs(5), "the socket is back", connect);
                assert!(back.is_ok(), "round {round}");
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            stop.cancel();
            assert_eq!(served.join().unwrap(), 3);
        });
        assert_eq!(renewals.into_inner(), 2);
    }
}
