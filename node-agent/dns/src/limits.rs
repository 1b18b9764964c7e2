//! Every bound of the process, and what happens when it is reached.

use std::time::Duration;

/// Datagrams that one system call takes or gives.
pub(crate) const BATCH: usize = 64;
/// Longest query over UDP, bytes; a longer one is answered as malformed.
pub(crate) const QUERY: usize = 1500;
/// Longest answer over UDP, bytes: fits into any path of IPv6 without fragments (DNS flag day 2020).
pub(crate) const ANSWER: usize = 1232;
/// Most sockets of UDP for one address: a thread each.
pub(crate) const SOCKETS_PER_ADDRESS: usize = 8;
/// Most sockets of all addresses: a message carries at most 253 descriptors.
pub(crate) const SOCKETS: usize = 200;
/// Bytes of queries that may wait in a socket, as the kernel counts them: what comes during a restart under load.
pub(crate) const RECEIVE_BUFFER: usize = 8 << 20;
/// TCP connections that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 512;

/// TCP connections in all; of more, the one that was idle longest is hung up on.
pub(crate) const CONNECTIONS: usize = 256;
/// TCP connections of one asker; more are hung up on at once.
pub(crate) const CONNECTIONS_PER_ASKER: usize = 8;
/// A TCP connection must bring a whole query, and take its answers, within this.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// Queries of one TCP connection that wait for the outside; more wait unread.
pub(crate) const PIPELINED: usize = 64;
/// Longest message over TCP, bytes (RFC 1035 section 4.2.2).
pub(crate) const MESSAGE: usize = u16::MAX as usize;

/// Questions that wait for the thread that asks the outside; more are dropped, and clients ask again.
pub(crate) const ASKS: usize = 8192;
/// What came from upstreams and waits for that thread.
pub(crate) const EVENTS: usize = 4096;
/// A TCP connection to an upstream is made within this; the forwarder gives up sooner.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Largest frame between agent and DNS process, bytes.
pub(crate) const FRAME: usize = 64 << 20;
/// Items in one frame.
pub const ITEMS_PER_FRAME: usize = 512;
/// A frame that has begun is whole within this, or the other side hangs.
pub(crate) const FRAME_TIME: Duration = Duration::from_secs(5);
/// The agent that answers at all has sent sockets within this; else the process helps itself.
pub(crate) const SOCKETS_WAIT: Duration = Duration::from_millis(200);
/// What the agent knows begins to come within this after the sockets; else the tables of the disk are served.
pub(crate) const FIRST_WORD: Duration = Duration::from_millis(50);
/// And is whole within this.
pub(crate) const CATCH_UP: Duration = Duration::from_millis(150);
/// The agent is looked for again after this.
pub(crate) const RECONNECT: Duration = Duration::from_millis(50);
/// State is told this often, and whenever something has been taken in.
pub(crate) const STATE_EVERY: Duration = Duration::from_secs(1);
/// Counters of a thread are passed on at most this often.
pub(crate) const COUNT_EVERY_MS: u64 = 200;

/// Tables are written to disk at most this often, and on stop.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(10);
/// The first tables are written after this.
pub(crate) const SAVE_FIRST: Duration = Duration::from_secs(1);
/// After everything was taken in anew, and what that needed is on the disk, free memory goes back after this.
pub(crate) const TIDY_AFTER: Duration = Duration::from_secs(3);
/// Largest file of tables, bytes.
pub(crate) const TABLES: u64 = 512 << 20;
/// The node's resolv.conf is looked at this often.
pub(crate) const RESOLV_CONF_EVERY: Duration = Duration::from_secs(5);
/// Largest resolv.conf that is read, bytes.
pub(crate) const RESOLV_CONF: u64 = 1 << 20;
/// Queries that were watched and wait to be told; more are dropped and counted.
pub(crate) const WATCHED: usize = 4096;
/// What was watched is told this often.
pub(crate) const WATCHED_EVERY: Duration = Duration::from_millis(100);
/// Who was begun to be answered is answered within this when the process ends.
pub(crate) const DRAIN: Duration = Duration::from_millis(700);
