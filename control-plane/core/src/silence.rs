//! Which nodes are silent: nothing was heard of them for as long as the fabric's grace says. Their pods take no new connections
//! then, until they are heard again.
//!
//! Who lost its power comes back without its pods: so the account of all its pods ends a node's silence, in the same entry of the log
//! that takes the dead ones away (`apply::pods`). Every agent gives one when it connects. One that stood still and whose connections
//! outlived that gives none, and is back once it was heard for [`RETURN`].
//!
//! In: which nodes there are, when each was heard, the time, as spans since any fixed moment. Out: who is silent now, who is back.
//! Pure: the leader asks and writes it into the log; applying reads no clock. A new leader begins with new [`Clocks`], so it takes
//! nobody for silent who had no time to be heard.
//!
//! When most nodes fall silent at the same time it is more likely the control plane that is cut off than they that are dead, and
//! the rest couldn't carry their load: then nobody is taken for silent ([`is_ours`]). Kubernetes stops evicting at the same numbers.

use std::{collections::BTreeMap, time::Duration};

use weft_model::{NodeName, NodeUid, ReplicaId};

/// Up to so many silent nodes are believed whatever part of all they are, unless they are all.
pub const FEW: usize = 2;
/// More than [`FEW`] nodes that fell silent together are believed below this part of those that were heard, in percent.
pub const MOST_PERCENT: usize = 55;
/// For so long, or for the grace if that is shorter, a silent node is heard before it is back without an account of its pods: longer
/// than an agent needs for that.
pub const RETURN: Duration = Duration::from_secs(3);
/// What was heard of a node is forgotten after so long: longer than the longest grace.
const FORGET: Duration = Duration::from_mins(20);

/// When each node was heard last, by whichever replica.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    nodes: BTreeMap<NodeName, (Duration, ReplicaId)>,
}

impl Presence {
    /// A node was heard by a replica; what is older than known changes nothing.
    pub fn hear(&mut self, node: &NodeName, at: Duration, via: ReplicaId) {
        match self.nodes.get_mut(node) {
            Some(known) if known.0 <= at => *known = (at, via),
            Some(_) => {}
            None => drop(self.nodes.insert(node.clone(), (at, via))),
        }
    }

    /// When a node was heard last.
    pub fn heard(&self, node: &NodeName) -> Option<Duration> {
        self.nodes.get(node).map(|(at, _)| *at)
    }

    /// Nodes that this replica itself heard after a moment, with when: what it passes on.
    pub fn heard_by(
        &self,
        us: ReplicaId,
        after: Option<Duration>,
    ) -> impl Iterator<Item = (&NodeName, Duration)> {
        let own =
            self.nodes.iter().filter(move |(_, (_, via))| *via == us).map(|(node, (at, _))| (node, *at));
        own.filter(move |(_, at)| after.is_none_or(|after| *at > after))
    }

    /// The caller stood still for so long and heard nobody meanwhile.
    pub fn pardon(&mut self, span: Duration) {
        self.nodes.values_mut().for_each(|(at, _)| *at += span);
    }

    /// Forgets what is long ago.
    pub fn tidy(&mut self, now: Duration) {
        self.nodes.retain(|_, (at, _)| now.saturating_sub(*at) < FORGET);
    }
}

/// An active node as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its membership.
    pub uid: NodeUid,
    /// Whether it is written down as silent.
    pub silent: bool,
}

/// Since when a leader waits for each node.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    since: BTreeMap<NodeName, (NodeUid, Duration)>,
    /// Silent nodes that were heard again, and since when.
    returning: BTreeMap<NodeName, Duration>,
}

/// What is to be written down, in order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Nodes that are silent now, and for how long.
    pub silent: Vec<(NodeName, Duration)>,
    /// Nodes that were silent and were heard again.
    pub back: Vec<NodeName>,
    /// Nodes that would be silent if there weren't too many at once.
    pub held: Vec<NodeName>,
}

impl Verdict {
    /// Whether there is nothing to write.
    pub const fn is_settled(&self) -> bool {
        self.silent.is_empty() && self.back.is_empty()
    }
}

impl Clocks {
    /// One look at the active nodes. A node that is new here is waited for from now on.
    pub fn look(
        &mut self,
        nodes: &BTreeMap<NodeName, Known>,
        heard: impl Fn(&NodeName) -> Option<Duration>,
        now: Duration,
        grace: Duration,
    ) -> Verdict {
        self.since.retain(|name, (uid, _)| nodes.get(name).is_some_and(|known| known.uid == *uid));
        self.returning.retain(|name, _| nodes.get(name).is_some_and(|known| known.silent));
        let mut verdict = Verdict::default();
        let (mut waited_for, mut quiet) = (0, 0);
        for (name, known) in nodes {
            let since = match self.since.get(name) {
                Some((_, since)) => *since,
                None => self.since.entry(name.clone()).or_insert((known.uid, now)).1,
            };
            let heard = heard(name);
            if known.silent {
                if heard.is_none_or(|at| now.saturating_sub(at) >= grace) {
                    self.returning.remove(name);
                } else if now.saturating_sub(*self.returning.entry(name.clone()).or_insert(now))
                    >= RETURN.min(grace)
                {
                    verdict.back.push(name.clone());
                }
                continue;
            }
            let span = now.saturating_sub(heard.map_or(since, |at| at.max(since)));
            waited_for += 1;
            // Those that fell silent with the first one are counted before their own time is up.
            quiet += usize::from(span >= grace / 2);
            if span >= grace {
                verdict.silent.push((name.clone(), span));
            }
        }
        if is_ours(quiet, waited_for) {
            verdict.held = std::mem::take(&mut verdict.silent).into_iter().map(|(name, _)| name).collect();
        }
        verdict
    }

    /// The caller stood still for so long.
    pub fn pardon(&mut self, span: Duration) {
        self.since.values_mut().for_each(|(_, since)| *since += span);
    }
}

/// Whether so many of those that aren't silent yet fell quiet together that it is the control plane's own trouble.
const fn is_ours(quiet: usize, waited_for: usize) -> bool {
    quiet == waited_for || (quiet > FEW && quiet * 100 >= waited_for * MOST_PERCENT)
}

#[cfg(test)]
#[path = "silence_tests.rs"]
mod tests;
