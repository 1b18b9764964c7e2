//! Settings of a replica and what the library makes of them.

use weft_model::{ClusterId, LogIndex, ReplicaId};

/// How many ticks things take; how long a tick is, the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Ticks between heartbeats; at least 1.
    pub heartbeat_ticks: usize,
    /// Shortest election timeout; more than `heartbeat_ticks`.
    pub election_ticks: usize,
    /// Longest election timeout plus one; more than `election_ticks`.
    pub election_max_ticks: usize,
    /// Ticks for which a learner must have been close behind before it is promoted; one that lacks nothing only three
    /// heartbeats.
    pub promote_ticks: usize,
    /// Ticks after which a snapshot on its way without a report counts as failed.
    pub snapshot_ticks: usize,
}

/// Settings of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Its Raft id.
    pub id: ReplicaId,
    /// Its cluster; messages of others are refused.
    pub cluster: ClusterId,
    /// Replicas it was told of when it joined, every member of that moment: believed until it has a state of its own.
    pub known: Vec<ReplicaId>,
    /// Start of its chance: election timeouts. Different on each replica and each start.
    pub seed: u64,
    /// Durations in ticks.
    pub timing: Timing,
    /// Entries kept in the log before it is shortened to half of that.
    pub keep_entries: u64,
    /// Bytes kept in the log before it is shortened to half of that.
    pub keep_bytes: usize,
    /// State hashes are compared at each multiple of this index; equal on all replicas.
    pub check_every: u64,
    /// Where the library logs to; `slog::Logger::root(slog::Discard, slog::o!())` for nowhere.
    pub logger: slog::Logger,
}

impl ReplicaConfig {
    /// The usual settings: 10 000 entries or 64 MiB of log, hashes compared each 512 entries, no logging.
    pub fn new(id: ReplicaId, cluster: ClusterId, seed: u64, timing: Timing) -> Self {
        Self {
            id,
            cluster,
            known: Vec::new(),
            seed,
            timing,
            keep_entries: 10_000,
            keep_bytes: 64 << 20,
            check_every: 512,
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }
}

/// The library's settings: defaults of its own are for no quorum check, no pre-vote, no bounds.
pub(crate) fn library_config(config: &ReplicaConfig, applied: LogIndex) -> raft::Config {
    raft::Config {
        id: config.id.0,
        election_tick: config.timing.election_ticks,
        heartbeat_tick: config.timing.heartbeat_ticks,
        min_election_tick: config.timing.election_ticks,
        max_election_tick: config.timing.election_max_ticks,
        applied: applied.0,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        max_uncommitted_size: 64 << 20,
        max_committed_size_per_ready: 16 << 20,
        ..raft::Config::default()
    }
}
