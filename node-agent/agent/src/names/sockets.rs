//! The sockets that this agent holds: those of the process when it offers some, else its own.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use weft_dns::{MOST_ADDRESSES, Socket};
use weft_errors::{DNS_PORT_TAKEN, Error};

use crate::{backoff::Backoff, clock, limits};

/// The sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    held: Vec<Socket>,
    /// Not before: a process of before this agent's start may bring some.
    bind_at: Instant,
    backoff: Backoff,
}

impl Sockets {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::new(),
            bind_at: Instant::now() + limits::DNS_OFFER,
            backoff: Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST),
        }
    }

    pub(super) fn held(&self) -> &[Socket] {
        &self.held
    }

    /// Takes those that a process brings, for addresses that have none yet. No other process will: nobody is waited for any more.
    pub(super) fn offer(&mut self, offered: Vec<Socket>) {
        let have = weft_dns::addresses(&self.held);
        self.held.extend(offered.into_iter().filter(|socket| !have.contains(&socket.address)));
        self.bind_at = self.bind_at.min(Instant::now());
    }

    /// Makes what is missing and drops what isn't wanted; whether anything changed, and what can't be made.
    pub(super) fn want(&mut self, addresses: &BTreeSet<IpAddr>, now: Instant) -> (bool, Option<Error>) {
        let before = self.held.len();
        self.held.retain(|socket| addresses.contains(&socket.address));
        let mut changed = self.held.len() != before;
        if now < self.bind_at {
            return (changed, None);
        }
        let have = weft_dns::addresses(&self.held);
        let mut trouble = None;
        for address in addresses.iter().filter(|address| !have.contains(address)).take(MOST_ADDRESSES) {
            match weft_dns::bind(*address) {
                Ok(sockets) => {
                    tracing::info!(%address, sockets = sockets.len(), "sockets for names");
                    self.held.extend(sockets);
                    changed = true;
                }
                Err(error) => {
                    let message =
                        format!("nobody can ask for names at {address}: port 53 can't be had there");
                    trouble.get_or_insert(Error::new(&DNS_PORT_TAKEN, message).because(error));
                }
            }
        }
        match trouble {
            None => self.backoff.reset(),
            Some(_) => self.bind_at = now + self.backoff.next(clock::chance()),
        }
        (changed, trouble)
    }

    /// How long until something is to be tried again.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        (self.bind_at > now).then(|| self.bind_at - now)
    }
}
