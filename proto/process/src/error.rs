//! Errors of this crate.

use std::{io, path::PathBuf};

use weft_errors::{CONFIG_INVALID, Code, Coded, FILE_UNREADABLE, KEY_EXPOSED, TOO_LARGE, USAGE};

use crate::Problem;

/// What can go wrong around a process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read, written or made.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried: `read`, `write`, `make`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file is longer than its reader takes.
    #[error("{} is larger than {limit} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file with secrets can be read or written by others.
    #[error("{} has mode {mode:04o}, wider than 0600", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The configuration has problems; all of them at once.
    #[error("{}", config_message(problems))]
    Config {
        /// The problems, in order of files, environment, flags.
        problems: Vec<Problem>,
    },
    /// The log filter can't be understood.
    #[error("the log filter {text:?} can't be understood: {why}")]
    LogFilter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

fn config_message(problems: &[Problem]) -> String {
    match problems {
        [one] => format!("the configuration has a problem: {}", one.message),
        many => format!("the configuration has {} problems", many.len()),
    }
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    /// Whether it says that a file does not exist.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::File { .. } => &FILE_UNREADABLE,
            Self::FileTooLarge { .. } => &TOO_LARGE,
            Self::KeyExposed { .. } => &KEY_EXPOSED,
            Self::Config { .. } => &CONFIG_INVALID,
            Self::LogFilter { .. } => &USAGE,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::File { path, source, .. } => error.object("file", "", path.display()).because(source),
            Self::FileTooLarge { path, .. } => error.object("file", "", path.display()),
            Self::KeyExposed { path, .. } => error.object("file", "", path.display()).try_this(
                "let only its owner read it, and replace the key if others could have read it",
                format!("chmod 600 {}", path.display()),
            ),
            Self::Config { problems } => match problems.as_slice() {
                [one] => error.field(one.place()),
                many => many.iter().fold(error, |error, problem| error.because(problem)),
            },
            Self::LogFilter { .. } => error.field("WEFT_LOG"),
        }
    }
}
