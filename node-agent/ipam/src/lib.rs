//! Addresses of one node: blocks it holds, who has which address, what rests after release, and the journal of it all.
//!
//! In: leases from the View, requests of attachments, the time. Out: [`Entry`]s to be made durable before an answer
//! leaves, the [`Ledger`] they add up to, and the [`Step`]s that get blocks and give them back. Not here: the file (agent), the grant of blocks (weft-core).
//! Invariants: no address is held twice; every address of a block is fresh, held or resting; replaying the entries
//! gives the same ledger.

mod block;
mod codec;
mod entry;
mod error;
mod journal;
mod leasing;
mod ledger;
mod probing;
mod settings;

pub use entry::{BlockState, BootId, Entry, Holding, Origin, Serving, Uptime};
pub use error::Error;
pub use journal::{Damage, Journal, MAX_RECORD, Scan};
pub use leasing::{Leasing, Shown, Step};
pub use ledger::{Ledger, Request, Usage};
pub use settings::Settings;
