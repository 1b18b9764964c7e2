//! What can be wrong with bytes from the kernel or with a batch before it is sent.

use crate::limits;

/// An error of building or reading netlink bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A batch that no unprivileged socket buffer holds: split it.
    #[error("a transaction of {size} bytes is larger than {} bytes; split it", limits::TRANSACTION_BYTES)]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The kernel's bytes end in the middle of something, or claim an impossible length.
    #[error("a {what} from the kernel is cut short")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A message lacks an attribute that it can't be understood without.
    #[error("a {what} from the kernel lacks its {attribute}")]
    Missing {
        /// The kind of message.
        what: &'static str,
        /// The attribute.
        attribute: &'static str,
    },
}
