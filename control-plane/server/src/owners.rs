//! Who answers for load-balancer addresses on the link: while this replica leads, it looks every 20 ms which nodes live and
//! proposes what `weft_core::owners` makes of it.
//!
//! In: signs of life of nodes (`pulses`). Out: `AssignOwners`, all addresses of a dead node in one entry. Not here: the choice
//! itself, and announcing. Without a leader nobody proposes: the last owners go on.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_core::{
    owners::{decide, is_move},
    pulse::Living,
};
use weft_errors::Error;
use weft_model::{Action, AddressOwner, ClientId, NodeState, Revision};
use weft_proto::v1;

use crate::{
    context::{Context, random},
    limits::{CALL, OWNER_LATE, OWNER_LOOK, OWNER_REST, OWNER_REVISIONS, OWNER_SUCCESSORS},
};

/// Owners that must change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    owners: Vec<AddressOwner>,
    /// An address gets another owner, not only another successor.
    moves: bool,
}

/// What the loop needs of its replica.
pub(crate) trait Surroundings {
    /// Whether this replica leads.
    fn leads(&self) -> bool;
    /// The revision of the state.
    fn revision(&self) -> Revision;
    /// Who lives, for a leader since `since`; `None` while nobody gives signs of life: nothing is to be decided.
    fn living(&self, now: Instant, since: Instant) -> Option<Living>;
    /// This replica stood still for so long and heard nobody.
    fn pardon(&self, span: Duration);
    /// Owners that must change.
    fn decide(&self, living: Living) -> impl Future<Output = Result<Decided, Error>> + Send;
    /// Writes them.
    fn assign(&self, owners: Vec<AddressOwner>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Looks until the process stops.
pub(crate) async fn keep_assigned(around: impl Surroundings, stop: CancellationToken) {
    let mut watch = Watch::default();
    loop {
        let pause = match watch.look(&around, Instant::now()).await {
            Ok(true) => OWNER_LOOK,
            Ok(false) => {
                watch = Watch::default();
                OWNER_REST
            }
            Err(error) => {
                tracing::warn!(%error, "owners of load-balancer addresses can't be looked after, trying again");
                OWNER_REST
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a leader remembers from look to look.
#[derive(Debug, Default)]
struct Watch {
    since: Option<Instant>,
    looked: Option<Instant>,
    /// What was decided last, and when.
    decided: Option<(Living, Revision, Instant)>,
    /// When owners or successors were written last.
    written: Option<Instant>,
}

impl Watch {
    /// One look; whether there is something to look after.
    async fn look(&mut self, around: &impl Surroundings, now: Instant) -> Result<bool, Error> {
        if !around.leads() {
            return Ok(false);
        }
        let since = *self.since.get_or_insert(now);
        // A machine that stood still has signs of life in its buffers that it couldn't read.
        let late = self.looked.replace(now).map_or(Duration::ZERO, |last| now.duration_since(last));
        if late > OWNER_LATE {
            around.pardon(late);
        }
        let Some(living) = around.living(now, since) else { return Ok(false) };
        let revision = around.revision();
        if !self.is_due(&living, revision, now) {
            return Ok(true);
        }
        if let Some((before, ..)) = &self.decided {
            for node in living.died_since(before) {
                tracing::info!(%node, "a node gives no sign of life any more: what it answered for on the link moves");
            }
        }
        let Decided { owners, moves } = around.decide(living.clone()).await?;
        // What took its time to be known may be old: another replica may lead by now, and its owners would be refused.
        let settled = owners.is_empty();
        let rests = self.written.is_some_and(|at| now.saturating_duration_since(at) < OWNER_SUCCESSORS);
        if !settled && (moves || !rests) && around.leads() {
            around.assign(owners).await?;
            self.written = Some(now);
        }
        // One command may not have been enough: then the next look decides again.
        self.decided = Some((living, if settled { revision } else { Revision(0) }, now));
        // Writing takes its time, and isn't standing still.
        self.looked = None;
        Ok(true)
    }

    /// At once when other nodes live; from time to time when objects changed.
    fn is_due(&self, living: &Living, revision: Revision, now: Instant) -> bool {
        let Some((known, of, at)) = &self.decided else { return true };
        living != known || (revision != *of && now.duration_since(*at) >= OWNER_REVISIONS)
    }
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
    fn leads(&self) -> bool {
        self.context.handle.status().leads()
    }

    fn revision(&self) -> Revision {
        self.context.fanout.revision()
    }

    fn living(&self, now: Instant, since: Instant) -> Option<Living> {
        self.context.pulses.living(now, since)
    }

    fn pardon(&self, span: Duration) {
        self.context.pulses.pardon(span);
    }

    async fn decide(&self, living: Living) -> Result<Decided, Error> {
        let look = move |state: &weft_core::State| {
            let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
            let owners = decide(state, &living.of(active.map(|node| &node.name)));
            Decided { moves: is_move(state, &owners), owners }
        };
        self.context.handle.query(look).await
    }

    async fn assign(&self, owners: Vec<AddressOwner>) -> Result<(), Error> {
        for owner in &owners {
            let successor = owner.successor.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::info!(address = %owner.address, node = %owner.node, successor, "a node answers for a load-balancer address");
        }
        let sequence = self.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mutation = v1::MutationId { client: self.client.0.to_vec().into(), sequence };
        let deadline = Instant::now() + CALL;
        let applied = self.context.propose(Some(mutation), Action::AssignOwners { owners }, deadline).await?;
        applied.answer.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, atomic::AtomicU64, atomic::Ordering::Relaxed},
    };

    use weft_core::owners::Liveness;
    use weft_model::{NodeName, ReplicaId};

    use super::*;
    use crate::pulses::PulseBoard;

    /// A replica that leads or not, with one address for whoever is alive first.
    struct Fake {
        leads: bool,
        board: PulseBoard,
        revision: AtomicU64,
        owner: Mutex<Option<AddressOwner>>,
        decisions: AtomicU64,
        written: AtomicU64,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                leads: true,
                board: PulseBoard::new(ReplicaId(1)),
                revision: AtomicU64::new(1),
                owner: Mutex::default(),
                decisions: AtomicU64::new(0),
                written: AtomicU64::new(0),
            }
        }

        fn hear(&self, name: &str, at: Instant) {
            self.board.hear(&node(name), v1::PulseRequest { lasts_ms: 150, away: false }, at);
        }

        fn owner(&self) -> String {
            self.owner.lock().unwrap().as_ref().map(|owner| owner.node.to_string()).unwrap_or_default()
        }
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    impl Surroundings for Fake {
        fn leads(&self) -> bool {
            self.leads
        }

        fn revision(&self) -> Revision {
            Revision(self.revision.load(Relaxed))
        }

        fn living(&self, now: Instant, since: Instant) -> Option<Living> {
            self.board.living(now, since)
        }

        fn pardon(&self, span: Duration) {
            self.board.pardon(span);
        }

        async fn decide(&self, living: Living) -> Result<Decided, Error> {
            self.decisions.fetch_add(1, Relaxed);
            let alive: BTreeMap<NodeName, Liveness> = living.of(&["n1", "n2"].map(node));
            let old = self.owner.lock().unwrap().clone();
            let first = alive.iter().find(|(_, liveness)| **liveness == Liveness::Alive);
            let kept = old.as_ref().map(|old| &old.node).filter(|owner| alive.contains_key(*owner));
            let Some(owner) = kept.or(first.map(|(name, _)| name)).cloned() else {
                return Ok(Decided::default());
            };
            let successor = alive.keys().find(|name| **name != owner).cloned();
            let moves = old.as_ref().map(|old| &old.node) != Some(&owner);
            if !moves && old.is_some_and(|old| old.successor == successor) {
                return Ok(Decided::default());
            }
            let address = [192, 0, 2, 1].into();
            let owner = AddressOwner { address, node: owner, successor, epoch: 0, revision: Revision(0) };
            Ok(Decided { owners: vec![owner], moves })
        }

        async fn assign(&self, owners: Vec<AddressOwner>) -> Result<(), Error> {
            self.revision.fetch_add(1, Relaxed);
            self.written.fetch_add(1, Relaxed);
            *self.owner.lock().unwrap() = owners.into_iter().next();
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_a_leader_that_hears_somebody_decides() {
        let start = Instant::now();
        let mut fake = Fake::new();
        assert!(!Watch::default().look(&fake, start).await.unwrap(), "nobody was heard");
        fake.hear("n1", start);
        fake.leads = false;
        assert!(!Watch::default().look(&fake, start).await.unwrap());
        fake.leads = true;
        assert!(Watch::default().look(&fake, start).await.unwrap());
        assert_eq!(fake.owner(), "n1");
    }

    #[tokio::test]
    async fn an_address_moves_within_a_look_of_the_last_sign_of_life_running_out() {
        let start = Instant::now();
        let (fake, mut watch) = (Fake::new(), Watch::default());
        let mut moved = None;
        for ms in (0..600).step_by(20) {
            let now = start + Duration::from_millis(ms);
            if ms <= 200 {
                fake.hear("n1", now);
            }
            fake.hear("n2", now);
            watch.look(&fake, now).await.unwrap();
            if fake.owner() == "n2" {
                moved.get_or_insert(ms);
            }
        }
        assert!(moved.is_some_and(|at| (350..=370).contains(&at)), "{moved:?}");
        let decisions = fake.decisions.load(Relaxed);
        assert!(decisions <= 6, "{decisions}: a look that finds nothing new asks nobody");
    }

    #[tokio::test]
    async fn a_successor_that_comes_and_goes_is_written_once_a_second_and_a_move_at_once() {
        let start = Instant::now();
        let (fake, mut watch) = (Fake::new(), Watch::default());
        let mut at = start;
        for ms in (0..3_000).step_by(20) {
            at = start + Duration::from_millis(ms);
            fake.hear("n1", at);
            // Its signs run out again and again before the next one comes.
            if ms % 200 == 0 {
                fake.hear("n2", at);
            }
            watch.look(&fake, at).await.unwrap();
        }
        let written = fake.written.load(Relaxed);
        assert!((2..=4).contains(&written), "{written} writes in three seconds");
        for ms in (20..=200).step_by(20) {
            fake.hear("n2", at + Duration::from_millis(ms));
            watch.look(&fake, at + Duration::from_millis(ms)).await.unwrap();
        }
        assert_eq!(fake.owner(), "n2", "whatever was written just before");
    }

    #[tokio::test]
    async fn a_leader_that_stood_still_blames_nobody() {
        let start = Instant::now();
        let (fake, mut watch) = (Fake::new(), Watch::default());
        for ms in [0, 20, 40] {
            fake.hear("n1", start + Duration::from_millis(ms));
            watch.look(&fake, start + Duration::from_millis(ms)).await.unwrap();
        }
        let woken = start + Duration::from_secs(5);
        fake.hear("n2", woken);
        watch.look(&fake, woken).await.unwrap();
        assert_eq!(fake.owner(), "n1", "what it says may still be in a buffer");
        fake.hear("n2", woken + Duration::from_millis(150));
        for ms in [20, 80, 140, 160] {
            watch.look(&fake, woken + Duration::from_millis(ms)).await.unwrap();
        }
        assert_eq!(fake.owner(), "n2", "it had its time");
    }
}
