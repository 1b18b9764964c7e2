//! One lock per container, taken with a deadline.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

/// The containers that are being worked on.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    busy: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

/// A held lock.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    locks: &'a Locks,
    container: String,
}

impl Locks {
    /// Waits for a container; `None` when the deadline passes first.
    pub(crate) fn take(&self, container: &str, deadline: Instant) -> Option<Held<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while busy.contains(container) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            busy = self.freed.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        busy.insert(container.to_owned());
        Some(Held { locks: self, container: container.to_owned() })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.container);
        self.locks.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn one_container_is_serial_and_others_are_not_held_up() {
        let locks = Locks::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        let held = locks.take("a", soon()).unwrap();
        assert!(locks.take("a", soon()).is_none());
        assert!(locks.take("b", soon()).is_some());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| locks.take("a", Instant::now() + Duration::from_secs(5)).is_some());
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }
}
