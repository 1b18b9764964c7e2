//! Errors of this crate, and their way onto the wire and back.

use std::{fmt, io, path::Path};

use weft_errors::{
    ALREADY_INITIALIZED, AUTHORITY_MISMATCH, Code, Coded, INTERNAL, KEY_EXPOSED, NO_CERTIFICATE, ROLE_DENIED,
    UNREACHABLE, USAGE,
};
use weft_model::{AuthorityHash, Role, WallTime};

/// One endpoint that was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The endpoint as it was given.
    pub endpoint: String,
    /// Why it failed.
    pub why: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.why)
    }
}

/// What can go wrong between processes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint could be reached.
    #[error("no replica of the control plane can be reached")]
    Unreachable {
        /// All that were tried.
        attempts: Vec<Attempt>,
    },
    /// The server's authority isn't the pinned one; nothing was sent.
    #[error("{endpoint} belongs to another authority than {expected}")]
    AuthorityMismatch {
        /// The endpoint.
        endpoint: String,
        /// The pinned hash.
        expected: AuthorityHash,
        /// The hash that the server showed, if it showed an authority at all.
        found: Option<AuthorityHash>,
    },
    /// The server's certificate was refused.
    #[error("{endpoint} is refused as a replica")]
    ServerRefused {
        /// The endpoint.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// An endpoint isn't `HOST:PORT`.
    #[error(
        "{text:?} is not an endpoint: write ADDRESS:PORT, for example 192.168.1.10:7443 or [fd00::1]:7443"
    )]
    EndpointInvalid {
        /// What was given.
        text: String,
    },
    /// A certificate is out of its time.
    #[error("the certificate expired at {expired} ms since 1970")]
    IdentityExpired {
        /// When.
        expired: WallTime,
    },
    /// A certificate, or parts of an identity that don't belong together.
    #[error("{}{why}", file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default())]
    IdentityInvalid {
        /// The file it was read from.
        file: Option<String>,
        /// What is wrong.
        why: String,
    },
    /// A private key can't be used. Never shows the key.
    #[error("the private key can't be used: {why}")]
    KeyInvalid {
        /// What is wrong.
        why: String,
    },
    /// The caller showed no certificate, or one that doesn't count.
    #[error("the call needs a client certificate")]
    NoCertificate {
        /// Why the one that was shown doesn't count; empty when none was shown.
        why: String,
    },
    /// The caller's role may not do this.
    #[error("role {have} may not do this")]
    RoleDenied {
        /// The caller's role.
        have: Role,
        /// Roles that may.
        need: Vec<Role>,
    },
    /// An address or socket can't be listened on.
    #[error("cannot listen on {place}")]
    Listen {
        /// Address or path.
        place: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Another process serves the socket.
    #[error("another process serves {path}")]
    SocketTaken {
        /// Path of the socket.
        path: String,
    },
    /// A file of the identity.
    #[error(transparent)]
    File(#[from] weft_process::Error),
    /// TLS could not be set up with what is on disk.
    #[error("TLS can't be set up: {why}")]
    Tls {
        /// What the library says.
        why: String,
    },
}

impl Error {
    /// An identity that doesn't hold together.
    pub fn identity(why: impl fmt::Display) -> Self {
        Self::IdentityInvalid { file: None, why: why.to_string() }
    }

    pub(crate) fn key(error: rcgen::Error) -> Self {
        Self::KeyInvalid { why: error.to_string() }
    }

    pub(crate) fn tls(why: impl fmt::Display) -> Self {
        Self::Tls { why: why.to_string() }
    }

    /// Names the file an identity came from.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        if let Self::IdentityInvalid { file: None, why } = self {
            return Self::IdentityInvalid { file: Some(path.display().to_string()), why };
        }
        if let Self::KeyInvalid { why } = self {
            return Self::KeyInvalid { why: format!("{}: {why}", path.display()) };
        }
        self
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::AuthorityMismatch { .. } | Self::ServerRefused { .. } => &AUTHORITY_MISMATCH,
            Self::EndpointInvalid { .. } | Self::Listen { .. } => &USAGE,
            Self::IdentityExpired { .. } | Self::IdentityInvalid { .. } | Self::NoCertificate { .. } => {
                &NO_CERTIFICATE
            }
            Self::KeyInvalid { .. } => &KEY_EXPOSED,
            Self::RoleDenied { .. } => &ROLE_DENIED,
            Self::SocketTaken { .. } => &ALREADY_INITIALIZED,
            Self::File(error) => error.code(),
            Self::Tls { .. } => &INTERNAL,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::Unreachable { attempts } => attempts.iter().fold(error, weft_errors::Error::because),
            Self::AuthorityMismatch { endpoint, found, .. } => {
                let error = error.object("endpoint", "", endpoint);
                match found {
                    Some(found) => error.because(format!("it showed {found}")),
                    None => error.because("it showed no authority"),
                }
            }
            Self::ServerRefused { endpoint, why } => error.object("endpoint", "", endpoint).because(why),
            Self::NoCertificate { why } if !why.is_empty() => error.because(why),
            Self::RoleDenied { need, .. } => {
                let names: Vec<_> = need.iter().map(ToString::to_string).collect();
                error.because(format!("it needs role {}", names.join(" or ")))
            }
            Self::Listen { source, .. } => error.because(source),
            Self::SocketTaken { .. } => {
                error.try_this("stop the other process first", "systemctl stop weft-agent")
            }
            Self::KeyInvalid { .. } => error.try_this("join again to get a new key and certificate", ""),
            Self::File(inner) => inner.envelope(),
            Self::NoCertificate { .. }
            | Self::EndpointInvalid { .. }
            | Self::IdentityExpired { .. }
            | Self::IdentityInvalid { .. }
            | Self::Tls { .. } => error,
        }
    }
}
