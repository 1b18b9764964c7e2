//! Packets against the evaluator: random worlds on the grid, each changed a little from the one before; and planted bugs, which are
//! noticed.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use weft_model::{Direction, Draft, NAMESPACE_NAME_LABEL, NamedPort, Object, PolicySettings, Protocol};
use weft_policy::{Flow, Transport, World, WorldPod};
use weft_yaml::Options;

use super::grid::Grid;
use super::random::{Chance, Sketch, sketch, step};
use super::state::{self, State};
use super::{PORTS, script};
use crate::fabric::on;
use crate::probe::grid::{Report, Step};

/// Words before a world changes so much that it begins anew.
const STEPS_OF_A_WORLD: u64 = 25;

/// Rounds in which every packet must meet what the evaluator says.
pub fn differential(grid: &mut Grid<'_>, seed: u64, rounds: u64) -> Result<String> {
    let mut steps = steps(grid, seed, rounds)?;
    steps.push(back(grid));
    let report = grid.run(steps, 1)?;
    if let Some(bad) = report.rounds.iter().find(|seen| !seen.problems.is_empty()) {
        bail!("{}: {}\n{}", bad.name, bad.problems.join("; "), described(grid, seed, &bad.name)?);
    }
    Ok(format!("{rounds} random worlds (seed {seed}): {}", summary(&report)))
}

/// What a report says in one line.
pub(super) fn summary(report: &Report) -> String {
    let rounds = report.rounds.len().max(1);
    let sum = |of: fn(&crate::probe::grid::Seen) -> u64| report.rounds.iter().map(of).sum::<u64>();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (asked, dropped) = (sum(|seen| seen.asked as u64), sum(|seen| seen.dropped as u64));
    let mut took: Vec<u64> = report.rounds.iter().map(|seen| seen.took_us).collect();
    let mut changed: Vec<u64> = report.rounds.iter().map(|seen| seen.changed_us).collect();
    took.sort_unstable();
    changed.sort_unstable();
    let middle = |all: &[u64]| all.get(all.len() / 2).copied().unwrap_or(0) as f64 / 1000.0;
    format!(
        "{} rounds, {asked} questions, {dropped} of them dropped and counted, all as expected; a change is in every kernel after {:.0} ms \
         (median), a round takes {:.0} ms; {} made again",
        count(rounds),
        middle(&changed),
        middle(&took),
        sum(|seen| u64::from(seen.again))
    )
}

