//! What one code of the table says.

use std::fmt;

/// Exit status of all binaries (docs/reference/errors.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCode {
    /// 0: done, the asked-for condition holds.
    Done = 0,
    /// 1: ran, and the answer is no.
    No = 1,
    /// 2: wrong use: flag, file, missing confirmation.
    Usage = 2,
    /// 3: refused by the server: validation, conflict, overlap.
    Refused = 3,
    /// 4: a named object, namespace or node was not found.
    NotFound = 4,
    /// 5: not allowed: certificate, role, token.
    NotAllowed = 5,
    /// 6: unreachable, no leader.
    Unreachable = 6,
    /// 7: `--timeout` passed.
    Timeout = 7,
    /// 8: partial: each line says which object failed.
    Partial = 8,
    /// 70: a bug in Weft.
    Bug = 70,
    /// 130: interrupted.
    Interrupted = 130,
}

/// One registered code.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Number: prints as `W2203`.
    pub number: u16,
    /// CamelCase reason, the machine-readable name.
    pub reason: &'static str,
    /// What happened, one line.
    pub summary: &'static str,
    /// What usually causes it.
    pub causes: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Exit status of a command that fails with it.
    pub exit: ExitCode,
    /// Whether the same call may succeed later without any change.
    pub retryable: bool,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W{:04}", self.number)
    }
}
