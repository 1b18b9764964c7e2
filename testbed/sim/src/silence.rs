//! Signs of life of nodes, and leaders that listen: what weft-server does with `weft_core::silence`, in simulated time.
//!
//! Beside it a plain account of what reached whom, against which every word of a leader is checked.

use std::{collections::BTreeMap, time::Duration};

use weft_core::silence::{Clocks, Known, Presence, Verdict};
use weft_model::{
    Action, ClientId, Command, NodeName, NodeSilence, NodeState, ReplicaId, Sequence, Stamp, Term, WallTime,
};
use weft_raft::{Input, StateRole};

use crate::{
    Mutant,
    machine::Machine,
    sim::{Sim, Step},
    world::{Event, World},
};

/// Units between two signs of life, two words to the leader, two looks of it.
const EVERY: u64 = 10;
/// Units without a sign of life after which a node is silent.
const GRACE: u64 = 100;
/// Units that a leader waits for what it wrote.
const PATIENCE: u64 = 40;

const fn moment(units: u64) -> Duration {
    Duration::from_millis(units)
}

/// What one process of a replica knows of the nodes; gone with it.
#[derive(Default)]
pub(crate) struct Ear {
    presence: Presence,
    /// Of this leadership.
    clocks: Option<(Term, Clocks)>,
    written: Option<u64>,
    /// The account: when a sign of a node that came here was given last.
    arrived: BTreeMap<NodeName, u64>,
    /// The account: when it began to lead.
    pub(crate) led_since: u64,
}

impl Ear {
    /// A sign of life came, from the node itself or by way of another replica.
    pub(crate) fn hear(&mut self, node: &NodeName, given: u64, via: ReplicaId) {
        self.presence.hear(node, moment(given), via);
        let last = self.arrived.entry(node.clone()).or_default();
        *last = given.max(*last);
    }

    /// Nobody is silent of whom something came within the grace, or whom this leader had no time to hear.
    fn check(&self, verdict: &Verdict, now: u64, id: ReplicaId) -> Step {
        for (node, _) in &verdict.silent {
            let last = self.arrived.get(node).copied().unwrap_or(0).max(self.led_since);
            if now < last + GRACE {
                let begun = self.led_since;
                return Err(format!(
                    "replica {id}, leading since {begun}, finds node {node} silent at {now}, which was heard at {last}"
                ));
            }
        }
        Ok(())
    }
}

impl Sim {
    /// Nodes that are well give signs of life to the replica that they follow; replicas pass them on to whom they take for the leader.
    pub(crate) fn nodes_speak(&mut self) {
        let now = self.world.now;
        for number in 0..self.agents.len() {
            let agent = &self.agents[number];
            let due = (now + number as u64).is_multiple_of(EVERY);
            let Some(watch) = agent.watch.filter(|_| due && agent.joined && !agent.is_dark(now)) else {
                continue;
            };
            let machine = &mut self.machines[watch.machine];
            if machine.is_up() && machine.boot == watch.boot {
                machine.ear.hear(&agent.name, now, machine.id);
            }
        }
        if now.is_multiple_of(EVERY) {
            (0..self.machines.len()).for_each(|machine| self.pass_on(machine));
        }
    }

    fn pass_on(&mut self, machine: usize) {
        let it = &self.machines[machine];
        let leader = it.replica.as_ref().and_then(|replica| replica.status().role.leader);
        let Some(to) = self.machines.iter().position(|other| Some(other.id) == leader && other.id != it.id)
        else {
            return;
        };
        if self.net.is_cut(machine, to) || self.world.one_in(self.faults.loss) {
            return;
        }
        // What may have been lost is told again.
        let after = moment(self.world.now.saturating_sub(3 * EVERY));
        let heard = it.ear.presence.heard_by(it.id, Some(after));
        let nodes =
            heard.map(|(node, at)| (node.clone(), u64::try_from(at.as_millis()).unwrap_or(0))).collect();
        let via = it.id;
        let units = self.world.between(1, self.net.delay.max(1));
        self.world.after(units, Event::Present { machine: to, boot: self.machines[to].boot, via, nodes });
    }

