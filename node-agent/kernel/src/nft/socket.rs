//! The netlink socket of nf_tables: large transactions out, decoded messages in.

use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use weft_nft::{Message, limits, messages};

use super::NftError;
use crate::raw::{ANSWER_LIMIT, Failed, RawSocket};

/// Bytes of one transaction on its way: the kernel counts its own overhead too, so twice the largest.
const SEND_BUFFER: usize = 2 * limits::TRANSACTION_BYTES;

/// The socket; what it reads comes decoded.
#[derive(Debug)]
pub(super) struct Decoded(RawSocket);

impl Decoded {
    pub(super) fn open() -> Result<Self, NftError> {
        let raw = RawSocket::open(NETLINK_NETFILTER)?;
        raw.size_send_buffer(SEND_BUFFER)?;
        Ok(Self(raw))
    }

    /// Hears notices of a group from now on.
    pub(super) fn join(&mut self, group: u32) -> Result<(), NftError> {
        Ok(self.0.join(group)?)
    }

    /// How long `receive` waits from now on.
    pub(super) fn set_wait(&self, wait: Duration) -> Result<(), NftError> {
        Ok(self.0.set_wait(wait)?)
    }

    /// The first of `count` sequence numbers that nobody used.
    pub(super) const fn next_sequence(&mut self, count: u32) -> u32 {
        self.0.next_sequence(count)
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), NftError> {
        Ok(self.0.send(bytes)?)
    }

    /// The messages of the next datagram; `Deadline` when none comes in time.
    pub(super) fn receive(&mut self) -> Result<Vec<Message>, NftError> {
        match self.read(0)? {
            Some(found) => Ok(found),
            None => Err(NftError::Deadline { seconds: ANSWER_LIMIT.as_secs() }),
        }
    }

    /// All messages that wait already.
    pub(super) fn drain(&mut self) -> Result<Vec<Message>, NftError> {
        let mut all = Vec::new();
        while let Some(found) = self.read(libc::MSG_DONTWAIT)? {
            all.extend(found);
        }
        Ok(all)
    }

    /// One datagram; `None` when there is none within the limit.
    pub(super) fn read(&mut self, flags: i32) -> Result<Option<Vec<Message>>, NftError> {
        let Some(datagram) = self.0.read(flags)? else { return Ok(None) };
        let found: Result<Vec<_>, _> = messages(datagram).collect();
        Ok(Some(found?))
    }
}

impl From<Failed> for NftError {
    fn from(Failed { what, source }: Failed) -> Self {
        Self::Socket { what, source }
    }
}
