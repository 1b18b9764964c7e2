//! Every bound of the crate (reliability, section 6).

/// Bounds that the driver may set; the rest are constants below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets that the cache holds, with its own overhead; the oldest unused entries go first.
    pub cache_bytes: usize,
    /// Questions a second that one asker may put to one reader, whatever their answer; 0: any number.
    pub queries_per_second: u32,
    /// Questions a second of one asker that may go to the outside.
    pub asks_per_second: u32,
    /// Questions of one asker that may wait for the outside.
    pub asks_in_flight: u32,
    /// Questions of all askers that may wait for the outside.
    pub waiting: usize,
    /// Different questions that may be under way to upstreams.
    pub flights: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            queries_per_second: 20_000,
            asks_per_second: 1000,
            asks_in_flight: 100,
            waiting: 10_000,
            flights: 4096,
        }
    }
}

/// Askers that a budget tells apart; beyond them those that were silent longest are forgotten.
pub(crate) const ASKERS: usize = 4096;
/// CNAMEs that are followed for one question (unbound).
pub(crate) const MAX_CNAMES: usize = 11;
/// Messages to upstreams for one question (unbound: `max-sent-count`).
pub(crate) const MAX_TRIES: u32 = 32;
/// Milliseconds until a question of a client is given up: below the 5 s after which resolvers ask again.
pub(crate) const ASK_MS: u64 = 4500;
/// Milliseconds until a question is given up whose upstreams gave no sign of life of late: what a program waits for an answer that
/// won't come. Shorter than the 1.8 s after which an old answer is given, which comes then.
pub(crate) const DOUBT_MS: u64 = 1500;
/// The same when all of its upstreams failed again and again a moment ago. They are asked all the same: one may be back.
pub(crate) const DOWN_MS: u64 = 800;
/// Milliseconds until an old answer is given while the new one is sought (RFC 8767 section 5).
pub(crate) const STALE_AFTER_MS: u64 = 1800;
/// Milliseconds for which an old answer may still be given.
pub(crate) const STALE_MS: u64 = 3_600_000;
/// Seconds to live of an old answer (RFC 8767 section 4).
pub(crate) const STALE_TTL: u32 = 30;
/// Milliseconds for which an old answer counts before somebody is asked again.
pub(crate) const STALE_RECHECK_MS: u64 = 5000;
/// Milliseconds for which a failure is remembered (RFC 9520 section 3.2: at least 1 s).
pub(crate) const FAILURE_MS: u64 = 1000;
/// Longest time for which an answer is kept, seconds.
pub(crate) const MAX_TTL: u32 = 86_400;
/// Longest time for which a denial is kept, seconds (RFC 2308 section 5).
pub(crate) const MAX_NEGATIVE_TTL: u32 = 3600;
/// Largest answer that the cache keeps, octets.
pub(crate) const MAX_CACHED: usize = 16 << 10;
