//! Signs of life of nodes: taken from the agents that this replica serves and from other replicas, passed on to the leader.
//!
//! In: streams and calls of agents, calls of replicas. Out: who lives and who is silent, for the leader; a call to the leader every
//! 50 ms while agents give pulses, else four a second at most. In memory alone. Not here: what a sign of life means (weft-core, `pulse`
//! for load balancers, `silence` for all nodes).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_core::{
    pulse::{Living, Pulse, Pulses},
    silence::{Clocks, Known, Presence, Verdict},
};
use weft_model::{NodeName, ReplicaId};
use weft_proto::v1;

use crate::{
    context::Context,
    limits::{PULSE_CALL, PULSE_EVERY, PULSE_NODES, SILENCE_LOOK},
};

/// What this replica has heard. Shared by the services and the tasks.
#[derive(Debug)]
pub(crate) struct PulseBoard {
    us: ReplicaId,
    began: Instant,
    heard: Mutex<Heard>,
}

/// Everything heard.
#[derive(Debug, Default)]
struct Heard {
    /// Of nodes on which a load balancer's address may depend, many a second.
    pulses: Pulses,
    /// Of all nodes: every call of an agent.
    presence: Presence,
}

/// What is told to the leader.
#[derive(Debug)]
struct News {
    request: v1::PulsesRequest,
    /// The moment up to which it tells.
    at: Duration,
    /// Pulses are given here: what comes next is waited for.
    pulses: bool,
}

impl PulseBoard {
    /// Nothing heard yet.
    pub(crate) fn new(us: ReplicaId) -> Self {
        Self { us, began: Instant::now(), heard: Mutex::default() }
    }

