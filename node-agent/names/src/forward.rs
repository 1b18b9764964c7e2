//! Forwarding: a state machine between clients that wait and upstreams that may lie, be slow or be dead.
//!
//! In: [`Input`]s with the time, and chance. Out: [`Effect`]s. Not here: sockets, clocks, random numbers.

#[cfg(test)]
mod bench;
mod config;
mod flight;
mod forwarder;
mod job;
mod probe;
mod server;

pub use config::{ForwardConfig, Problem, Route};
pub use forwarder::Forwarder;

pub(crate) use probe::Sought;

use std::net::SocketAddr;

use crate::{Ask, DomainName, Origin, Source};

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
        /// Whom it comes from.
        origin: Origin,
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
    /// Whether it asks us what we ask it: such a one isn't asked.
    pub is_loop: bool,
    /// Failures since its last answer.
    pub failures: u32,
    /// Smoothed time to its answers, milliseconds; 0 before the first.
    pub round_trip_ms: u64,
    /// Messages that went there so far.
    pub asked: u64,
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
    /// Of these, questions refused because their asker asks too many a second.
    pub refused_rate: u64,
    /// Of these, questions refused because too many of their asker wait.
    pub refused_waiting: u64,
    /// Of these, questions refused because too many wait, or are under way, altogether.
    pub refused_crowded: u64,
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

#[cfg(test)]
mod forward_tests;
#[cfg(test)]
mod hostile_tests;
