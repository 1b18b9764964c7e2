//! Every bound of the server, and what a full one means.

use std::time::Duration;

/// Bytes of frames that wait for one follower; beyond, the follower is cut and comes back for a snapshot.
pub(crate) const FOLLOWER_QUEUE_BYTES: usize = 8 << 20;
/// Bytes of recent deltas kept for resuming followers; beyond, the oldest go.
pub(crate) const RING_BYTES: usize = 16 << 20;
/// Deltas kept for resuming followers.
pub(crate) const RING_DELTAS: usize = 10_000;
/// Items in one part of a snapshot: about 64 KiB.
pub(crate) const SNAPSHOT_PART_ITEMS: usize = 512;
/// Watch streams of one node; one more cuts the oldest.
pub(crate) const FOLLOWERS_PER_NODE: usize = 2;
/// Longest `Admin.Wait`.
pub(crate) const WAIT_MOST: Duration = Duration::from_mins(10);
/// Longest time an agent has for an Ask.
pub(crate) const ASK_MOST: Duration = Duration::from_mins(1);
/// Asks in flight; one more is refused as busy.
pub(crate) const ASKS: usize = 1_024;
/// Time of a call that names no deadline.
pub(crate) const CALL: Duration = Duration::from_secs(10);
/// A node is reachable while its last report is younger than this and a stream is open.
pub(crate) const REPORT_FRESH: Duration = Duration::from_secs(5);
/// How often a waiting call looks at the reports of other replicas.
pub(crate) const WAIT_POLL: Duration = Duration::from_millis(20);
/// Longest time of a question to another replica.
pub(crate) const PEER_CALL: Duration = Duration::from_secs(2);
/// Shortest and longest life of a token, seconds.
pub(crate) const TOKEN_TTL_S: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Life of a token when none is given, seconds.
pub(crate) const TOKEN_TTL_DEFAULT_S: u32 = 1_800;
/// Objects watched by one stream of `Admin.WatchObjects` are compared at most this often.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_millis(50);
