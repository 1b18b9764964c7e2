//! A question under way to upstreams, for all who wait for it.

use std::{net::SocketAddr, sync::Arc};

use super::{Client, Exchange, server::Server};
use crate::{
    DomainName, Moment, RecordType,
    cache::{Asked, Entry},
    limits::STALE_AFTER_MS,
    message::{CLASS_IN, Question, write_query},
};

/// Rounds through all servers.
const ROUNDS: usize = 3;
/// Messages for one flight, whatever the number of servers.
const MOST_TRIES: usize = 8;
/// Milliseconds to wait for an answer by TCP.
const TCP_MS: u64 = 2000;
/// Strange datagrams in one exchange after which TCP is used: somebody guesses.
pub(crate) const MOST_STRANGERS: u32 = 20;

/// What is asked, for whom answers differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Topic {
    pub(crate) name: DomainName,
    pub(crate) kind: RecordType,
    /// Signatures are wanted (DO).
    pub(crate) signatures: bool,
    /// Checking is disabled (CD).
    pub(crate) unchecked: bool,
}

impl Topic {
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked::new(self.name.wire(), self.kind, self.signatures, self.unchecked)
    }
}

/// One message that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) exchange: Exchange,
    pub(crate) server: SocketAddr,
    pub(crate) id: u16,
    /// Name in the case in which it was sent, type, class.
    pub(crate) question: Vec<u8>,
    pub(crate) is_tcp: bool,
    pub(crate) has_edns: bool,
    pub(crate) sent: Moment,
    pub(crate) strangers: u32,
    /// It counted as lost already.
    pub(crate) is_late: bool,
}

/// A question under way.
pub(crate) struct Flight {
    pub(crate) topic: Topic,
    pub(crate) waiters: Vec<Client>,
    pub(crate) pending: Vec<Pending>,
    /// Servers in the order in which they are tried.
    servers: Vec<SocketAddr>,
    tries: usize,
    /// Messages that were sent, by TCP too.
    pub(crate) messages: u32,
    started: Moment,
    /// Milliseconds after which nobody waits any longer.
    lasts: u64,
    retry: Moment,
    /// An old answer, for when nobody gives a new one.
    pub(crate) stale: Option<Arc<Entry>>,
    pub(crate) is_stale_told: bool,
    pub(crate) wake: Moment,
}

impl Flight {
    pub(crate) fn new(
        topic: Topic,
        servers: Vec<SocketAddr>,
        stale: Option<Arc<Entry>>,
        now: Moment,
        lasts: u64,
    ) -> Self {
        Self {
            topic,
            waiters: Vec::new(),
            pending: Vec::new(),
            servers,
            tries: 0,
            messages: 0,
            started: now,
            lasts,
            retry: now,
            stale,
            is_stale_told: false,
            wake: now,
        }
    }

    /// Whom it may ask.
    pub(crate) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Milliseconds from its beginning after which nobody waits any longer: by what is known of its servers now.
    pub(crate) const fn set_lasts(&mut self, lasts: u64) {
        self.lasts = lasts;
    }

    /// The next server to try; `None` when enough was tried, or time is up.
    pub(crate) fn next_server(&self, now: Moment) -> Option<SocketAddr> {
        let most = (self.servers.len() * ROUNDS).min(MOST_TRIES.max(self.servers.len()));
        if self.tries >= most || now >= self.end() {
            return None;
        }
        self.servers.get(self.tries % self.servers.len().max(1)).copied()
    }

    /// Builds a message to a server, and remembers it. Later rounds wait longer, but never so long that a server has no turn.
    pub(crate) fn send(
        &mut self,
        exchange: Exchange,
        (address, server): (SocketAddr, &Server),
        is_tcp: bool,
        now: Moment,
        chance: &mut dyn FnMut() -> u64,
    ) -> Vec<u8> {
        self.messages += 1;
        let [high, low, ..] = chance().to_be_bytes();
        let id = u16::from_be_bytes([high, low]);
        let mut name = self.topic.name.wire().to_vec();
        if !is_tcp && server.keeps_case() {
            mix_case(&mut name, chance);
        }
        let has_edns = !server.is_plain;
        let asked = Question {
            name: &name,
            kind: self.topic.kind,
            edns: has_edns.then_some(self.topic.signatures),
            unchecked: self.topic.unchecked,
        };
        let message = write_query(id, asked);
        name.extend(self.topic.kind.0.to_be_bytes());
        name.extend(CLASS_IN.to_be_bytes());
        let round = self.tries.saturating_sub(1) / self.servers.len().max(1);
        let turn = self.lasts / (self.servers.len() as u64 + 1);
        let patience = if is_tcp { TCP_MS } else { (server.patience() << round.min(2)).min(turn) };
        self.retry = now.after(patience);
        self.pending.push(Pending {
            exchange,
            server: address,
            id,
            question: name,
            is_tcp,
            has_edns,
            sent: now,
            strangers: 0,
            is_late: false,
        });
        message
    }

    /// A server was tried.
    pub(crate) const fn tried(&mut self) {
        self.tries += 1;
    }

    /// Whether nothing is heard of the last message any more.
    pub(crate) fn is_retry_due(&self, now: Moment) -> bool {
        now >= self.retry
    }

    /// When nobody waits any longer.
    const fn end(&self) -> Moment {
        self.started.after(self.lasts)
    }

    /// Whether an old answer is to be told now.
    pub(crate) fn is_stale_due(&self, now: Moment) -> bool {
        self.stale.is_some() && !self.is_stale_told && now >= self.started.after(STALE_AFTER_MS)
    }

    /// When something is to be done.
    pub(crate) fn next_wake(&self) -> Moment {
        let stale = self.started.after(STALE_AFTER_MS);
        let next = self.retry.min(self.end());
        if self.stale.is_some() && !self.is_stale_told { next.min(stale) } else { next }
    }
}

/// Gives each letter a case by chance (draft-vixie-dnsext-dns0x20): a forger has to guess it too.
fn mix_case(name: &mut [u8], chance: &mut dyn FnMut() -> u64) {
    let mut bits = 0;
    for (index, byte) in name.iter_mut().filter(|byte| byte.is_ascii_lowercase()).enumerate() {
        if index % 64 == 0 {
            bits = chance();
        }
        if bits >> (index % 64) & 1 == 1 {
            byte.make_ascii_uppercase();
        }
    }
}
