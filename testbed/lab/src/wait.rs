//! Waiting for a condition with a deadline: the only way in which the lab waits.

use std::time::{Duration, Instant};

/// Asks `probe` every `step` until it has an answer or `within` has passed. The last question is asked after the deadline.
pub fn until<T>(within: Duration, step: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(step.min(left));
    }
}

/// Lets `span` pass: for measurements that have a length, never for waiting until something is true.
pub fn pass(span: Duration) {
    until(span, span, || None::<()>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait_and_a_deadline_ends_it_without() {
        let mut asked = 0;
        let third = until(Duration::from_secs(5), Duration::from_millis(1), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third, Some(3));
        let began = Instant::now();
        assert_eq!(until(Duration::from_millis(20), Duration::from_millis(5), || None::<u8>), None);
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
