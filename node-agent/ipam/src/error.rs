//! What the ledger refuses, and what is wrong with a journal.

use std::net::IpAddr;

use weft_errors::{
    ADDRESS_TAKEN, ADDRESSES_EXHAUSTED, ATTACHMENT_EXISTS, CNI_INVALID, Code, Coded, JOURNAL_CORRUPT,
};
use weft_model::{AttachmentId, Family};

/// Errors of the ledger and its journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The attachment holds addresses already: ADD came twice.
    #[error("container {} already has an interface {}", attachment.container, attachment.interface)]
    AttachmentExists {
        /// Which one.
        attachment: AttachmentId,
    },
    /// No address of the family is free in any block of the node.
    #[error("no {family} address is free on this node: {held} held, {resting} resting, {blocks} blocks")]
    Exhausted {
        /// The family.
        family: Family,
        /// Addresses held by pods.
        held: u128,
        /// Addresses that rest.
        resting: u128,
        /// Blocks of the family.
        blocks: usize,
    },
    /// A requested address is held by another attachment.
    #[error("address {address} is held by container {}", holder.container)]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: AttachmentId,
    },
    /// A requested address was released a moment ago.
    #[error("address {address} rests for {rest_ms} ms more after its last pod")]
    Resting {
        /// The address.
        address: IpAddr,
        /// How long still, milliseconds.
        rest_ms: u64,
    },
    /// A requested address can't be given out here.
    #[error("address {address} can't be requested: {why}")]
    NotOurs {
        /// The address.
        address: IpAddr,
        /// Why.
        why: &'static str,
    },
    /// A record of the journal is damaged and good ones follow it.
    #[error("the record at byte {offset} of the journal is damaged: {why}")]
    Corrupt {
        /// Position of the record in the file.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::AttachmentExists { .. } => &ATTACHMENT_EXISTS,
            Self::Exhausted { .. } => &ADDRESSES_EXHAUSTED,
            Self::Taken { .. } | Self::Resting { .. } => &ADDRESS_TAKEN,
            Self::NotOurs { .. } => &CNI_INVALID,
            Self::Corrupt { .. } => &JOURNAL_CORRUPT,
        }
    }
}
