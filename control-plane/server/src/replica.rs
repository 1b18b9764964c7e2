//! The replica task: the only place where effects become IO. It decides nothing; it never waits for a disk.
//!
//! In: ticks of the monotonic clock, completions of the disk, messages, mutations, questions. Out: writes, messages,
//! frames for followers, answers. It runs on a thread of its own, so that heartbeats don't wait for other tasks.

mod stop;
mod turn;
mod waiting;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error};
use weft_model::ReplicaId;
use weft_raft::{Input, Replica};
use weft_store::{Disk, Done};

use crate::{
    events::Events,
    handle::ReplicaView,
    inbox::{Event, Inbox, Look, Proposal, Question},
    limits::{DISK_WAITING, INPUTS_AT_ONCE},
    pace::Pace,
    peers::Peers,
    sync::{Fanout, Reports},
};
pub(crate) use turn::view_of;
use waiting::Waiting;

/// Ids of replicas that were removed but still send: their streams end with that reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removed(Arc<Mutex<BTreeSet<ReplicaId>>>);

impl Removed {
    fn add(&self, id: ReplicaId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(crate) fn has(&self, id: ReplicaId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

/// What the disk's threads report: a number that rises, or the error that ends everything.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    persisted: AtomicU64,
    failed: OnceLock<Error>,
    ready: Notify,
}

impl Completions {
    /// Called on the disk's threads.
    pub(crate) fn report(&self, done: Done) {
        match done {
            Done::Persisted(number) => {
                self.persisted.fetch_max(number, Ordering::AcqRel);
            }
            Done::Compacted(first) => tracing::debug!(first = first.0, "log shortened"),
            Done::Failed(error) => {
                // The first error is the cause; later ones follow from it.
                drop(self.failed.set(error.envelope()));
            }
        }
        self.ready.notify_one();
    }
}

/// What the task works with.
pub(crate) struct Parts {
    pub(crate) id: ReplicaId,
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    pub(crate) completions: Arc<Completions>,
    pub(crate) inbox: Inbox,
    pub(crate) peers: Peers,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) events: Arc<Events>,
    pub(crate) removed: Removed,
    pub(crate) view: watch::Sender<ReplicaView>,
    pub(crate) pace: Pace,
    /// Turns of the loop so far, for the watchdog.
    pub(crate) turns: Arc<AtomicU64>,
    /// The process stops.
    pub(crate) stop: CancellationToken,
}

/// The running task.
struct Driver {
    parts: Parts,
    waiting: Waiting,
    /// Inputs for the next turn.
    inputs: Vec<Input>,
    /// Looks at the state, behind the inputs of the turn they came with.
    looks: Vec<Look>,
    /// The last draft that the replica was told of.
    persisted: u64,
    /// When the clock ticked last.
    ticked: Instant,
    ticks: u64,
    /// Revision at which the list of members was looked at last.
    members_at: Option<weft_model::Revision>,
}

/// Runs the replica until the process stops or it can't go on. Blocks its thread.
pub(crate) fn run(parts: Parts) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| Error::new(&weft_errors::INTERNAL, "the replica's clock can't be set up").because(e))?;
    let mut driver = Driver {
        parts,
        waiting: Waiting::default(),
        inputs: vec![Input::Start],
        looks: Vec::new(),
        persisted: 0,
        ticked: Instant::now(),
        ticks: 0,
        members_at: None,
    };
    let outcome = runtime.block_on(driver.run());
    driver.end();
    outcome
}

impl Driver {
    async fn run(&mut self) -> Result<(), Error> {
        let pace = self.parts.pace;
        let mut ticks = tokio::time::interval(pace.tick);
        // Periods that were missed are not made up for: messages that wait since then were not looked at yet.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.turn()?;
        self.hasten()?;
        loop {
            let mut tick = false;
            {
                let Parts { inbox, stop, completions, disk, .. } = &mut self.parts;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    () = completions.ready.notified() => {}
                    _ = ticks.tick() => tick = true,
                    Some(event) = inbox.events.recv() => event_input(event, &mut self.inputs)?,
                    Some(question) = inbox.questions.recv() => self.waiting.question(question, &mut self.inputs, &mut self.looks),
                    Some(proposal) = inbox.proposals.recv(), if disk.waiting() < DISK_WAITING => {
                        self.waiting.proposal(proposal, &mut self.inputs);
                    }
                }
            }
            if tick {
                self.tick();
            }
            self.gather()?;
            self.turn()?;
        }
        self.hand_over(&mut ticks).await
    }

    /// A single voter waits for nobody: its election timeout passes at once.
    fn hasten(&mut self) -> Result<(), Error> {
        let Parts { id, replica, pace, .. } = &self.parts;
        if replica.status().conf.voters == [*id] {
            self.inputs.extend((0..pace.timing().election_max_ticks).map(|_| Input::Tick));
            self.turn()?;
        }
        Ok(())
    }

    /// One period of the clock.
    fn tick(&mut self) {
        let now = Instant::now();
        let gap = now.duration_since(self.ticked);
        if gap > self.parts.pace.election {
            tracing::warn!(?gap, "the process stood still");
            self.inputs.push(Input::Paused);
        }
        self.ticked = now;
        self.ticks += 1;
        self.inputs.push(Input::Tick);
        if self.ticks.is_multiple_of(self.parts.pace.ticks_in(Duration::from_secs(1))) {
            self.inputs.extend(self.waiting.abandoned());
        }
        if self.ticks.is_multiple_of(self.parts.pace.ticks_in(Duration::from_millis(100))) {
            self.inputs.extend(self.waiting.admit_member(&self.parts.replica));
        }
    }

    /// Everything else that waits, up to a bound: it shares one turn.
    fn gather(&mut self) -> Result<(), Error> {
        let Parts { inbox, disk, completions, .. } = &mut self.parts;
        if let Some(error) = completions.failed.get() {
            return Err(error.clone());
        }
        let persisted = completions.persisted.load(Ordering::Acquire);
        if persisted > self.persisted {
            self.persisted = persisted;
            self.inputs.push(Input::Persisted(persisted));
        }
        while self.inputs.len() < INPUTS_AT_ONCE
            && let Ok(event) = inbox.events.try_recv()
        {
            event_input(event, &mut self.inputs)?;
        }
        while self.inputs.len() + self.looks.len() < INPUTS_AT_ONCE
            && let Ok(question) = inbox.questions.try_recv()
        {
            self.waiting.question(question, &mut self.inputs, &mut self.looks);
        }
        while self.inputs.len() < INPUTS_AT_ONCE
            && disk.waiting() < DISK_WAITING
            && let Ok(proposal) = inbox.proposals.try_recv()
        {
            self.waiting.proposal(proposal, &mut self.inputs);
        }
        Ok(())
    }
}

fn event_input(event: Event, inputs: &mut Vec<Input>) -> Result<(), Error> {
    inputs.push(match event {
        Event::Message(certified, message) => Input::Message { certified, message },
        Event::Unreachable(id) => Input::Unreachable(id),
        Event::SnapshotSent(to, taken) => Input::SnapshotReport { to, taken },
        Event::Removed => return Err(stop::removed()),
    });
    Ok(())
}
