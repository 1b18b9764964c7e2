//! Which pods of this node are closed because nobody knows yet what they are: who makes one can wait for the end of it.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

use weft_model::PodUid;

/// The pods, as of the last pass of the policy loop.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    unknown: Mutex<BTreeSet<PodUid>>,
    changed: Condvar,
}

impl Judged {
    /// These are closed so.
    pub(crate) fn set(&self, unknown: BTreeSet<PodUid>) {
        let mut now = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != unknown {
            *now = unknown;
            self.changed.notify_all();
        }
    }

    /// Waits until a pod isn't among them; `false`: it still was at the deadline.
    pub(crate) fn wait(&self, pod: PodUid, deadline: Instant) -> bool {
        let mut now = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        while now.contains(&pod) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            now = self.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn who_waits_hears_when_its_pod_is_known_and_not_before() {
        let judged = Judged::default();
        let (a, b) = (PodUid([1; 16]), PodUid([2; 16]));
        judged.set([a, b].into());
        assert!(!judged.wait(a, Instant::now() + Duration::from_millis(20)), "it is still unknown");
        thread::scope(|scope| {
            let waits = scope.spawn(|| judged.wait(a, Instant::now() + Duration::from_secs(20)));
            judged.set([b].into());
            assert!(waits.join().unwrap());
        });
        assert!(judged.wait(PodUid([3; 16]), Instant::now()), "it never was");
    }
}