    /// Leaders look, and propose what they find.
    pub(crate) fn leaders_listen(&mut self) -> Step {
        if !(self.world.now + EVERY / 2).is_multiple_of(EVERY) {
            return Ok(());
        }
        for machine in 0..self.machines.len() {
            let Some(verdict) = self.machines[machine].listen(self.world.now, self.mutant) else { continue };
            let it = &self.machines[machine];
            it.ear.check(&verdict, self.world.now, it.id)?;
            self.checks.report.silences += verdict.silent.len() as u64;
            let input = self.machines[machine].write(&verdict, &mut self.world);
            self.give(machine, input)?;
        }
        self.count_returns();
        Ok(())
    }

    /// One node has no power until it was found silent.
    pub(crate) fn darken_one(&mut self) {
        for (number, agent) in self.agents.iter_mut().enumerate() {
            agent.dark_until = if number == 0 && agent.joined { u64::MAX } else { 0 };
            if agent.dark_until > 0 {
                agent.restart();
            }
        }
    }

    /// Gives the power back to it once some leader's word of that is applied everywhere.
    pub(crate) fn light_the_silent(&mut self) {
        let silent = |machine: &Machine, name: &NodeName| {
            machine.replica.as_ref().is_none_or(|replica| replica.state().silent_nodes().contains(name))
        };
        for agent in &mut self.agents {
            if agent.dark_until == u64::MAX
                && self.machines.iter().all(|machine| silent(machine, &agent.name))
            {
                agent.dark_until = 0;
            }
        }
    }

    /// Counts nodes that some replica had as silent and that none has so any more.
    fn count_returns(&mut self) {
        for agent in &mut self.agents {
            let replicas = self.machines.iter().filter_map(|machine| machine.replica.as_ref());
            let is_silent =
                replicas.clone().any(|replica| replica.state().silent_nodes().contains(&agent.name));
            if !is_silent && agent.silent && replicas.count() > 0 {
                self.checks.report.returns_of_nodes += 1;
            }
            agent.silent = is_silent;
        }
    }
}

impl Machine {
    /// What its replica finds if it leads, unless there is nothing to write or it waits for what it wrote.
    fn listen(&mut self, now: u64, mutant: Option<Mutant>) -> Option<Verdict> {
        let replica = self.replica.as_ref()?;
        let role = replica.status().role;
        let ear = &mut self.ear;
        let keeps = mutant == Some(Mutant::OldClocks);
        if role.role != StateRole::Leader {
            ear.clocks = ear.clocks.take().filter(|_| keeps);
            return None;
        }
        let clocks = match &mut ear.clocks {
            Some((term, clocks)) if *term == role.term || keeps => clocks,
            other => &mut other.insert((role.term, Clocks::default())).1,
        };
        let active = replica.state().nodes().values().filter(|node| node.state == NodeState::Active);
        let nodes = active
            .map(|node| (node.name.clone(), Known { uid: node.uid, silent: node.silent.is_some() }))
            .collect();
        let presence = &ear.presence;
        let verdict = clocks.look(&nodes, |node| presence.heard(node), moment(now), moment(GRACE));
        let waits = ear.written.is_some_and(|written| now < written + PATIENCE);
        (!verdict.is_settled() && !waits).then_some(verdict)
    }

    fn write(&mut self, verdict: &Verdict, world: &mut World) -> Input {
        self.ear.written = Some(world.now);
        let time = WallTime(1_000_000 + world.now);
        let uid = |node: &NodeName| {
            let known = self.replica.as_ref().and_then(|replica| replica.state().nodes().get(node));
            known.map(|node| node.uid)
        };
        let silent = verdict.silent.iter().map(|(node, _)| (node, Some(time)));
        let found = verdict.back.iter().map(|node| (node, None)).chain(silent);
        let nodes = found
            .filter_map(|(node, since)| Some(NodeSilence { node: node.clone(), uid: uid(node)?, since }))
            .collect();
        // Nobody waits for the answer; each word is a client of its own.
        let command = Command {
            client: ClientId(world.bytes()),
            sequence: Sequence(1),
            stamp: Stamp { time, random: world.bytes() },
            action: Action::NoteSilence { nodes },
        };
        Input::Propose { ticket: self.nobodys_ticket(), command: Box::new(command) }
    }
}
