//! The loop of nf_tables: the guard's rules and the elements of its sets.
//!
//! Elements of all pods that are attached at the same time go into one transaction (group commit); who waits for a pod
//! is told when it is in the kernel.

use std::{sync::Arc, time::Instant};

use weft_errors::{Coded, Error};
use weft_kernel::{NftError, NftMonitor, NftSocket};
use weft_model::{
    AddressRange, FabricItem, Overlay, Revision,
    ownership::{BRIDGE, MESH_DEVICES},
    resolver_addresses,
};
use weft_nft::{Batch, Elements};
use weft_plan::{Facts, GuardInput, GuardPod, Ruleset, Sweep};
use weft_view::View;

use crate::{
    backoff::Backoff,
    clock,
    inbox::{Outcome, Ticket, Wish, Work},
    limits,
    node::Node,
    states::Subsystem,
};

use super::sweep;

/// The loop.
pub(crate) struct GuardLoop {
    node: Arc<Node>,
    socket: NftSocket,
    /// What the kernel is known to hold; `None`: look first.
    known: Option<(Overlay, Elements)>,
    /// What was found and nobody wants: stays until the View was in sync. What this process stops wanting isn't among it.
    unknown: Elements,
    backoff: Backoff,
    observe_at: Instant,
    /// Others' firewalls are looked at again from then on.
    survey_at: Instant,
    retry_at: Option<Instant>,
}