    /// The moment of an instant.
    fn moment(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// An agent that this replica serves gave a sign of life.
    pub(crate) fn hear(&self, node: &NodeName, wire: v1::PulseRequest, now: Instant) {
        let lasts = Duration::from_millis(wire.lasts_ms.into());
        let at = self.moment(now);
        let mut heard = self.lock();
        heard.presence.hear(node, at, self.us);
        heard.pulses.hear(Pulse { node: node.clone(), at, lasts, away: wire.away }, self.us);
    }

    /// An agent that this replica serves called.
    pub(crate) fn present(&self, node: &NodeName, now: Instant) {
        let at = self.moment(now);
        self.lock().presence.hear(node, at, self.us);
    }

    /// Another replica passes on what it heard. A name that can't be one is left out.
    pub(crate) fn hear_from(&self, via: ReplicaId, wire: v1::PulsesRequest, now: Instant) {
        let now = self.moment(now);
        let before = |age_ms: u32| now.saturating_sub(Duration::from_millis(age_ms.into()));
        let mut heard = self.lock();
        heard.pulses.hear_relay(via, now);
        for one in wire.pulses.into_iter().take(PULSE_NODES) {
            let Ok(node) = NodeName::new(one.node) else { continue };
            let lasts = Duration::from_millis(one.lasts_ms.into());
            heard.pulses.hear(Pulse { node, at: before(one.age_ms), lasts, away: one.away }, via);
        }
        for one in wire.present.into_iter().take(PULSE_NODES) {
            let Ok(node) = NodeName::new(one.node) else { continue };
            heard.presence.hear(&node, before(one.age_ms), via);
        }
    }

    /// Who lives, for a leader since `since`; `None`: nobody gave a sign of life lately.
    pub(crate) fn living(&self, now: Instant, since: Instant) -> Option<Living> {
        let mut heard = self.lock();
        heard.pulses.tidy(self.moment(now));
        let some = !heard.pulses.is_empty();
        some.then(|| heard.pulses.living(self.us, self.moment(now), self.moment(since)))
    }

    /// Who is silent, for a leader with these clocks.
    pub(crate) fn judge(
        &self,
        clocks: &mut Clocks,
        nodes: &BTreeMap<NodeName, Known>,
        grace: Duration,
        now: Instant,
    ) -> Verdict {
        let now = self.moment(now);
        let mut heard = self.lock();
        heard.presence.tidy(now);
        clocks.look(nodes, |node| heard.presence.heard(node), now, grace)
    }

    /// The caller stood still for so long: pulses that ran out meanwhile hold on.
    pub(crate) fn pardon(&self, span: Duration) {
        self.lock().pulses.pardon(span);
    }

    /// The caller stood still for so long: nobody is silent for that.
    pub(crate) fn pardon_silence(&self, span: Duration) {
        self.lock().presence.pardon(span);
    }

    /// What came here after a moment, as it is passed on; `None`: nothing, and nobody gives pulses here.
    fn news(&self, after: Option<Duration>, now: Instant) -> Option<News> {
        let now = self.moment(now);
        let age_ms = |at: Duration| milliseconds(now.saturating_sub(at));
        let mut heard = self.lock();
        heard.pulses.tidy(now);
        heard.presence.tidy(now);
        let pulse = |pulse: &Pulse| v1::NodePulse {
            node: pulse.node.to_string(),
            age_ms: age_ms(pulse.at),
            lasts_ms: milliseconds(pulse.lasts),
            away: pulse.away,
        };
        let presence = |(node, at): (&NodeName, Duration)| v1::NodePresence {
            node: node.to_string(),
            age_ms: age_ms(at),
        };
        let pulses = heard.pulses.heard_by(self.us, None).next().is_some();
        let request = v1::PulsesRequest {
            pulses: heard.pulses.heard_by(self.us, after).take(PULSE_NODES).map(pulse).collect(),
            present: heard.presence.heard_by(self.us, after).take(PULSE_NODES).map(presence).collect(),
        };
        (pulses || !request.present.is_empty()).then_some(News { request, at: now, pulses })
    }

    /// No statement leaves it half changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Passes on to whoever leads what agents here say, until the process stops.
pub(crate) async fn pass_on(context: Arc<Context>, stop: CancellationToken) {
    // What the leader was told of, and which leader that was.
    let mut told: Option<(ReplicaId, Duration)> = None;
    let mut pause = SILENCE_LOOK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // Nobody gives pulses here: the first one is heard of soon enough.
        pause = SILENCE_LOOK;
        let leader = context.handle.status().leader.filter(|leader| *leader != context.id);
        let Some(leader) = leader else { continue };
        let after = told.filter(|(known, _)| *known == leader).map(|(_, at)| at);
        let Some(News { request, at, pulses }) = context.pulses.news(after, Instant::now()) else { continue };
        if pulses {
            pause = PULSE_EVERY;
        }
        let Some(mut client) = context.peers.client(leader) else { continue };
        let call = client.pulses(weft_rpc::with_deadline(request, PULSE_CALL));
        // The limit of the request itself doesn't cover connecting. What was lost is told again.
        if let Ok(Ok(_)) = tokio::time::timeout(PULSE_CALL, call).await {
            told = Some((leader, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_core::owners::Liveness;

    use super::*;

    #[test]
    fn what_one_replica_hears_another_knows_with_its_age() {
        let (first, second) = (PulseBoard::new(ReplicaId(1)), PulseBoard::new(ReplicaId(2)));
        let nodes = ["n1", "n2"].map(|name| NodeName::new(name).unwrap());
        let now = Instant::now() + Duration::from_secs(60);
        assert!(second.news(None, now).is_none(), "nothing to tell, nothing is told");
        let ms = Duration::from_millis;
        for node in &nodes {
            second.hear(node, v1::PulseRequest { lasts_ms: 150, away: false }, now);
        }
        let News { request, at, pulses } = second.news(None, now + ms(40)).unwrap();
        assert!(pulses);
        assert_eq!(request.pulses.iter().map(|pulse| pulse.age_ms).collect::<Vec<_>>(), [40, 40]);
        first.hear_from(ReplicaId(2), request, now + ms(45));
        let alive = |after| {
            let living = first.living(now + ms(after), now).unwrap();
            living.of(&nodes).into_values().filter(|liveness| *liveness == Liveness::Alive).count()
        };
        assert_eq!((alive(150), alive(160)), (2, 0));
        second.hear(&nodes[1], v1::PulseRequest { lasts_ms: 150, away: false }, now + ms(60));
        let News { request, .. } = second.news(Some(at), now + ms(90)).unwrap();
        assert_eq!(request.pulses.iter().map(|pulse| pulse.node.as_str()).collect::<Vec<_>>(), ["n2"]);
        first.hear_from(ReplicaId(2), request, now + ms(95));
        assert_eq!(alive(160), 1);
    }
    #[test]
    fn a_node_without_load_balancers_is_heard_of_by_every_call_of_its_agent() {
        let (first, second) = (PulseBoard::new(ReplicaId(1)), PulseBoard::new(ReplicaId(2)));
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let known = |silent| Known { uid: weft_model::NodeUid([1; 16]), silent };
        let mut nodes: BTreeMap<NodeName, Known> =
            ["n1", "n2"].map(|name| (NodeName::new(name).unwrap(), known(false))).into();
        let (n1, n2) = (NodeName::new("n1").unwrap(), NodeName::new("n2").unwrap());
        let (began, mut clocks) = (Instant::now(), Clocks::default());
        let mut judge = |nodes: &BTreeMap<_, _>, now| first.judge(&mut clocks, nodes, s(20), now);
        assert!(judge(&nodes, began).is_settled());
        let mut told = None;
        for second_of in 0..30 {
            let now = began + s(second_of);
            first.present(&n1, now);
            if second_of <= 5 {
                second.present(&n2, now);
            }
            let news = second.news(told, now + ms(200));
            assert_eq!(news.is_some(), second_of <= 5, "what is known is not told again: {news:?}");
            if let Some(News { request, at, pulses }) = news {
                assert!(!pulses && request.pulses.is_empty());
                told = Some(at);
                first.hear_from(ReplicaId(2), request, now + ms(200));
            }
        }
        let verdict = judge(&nodes, began + s(24));
        assert!(verdict.is_settled(), "{verdict:?}");
        let verdict = judge(&nodes, began + s(25));
        assert_eq!(verdict.silent, [(n2.clone(), s(20))]);
        nodes.insert(n2.clone(), known(true));
        second.hear(&n2, v1::PulseRequest { lasts_ms: 150, away: false }, began + s(30));
        let News { request, .. } = second.news(told, began + s(30)).unwrap();
        first.hear_from(ReplicaId(2), request, began + s(30));
        assert!(judge(&nodes, began + s(30)).is_settled(), "its pods' node says first which of them live");
        assert_eq!(judge(&nodes, began + s(33)).back, [n2]);
    }
}
