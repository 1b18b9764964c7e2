//! The loop of services: their maps in nf_tables, and flows that lead nowhere.
//!
//! What comes while a transaction is under way goes into the next one. Order: tables, then flows, since a flow that is removed
//! too early comes back by the old map. Not here: what stands in the maps and which flows are wrong (weft-plan).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_kernel::{Conntrack, NftError, NftSocket};
use weft_model::Revision;
use weft_plan::{Scope, Services, Sweep};
use weft_view::View;

use crate::{
    backoff::Backoff,
    clock, flows,
    inbox::{Outcome, Ticket, Told, Wish, Work},
    limits,
    node::Node,
    states::Subsystem,
};

use super::sweep;

/// A look at the whole maps takes at most this share of the time: one part in so many.
const LOOK_SHARE: u32 = 200;
/// The same after notices of others' commits, which may come every second.
const NOTICE_SHARE: u32 = 20;

/// A look that gave way to changes is tried again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// One that is due for so long gives way no more: changes that never pause hide nothing for ever.
const LOOK_LATEST: Duration = Duration::from_secs(300);

/// The loop.
pub(crate) struct ServiceLoop {
    node: Arc<Node>,
    socket: NftSocket,
    /// Reads the maps: whoever stops in the middle can't use it any more.
    looking: Option<NftSocket>,
    conntrack: Option<Conntrack>,
    services: Services,
    /// The kernel is known: looked at, and every commit since succeeded.
    known: bool,
    /// Flows that a process before this one left, or that couldn't be looked at: all are.
    all_flows: bool,
    backoff: Backoff,
    observe_at: Instant,
    /// Since when a look has given way to changes.
    put_off_since: Option<Instant>,
    /// Notices make it look again from then on.
    rested_at: Instant,
    retry_at: Option<Instant>,
    told: Told,
}

