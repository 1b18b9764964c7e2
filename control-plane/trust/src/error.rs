//! Errors of this crate. None of them ever shows a secret.

use weft_errors::{Code, Coded, INTERNAL, REQUEST_INVALID, STORE_CORRUPT, TOKEN_INVALID};

/// What can go wrong around the authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text isn't a join token.
    #[error("the text is not a join token: {why}")]
    TokenMalformed {
        /// What is wrong; never the text itself.
        why: &'static str,
    },
    /// A request for a certificate can't be granted.
    #[error("the certificate request can't be granted: {why}")]
    RequestInvalid {
        /// What is wrong.
        why: String,
    },
    /// The authority's files don't belong together or aren't an authority.
    #[error("the authority in {place} can't be used: {why}")]
    AuthorityInvalid {
        /// The directory, or where the parts came from.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The system has no random bytes to give.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The certificate library refused what we built.
    #[error("a certificate can't be made: {0}")]
    Library(#[from] rcgen::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] weft_process::Error),
    /// A key or certificate.
    #[error(transparent)]
    Identity(#[from] weft_rpc::Error),
}

impl Error {
    pub(crate) fn request(why: impl ToString) -> Self {
        Self::RequestInvalid { why: why.to_string() }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::TokenMalformed { .. } => &TOKEN_INVALID,
            Self::RequestInvalid { .. } => &REQUEST_INVALID,
            Self::AuthorityInvalid { .. } => &STORE_CORRUPT,
            Self::Random(_) | Self::Library(_) => &INTERNAL,
            Self::File(error) => error.code(),
            Self::Identity(error) => error.code(),
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        match self {
            Self::File(error) => error.envelope(),
            Self::Identity(error) => error.envelope(),
            Self::TokenMalformed { .. }
            | Self::RequestInvalid { .. }
            | Self::AuthorityInvalid { .. }
            | Self::Random(_)
            | Self::Library(_) => weft_errors::Error::new(self.code(), self.to_string()),
        }
    }
}
