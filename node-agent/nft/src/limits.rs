//! Every bound of the crate and what it means.

/// Largest transaction in bytes: what an unprivileged socket buffer surely holds (design, section 6).
pub const TRANSACTION_BYTES: usize = 384 * 1024;
/// Largest list of elements in one message, in bytes. The list is one attribute whose length has 16 bits.
pub const ELEMENT_LIST_BYTES: usize = 60_000;
/// Most bytes of comment on a rule or table: nf_tables keeps 256 bytes of user data (`NFT_USERDATA_MAXLEN`).
pub const COMMENT_BYTES: usize = 128;
