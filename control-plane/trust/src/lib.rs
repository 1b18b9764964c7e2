//! The cluster's certificate authority and its join tokens.
//!
//! In: signing requests, renewals, token texts. Out: certificates, token records. Not here: what roles may do
//! (weft-server), which tokens and nodes there are (weft-core), TLS and identities of clients (weft-rpc).

mod authority;
mod error;
mod renew;
mod token;
mod tries;

pub use authority::{Authority, CERTIFICATE_LIFE_MS};
pub use error::Error;
pub use renew::{RENEWAL_GRACE_MS, Renewed};
pub use token::{JoinToken, TOKEN_LIFE_MS};
pub use tries::Tries;