impl GuardLoop {
    /// Opens the socket in the calling thread's namespace.
    pub(crate) fn open(node: Arc<Node>) -> Result<Self, Error> {
        let socket = NftSocket::open().map_err(|e| e.envelope())?;
        let backoff = Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST);
        Ok(Self {
            node,
            socket,
            known: None,
            unknown: Elements::default(),
            backoff,
            observe_at: Instant::now(),
            survey_at: Instant::now(),
            retry_at: None,
        })
    }

    /// A socket for another loop, whose commits the monitor knows too.
    pub(crate) fn socket(&self) -> Result<NftSocket, Error> {
        self.socket.beside().map_err(|e| e.envelope())
    }

    /// A monitor that knows this loop's own commits.
    pub(crate) fn monitor(&self) -> Result<NftMonitor, Error> {
        self.socket.monitor().map_err(|e| e.envelope())
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let mut work = Work::Wish(Wish::everything(), Ticket::default());
        loop {
            let (wish, ticket) = match work {
                Work::Stop => return Ok(()),
                Work::Nothing => (Wish::everything(), None),
                Work::Wish(wish, ticket) => (wish, Some(ticket)),
            };
            let view = node.view();
            let result = self.pass(&view, wish.observe);
            if wish.observe {
                self.survey();
            }
            let outcome = self.settle(view.revision(), result);
            if let Some(ticket) = ticket {
                node.inboxes.nft.done(ticket, outcome);
            }
            let until = self.retry_at.map_or(self.observe_at, |retry| retry.min(self.observe_at));
            work = node.inboxes.nft.take(until);
        }
    }

    fn settle(&mut self, revision: Revision, result: Result<(), NftError>) -> Outcome {
        match result {
            Ok(()) => {
                self.backoff.reset();
                self.retry_at = None;
                self.node.states.well(Subsystem::Nft, revision, clock::wall());
                Outcome::default()
            }
            Err(error) => {
                self.known = None;
                self.retry_at = Some(Instant::now() + self.backoff.next(clock::chance()));
                let error = error.envelope();
                self.node.states.failed(Subsystem::Nft, error.clone(), clock::wall());
                Outcome { other: Some(error), ..Outcome::default() }
            }
        }
    }

    /// What others' chains drop is a finding, never a failure of ours. Those who commit often are looked at from time to time.
    fn survey(&mut self) {
        let now = Instant::now();
        if now < self.survey_at {
            // A look that is owed comes when the pause is over.
            self.observe_at = self.observe_at.min(self.survey_at);
            return;
        }
        self.survey_at = now + limits::SURVEY_REST;
        let [mesh, _] = MESH_DEVICES;
        match self.socket.survey() {
            Ok(observed) => {
                let firewalls = observed.drop_policies(&[BRIDGE, mesh]);
                self.node.change_surroundings(|around| around.firewalls = firewalls);
            }
            Err(error) => tracing::debug!(%error, "others' firewalls can't be read"),
        }
    }

    fn pass(&mut self, view: &View, look: bool) -> Result<(), NftError> {
        let Some(fabric) = view.fabric() else { return Ok(()) };
        let ruleset = Ruleset::new(fabric.overlay);
        let wanted = ruleset.elements(&input(view, fabric, &self.node.facts()));
        let due = look || Instant::now() >= self.observe_at || self.retry_at.is_some();
        match self.known.take() {
            Some((overlay, actual)) if overlay == fabric.overlay && !due => {
                let wanted = self.keep_unknown(wanted, sweep(view));
                self.commit(&ruleset.update(&wanted, &actual), "elements")?;
                self.known = Some((overlay, wanted));
            }
            _ => {
                let wanted = self.compare(&ruleset, wanted, sweep(view))?;
                self.known = Some((fabric.overlay, wanted));
                self.observe_at = Instant::now() + limits::OBSERVE_EVERY;
            }
        }
        Ok(())
    }

    /// Looks at the whole of our tables and mends what differs.
    fn compare(&mut self, ruleset: &Ruleset, wanted: Elements, sweep: Sweep) -> Result<Elements, NftError> {
        let observed = self.socket.observe(ruleset.tables())?;
        let actual = observed.elements(ruleset.tables());
        self.unknown = without(&actual, &wanted);
        let wanted = self.keep_unknown(wanted, sweep);
        let differences = ruleset.verify(&wanted, &observed);
        let Some(first) = differences.first() else { return Ok(wanted) };
        let count = differences.len();
        if differences.iter().all(weft_nft::Difference::is_of_elements) {
            tracing::debug!(count, %first, "nf_tables elements differ");
            self.commit(&ruleset.update(&wanted, &actual), "elements")?;
        } else {
            tracing::info!(count, %first, "nf_tables rules are put in place");
            match self.commit(&ruleset.mend(&wanted, &observed), "rules") {
                Err(error @ NftError::Refused { .. }) => {
                    tracing::warn!(%error, "nf_tables rules can't be mended: they are made anew");
                    self.commit(&ruleset.full(&wanted), "rules")?;
                }
                done => done?,
            }
        }
        Ok(wanted)
    }

    /// Before the View was in sync nothing unknown is taken away.
    fn keep_unknown(&self, mut wanted: Elements, sweep: Sweep) -> Elements {
        if sweep == Sweep::Forbidden {
            for (set, elements) in self.unknown.iter() {
                elements.iter().for_each(|element| wanted.insert(set.clone(), element.clone()));
            }
        }
        wanted
    }

    fn commit(&mut self, batches: &[Batch], what: &str) -> Result<(), NftError> {
        for batch in batches {
            let generation = self.socket.commit(batch)?;
            tracing::debug!(what, generation, bytes = batch.size(), "execute");
        }
        Ok(())
    }
}

/// Elements of `all` that aren't in `some`.
fn without(all: &Elements, some: &Elements) -> Elements {
    let mut rest = Elements::default();
    for change in all.changes_from(some) {
        change.add.into_iter().for_each(|element| rest.insert(change.set.clone(), element));
    }
    rest
}

/// What decides the elements.
fn input(view: &View, fabric: &FabricItem, facts: &Facts) -> GuardInput {
    let others = || view.peers().values().filter(|peer| peer.node != facts.node);
    let mut owners = Vec::new();
    for peer in others() {
        let Some(mac) = peer.uplink_mac else { continue };
        owners.extend(peer.mesh.iter().map(|(_, address)| (AddressRange::host(*address), mac)));
        owners.extend(view.blocks_of(&peer.node).map(|route| (route.block, mac)));
    }
    GuardInput {
        families: fabric.families,
        ranges: fabric.ranges.clone(),
        masquerade_exceptions: fabric.masquerade_exceptions.clone(),
        replicas: fabric.replicas.clone(),
        resolver: resolver_addresses(fabric).collect(),
        pods: facts.pods.values().map(GuardPod::from).collect(),
        peers_underlay: others().flat_map(|peer| peer.underlay.iter().copied()).collect(),
        uplinks: facts.underlay.iter().map(|underlay| underlay.interface.clone()).collect(),
        owners,
    }
}
