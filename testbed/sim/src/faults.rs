//! What goes wrong, and how often.

/// Rates: once in so many units; 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// One replica loses power and comes back.
    pub crash: u64,
    /// A replica loses power just after it gave a vote: once in so many votes.
    pub crash_after_vote: u64,
    /// All replicas lose power at once.
    pub power_cut: u64,
    /// Some directions of the network are cut for a while.
    pub partition: u64,
    /// A disk is gone for good, or lost a synced tail: its replica must be replaced. Only while all others are well.
    pub disk_loss: u64,
    /// A disk becomes slow for a while.
    pub slow_disk: u64,
    /// Leadership is handed over.
    pub transfer: u64,
    /// A leader stands still for longer than an election timeout.
    pub pause: u64,
    /// An agent restarts.
    pub agent_restart: u64,
    /// A node loses power for a while.
    pub dark_node: u64,
    /// One message in so many is lost; others are late or repeated.
    pub loss: u64,
    /// Units that a message takes at most.
    pub delay: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        crash: 0,
        crash_after_vote: 0,
        power_cut: 0,
        partition: 0,
        disk_loss: 0,
        slow_disk: 0,
        transfer: 0,
        pause: 0,
        agent_restart: 0,
        dark_node: 0,
        loss: 0,
        delay: 3,
    };

    /// Everything that the cluster promises to survive.
    pub const fn recoverable() -> Self {
        Self {
            crash: 300,
            crash_after_vote: 4,
            power_cut: 2_000,
            partition: 500,
            disk_loss: 600,
            slow_disk: 800,
            transfer: 900,
            pause: 1_200,
            agent_restart: 300,
            dark_node: 250,
            loss: 60,
            delay: 3,
        }
    }

    /// Leaders fall all the time and voters lose power just after their vote.
    pub const fn elections() -> Self {
        Self { delay: 12, pause: 40, crash_after_vote: 2, disk_loss: 0, power_cut: 0, ..Self::recoverable() }
    }
}
