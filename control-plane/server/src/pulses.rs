//! Signs of life of nodes: taken from the agents that this replica serves and from other replicas, passed on to the leader.
//!
//! In: streams of agents, calls of replicas. Out: who lives, for the leader; a call to the leader every 50 ms while there is
//! anything to tell. In memory alone. Not here: what a sign of life means (weft-core, `pulse`).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_core::pulse::{Living, Pulse, Pulses};
use weft_model::{NodeName, ReplicaId};
use weft_proto::v1;

use crate::{
    context::Context,
    limits::{OWNER_REST, PULSE_CALL, PULSE_EVERY, PULSE_NODES},
};

/// What this replica has heard. Shared by the services and the tasks.
#[derive(Debug)]
pub(crate) struct PulseBoard {
    us: ReplicaId,
    began: Instant,
    pulses: Mutex<Pulses>,
}

impl PulseBoard {
    /// Nothing heard yet.
    pub(crate) fn new(us: ReplicaId) -> Self {
        Self { us, began: Instant::now(), pulses: Mutex::default() }
    }

    /// The moment of an instant.
    fn moment(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// An agent that this replica serves gave a sign of life.
    pub(crate) fn hear(&self, node: &NodeName, wire: v1::PulseRequest, now: Instant) {
        let lasts = Duration::from_millis(wire.lasts_ms.into());
        let pulse = Pulse { node: node.clone(), at: self.moment(now), lasts, away: wire.away };
        self.lock().hear(pulse, self.us);
    }

    /// Another replica passes on what it heard. A name that can't be one is left out.
    pub(crate) fn hear_from(&self, via: ReplicaId, wire: v1::PulsesRequest, now: Instant) {
        let now = self.moment(now);
        let mut pulses = self.lock();
        pulses.hear_relay(via, now);
        for one in wire.pulses.into_iter().take(PULSE_NODES) {
            let Ok(node) = NodeName::new(one.node) else { continue };
            let at = now.saturating_sub(Duration::from_millis(one.age_ms.into()));
            let lasts = Duration::from_millis(one.lasts_ms.into());
            pulses.hear(Pulse { node, at, lasts, away: one.away }, via);
        }
    }

    /// Who lives, for a leader since `since`; `None`: nobody gave a sign of life lately.
    pub(crate) fn living(&self, now: Instant, since: Instant) -> Option<Living> {
        let mut pulses = self.lock();
        pulses.tidy(self.moment(now));
        let some = !pulses.is_empty();
        some.then(|| pulses.living(self.us, self.moment(now), self.moment(since)))
    }

    /// The caller stood still for so long.
    pub(crate) fn pardon(&self, span: Duration) {
        self.lock().pardon(span);
    }

    /// What came here after a moment, as it is passed on, and the moment of it; `None`: no agent gives signs of life here.
    fn news(&self, after: Option<Duration>, now: Instant) -> Option<(v1::PulsesRequest, Duration)> {
        let now = self.moment(now);
        let mut pulses = self.lock();
        pulses.tidy(now);
        pulses.heard_by(self.us, None).next()?;
        let wire = |pulse: &Pulse| v1::NodePulse {
            node: pulse.node.to_string(),
            age_ms: milliseconds(now.saturating_sub(pulse.at)),
            lasts_ms: milliseconds(pulse.lasts),
            away: pulse.away,
        };
        let pulses = pulses.heard_by(self.us, after).take(PULSE_NODES).map(wire).collect();
        Some((v1::PulsesRequest { pulses }, now))
    }

    /// No statement leaves it half changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Pulses> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Passes on to whoever leads what agents here say, until the process stops.
pub(crate) async fn pass_on(context: Arc<Context>, stop: CancellationToken) {
    // What the leader was told of, and which leader that was.
    let mut told: Option<(ReplicaId, Duration)> = None;
    let mut pause = PULSE_EVERY;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // Nobody says anything here: the first one is heard of soon enough.
        pause = OWNER_REST;
        let leader = context.handle.status().leader.filter(|leader| *leader != context.id);
        let Some(leader) = leader else { continue };
        let after = told.filter(|(known, _)| *known == leader).map(|(_, at)| at);
        let Some((request, at)) = context.pulses.news(after, Instant::now()) else { continue };
        pause = PULSE_EVERY;
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
        assert_eq!(second.news(None, now), None, "nothing to tell, nothing is told");
        let ms = Duration::from_millis;
        for node in &nodes {
            second.hear(node, v1::PulseRequest { lasts_ms: 150, away: false }, now);
        }
        let (request, at) = second.news(None, now + ms(40)).unwrap();
        assert_eq!(request.pulses.iter().map(|pulse| pulse.age_ms).collect::<Vec<_>>(), [40, 40]);
        first.hear_from(ReplicaId(2), request, now + ms(45));
        let alive = |after| {
            let living = first.living(now + ms(after), now).unwrap();
            living.of(&nodes).into_values().filter(|liveness| *liveness == Liveness::Alive).count()
        };
        assert_eq!((alive(150), alive(160)), (2, 0));
        second.hear(&nodes[1], v1::PulseRequest { lasts_ms: 150, away: false }, now + ms(60));
        let (request, _) = second.news(Some(at), now + ms(90)).unwrap();
        assert_eq!(request.pulses.iter().map(|pulse| pulse.node.as_str()).collect::<Vec<_>>(), ["n2"]);
        first.hear_from(ReplicaId(2), request, now + ms(95));
        assert_eq!(alive(160), 1);
    }
}
