//! Silent nodes: while this replica leads, it looks four times a second of whom nothing was heard for the fabric's grace, and proposes
//! what `weft_core::silence` makes of it.
//!
//! In: calls of agents (`pulses`). Out: `NoteSilence`, all nodes of one look in one entry. Not here: who is silent (weft-core), what follows
//! for services (weft-core, `derive`). Without a leader nobody proposes: everything stays as it is.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_core::{
    limits::MAX_SILENCES_PER_COMMAND,
    silence::{Clocks, Known, Verdict},
};
use weft_errors::Error;
use weft_model::{
    Action, ClientId, Command, NodeName, NodeSilence, NodeState, Revision, Sequence, Term, WallTime,
};

use crate::{
    context::{Context, random, stamp, wall_time},
    limits::{CALL, SILENCE_LATE, SILENCE_LOOK},
};

/// Active nodes by name.
type Nodes = BTreeMap<NodeName, Known>;

/// What the loop needs of its replica.
pub(crate) trait Surroundings {
    /// The term that this replica leads; `None` when it doesn't.
    fn leads(&self) -> Option<Term>;
    /// The revision of the state.
    fn revision(&self) -> Revision;
    /// Active nodes, and the grace.
    fn nodes(&self) -> impl Future<Output = Result<(Nodes, Duration), Error>> + Send;
    /// Who is silent.
    fn judge(&self, clocks: &mut Clocks, nodes: &Nodes, grace: Duration, now: Instant) -> Verdict;
    /// This replica stood still for so long and heard nobody.
    fn pardon(&self, span: Duration);
    /// Writes it down.
    fn note(&self, nodes: Vec<NodeSilence>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Looks until the process stops.
pub(crate) async fn keep_listening(around: impl Surroundings, stop: CancellationToken) {
    let mut watch = Watch::default();
    loop {
        if let Err(error) = watch.look(&around, Instant::now()).await {
            tracing::warn!(%error, "silent nodes can't be looked after, trying again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SILENCE_LOOK) => {}
        }
    }
}

/// What a leader remembers from look to look; a new one of nothing.
#[derive(Debug, Default)]
struct Watch {
    term: Option<Term>,
    clocks: Clocks,
    looked: Option<Instant>,
    /// Nodes and grace, as of a revision.
    known: Option<(Revision, Nodes, Duration)>,
    /// Nodes that were held back at the last look.
    held: Vec<NodeName>,
}

impl Watch {
    async fn look(&mut self, around: &impl Surroundings, now: Instant) -> Result<(), Error> {
        let term = around.leads();
        if term.is_none() || self.term != term {
            *self = Self { term, ..Self::default() };
        }
        if term.is_none() {
            return Ok(());
        }
        // A machine that stood still has calls in its buffers that it couldn't read.
        let late = self.looked.replace(now).map_or(Duration::ZERO, |last| now.duration_since(last));
        if late > SILENCE_LATE {
            around.pardon(late);
            self.clocks.pardon(late);
        }
        let revision = around.revision();
        if !matches!(&self.known, Some((of, ..)) if *of == revision) {
            let (nodes, grace) = around.nodes().await?;
            self.known = Some((revision, nodes, grace));
        }
        let Some((_, nodes, grace)) = &self.known else { return Ok(()) };
        let verdict = around.judge(&mut self.clocks, nodes, *grace, now);
        let marks = marks(&verdict, nodes, wall_time());
        self.hold(verdict.held);
        if !marks.is_empty() && around.leads() == term {
            around.note(marks).await?;
        }
        // Waiting for the log isn't standing still.
        self.looked = Some(Instant::now().max(now));
        Ok(())
    }

    /// Says once that nodes are held back, and once that it is over.
    fn hold(&mut self, held: Vec<NodeName>) {
        match (self.held.is_empty(), held.is_empty()) {
            (true, false) => tracing::warn!(
                nodes = held.len(),
                first = %held.iter().take(1).map(ToString::to_string).collect::<String>(),
                "too many nodes fell silent at once: that is more likely the control plane's own trouble, so their pods stay in their services"
            ),
            (false, true) => tracing::info!("silent nodes are believed again"),
            (true, true) | (false, false) => {}
        }
        self.held = held;
    }
}

/// A verdict as it is written down, no more than one command takes: the rest follows with the next look.
fn marks(verdict: &Verdict, nodes: &Nodes, now: WallTime) -> Vec<NodeSilence> {
    let since =
        |span: &Duration| WallTime(now.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
    // Who is back comes first: its pods are wanted.
    let back = verdict.back.iter().map(|node| (node, None));
    let silent = verdict.silent.iter().map(|(node, span)| (node, Some(since(span))));
    let mark = |(node, since): (&NodeName, Option<WallTime>)| {
        let uid = nodes.get(node)?.uid;
        Some(NodeSilence { node: node.clone(), uid, since })
    };
    back.chain(silent).filter_map(mark).take(MAX_SILENCES_PER_COMMAND).collect()
}

/// The replica itself.
pub(crate) struct Ours {
    context: Arc<Context>,
    client: ClientId,
    sequence: std::sync::atomic::AtomicU64,
}

impl Ours {
    /// Fails when the kernel gives no random bytes.
    pub(crate) fn new(context: Arc<Context>) -> Result<Self, Error> {
        Ok(Self { context, client: ClientId(random()?), sequence: std::sync::atomic::AtomicU64::new(1) })
    }
}

impl Surroundings for Ours {
    fn leads(&self) -> Option<Term> {
        let status = self.context.handle.status();
        status.leads().then_some(status.term)
    }

    fn revision(&self) -> Revision {
        self.context.fanout.revision()
    }

    async fn nodes(&self) -> Result<(Nodes, Duration), Error> {
        let look = |state: &weft_core::State| {
            let grace = state.fabric().map_or(weft_model::DEFAULT_NODE_GRACE, |fabric| fabric.node_grace);
            let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
            let known = |node: &weft_model::Node| Known { uid: node.uid, silent: node.silent.is_some() };
            (active.map(|node| (node.name.clone(), known(node))).collect(), Duration::from_secs(grace.into()))
        };
        self.context.handle.query(look).await
    }

    fn judge(&self, clocks: &mut Clocks, nodes: &Nodes, grace: Duration, now: Instant) -> Verdict {
        self.context.pulses.judge(clocks, nodes, grace, now)
    }

    fn pardon(&self, span: Duration) {
        self.context.pulses.pardon_silence(span);
    }

    /// Only here: another leader has clocks of its own.
    async fn note(&self, nodes: Vec<NodeSilence>) -> Result<(), Error> {
        for mark in &nodes {
            match mark.since {
                Some(_) => {
                    tracing::warn!(node = %mark.node, "a node is silent: its pods take no new connections")
                }
                None => tracing::info!(node = %mark.node, "a node is heard again"),
            }
        }
        let sequence = Sequence(self.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let action = Action::NoteSilence { nodes };
        let command = Command { client: self.client, sequence, stamp: stamp()?, action };
        let decided = self.context.handle.propose_here(command, Instant::now() + CALL).await?;
        decided.outcome.answer.map(drop).map_err(|error| weft_errors::Coded::envelope(&error))
    }
}

#[cfg(test)]
#[path = "silence_tests.rs"]
mod tests;
