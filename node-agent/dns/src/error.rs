//! What can go wrong in the process as a whole.

use std::io;

use weft_errors::{Code, Coded};

/// Why the process can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory can't be made.
    #[error("the directory of the DNS process can't be made")]
    Directory(#[source] weft_process::Error),
    /// Its capabilities can't be given up.
    #[error("capabilities can't be given up")]
    Capabilities(#[source] io::Error),
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Directory(error) => error.code(),
            Self::Capabilities(_) => &weft_errors::INTERNAL,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::Directory(source) => error.because(source),
            Self::Capabilities(source) => error.because(source),
        }
    }
}