/// Bugs are planted one after the other; each round with one must notice it.
pub fn planted(grid: &mut Grid<'_>) -> Result<String> {
    let (policy, spec) = (
        "x/planted",
        "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}",
    );
    let mut wanted = script::base();
    let (key, text) = state::policy(policy, spec);
    wanted.put(key, text);
    let right = script::looked(grid, "in x/a: x/b")?;
    let changes = grid.state.become_(wanted);
    let first = Step { name: "as it is".to_owned(), changes, matrix: right.clone(), ..Step::default() };
    let report = grid.run(vec![first.clone()], 1)?;
    ensure!(report.ok, "without a bug: {:?}", report.rounds);
    let again = Step { changes: Vec::new(), ..first };
    let mut noticed = Vec::new();
    // The expectation is wrong in one place, each way.
    for (from, to) in [("+", "i"), ("i", "+")] {
        let at =
            right.match_indices(from).map(|(at, _)| at).find(|at| at % 7 == 3).context("nothing to plant")?;
        let wrong = format!("{}{to}{}", &right[..at], &right[at + 1..]);
        noticed.push(notice(grid, Step { matrix: wrong, ..again.clone() }, "one verdict is another one")?);
    }
    // The kernel is wrong in one element; the agent, who would mend it, is away.
    let node = grid.nodes[0].clone();
    let family = if grid.has(false) { "ip" } else { "ip6" };
    let address = |name: &str| -> Result<String> {
        let pod = grid.pod(name).context("no such pod")?;
        let own = pod.addresses().iter().find(|address| address.is_ipv4() == (family == "ip"));
        Ok(own.context("no address")?.to_string())
    };
    let (asked, asking) = (address("x/a")?, address("x/b")?);
    let bugs = [
        (
            "an element opens a pod",
            ["add", "element", family, "weft_policy", "open_in", &format!("{{ {asked} }}")]
                .map(str::to_owned),
        ),
        (
            "a pod's identity is missing",
            ["delete", "element", family, "weft_policy", "identities", &format!("{{ {asking} }}")]
                .map(str::to_owned),
        ),
    ];
    for (what, words) in bugs {
        grid.fabric.hold(&node, "agent")?;
        let argv: Vec<&str> = std::iter::once("nft").chain(words.iter().map(String::as_str)).collect();
        let seen = grid
            .fabric
            .on(on(&node), &argv)
            .and_then(|output| output.success("nft"))
            .and_then(|_| notice(grid, again.clone(), what));
        grid.fabric.release(&node, "agent")?;
        grid.fabric.client().ready(&node, "agent", crate::fabric::READY)?;
        grid.fabric.settle_all()?;
        noticed.push(seen?);
        let report = grid.run(vec![again.clone()], 1)?;
        ensure!(report.ok, "after {what}, with the agent back: {:?}", report.rounds);
    }
    let back = back(grid);
    ensure!(grid.run(vec![back], 1)?.ok, "the end");
    Ok(format!("{} planted bugs noticed: {}", noticed.len(), noticed.join("; ")))
}

/// Runs a step that isn't as expected; what was noticed.
fn notice(grid: &Grid<'_>, step: Step, what: &str) -> Result<String> {
    let report = grid.run_within(vec![step], 1, 400)?;
    let problem = report.rounds.iter().flat_map(|seen| &seen.problems).next();
    problem.map(|problem| format!("{what}: {problem}")).with_context(|| format!("nobody noticed: {what}"))
}

/// To where the grid began.
fn back(grid: &mut Grid<'_>) -> Step {
    let changes = grid.state.become_(script::base());
    Step { name: "afterwards".to_owned(), changes, matrix: script::open(grid), ..Step::default() }
}

fn blocks(grid: &Grid<'_>) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    for (v6, all) in [(false, "0.0.0.0/0"), (true, "::/0")] {
        if !grid.has(v6) {
            continue;
        }
        let at = |what: &str| grid.place(&format!("{}:{what}", if v6 { 6 } else { 4 }));
        let pod = |name: &str| at(&format!("net:{name}"));
        blocks.push(format!("{{cidr: \"{all}\"}}"));
        blocks.push(format!("{{cidr: \"{}\"}}", at("pods:2")?));
        blocks.push(format!("{{cidr: \"{}\"}}", pod("y/b")?));
        blocks.push(format!("{{cidr: \"{}\", except: [\"{}\"]}}", at("pods:1")?, pod("x/b")?));
        blocks.push(format!(
            "{{cidr: \"{}\", except: [\"{}\", \"{}\"]}}",
            at("pods")?,
            at("pods:2")?,
            pod("z/a")?
        ));
        blocks.push(format!("{{cidr: \"{all}\", except: [\"{}\"]}}", at("pods:1")?));
    }
    Ok(blocks)
}

fn steps(grid: &mut Grid<'_>, seed: u64, rounds: u64) -> Result<Vec<Step>> {
    let (blocks, mut steps) = (blocks(grid)?, Vec::new());
    let (mut chance, mut now) = (Chance::new(seed), Sketch::default());
    for round in 0..rounds {
        if round % STEPS_OF_A_WORLD == 0 {
            now = sketch(&mut chance, &blocks);
        } else {
            step(&mut now, &mut chance, &blocks);
        }
        let changes = grid.state.become_(state_of(&now));
        let matrix = matrix(grid, &world(grid, &now)?)?;
        steps.push(Step { name: format!("world {round}"), changes, matrix, ..Step::default() });
    }
    Ok(steps)
}

