//! Why a store can't be opened or went wrong.

use std::{io, path::PathBuf, time::Duration};

use weft_errors::{Code, Coded};

use crate::Owner;

/// An error of the stores.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory can't be used.
    #[error("{} can't be {what}", .path.display())]
    File {
        /// `read`, `written`, `locked`, …
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A durable write of a whole file failed.
    #[error("a file of the store can't be replaced")]
    Replace(#[from] weft_process::Error),
    /// Another process has the directory.
    #[error("another process uses {}", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is no replica in the directory.
    #[error("{} holds no replica", .path.display())]
    NotInitialized {
        /// The directory.
        path: PathBuf,
    },
    /// There is a replica in the directory already.
    #[error("{} holds a replica already", .path.display())]
    AlreadyInitialized {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was written by a newer release.
    #[error("{} has format {found}, this release knows up to {known}", .path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// What is there.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// Something in the directory can be read by others.
    #[error("{} can be used by others (mode {mode:o})", .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The log is another's.
    #[error(
        "{} is the log of replica {} of cluster {}, not of replica {} of cluster {}",
        .path.display(), .found.replica, .found.cluster, .expected.replica, .expected.cluster
    )]
    OtherOwner {
        /// The log.
        path: PathBuf,
        /// Theirs.
        found: Owner,
        /// Ours.
        expected: Owner,
    },
    /// What is stored can't be understood.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// What.
        what: &'static str,
        /// How.
        why: String,
    },
    /// The log engine failed; its state is unknown until it is opened again.
    #[error("the log can't be {what}: {why}")]
    Log {
        /// `opened`, `written`, …
        what: &'static str,
        /// The engine's words.
        why: String,
    },
    /// The state store failed.
    #[error("the applied state can't be {what}: {why}")]
    State {
        /// `opened`, `written`, …
        what: &'static str,
        /// The engine's words.
        why: String,
    },
    /// Opening took too long.
    #[error("the applied state wasn't open after {} s", .limit.as_secs())]
    Slow {
        /// How long was waited.
        limit: Duration,
    },
    /// A thread of the disk ended or can't keep up: more jobs wait than it may ever have.
    #[error("the disk doesn't keep up: {waiting} writes wait")]
    Stuck {
        /// How many.
        waiting: usize,
    },
}

impl Error {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    pub(crate) fn log(what: &'static str) -> impl FnOnce(raft_engine::Error) -> Self {
        move |e| Self::Log { what, why: e.to_string() }
    }

    pub(crate) fn state(what: &'static str) -> impl FnOnce(sled::Error) -> Self {
        move |e| Self::State { what, why: e.to_string() }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::File { .. } | Self::Replace(_) => &weft_errors::FILE_UNREADABLE,
            Self::Locked { .. } => &weft_errors::STORE_LOCKED,
            Self::NotInitialized { .. } => &weft_errors::NOT_INITIALIZED,
            Self::AlreadyInitialized { .. } => &weft_errors::ALREADY_INITIALIZED,
            Self::Format { .. } => &weft_errors::VERSION_SKEW,
            Self::Exposed { .. } => &weft_errors::KEY_EXPOSED,
            Self::OtherOwner { .. } => &weft_errors::OTHER_CLUSTER,
            Self::Damaged { .. } | Self::Log { .. } | Self::State { .. } => &weft_errors::STORE_CORRUPT,
            Self::Slow { .. } | Self::Stuck { .. } => &weft_errors::BUSY,
        }
    }
}
