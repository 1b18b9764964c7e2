//! Notices of commits: who changed nftables when it wasn't us.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::errno::Errno;
use weft_nft::{Generation, Reply};

use super::{NftError, OwnGenerations, socket::Decoded};

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 7;

/// What the monitor heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Somebody else committed: look whether our tables are whole. Names the thread and its generation.
    Foreign(Generation),
    /// Notices were lost because too many came: look at everything again.
    Lost,
    /// Nothing foreign within the time.
    Quiet,
}

/// Hears every commit in one network namespace.
#[derive(Debug)]
pub struct NftMonitor {
    raw: Decoded,
    own: Arc<Mutex<OwnGenerations>>,
}

impl NftMonitor {
    pub(super) fn open(own: Arc<Mutex<OwnGenerations>>) -> Result<Self, NftError> {
        let mut raw = Decoded::open()?;
        raw.join(GROUP)?;
        Ok(Self { raw, own })
    }

    /// The next foreign commit, within `wait`. Commits of the socket that it was made from are left out.
    pub fn next(&mut self, wait: Duration) -> Result<Notice, NftError> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.raw.set_wait(left)?;
            let messages = match self.raw.read(0) {
                Ok(Some(messages)) => messages,
                Ok(None) => return Ok(Notice::Quiet),
                Err(NftError::Socket { source, .. }) if is_overrun(&source) => return Ok(Notice::Lost),
                Err(error) => return Err(error),
            };
            for message in messages {
                if let Reply::Generation(generation) = message.reply
                    && !self.own.lock().unwrap_or_else(PoisonError::into_inner).take(generation.id)
                {
                    return Ok(Notice::Foreign(generation));
                }
            }
            if left.is_zero() {
                return Ok(Notice::Quiet);
            }
        }
    }
}

fn is_overrun(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}
