//! What a reconcile loop is to look at: merged wishes with tickets, so that somebody can wait for "done".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use weft_errors::{DEADLINE, Error};
use weft_model::{ItemKey, PodUid, Revision};

/// What is to be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Desired state of everything.
    pub(crate) all: bool,
    /// Desired state of these items.
    pub(crate) items: BTreeSet<ItemKey>,
    /// Revision of the View whose changes are in `items`, with all before it; 0: none came.
    pub(crate) upto: Revision,
    /// Desired state of these pods.
    pub(crate) pods: BTreeSet<PodUid>,
    /// The kernel's state: somebody else may have changed it.
    pub(crate) observe: bool,
    /// The kernel's state, however short ago it was read: an admin asks.
    pub(crate) compare: bool,
}

impl Wish {
    /// Everything, desired and actual.
    pub(crate) fn everything() -> Self {
        Self { all: true, observe: true, ..Self::default() }
    }

    /// Desired state of everything.
    pub(crate) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// One pod.
    pub(crate) fn pod(uid: PodUid) -> Self {
        Self { pods: [uid].into(), ..Self::default() }
    }

    /// The kernel's state.
    pub(crate) fn observe() -> Self {
        Self { observe: true, ..Self::default() }
    }

    /// The kernel's state, at once.
    pub(crate) fn compare() -> Self {
        Self { compare: true, ..Self::default() }
    }

    fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.compare |= other.compare;
        self.items.extend(other.items);
        self.upto = self.upto.max(other.upto);
        self.pods.extend(other.pods);
        self.observe |= other.observe;
    }
}

/// Up to where a loop that goes by items has been told what changed. The View it reads may be newer: that is put in place before loops
/// are told, and a pass for another reason may come in between. What it hasn't been told of it hasn't done.
#[derive(Debug, Default)]
pub(crate) struct Told(Revision);

impl Told {
    /// Where it is with this wish, at a View; `whole`: it looks at everything in it.
    pub(crate) fn with(&mut self, wish: &Wish, whole: bool, view: Revision) -> Revision {
        self.0 = self.0.max(if whole { view } else { wish.upto.min(view) });
        self.0
    }
}

/// Number of a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What came of the last pass of a loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Errors about single pods.
    pub(crate) pods: BTreeMap<PodUid, Error>,
    /// The first error about anything else.
    pub(crate) other: Option<Error>,
}

/// The inbox of one loop.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    wish: Option<Wish>,
    last: u64,
    done: u64,
    outcome: Outcome,
    stop: bool,
}

/// What a loop gets when it asks for work.
#[derive(Debug)]
pub(crate) enum Work {
    /// These wishes, up to the ticket.
    Wish(Wish, Ticket),
    /// Nothing came until the deadline.
    Nothing,
    /// The process stops.
    Stop,
}

impl Inbox {
    /// Adds a wish.
    pub(crate) fn poke(&self, wish: Wish) -> Ticket {
        let mut shared = self.lock();
        shared.last += 1;
        shared.wish.get_or_insert_default().merge(wish);
        self.changed.notify_all();
        Ticket(shared.last)
    }

    /// Whether somebody waits for work, or for the end.
    pub(crate) fn is_waiting(&self) -> bool {
        let shared = self.lock();
        shared.wish.is_some() || shared.stop
    }

    /// Takes all wishes; waits for one until the deadline.
    pub(crate) fn take(&self, until: Instant) -> Work {
        let mut shared = self.lock();
        loop {
            if shared.stop {
                return Work::Stop;
            }
            if let Some(wish) = shared.wish.take() {
                return Work::Wish(wish, Ticket(shared.last));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Nothing;
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The loop has worked on everything up to the ticket.
    pub(crate) fn done(&self, ticket: Ticket, outcome: Outcome) {
        let mut shared = self.lock();
        shared.done = shared.done.max(ticket.0);
        shared.outcome = outcome;
        self.changed.notify_all();
    }

    /// Waits until the loop has worked on a wish, and says what came of one pod.
    pub(crate) fn wait_for_pod(&self, ticket: Ticket, uid: PodUid, deadline: Instant) -> Result<(), Error> {
        let mut shared = self.lock();
        while shared.done < ticket.0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || shared.stop {
                return Err(Error::new(&DEADLINE, "the kernel wasn't changed in time"));
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let failure = shared.outcome.pods.get(&uid).or(shared.outcome.other.as_ref());
        failure.cloned().map_or(Ok(()), Err)
    }

    /// Waits until the loop has worked on a wish, or the deadline passes, or the process stops.
    pub(crate) fn wait(&self, ticket: Ticket, deadline: Instant) {
        let mut shared = self.lock();
        while shared.done < ticket.0 && !shared.stop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the loop.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_errors::NFT_FAILED;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn a_view_that_is_ahead_of_what_a_loop_was_told_doesnt_count() {
        let mut told = Told::default();
        assert_eq!(told.with(&Wish::everything(), true, Revision(3)), Revision(3));
        // The View of revision 5 is there, and nobody has told of it yet.
        assert_eq!(told.with(&Wish::observe(), false, Revision(5)), Revision(3));
        let mut wish = Wish { upto: Revision(4), ..Wish::default() };
        assert_eq!(told.with(&wish, false, Revision(5)), Revision(4));
        wish.merge(Wish { upto: Revision(5), ..Wish::observe() });
        assert_eq!(told.with(&wish, false, Revision(5)), Revision(5));
        assert_eq!(told.with(&Wish::observe(), false, Revision(5)), Revision(5), "never back");
    }

    #[test]
    fn wishes_merge_and_the_outcome_reaches_who_waits() {
        let inbox = Inbox::default();
        let (a, b) = (PodUid([1; 16]), PodUid([2; 16]));
        let first = inbox.poke(Wish::pod(a));
        let second = inbox.poke(Wish { observe: true, ..Wish::pod(b) });
        let Work::Wish(wish, ticket) = inbox.take(soon()) else { panic!("there is work") };
        assert_eq!((wish.pods, wish.observe, wish.all), ([a, b].into(), true, false));
        assert!(matches!(inbox.take(soon()), Work::Nothing));
        assert_eq!(inbox.wait_for_pod(first, a, soon()).unwrap_err().code, "W1004", "not done yet");
        let failure = Error::new(&NFT_FAILED, "no");
        inbox.done(ticket, Outcome { pods: [(b, failure.clone())].into(), other: None });
        assert_eq!(inbox.wait_for_pod(first, a, soon()), Ok(()));
        assert_eq!(inbox.wait_for_pod(second, b, soon()), Err(failure));
        inbox.stop();
        assert!(matches!(inbox.take(soon()), Work::Stop));
    }
}
