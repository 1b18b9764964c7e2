//! Errors of the nf_tables socket.

use std::io;

use nix::errno::Errno;
use weft_errors::{Code, Coded, NFT_FAILED};
use weft_nft::Failure;

/// What can go wrong between us and nf_tables.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The kernel refused; nothing was changed.
    #[error("the kernel refused {object}: {}{}", errno.desc(), text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Refused {
        /// What it refused: `rule 3 of chain inet weft marks (…)`, `element { … } of set …`.
        object: String,
        /// Error number.
        errno: Errno,
        /// The kernel's own words, where it gave any.
        text: Option<String>,
    },
    /// Others committed again and again before us; nothing was changed.
    #[error("other programs changed nftables {tries} times while a transaction was made")]
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// Others committed again and again while we read.
    #[error("nftables kept changing while it was read ({tries} tries)")]
    Unsteady {
        /// How often it was tried.
        tries: u32,
    },
    /// The kernel didn't answer in time.
    #[error("nf_tables did not answer within {seconds} s")]
    Deadline {
        /// The limit.
        seconds: u64,
    },
    /// A transaction or answer that can't be.
    #[error(transparent)]
    Bytes(#[from] weft_nft::Error),
    /// A socket call failed.
    #[error("{what} failed")]
    Socket {
        /// The call, in words.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl NftError {
    pub(super) fn refused(object: String, failure: Failure) -> Self {
        let text = (!failure.text.is_empty()).then_some(failure.text);
        Self::Refused { object, errno: Errno::from_raw(failure.errno), text }
    }

    /// The error number, where the kernel refused.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Contended { .. }
            | Self::Unsteady { .. }
            | Self::Deadline { .. }
            | Self::Bytes(_)
            | Self::Socket { .. } => None,
        }
    }
}

impl Coded for NftError {
    fn code(&self) -> &'static Code {
        &NFT_FAILED
    }
}
