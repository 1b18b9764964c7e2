//! The loop of a subject with a `Tracker`: links and routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use weft_errors::{Coded, Error};
use weft_model::{PodUid, Revision};
use weft_plan::{Executor, Failure, Scope, Source, Subject, Tracker, Wanted};
use weft_view::View;

use crate::{
    backoff::Backoff,
    clock,
    inbox::{Inbox, Outcome, Told, Wish, Work},
    limits,
    node::Node,
    states::Subsystem,
};

use super::sweep;

/// What a loop does with an error that it can't mend by trying again; `true`: something was done, look again soon.
pub(crate) type Repair<E> = fn(&Node, &E) -> bool;

/// One loop.
pub(crate) struct SubjectLoop<S: Subject, E: Executor<S>> {
    node: Arc<Node>,
    subsystem: Subsystem,
    tracker: Tracker<S::Key, S::Value>,
    executor: E,
    repair: Repair<E::Error>,
    /// Keys that each pod wants: what an attach has made and a detach has removed is known without looking.
    pods: BTreeMap<PodUid, Vec<S::Key>>,
    backoff: Backoff,
    observed_at: Option<Instant>,
    observe_at: Instant,
    /// The whole desired state is computed anew then.
    full_at: Instant,
    retry_at: Option<Instant>,
    told: Told,
}

impl<S: Subject, E: Executor<S>> SubjectLoop<S, E>
where
    E::Error: Coded,
{
    /// A loop that hasn't looked yet.
    pub(crate) fn new(node: Arc<Node>, subsystem: Subsystem, executor: E, repair: Repair<E::Error>) -> Self {
        Self {
            node,
            subsystem,
            tracker: Tracker::new(),
            executor,
            repair,
            pods: BTreeMap::new(),
            backoff: Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST),
            observed_at: None,
            observe_at: Instant::now(),
            full_at: Instant::now(),
            retry_at: None,
            told: Told::default(),
        }
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let inbox = self.inbox(&node);
        let mut work = inbox.take(Instant::now());
        loop {
            let (wish, ticket) = match work {
                Work::Stop => return Ok(()),
                Work::Nothing => (Wish::observe(), None),
                Work::Wish(wish, ticket) => (wish, Some(ticket)),
            };
            let outcome = self.pass(&wish);
            if let Some(ticket) = ticket {
                inbox.done(ticket, outcome);
            }
            work = inbox.take(self.retry_at.map_or(self.observe_at, |retry| retry.min(self.observe_at)));
        }
    }

    fn inbox<'a>(&self, node: &'a Node) -> &'a Inbox {
        if self.subsystem == Subsystem::Links { &node.inboxes.links } else { &node.inboxes.routes }
    }

    fn pass(&mut self, wish: &Wish) -> Outcome {
        let (view, facts) = (self.node.view(), self.node.facts());
        let now = Instant::now();
        let whole = wish.all || now >= self.full_at;
        let revision = self.told.with(wish, whole, view.revision());
        if whole {
            self.full_at = now + limits::OBSERVE_EVERY;
            let wanted = S::desired(&view, &facts, Scope::All);
            self.remember_pods(&wanted);
            self.tracker.want(Scope::All, wanted);
        } else if !wish.items.is_empty() {
            let scope = Scope::Items(&wish.items);
            self.tracker.want(scope, S::desired(&view, &facts, scope));
        }
        if wish.observe {
            // Pods that come and go cause notices too: a burst of them is looked at together.
            let rest = self.observed_at.map_or(now, |at| at + limits::OBSERVE_REST);
            self.observe_at = self.observe_at.min(rest.max(now));
        }
        if now >= self.observe_at || self.retry_at.is_some_and(|at| now >= at) {
            self.observed_at = Some(now);
            self.observe_at = now + limits::OBSERVE_EVERY;
            if let Err(error) = self.tracker.observe::<S, E>(&mut self.executor) {
                return self.failed(error.envelope());
            }
        }
        self.want_pods(&view, wish);
        let (steps, failures) = self.tracker.converge::<S, E>(&mut self.executor, sweep(&view));
        for step in &steps {
            tracing::debug!(subject = S::NAME, revision = view.revision().0, %step, "execute");
        }
        if self.subsystem == Subsystem::Links && !steps.is_empty() {
            // With an address or a link the kernel takes away routes in silence (net/ipv4/fib_semantics.c, fib_sync_down_addr).
            self.node.inboxes.routes.poke(Wish::observe());
        }
        self.settle(revision, &failures)
    }

    /// Pods come and go beside this loop. They are read after the kernel: whatever of a pod was seen there belongs to one
    /// that is in the facts now, since attach enters it there before it makes anything, and detach removes it first.
    fn want_pods(&mut self, view: &View, wish: &Wish) {
        let (facts, attaching) = (self.node.facts(), self.node.attaching());
        let came = facts.pods.keys().filter(|uid| !self.pods.contains_key(uid));
        let went = self.pods.keys().filter(|uid| !facts.pods.contains_key(uid));
        let mut uids: BTreeSet<PodUid> = came.chain(went).copied().collect();
        uids.extend(&wish.pods);
        uids.extend(attaching);
        if uids.is_empty() {
            return;
        }
        let scope = Scope::Pods(&uids);
        let wanted = S::desired(view, &facts, scope);
        let before: Vec<_> = uids.iter().filter_map(|uid| self.pods.remove(uid)).flatten().collect();
        self.remember_pods(&wanted);
        let made: Vec<_> = wanted.iter().flat_map(|(_, wishes)| wishes.clone()).collect();
        self.tracker.want(scope, wanted);
        self.believe(before, made);
    }

    /// What attach made and detach removed needs no look at the kernel; the next full observation corrects any error.
    fn believe(&mut self, before: Vec<S::Key>, made: Vec<(S::Key, S::Value)>) {
        for key in before {
            if self.tracker.desired(&key).is_none() {
                self.tracker.noticed(key, None);
            }
        }
        for (key, value) in made {
            if self.tracker.desired(&key) == Some(&value) {
                self.tracker.noticed(key, Some(value));
            }
        }
    }

    fn remember_pods(&mut self, wanted: &Wanted<S::Key, S::Value>) {
        for (source, wishes) in wanted {
            if let Source::Pod(uid) = source {
                self.pods.insert(*uid, wishes.iter().map(|(key, _)| key.clone()).collect());
            }
        }
    }

    fn settle(&mut self, revision: Revision, failures: &[Failure<E::Error>]) -> Outcome {
        let Some(first) = failures.first() else {
            self.backoff.reset();
            self.retry_at = None;
            self.node.states.well(self.subsystem, revision, clock::wall());
            return Outcome::default();
        };
        let mut repaired = false;
        for failure in failures {
            repaired |= (self.repair)(&self.node, &failure.error);
        }
        let error = first.error.envelope();
        if repaired {
            // Not a failure yet, and never a reason to spin: what was to be mended may be broken again at once.
            self.retry_at = Some(Instant::now() + self.backoff.next(clock::chance()));
            return Outcome { other: Some(error), ..Outcome::default() };
        }
        self.failed(error)
    }

    fn failed(&mut self, error: Error) -> Outcome {
        self.retry_at = Some(Instant::now() + self.backoff.next(clock::chance()));
        self.node.states.failed(self.subsystem, error.clone(), clock::wall());
        Outcome { other: Some(error), ..Outcome::default() }
    }
}

