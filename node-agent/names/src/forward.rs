//! Forwarding: a state machine between clients that wait and upstreams that may lie, be slow or be dead.
//!
//! In: [`Input`]s with the time, and chance. Out: [`Effect`]s. Not here: sockets, clocks, random numbers.

mod config;

pub use config::{ForwardConfig, Problem, Route};

use std::{net::SocketAddr, sync::Arc};

use crate::{Ask, DomainName, ExtendedError, Limits, Moment, Rcode, Source, message::Reply, names::Shared};

/// A client that waits, as the driver knows it: where the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub u64);

/// One conversation with an upstream: one socket of its own, from a port nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exchange(pub u64);

/// What happens to the forwarder.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client's question that a reader couldn't answer.
    Ask {
        /// Where the answer goes.
        client: Client,
        /// The question.
        ask: Box<Ask>,
    },
    /// The client is gone (its TCP connection ended): nothing is sent to it any more.
    Gone {
        /// Which one.
        client: Client,
    },
    /// A datagram or a whole message of a stream came from the exchange's upstream. A UDP socket must be connected, so that the
    /// kernel drops what comes from elsewhere.
    Message {
        /// In which conversation.
        exchange: Exchange,
        /// What came, for TCP without its length.
        bytes: &'a [u8],
    },
    /// The upstream can't be reached: refused, unreachable, the stream ended.
    Failed {
        /// In which conversation.
        exchange: Exchange,
    },
    /// The [`Forwarder::deadline`] has passed.
    Tick,
}

/// What the driver shall do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a UDP socket for this exchange, connected to the upstream from a random port, and send the message.
    Udp {
        /// The conversation; not used before.
        exchange: Exchange,
        /// The upstream.
        server: SocketAddr,
        /// The message.
        message: Vec<u8>,
    },
    /// Connect by TCP, and send the message behind its length.
    Tcp {
        /// The conversation; not used before.
        exchange: Exchange,
        /// The upstream.
        server: SocketAddr,
        /// The message, without its length.
        message: Vec<u8>,
    },
    /// The conversation is over: close its socket.
    Close {
        /// Which one.
        exchange: Exchange,
    },
    /// Send the answer to a client, which is not mentioned again.
    Answer {
        /// To whom.
        client: Client,
        /// The message, without a length; it fits into what the client takes.
        message: Vec<u8>,
        /// Where it came from.
        source: Source,
    },
}

/// How an upstream does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamState {
    /// The domain that it is asked about; the root for everything else.
    pub domain: DomainName,
    /// Its address.
    pub server: SocketAddr,
    /// Whether it is left alone because it failed repeatedly.
    pub is_down: bool,
    /// Failures since its last answer.
    pub failures: u32,
    /// Smoothed time to its answers, milliseconds; 0 before the first.
    pub round_trip_ms: u64,
    /// Answers so far.
    pub answers: u64,
    /// Messages that weren't answered in time, refused connections and nonsense, so far.
    pub errors: u64,
}

/// What a forwarder counts; the numbers only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardCounters {
    /// Questions of clients.
    pub asks: u64,
    /// Of these, questions that joined one that was under way.
    pub joined: u64,
    /// Of these, questions refused because their asker or all together have too many.
    pub refused: u64,
    /// Messages to upstreams over UDP.
    pub sent_udp: u64,
    /// Messages to upstreams over TCP.
    pub sent_tcp: u64,
    /// Messages that no exchange was waiting for, or with another number, name or type than asked: forged, or late.
    pub strangers: u64,
    /// Messages of upstreams that can't be read.
    pub broken: u64,
    /// Old answers that were given.
    pub stale: u64,
    /// Questions that nobody answered.
    pub failed: u64,
}

/// The forwarder: one per process, on a thread of its own.
pub struct Forwarder {
    shared: Arc<Shared>,
    limits: Limits,
    config: ForwardConfig,
    counters: ForwardCounters,
}

impl Forwarder {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits) -> Self {
        Self { shared, limits, config: ForwardConfig::default(), counters: ForwardCounters::default() }
    }

    /// Takes up who is asked; what is under way goes on. What the cache holds of names whose route changed is forgotten.
    pub fn configure(&mut self, now: Moment, config: ForwardConfig) {
        let _ = now;
        self.config = config;
    }

    /// Takes an input and appends what is to be done. `chance` gives 64 random bits at each call, from a source nobody can
    /// predict: numbers and letter cases of messages come from it.
    pub fn input(
        &mut self,
        now: Moment,
        input: Input<'_>,
        chance: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let _ = (now, chance());
        if let Input::Ask { client, ask } = input {
            self.counters.asks += 1;
            let mut out = vec![0; 1232];
            let Some(reply) = Reply::begin(&mut out, &ask.query(), ask.transport()) else { return };
            let length = reply.finish(Rcode::SERVFAIL, Some(ExtendedError::NO_REACHABLE_AUTHORITY));
            out.truncate(length);
            effects.push(Effect::Answer { client, message: out, source: Source::Own });
        }
    }

    /// When the next [`Input::Tick`] is due; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Moment> {
        None
    }

    /// How the upstreams do.
    pub fn upstreams(&self) -> Vec<UpstreamState> {
        Vec::new()
    }

    /// What it counted.
    pub const fn counters(&self) -> &ForwardCounters {
        &self.counters
    }

    /// Octets that the cache takes, and answers in it.
    pub fn cached(&self) -> (usize, usize) {
        (self.shared.cache.octets(), self.shared.cache.count())
    }
}
