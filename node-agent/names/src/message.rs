//! DNS messages (RFC 1035, RFC 6891): a strict parser of queries that copies nothing, a writer of replies, a strict parser
//! of what upstreams say.
//!
//! Not here: what the answer is (`zone`, `cache`, `forward`).

mod answer;
mod body;
mod code;
mod name;
mod query;
mod question;
mod record;
mod reply;
mod shown;
mod wire;

pub use code::{ExtendedError, Rcode, RecordType};
pub use name::{DomainName, NameError};
pub use query::{Edns, Query, Reject, parse};
pub use shown::{Shown, ShownQuestion, ShownRecord, question, show};
pub use wire::Transport;

pub(crate) use answer::{Expected, Verdict, read_answer};
pub(crate) use body::{Age, Body};
pub(crate) use name::{Lowered, MAX_NAME, push_label, within};
pub(crate) use question::{Question, write_query};
pub(crate) use reply::{Fixed, Reply, Section, bare};
pub(crate) use wire::{CLASS_IN, HEADER};
