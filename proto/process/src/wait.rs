//! Waiting for a condition with a deadline, instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The condition did not come true in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} did not happen within {} ms", within.as_millis())]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub within: Duration,
}

/// Asks `condition` again and again (after 1 ms, doubling up to 50 ms) until it gives a value; at least once, and once
/// more at the deadline.
pub async fn until<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let mut pauses = Pauses::new(within);
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(TimedOut { what: what.to_owned(), within }),
        }
    }
}

/// [`until`] for plain threads.
pub fn until_blocking<T>(
    within: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let mut pauses = Pauses::new(within);
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        match pauses.next() {
            Some(pause) => thread::park_timeout(pause),
            None => return Err(TimedOut { what: what.to_owned(), within }),
        }
    }
}

/// Growing pauses, the last of which ends at the deadline.
struct Pauses {
    deadline: Instant,
    pause: Duration,
}

impl Pauses {
    fn new(within: Duration) -> Self {
        Self { deadline: Instant::now() + within, pause: FIRST_PAUSE }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let left = self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_holds_or_time_is_up() {
        let mut asked = 0;
        let value = until_blocking(Duration::from_secs(5), "third time", || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(value, Ok(3));
        let error = until_blocking(Duration::from_millis(5), "never", || None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "never did not happen within 5 ms");
    }

    #[tokio::test]
    async fn the_async_form_does_the_same() {
        let mut asked = 0;
        let value = until(Duration::from_secs(5), "third time", async || {
            asked += 1;
            (asked == 3).then_some(asked)
        })
        .await;
        assert_eq!(value, Ok(3));
        assert!(until(Duration::ZERO, "never", async || None::<()>).await.is_err());
    }
}
