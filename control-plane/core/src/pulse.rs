//! Which nodes live, by the signs of life that a leader hears: the ground on which load-balancer addresses move.
//!
//! In: signs of life of nodes, each with the replica that passed it on and with how long it holds. Out: [`Liveness`]. Pure: time is
//! a span since any fixed moment, told by the caller, and never goes back. Kept in memory alone, never in the log.
//!
//! A node is dead when the sign it gave last has run out and the replica that passed it on is still heard: then it's the node
//! that is silent. When that replica is silent too, the node is only away: it is on its way to another replica.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weft_model::{NodeName, ReplicaId};

use crate::owners::Liveness;

/// A replica that nothing came from for so long is silent itself; it passes on what it hears, or that it hears nothing, more than
/// twice as often.
pub const RELAY_SILENT: Duration = Duration::from_millis(120);
/// A node whose replica fell silent, and every node of which a new leader heard nothing, is away for so long at most: the agent of
/// a node behind a machine that lost its power notices that within 2.5 s, and then needs a connection.
pub const AWAY: Duration = Duration::from_secs(4);
/// A sign of life holds for this long at most, whatever it says of itself.
pub const LONGEST: Duration = Duration::from_secs(30);
/// What was heard of a node is forgotten after so long.
const FORGET: Duration = Duration::from_mins(1);

/// One sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Whose.
    pub node: NodeName,
    /// When it was heard first, by whichever replica.
    pub at: Duration,
    /// How long it holds.
    pub lasts: Duration,
    /// The node says that it will be away meanwhile: it keeps what it has, and takes nothing over.
    pub away: bool,
}

/// A sign of life and who passed it on.
#[derive(Clone, Debug)]
struct Heard {
    pulse: Pulse,
    via: ReplicaId,
}

/// Everything heard.
#[derive(Clone, Debug, Default)]
pub struct Pulses {
    nodes: BTreeMap<NodeName, Heard>,
    relays: BTreeMap<ReplicaId, Duration>,
}

impl Pulses {
    /// Takes a sign of life that a replica passed on; an older one than is known changes nothing.
    pub fn hear(&mut self, pulse: Pulse, via: ReplicaId) {
        let pulse = Pulse { lasts: pulse.lasts.min(LONGEST), ..pulse };
        let known = self.nodes.get(&pulse.node);
        if known.is_none_or(|known| known.pulse.at <= pulse.at) {
            self.nodes.insert(pulse.node.clone(), Heard { pulse, via });
        }
    }

    /// A replica was heard, whether or not it had anything to pass on.
    pub fn hear_relay(&mut self, via: ReplicaId, at: Duration) {
        let last = self.relays.entry(via).or_default();
        *last = at.max(*last);
    }

    /// The caller stood still for so long and heard nobody meanwhile: nobody is held responsible for that.
    pub fn pardon(&mut self, span: Duration) {
        self.nodes.values_mut().for_each(|heard| heard.pulse.at += span);
        self.relays.values_mut().for_each(|at| *at += span);
    }

    /// Forgets what is long ago.
    pub fn tidy(&mut self, now: Duration) {
        let fresh = |at: Duration| now.saturating_sub(at) < FORGET;
        self.nodes.retain(|_, heard| fresh(heard.pulse.at));
        self.relays.retain(|_, at| fresh(*at));
    }

    /// Whether nobody was heard lately.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Signs of life that came to this replica itself after a moment: what it passes on.
    pub fn heard_by(&self, us: ReplicaId, after: Option<Duration>) -> impl Iterator<Item = &Pulse> {
        let own = self.nodes.values().filter(move |heard| heard.via == us).map(|heard| &heard.pulse);
        own.filter(move |pulse| after.is_none_or(|after| pulse.at > after))
    }

    /// Who lives, as `us` sees it now, leading since `since`. A node that isn't named and was never heard is [`Liveness::Away`]
    /// while the answer says so: a new leader takes nobody for dead who had no time to be heard.
    pub fn living(&self, us: ReplicaId, now: Duration, since: Duration) -> Living {
        let unheard = (now.saturating_sub(since) < AWAY).then_some(Liveness::Away);
        let liveness = |heard: &Heard| {
            let Heard { pulse, via } = heard;
            let silent = now.saturating_sub(pulse.at);
            if silent < pulse.lasts {
                return Some(if pulse.away { Liveness::Away } else { Liveness::Alive });
            }
            let relay = self.relays.get(via).copied().unwrap_or_default();
            let lost_with_relay = *via != us && now.saturating_sub(relay) >= RELAY_SILENT;
            if lost_with_relay && silent < pulse.lasts + AWAY {
                return Some(Liveness::Away);
            }
            // Heard before this leadership alone: it may talk to a replica that knows this leader not yet.
            if pulse.at < since { unheard } else { None }
        };
        let named = self.nodes.iter().map(|(node, heard)| (node.clone(), liveness(heard))).collect();
        Living { named, unheard }
    }
}

/// Who lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Living {
    named: BTreeMap<NodeName, Option<Liveness>>,
    unheard: Option<Liveness>,
}

