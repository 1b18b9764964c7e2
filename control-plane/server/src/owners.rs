//! Who answers for load-balancer addresses on the link: while this replica leads, it looks which nodes live and proposes
//! what `weft_core::owners` makes of it.
//!
//! In: streams and reports of agents, here and at the other replicas. Out: `AssignOwners`. Not here: the choice itself,
//! and announcing. Without a leader nobody proposes: the last owners go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_core::owners::{Liveness, decide};
use weft_errors::Error;
use weft_model::{Action, AddressOwner, ClientId, NodeName, NodeState};
use weft_proto::v1;

use crate::{
    admin::everybody,
    context::{Context, random},
    limits::{CALL, OWNER_GRACE, OWNER_LEAD, OWNER_LOOK, OWNER_REST},
};

/// What the loop needs of its replica.
pub(crate) trait Surroundings {
    /// Whether this replica leads.
    fn leads(&self) -> bool;
    /// Nodes that take part; `None` when no load balancer has an address, so that nothing is to be decided.
    fn nodes(&self) -> impl Future<Output = Result<Option<BTreeSet<NodeName>>, Error>> + Send;
    /// Nodes whose agents follow and report to a replica in reach.
    fn connected(&self) -> impl Future<Output = Result<BTreeSet<NodeName>, Error>> + Send;
    /// Owners that must change.
    fn decide(
        &self,
        alive: BTreeMap<NodeName, Liveness>,
    ) -> impl Future<Output = Result<Vec<AddressOwner>, Error>> + Send;
    /// Writes them.
    fn assign(&self, owners: Vec<AddressOwner>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Looks until the process stops.
pub(crate) async fn keep_assigned(around: impl Surroundings, stop: CancellationToken) {
    let mut lives = Lives::default();
    loop {
        let pause = match look(&around, &mut lives, Instant::now).await {
            Ok(true) => OWNER_LOOK,
            Ok(false) => OWNER_REST,
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

/// One look; whether there is something to look after.
async fn look(
    around: &impl Surroundings,
    lives: &mut Lives,
    now: impl Fn() -> Instant,
) -> Result<bool, Error> {
    if !around.leads() {
        lives.rest();
        return Ok(false);
    }
    let Some(nodes) = around.nodes().await? else {
        lives.rest();
        return Ok(false);
    };
    let connected = around.connected().await?;
    let alive = lives.look(&nodes, &connected, now());
    let owners = around.decide(alive).await?;
    // What took its time to be known may be old: another replica may lead by now, and its owners would be refused.
    if !owners.is_empty() && around.leads() {
        around.assign(owners).await?;
    }
    Ok(true)
}

/// What a leader has seen of the nodes since it leads.
#[derive(Debug, Default)]
struct Lives {
    since: Option<Instant>,
    seen: BTreeMap<NodeName, Instant>,
}

impl Lives {
    /// Somebody else leads, or there is nothing to do: what was seen grows old.
    fn rest(&mut self) {
        self.since = None;
        self.seen.clear();
    }

    /// A connected node is alive. One that was so a moment ago is away: it may be on its way to another replica. At the
    /// beginning nobody is taken for dead, since nobody had the time to report.
    fn look(
        &mut self,
        nodes: &BTreeSet<NodeName>,
        connected: &BTreeSet<NodeName>,
        now: Instant,
    ) -> BTreeMap<NodeName, Liveness> {
        let since = *self.since.get_or_insert(now);
        self.seen.retain(|node, _| nodes.contains(node));
        self.seen.extend(connected.intersection(nodes).map(|node| (node.clone(), now)));
        let fresh = |at: Instant, span: Duration| now.saturating_duration_since(at) < span;
        let liveness = |node: &NodeName| match self.seen.get(node) {
            Some(_) if connected.contains(node) => Some(Liveness::Alive),
            Some(at) if fresh(*at, OWNER_GRACE) => Some(Liveness::Away),
            Some(_) | None if fresh(since, OWNER_LEAD) => Some(Liveness::Away),
            Some(_) | None => None,
        };
        nodes.iter().filter_map(|node| Some((node.clone(), liveness(node)?))).collect()
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

    async fn nodes(&self) -> Result<Option<BTreeSet<NodeName>>, Error> {
        let look = |state: &weft_core::State| {
            // An owner whose service is gone goes by itself, with the service.
            state.balanced_addresses().next()?;
            let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
            Some(active.map(|node| node.name.clone()).collect())
        };
        self.context.handle.query(look).await
    }

    async fn connected(&self) -> Result<BTreeSet<NodeName>, Error> {
        let answers = everybody(&self.context).await?;
        let reports = answers.into_iter().flat_map(|answer| answer.nodes).filter(|report| report.connected);
        Ok(reports.filter_map(|report| NodeName::new(report.node).ok()).collect())
    }

    async fn decide(&self, alive: BTreeMap<NodeName, Liveness>) -> Result<Vec<AddressOwner>, Error> {
        self.context.handle.query(move |state| decide(state, &alive)).await
    }

    async fn assign(&self, owners: Vec<AddressOwner>) -> Result<(), Error> {
        for owner in &owners {
            tracing::info!(address = %owner.address, node = %owner.node, "a node answers for a load-balancer address");
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
    use std::sync::Mutex;

    use weft_model::Revision;

    use super::*;

    fn names(text: &str) -> BTreeSet<NodeName> {
        text.split_whitespace().map(|name| NodeName::new(name).unwrap()).collect()
    }

    fn check(lives: &mut Lives, connected: &str, now: Instant, expected: &str) {
        let seen = lives.look(&names("n1 n2"), &names(connected), now);
        let seen: Vec<String> = seen.iter().map(|(node, liveness)| format!("{node}:{liveness:?}")).collect();
        assert_eq!(seen.join(" "), expected, "{connected}");
    }

    #[test]
    fn a_node_is_alive_then_away_then_dead_and_nobody_is_dead_at_the_beginning() {
        let mut lives = Lives::default();
        let start = Instant::now();
        check(&mut lives, "n1", start, "n1:Alive n2:Away");
        let led = start + OWNER_LEAD;
        check(&mut lives, "n1", led, "n1:Alive");
        check(&mut lives, "n2", led + OWNER_GRACE / 2, "n1:Away n2:Alive");
        check(&mut lives, "n2 n3", led + OWNER_GRACE, "n2:Alive");
        lives.rest();
        check(&mut lives, "", led + OWNER_GRACE, "n1:Away n2:Away");
    }

    /// A replica that leads or not, with one address for whoever is alive first.
    #[derive(Default)]
    struct Fake {
        leads: bool,
        connected: &'static str,
        assigned: Mutex<Vec<String>>,
    }

    impl Surroundings for Fake {
        fn leads(&self) -> bool {
            self.leads
        }

        async fn nodes(&self) -> Result<Option<BTreeSet<NodeName>>, Error> {
            Ok(Some(names("n1 n2")))
        }

        async fn connected(&self) -> Result<BTreeSet<NodeName>, Error> {
            Ok(names(self.connected))
        }

        async fn decide(&self, alive: BTreeMap<NodeName, Liveness>) -> Result<Vec<AddressOwner>, Error> {
            let first = alive.into_iter().find(|(_, liveness)| *liveness == Liveness::Alive);
            let owner = |node| AddressOwner {
                address: [192, 0, 2, 1].into(),
                node,
                successor: None,
                epoch: 0,
                revision: Revision(0),
            };
            Ok(first.map(|(node, _)| owner(node)).into_iter().collect())
        }

        async fn assign(&self, owners: Vec<AddressOwner>) -> Result<(), Error> {
            self.assigned.lock().unwrap().extend(owners.iter().map(|owner| owner.node.to_string()));
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_a_leader_assigns_and_only_what_must_change() {
        let mut lives = Lives::default();
        for (leads, connected, goes_on, assigned) in
            [(false, "n1", false, ""), (true, "", true, ""), (true, "n2", true, "n2")]
        {
            let fake = Fake { leads, connected, ..Fake::default() };
            assert_eq!(look(&fake, &mut lives, Instant::now).await.unwrap(), goes_on);
            assert_eq!(fake.assigned.lock().unwrap().join(" "), assigned, "{connected}");
        }
    }
}
