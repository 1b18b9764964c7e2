//! How fast Raft's clock runs.

use std::time::Duration;

use weft_raft::Timing;

/// Durations of Raft on one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Shortest time without a heartbeat after which a replica asks for votes; the longest is twice that.
    pub election: Duration,
    /// How long a replica that joined must be close behind before it gets a vote; one that lacks nothing waits only for
    /// three heartbeats.
    pub promote: Duration,
    /// One period of the clock; follows from the heartbeat.
    pub(crate) tick: Duration,
}

impl Pace {
    /// Heartbeats and elections as given: at least 10 ms, and an election timeout of at least three heartbeats.
    ///
    /// Fails with what is wrong.
    pub fn new(heartbeat: Duration, election: Duration) -> Result<Self, String> {
        if heartbeat < Duration::from_millis(10) {
            return Err("a heartbeat takes at least 10ms".to_owned());
        }
        if election < heartbeat * 3 {
            return Err("an election timeout is at least three heartbeats".to_owned());
        }
        // Each period wakes the replica; elections of different replicas differ by phase, not by fine periods.
        let tick = (heartbeat / 2).clamp(Duration::from_millis(5), Duration::from_millis(100));
        Ok(Self { heartbeat, election, promote: Duration::from_secs(3), tick })
    }

    /// Periods of the clock in a duration, at least one.
    pub(crate) fn ticks_in(&self, duration: Duration) -> u64 {
        u64::try_from(duration.as_micros() / self.tick.as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// The same in periods of the clock.
    pub(crate) fn timing(&self) -> Timing {
        let ticks = |duration| usize::try_from(self.ticks_in(duration)).unwrap_or(usize::MAX);
        let heartbeat_ticks = ticks(self.heartbeat);
        let election_ticks = ticks(self.election).max(heartbeat_ticks + 1);
        Timing {
            heartbeat_ticks,
            election_ticks,
            election_max_ticks: 2 * election_ticks,
            promote_ticks: ticks(self.promote),
            snapshot_ticks: ticks(Duration::from_mins(2)),
        }
    }
}

impl Default for Pace {
    /// Heartbeats each 120 ms, elections after 500 ms to 1 s: four heartbeats must fail to come.
    ///
    /// Two to three times slower than a quiet network allows: on a machine of two busy cores a process may not run for 100 to
    /// 300 ms, and an election that nobody needed costs more than a leader that is missed half a second later. Writes
    /// go on within 2 s of a leader's death also when one vote is split.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(120),
            election: Duration::from_millis(500),
            promote: Duration::from_secs(3),
            tick: Duration::from_millis(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_periods_and_nonsense_is_refused() {
        let pace = Pace::new(Duration::from_millis(120), Duration::from_millis(500)).unwrap();
        assert_eq!(pace, Pace::default());
        let timing = pace.timing();
        assert_eq!((timing.heartbeat_ticks, timing.election_ticks, timing.election_max_ticks), (2, 8, 16));
        assert!(Pace::new(Duration::from_millis(5), Duration::from_millis(500)).is_err());
        assert!(Pace::new(Duration::from_millis(100), Duration::from_millis(200)).is_err());
    }
}