impl Living {
    /// For these nodes, without those that are dead.
    pub fn of<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeName>) -> BTreeMap<NodeName, Liveness> {
        let liveness = |node: &NodeName| self.named.get(node).copied().unwrap_or(self.unheard);
        nodes.into_iter().filter_map(|node| Some((node.clone(), liveness(node)?))).collect()
    }

    /// Nodes that died since `before`.
    pub fn died_since<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a NodeName> {
        let dead = |(node, liveness): &(&NodeName, &Option<Liveness>)| {
            liveness.is_none() && before.named.get(*node).is_some_and(Option::is_some)
        };
        self.named.iter().filter(dead).map(|(node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: ReplicaId = ReplicaId(1);
    const OTHER: ReplicaId = ReplicaId(2);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn pulse(name: &str, at: u64, lasts: u64) -> Pulse {
        Pulse { node: node(name), at: ms(at), lasts: ms(lasts), away: false }
    }

    /// Leading since 0; long enough not to spare anybody who was heard.
    fn check(pulses: &Pulses, now: u64, expected: &str) {
        let nodes = ["n1", "n2"].map(node);
        let seen = pulses.living(US, ms(now), ms(0)).of(&nodes);
        let seen: Vec<String> = seen.iter().map(|(node, liveness)| format!("{node}:{liveness:?}")).collect();
        assert_eq!(seen.join(" "), expected, "at {now}");
    }

    #[test]
    fn a_silent_node_is_dead_when_its_sign_of_life_has_run_out() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 10_000, 150), US);
        pulses.hear(pulse("n2", 10_000, 3_000), US);
        check(&pulses, 10_149, "n1:Alive n2:Alive");
        check(&pulses, 10_150, "n2:Alive");
        pulses.hear(pulse("n1", 9_990, 60_000), US);
        check(&pulses, 10_150, "n2:Alive");
        pulses.hear(pulse("n1", 10_160, 150), US);
        check(&pulses, 10_200, "n1:Alive n2:Alive");
        check(&pulses, 13_000, "");
        pulses.hear(pulse("n1", 13_000, 999_999), US);
        check(&pulses, 13_000 + 29_999, "n1:Alive");
        check(&pulses, 13_000 + 30_000, "");
    }

    #[test]
    fn who_says_that_it_is_away_keeps_what_it_has() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 10_000, 150), US);
        pulses.hear(Pulse { away: true, ..pulse("n1", 10_010, 10_000) }, US);
        check(&pulses, 12_000, "n1:Away");
        check(&pulses, 20_010, "");
    }

    #[test]
    fn a_node_isnt_dead_because_its_replica_is() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 10_000, 150), OTHER);
        pulses.hear(pulse("n2", 10_000, 150), US);
        pulses.hear_relay(OTHER, ms(10_000));
        check(&pulses, 10_150, "n1:Away");
        check(&pulses, 14_149, "n1:Away");
        check(&pulses, 14_150, "");
        pulses.hear(pulse("n1", 12_000, 150), US);
        check(&pulses, 12_100, "n1:Alive");
        // The replica passes on that it hears nothing of its node.
        pulses.hear(pulse("n1", 20_000, 150), OTHER);
        pulses.hear_relay(OTHER, ms(20_140));
        check(&pulses, 20_150, "");
    }

    #[test]
    fn a_new_leader_takes_nobody_for_dead_at_once() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 9_000, 150), US);
        let seen = |pulses: &Pulses, now| {
            let living = pulses.living(US, ms(now), ms(10_000));
            living.of(&["n1", "n2"].map(node)).into_values().collect::<Vec<_>>()
        };
        assert_eq!(seen(&pulses, 10_000), [Liveness::Away, Liveness::Away]);
        assert_eq!(seen(&pulses, 13_999), [Liveness::Away, Liveness::Away]);
        assert_eq!(seen(&pulses, 14_000), []);
        pulses.hear(pulse("n1", 10_010, 150), US);
        assert_eq!(seen(&pulses, 10_020), [Liveness::Alive, Liveness::Away]);
        assert_eq!(seen(&pulses, 10_160), [Liveness::Away], "heard in this leadership, and silent since");
    }

    #[test]
    fn who_stood_still_blames_nobody() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 10_000, 150), US);
        pulses.pardon(ms(1_000));
        check(&pulses, 11_149, "n1:Alive");
        check(&pulses, 11_150, "");
        pulses.tidy(ms(71_000));
        assert!(pulses.is_empty());
    }

    #[test]
    fn what_came_here_since_is_passed_on() {
        let mut pulses = Pulses::default();
        pulses.hear(pulse("n1", 10, 150), US);
        pulses.hear(pulse("n2", 20, 150), US);
        pulses.hear(pulse("n3", 20, 150), OTHER);
        let names = |after| pulses.heard_by(US, after).map(|p| p.node.to_string()).collect::<Vec<_>>();
        assert_eq!(names(None), ["n1", "n2"]);
        assert_eq!(names(Some(ms(10))), ["n2"]);
    }
}
