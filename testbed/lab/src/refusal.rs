//! Why a lab command ends without success, and the exit status that says so.

use weft_errors::ExitCode;

/// An end of a command that a caller may tell apart by exit status; anything else ends with 1.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A flag, a file or a name is wrong; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// A machine, pod, link or lab isn't there.
    #[error("{0}")]
    NotFound(String),
    /// Something the lab waits for didn't come in time.
    #[error("{0}")]
    Timeout(String),
    /// The command ran inside and ended with this status, or was ended by a signal (128 + its number).
    #[error("the command ended with status {0}")]
    Ended(u8),
}

impl Refusal {
    /// Exit status as in the table of all binaries.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => ExitCode::Usage as u8,
            Self::NotFound(_) => ExitCode::NotFound as u8,
            Self::Timeout(_) => ExitCode::Timeout as u8,
            Self::Ended(status) => *status,
        }
    }

    /// The error that a supervisor told in words and status.
    pub(crate) fn from_exit(why: String, exit: u8) -> anyhow::Error {
        match exit {
            2 => Self::Usage(why).into(),
            4 => Self::NotFound(why).into(),
            7 => Self::Timeout(why).into(),
            _ => anyhow::Error::msg(why),
        }
    }
}