#[cfg(test)]
mod tests {
    use weft_plan::{Link, LinkKey, LinkStep, LinkValue};

    use super::*;
    use crate::fixture::node;

    /// A kernel in which no link can be made, though each repair seems to succeed.
    struct Broken;

    impl Executor<Link> for Broken {
        type Error = weft_kernel::Error;

        fn observe(&mut self, _: &[&LinkKey]) -> Result<Vec<(LinkKey, LinkValue)>, Self::Error> {
            Ok(Vec::new())
        }

        fn execute(&mut self, _: &[LinkStep]) -> Result<(), Vec<Failure<Self::Error>>> {
            Err(vec![Failure {
                step: 0,
                error: weft_kernel::Error::PortGone { name: "wv01020304".to_owned() },
            }])
        }
    }

    /// Pauses after passes that all fail, and whether the subsystem counts as failed then.
    fn check(repair: Repair<weft_kernel::Error>, failed: bool) {
        let directory = tempfile::tempdir().unwrap();
        let node = Arc::new(node(&directory));
        let mut links = SubjectLoop::<Link, _>::new(Arc::clone(&node), Subsystem::Links, Broken, repair);
        let mut last = None;
        for round in 0..4 {
            assert!(links.pass(&Wish::everything()).other.is_some());
            let pause = links.retry_at.unwrap().saturating_duration_since(Instant::now());
            assert!(pause >= limits::RETRY_FIRST / 4, "round {round}: {pause:?}");
            last = Some(pause);
            // The pause is over.
            links.retry_at = Some(Instant::now());
        }
        assert!(last > Some(limits::RETRY_FIRST), "pauses grow: {last:?}");
        let state = node.states.all().remove(&Subsystem::Links);
        assert_eq!(state.is_some_and(|state| state.error.is_some()), failed);
    }

    #[test]
    fn passes_that_repaired_something_pause_like_those_that_failed() {
        check(|_, _| true, false);
        check(|_, _| false, true);
    }
}
