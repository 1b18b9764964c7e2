//! DNS messages (RFC 1035, RFC 6891): a strict parser of queries that copies nothing, a writer of replies, a strict parser
//! of what upstreams say.
//!
//! Not here: what the answer is (`zone`, `cache`, `forward`).

mod answer;
mod code;
mod name;
mod query;
mod reply;
mod wire;

pub use code::{ExtendedError, Rcode, RecordType};
pub use name::{DomainName, NameError};
pub use query::{Edns, Query, Reject, parse};

pub(crate) use name::{Lowered, MAX_LABELS};
pub(crate) use reply::{Reply, bare};
pub use wire::Transport;

pub(crate) use wire::{CLASS_IN, HEADER, be16, be32};
