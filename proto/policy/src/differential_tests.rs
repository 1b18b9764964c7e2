//! The evaluator and the tables agree, on random worlds that change step by step; and the test finds planted bugs.

use weft_model::NodeName;

use crate::{
    Flow, World,
    fixture::{
        Chance,
        fabric::Fabric,
        random::{flows, step, world},
    },
    mutant::{self, Mutant},
};

const WORLDS: u64 = 30;
const STEPS: u64 = 20;

/// What is wrong with a round, if anything: every flow by both, and every node's tables against those made anew.
fn round(world: &World, fabric: &Fabric, chance: &mut Chance, planted: Option<Mutant>) -> Option<String> {
    for flow in flows(world, chance) {
        let decision = world.decide(&flow);
        let verdict = fabric.verdict(&flow);
        if decision.verdict != verdict {
            return Some(format!("{flow}: the tables say {verdict}, the evaluator {decision:?}\n{world:#?}"));
        }
    }
    for flow in flows(world, chance).iter().step_by(7).filter(|_| planted.is_none()) {
        if let Some(problem) = explained(world, fabric, flow) {
            return Some(problem);
        }
    }
    let differs = |node: &NodeName| {
        let compiler = &fabric.nodes[node];
        *compiler.tables() != compiler.full()
    };
    // A bug is to be found by a wrong verdict, but for the one that only leaves elements behind.
    let compared = planted.is_none_or(|bug| bug == Mutant::IdentityStays);
    let node = fabric.nodes.keys().find(|node| compared && differs(node))?;
    Some(format!("{node}: step by step and at once differ\n{world:#?}"))
}

/// Whether the nodes of both ends explain a flow otherwise than the evaluator, who knows all; each is asked for its own end.
fn explained(world: &World, fabric: &Fabric, flow: &Flow) -> Option<String> {
    let decision = world.decide(flow);
    for (address, expected) in [(flow.source, &decision.egress), (flow.destination, &decision.ingress)] {
        let Some((name, pod)) = world.pod_at(address) else { continue };
        let node = pod.node.as_ref()?;
        let told = fabric.nodes[node].explain(flow, &world.nodes[node]);
        let (end, who) = match address == flow.source {
            true => (&told.decision.egress, &told.source),
            false => (&told.decision.ingress, &told.destination),
        };
        if end != expected
            || who.as_ref() != Some(name)
            || told.closest.is_some() && told.decision.verdict.allows()
        {
            return Some(format!("{flow}: {node} explains {told:?}, the evaluator {decision:?}\n{world:#?}"));
        }
    }
    None
}

fn run(seed: u64, planted: Option<Mutant>) -> Option<String> {
    let mut chance = Chance::new(seed);
    let mut world = world(&mut chance);
    let mut fabric = Fabric::of(&world);
    for number in 0..STEPS {
        if let Some(problem) = round(&world, &fabric, &mut chance, planted) {
            return Some(format!("seed {seed}, step {number}: {problem}"));
        }
        for _ in 0..=chance.below(2) {
            step(&mut world, &mut chance);
        }
        fabric.follow(&world);
    }
    None
}

#[test]
fn evaluator_and_tables_agree_in_600_rounds() {
    for seed in 0..WORLDS {
        if let Some(problem) = run(seed, None) {
            panic!("{problem}");
        }
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in mutant::ALL {
        mutant::plant(Some(bug));
        let found = (0..WORLDS).any(|seed| run(seed, Some(bug)).is_some());
        mutant::plant(None);
        assert!(found, "{bug:?}");
    }
}
