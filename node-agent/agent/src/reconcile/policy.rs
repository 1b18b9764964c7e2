//! The loop of network policy: its tables in nf_tables.
//!
//! What comes while a transaction is under way goes into the next one. Not here: what policies mean (weft-policy) and what stands in the
//! tables (weft-plan).

use std::{sync::Arc, time::Instant};

use weft_errors::{Coded, Error};
use weft_kernel::{NftError, NftSocket};
use weft_model::Revision;
use weft_plan::{Policies, Scope, Sweep};
use weft_view::View;

use crate::{
    backoff::Backoff,
    clock,
    inbox::{Outcome, Ticket, Told, Wish, Work},
    limits,
    node::Node,
    states::Subsystem,
};

use super::sweep;

/// A look at the whole tables takes at most this share of the time: one part in so many.
const LOOK_SHARE: u32 = 200;
/// The same after notices of others' commits, which may come every second.
const NOTICE_SHARE: u32 = 20;

/// Problems that are told beside the first one.
const TOLD: usize = 8;

/// The loop.
pub(crate) struct PolicyLoop {
    node: Arc<Node>,
    socket: NftSocket,
    policies: Policies,
    /// The kernel is known: looked at, and every commit since succeeded.
    known: bool,
    backoff: Backoff,
    observe_at: Instant,
    /// Notices make it look again from then on.
    rested_at: Instant,
    retry_at: Option<Instant>,
    told: Told,
}

impl PolicyLoop {
    /// With a socket in the calling thread's namespace.
    pub(crate) fn new(node: Arc<Node>, socket: NftSocket) -> Self {
        let now = Instant::now();
        Self {
            node,
            socket,
            policies: Policies::new(),
            known: false,
            backoff: Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST),
            observe_at: now,
            rested_at: now,
            retry_at: None,
            told: Told::default(),
        }
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
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
                node.inboxes.policies.done(ticket, outcome);
            }
            let until = self.retry_at.map_or(self.observe_at, |retry| retry.min(self.observe_at));
            work = node.inboxes.policies.take(until);
        }
    }

    fn settle(&mut self, revision: Revision, result: Result<(), NftError>) -> Outcome {
        match result {
            Ok(()) => {
                self.backoff.reset();
                self.retry_at = None;
                self.node.judged.set(self.policies.unknown_pods());
                match told(&self.policies.problems()) {
                    // What is too large is closed, which is in the kernel: nobody waits for more.
                    Some(error) => {
                        self.node.states.partly(Subsystem::Policy, revision, error, clock::wall());
                    }
                    None => self.node.states.well(Subsystem::Policy, revision, clock::wall()),
                }
                Outcome::default()
            }
            Err(error) => {
                // Whether the last transaction took place is unknown.
                self.known = false;
                self.retry_at = Some(Instant::now() + self.backoff.next(clock::chance()));
                let error = error.envelope();
                self.node.states.failed(Subsystem::Policy, error.clone(), clock::wall());
                Outcome { other: Some(error), ..Outcome::default() }
            }
        }
    }

    fn pass(&mut self, view: &View, wish: &Wish) -> Result<(), NftError> {
        if view.fabric().is_none() {
            // A node that has just joined: there is nothing to want yet, and nothing to look at.
            self.observe_at = Instant::now() + limits::OBSERVE_EVERY;
            return Ok(());
        }
        if wish.observe {
            // Others changed nf_tables: look soon, but not all the time.
            self.observe_at = self.observe_at.min(self.rested_at.max(Instant::now()));
        }
        self.want(view, wish);
        let sweep = sweep(view);
        if self.known && !wish.compare {
            self.commit_all(sweep)?;
        }
        if !self.known || wish.compare || Instant::now() >= self.observe_at {
            self.look(sweep)?;
            self.commit_all(sweep)?;
        }
        Ok(())
    }

    fn want(&mut self, view: &View, wish: &Wish) {
        let facts = self.node.facts();
        if wish.all || !self.known {
            self.policies.want(view, &facts, Scope::All);
            return;
        }
        if !wish.items.is_empty() {
            self.policies.want(view, &facts, Scope::of(&wish.items, &facts));
        }
        if !wish.pods.is_empty() {
            self.policies.want(view, &facts, Scope::Pods(&wish.pods));
        }
    }

    fn commit_all(&mut self, sweep: Sweep) -> Result<(), NftError> {
        while let Some(transaction) = self.policies.next(sweep) {
            let generation = self.socket.commit(&transaction.batch)?;
            tracing::debug!(what = "policy", generation, bytes = transaction.batch.size(), "execute");
            self.policies.committed(transaction);
        }
        Ok(())
    }

    fn look(&mut self, sweep: Sweep) -> Result<(), NftError> {
        let began = Instant::now();
        let observed = self.socket.observe(&self.policies.tables())?;
        let surprises = self.policies.observed(&observed, sweep);
        if self.known && surprises > 0 {
            tracing::warn!(
                entries = surprises,
                "entries or rules of policies were not as they had been left"
            );
        }
        let took = began.elapsed();
        tracing::debug!(what = "policy", elapsed_ms = took.as_millis(), surprises, "looked");
        self.known = true;
        self.observe_at = Instant::now() + limits::OBSERVE_EVERY.max(took * LOOK_SHARE);
        self.rested_at = Instant::now() + limits::OBSERVE_REST.max(took * NOTICE_SHARE);
        Ok(())
    }
}

/// The first problem, with some of the others as its causes.
fn told<E: Coded>(problems: &[E]) -> Option<Error> {
    let (first, others) = problems.split_first()?;
    let told = others.iter().take(TOLD);
    let error = told.fold(first.envelope(), |error, other| error.because(format!("also: {other}")));
    Some(match others.len().saturating_sub(TOLD) {
        0 => error,
        more => error.because(format!("and {more} more")),
    })
}
