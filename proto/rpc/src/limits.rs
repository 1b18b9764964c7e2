//! Every bound of a connection, with what happens at it.

use std::time::Duration;

/// Longest message in either direction, both ends: beyond it the call fails with `RESOURCE_EXHAUSTED` or
/// `OUT_OF_RANGE`; nothing is read on.
pub const MESSAGE_LIMIT: usize = 4 << 20;

/// Longest binary details of a status: longer ones are cut (trap: a status over the header list limit hangs or breaks
/// the connection).
pub const DETAILS_LIMIT: usize = 4 << 10;

/// Longest list of headers of a request or response, HTTP/2 both ends.
pub(crate) const HEADER_LIST_LIMIT: u32 = 16 << 10;

/// How often a server asks an idle connection whether it lives.
pub(crate) const SERVER_ASKS_EVERY: Duration = Duration::from_secs(5);

/// How long the answer may take: then the server closes the connection.
pub(crate) const SERVER_WAITS: Duration = Duration::from_secs(3);

/// How often a client asks an idle connection whether it lives. More than a second: an agent's connection, on which
/// something comes each second, needs no such question.
pub(crate) const CLIENT_ASKS_EVERY: Duration = Duration::from_millis(1250);

/// How long the answer may take: then the client goes to another replica. Together 2.5 s; HTTP/2 answers by itself
/// even when the replica behind it is busy.
pub(crate) const CLIENT_WAITS: Duration = Duration::from_millis(1250);

/// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT): then the connection is closed.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(8);

/// HTTP/2 window of one stream.
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;

/// HTTP/2 window of a connection.
pub(crate) const CONNECTION_WINDOW: u32 = 1 << 20;

/// What a server bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time: further ones are closed at once, so that clients try another replica.
    pub connections: usize,
    /// Connections at one time whose client has no valid certificate (joining machines): a part of `connections`, so
    /// that strangers can't shut nodes out. When all places are taken, the oldest of the address that holds the most
    /// gives way to one of an address that holds fewer.
    pub strangers: usize,
    /// How long a connection without a valid certificate may live.
    pub stranger_life: Duration,
    /// TLS handshakes at one time: for a further one the oldest of the address that holds the most is given up.
    pub handshakes: usize,
    /// How long a client may take until its ClientHello has arrived as a whole.
    pub client_hello: Duration,
    /// How long a TLS handshake may take, the ClientHello included.
    pub handshake: Duration,
    /// Calls at one time on one connection.
    pub streams: u32,
    /// How long an orderly stop waits for calls to end.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            strangers: 256,
            stranger_life: Duration::from_secs(60),
            handshakes: 128,
            client_hello: Duration::from_secs(3),
            handshake: Duration::from_secs(10),
            streams: 100,
            stop: Duration::from_secs(3),
        }
    }
}