/// The world of a round in words, for a report.
fn described(grid: &Grid<'_>, seed: u64, name: &str) -> Result<String> {
    let (blocks, mut chance, mut now) = (blocks(grid)?, Chance::new(seed), Sketch::default());
    let wanted: u64 = name.strip_prefix("world ").unwrap_or_default().parse().unwrap_or(0);
    for round in 0..=wanted {
        if round % STEPS_OF_A_WORLD == 0 {
            now = sketch(&mut chance, &blocks);
        } else {
            step(&mut now, &mut chance, &blocks);
        }
    }
    Ok(format!("seed {seed}: {now:#?}"))
}

fn state_of(sketch: &Sketch) -> State {
    let mut state = script::base();
    let words = |labels: &std::collections::BTreeMap<String, String>| {
        labels.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut put = |(key, text)| state.put(key, text);
    sketch.namespaces.iter().for_each(|(name, labels)| put(state::namespace(name, &words(labels))));
    for (name, (labels, ports)) in &sketch.pods {
        let ports: Vec<String> = ports
            .iter()
            .map(|(name, port, tcp)| {
                format!(
                    "{{name: {name}, containerPort: {port}, protocol: {}}}",
                    if *tcp { "TCP" } else { "UDP" }
                )
            })
            .collect();
        put(state::pod(name, &words(labels), &ports.join(", ")));
    }
    sketch.policies.iter().for_each(|(name, spec)| put(state::policy(name, spec)));
    state
}

/// What the evaluator looks at; policies are read by the product's own reader.
fn world(grid: &Grid<'_>, sketch: &Sketch) -> Result<World> {
    let mut world = World::new(PolicySettings::default());
    for (name, labels) in &sketch.namespaces {
        let mut labels = labels.clone();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.clone());
        world.put_namespace(name.parse()?, labels.into_iter().collect());
    }
    for (name, (labels, ports)) in &sketch.pods {
        let pod = grid.pod(name).with_context(|| format!("no pod {name}"))?;
        let ports = ports.iter().map(|(name, port, tcp)| NamedPort {
            name: name.clone(),
            protocol: if *tcp { Protocol::Tcp } else { Protocol::Udp },
            port: *port,
        });
        let pod = WorldPod {
            labels: labels.clone().into_iter().collect(),
            addresses: pod.addresses().to_vec(),
            ports: ports.collect(),
            node: Some(pod.node().parse()?),
        };
        world.put_pod(name.parse()?, pod);
    }
    for (name, spec) in &sketch.policies {
        let (_, text) = state::policy(name, spec);
        let parsed = weft_yaml::parse(&text, name, &Options { namespace: "default", skip_unknown: false });
        let parsed = parsed.map_err(|errors| anyhow::anyhow!("{name} {spec}: {errors:?}"))?;
        for object in parsed.objects {
            if let Draft::Whole(Object::NetworkPolicy(policy)) = object.draft {
                world.put_policy(policy.name, Arc::new(policy.spec));
            }
        }
    }
    ensure!(world.policies().count() == sketch.policies.len(), "not every policy was read");
    Ok(world)
}

/// Every pair, as the evaluator decides.
fn matrix(grid: &Grid<'_>, world: &World) -> Result<String> {
    let mut matrix = String::new();
    for from in &grid.pods {
        for to in &grid.pods {
            for address in to.addresses() {
                let own = from.addresses().iter().find(|own| own.is_ipv4() == address.is_ipv4());
                let own = own.context("no address of that family")?;
                for (port, tcp) in PORTS {
                    let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
                    let decision = world.decide(&Flow::new(*own, *address, Transport::Port(protocol, port)));
                    matrix.push(match decision.denied() {
                        None => '+',
                        Some((Direction::Egress, _)) => 'e',
                        Some((Direction::Ingress, _)) => 'i',
                    });
                }
            }
        }
    }
    Ok(matrix)
}