impl ServiceLoop {
    /// With a socket in the calling thread's namespace.
    pub(crate) fn new(node: Arc<Node>, socket: NftSocket) -> Self {
        let now = Instant::now();
        Self {
            node,
            socket,
            looking: None,
            conntrack: None,
            services: Services::new(),
            known: false,
            all_flows: true,
            backoff: Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST),
            observe_at: now,
            put_off_since: None,
            rested_at: now,
            retry_at: None,
            told: Told::default(),
        }
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let inbox = &node.inboxes.services;
        let mut work = Work::Wish(Wish::everything(), Ticket::default());
        loop {
            let (wish, ticket) = match work {
                Work::Stop => return Ok(()),
                Work::Nothing => (Wish::default(), None),
                Work::Wish(wish, ticket) => (wish, Some(ticket)),
            };
            let view = node.view();
            let result = self.pass(&view, &wish);
            let revision = self.told.with(&wish, wish.all, view.revision());
            let outcome = self.settle(revision, result);
            if let Some(ticket) = ticket {
                inbox.done(ticket, outcome);
            }
            work = inbox.take(self.retry_at.map_or(self.observe_at, |retry| retry.min(self.observe_at)));
        }
    }

    fn settle(&mut self, revision: Revision, result: Result<(), Error>) -> Outcome {
        let problems = self.services.problems();
        self.node.service_findings.set(&problems, self.services.sizes());
        self.node.service_findings.limited(self.services.limits());
        match result {
            Ok(()) => {
                self.backoff.reset();
                self.retry_at = None;
                self.node.states.well(Subsystem::Services, revision, clock::wall());
                Outcome::default()
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + self.backoff.next(clock::chance()));
                self.node.states.failed(Subsystem::Services, error.clone(), clock::wall());
                Outcome { other: Some(error), ..Outcome::default() }
            }
        }
    }

    fn pass(&mut self, view: &View, wish: &Wish) -> Result<(), Error> {
        if view.fabric().is_none() {
            // A node that has just joined: there is nothing to want yet, and nothing to look at.
            self.observe_at = Instant::now() + limits::OBSERVE_EVERY;
            return Ok(());
        }
        if wish.observe {
            self.notice();
        }
        self.want(view, wish);
        let result = self.converge(sweep(view), wish.compare).map_err(|error| error.envelope());
        if result.is_err() {
            // Whether the last transaction took place is unknown.
            self.known = false;
            return result;
        }
        self.clean(view).map_err(|error| error.envelope())
    }

    fn want(&mut self, view: &View, wish: &Wish) {
        let facts = self.node.facts();
        if wish.all || !self.known {
            self.services.want(view, &facts, Scope::All);
            return;
        }
        if !wish.items.is_empty() {
            self.services.want(view, &facts, Scope::of(&wish.items, &facts));
        }
        if !wish.pods.is_empty() {
            self.services.want(view, &facts, Scope::Pods(&wish.pods));
        }
    }

    /// Changes first, then a look when one is due: nobody's change waits until some 200,000 elements have been read.
    fn converge(&mut self, sweep: Sweep, asked: bool) -> Result<(), NftError> {
        let overdue = self.put_off_since.is_some_and(|since| since.elapsed() >= LOOK_LATEST);
        if !self.known || asked || overdue {
            self.look(false)?;
        }
        self.commit_all(sweep)?;
        if Instant::now() >= self.observe_at && self.look(true)? {
            self.commit_all(sweep)?;
        }
        Ok(())
    }

    fn commit_all(&mut self, sweep: Sweep) -> Result<(), NftError> {
        while let Some(transaction) = self.services.next(sweep) {
            match self.socket.commit(&transaction.batch) {
                Ok(generation) => {
                    tracing::debug!(
                        what = "services",
                        generation,
                        bytes = transaction.batch.size(),
                        "execute"
                    );
                    self.services.committed(transaction);
                }
                Err(error @ NftError::Refused { .. }) if self.services.refused() => {
                    tracing::warn!(%error, "tables of services can't be mended: they are made anew");
                    self.look(false)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the whole maps; `false`: it gave way to changes that came meanwhile.
    fn look(&mut self, gives_way: bool) -> Result<bool, NftError> {
        let (now, node) = (Instant::now(), Arc::clone(&self.node));
        let looking = match &mut self.looking {
            Some(looking) => looking,
            None => self.looking.insert(self.socket.beside()?),
        };
        let mut given_up = || gives_way && node.inboxes.services.is_waiting();
        let observed = looking.observe_unless(&self.services.tables(), &mut given_up);
        let observed = observed.inspect_err(|_| self.looking = None)?;
        if observed.is_none() {
            self.looking = None;
        }
        // What is wanted and not sent yet is no surprise, nor is what nobody looked at before.
        let (expected, was_known) = (self.services.differences(), self.known);
        let seen = observed.is_some_and(|observed| self.services.observed_unless(&observed, &mut given_up));
        if !seen {
            self.put_off_since.get_or_insert(now);
            self.observe_at = Instant::now() + LOOK_AGAIN;
            return Ok(false);
        }
        let surprises = self.services.differences().saturating_sub(expected);
        self.node.service_findings.compared(if was_known { surprises } else { 0 });
        if was_known && surprises > 0 {
            tracing::warn!(
                entries = surprises,
                "entries or rules of services were not as they had been left"
            );
        }
        let took = now.elapsed();
        tracing::debug!(what = "services", elapsed_ms = took.as_millis(), surprises, "looked");
        self.known = true;
        self.put_off_since = None;
        self.observe_at = Instant::now() + limits::OBSERVE_EVERY.max(took * LOOK_SHARE);
        self.rested_at = Instant::now() + limits::OBSERVE_REST.max(took * NOTICE_SHARE);
        Ok(true)
    }

    /// Removes flows that lead nowhere.
    fn clean(&mut self, view: &View) -> Result<(), weft_kernel::Error> {
        let changed = self.services.take_cleanup();
        // What a View that isn't whole doesn't name may serve all the same.
        let whole = self.all_flows && view.is_in_sync();
        if changed.is_empty() && !whole {
            return Ok(());
        }
        let conntrack = match &mut self.conntrack {
            Some(conntrack) => conntrack,
            None => self.conntrack.insert(Conntrack::open()?),
        };
        // Until this has succeeded nothing is known of any flow.
        self.all_flows = true;
        let mut removed = flows::remove(conntrack, &changed)?;
        if let Some(fabric) = view.fabric().filter(|_| whole) {
            removed += flows::remove(conntrack, &self.services.whole_cleanup(fabric))?;
        }
        self.all_flows = !whole && !view.is_in_sync();
        if removed > 0 {
            tracing::info!(removed, "flows that led to no endpoint of their service were removed");
        }
        Ok(())
    }

    /// Others changed nf_tables: look soon, but not all the time.
    fn notice(&mut self) {
        self.observe_at = self.observe_at.min(self.rested_at.max(Instant::now()));
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
