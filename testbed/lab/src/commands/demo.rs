//! `demo`: shows and proves the product; every line is a thing that was checked.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{print, progress};
use crate::checks::recipes::{self, Scene};
use crate::checks::services::{self, Shop, Stage};
use crate::checks::{Cast, control, faults, names, outside, paths, rollout, wire};
use crate::fabric::product::{self, Profile};
use crate::layout::Layout;
use crate::topology::Topology;
use crate::{Fabric, Refusal, Result, launch, prerequisites};

/// `cargo lab demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Only this chapter
    #[arg(long, value_enum)]
    chapter: Option<Chapter>,
    /// Leave the lab running at the end
    #[arg(long)]
    keep: bool,
    /// Programs built without optimisation
    #[arg(long)]
    debug: bool,
}

/// A chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Chapter {
    /// Pods reach pods.
    Paths,
    /// Nothing in clear between nodes.
    Wire,
    /// The world outside.
    Outside,
    /// Stable addresses in front of pods that come and go.
    Services,
    /// Services and pods by name.
    Names,
    /// Who may talk to whom.
    Policy,
    /// Processes die.
    Faults,
    /// The control plane dies.
    Control,
}

type Check = fn(&Fabric, &Cast) -> Result<String>;
type OnStage = fn(&Stage<'_>) -> Result<String>;
type InScene = fn(&Scene<'_>) -> Result<String>;
type InShop = fn(&Shop<'_>) -> Result<String>;

/// Of each attack: the suite takes longer.
const BRIEF: Duration = Duration::from_millis(400);

/// Requirement, what is proved, and the proof, chapter by chapter.
const STORY: [(Chapter, &str, &str, Check); 21] = [
    (Chapter::Paths, "M1", "every pod reaches every pod without NAT", paths::every_pair),
    (Chapter::Paths, "M1", "large transfers arrive whole", paths::bulk),
    (Chapter::Paths, "M2", "one pod shares localhost", paths::localhost),
    (Chapter::Paths, "M12", "two pods, one port", paths::same_port),
    (Chapter::Paths, "M3", "pods of a node talk over its bridge", paths::through_the_bridge),
    (Chapter::Paths, "M3", "no redirects", paths::no_redirects),
    (Chapter::Paths, "M1", "nodes and pods", paths::nodes),
    (Chapter::Wire, "M4", "nothing in clear between nodes", encrypted),
    (Chapter::Outside, "M1", "pods reach the outside", outside::reached),
    (Chapter::Outside, "M1", "errors from outside come back", outside::errors_come_back),
    (Chapter::Outside, "M1", "the outside reaches no pod", outside::refused),
    (Chapter::Names, "M9", "services by name, in both families", names::fetched),
    (Chapter::Names, "M9", "every record, over UDP and TCP", names::walked),
    (Chapter::Names, "M9", "the DNS process dies", names::process_dies),
    (Chapter::Names, "M9", "a hostile pod beside another", |fabric, cast| {
        names::attacked(fabric, cast, BRIEF)
    }),
    (Chapter::Faults, "M4", "the tunnel process dies", faults::tunnel_dies),
    (Chapter::Faults, "M1", "the agent dies", faults::agent_dies),
    (Chapter::Faults, "M4", "the ruleset is flushed", faults::ruleset_flushed),
    (Chapter::Control, "-", "the leader dies", |fabric, _| control::leader_dies(fabric)),
    (Chapter::Control, "M7", "the whole control plane dies", control::all_replicas_die),
    (Chapter::Control, "M5", "addresses add up", |fabric, _| control::addresses_add_up(fabric)),
];

/// Chapter Services: what is proved, and the proof, on a stage of pods and services.
const SERVICES: [(&str, OnStage); 9] = [
    ("services from pods, nodes and outside", services::cluster_addresses),
    ("a pod reaches itself by its service", services::hairpin),
    ("node ports, both traffic policies", services::node_ports),
    ("nobody there: refused at once", services::nobody_there),
    ("connections are spread", services::spread),
    ("a client stays with its backend", services::affinity),
    ("backends come and go", services::backends_come_and_go),
    ("weft trace tells what a probe finds", services::traces_agree),
    ("troubles are told", services::troubles_are_told),
];

/// The same with a shop of many services, in plain Kubernetes YAML.
const SHOP: [(&str, InShop); 5] = [
    ("shop: front end, LoadBalancer", services::front),
    ("shop: API, named ports", services::api),
    ("shop: cache, session affinity", services::cache),
    ("shop: payment, endpoints by hand", services::payment),
    ("shop: headless, alias, UDP node port", services::others),
];

/// Chapter Policy, on a scene of two namespaces.
const POLICY: [(&str, InScene); 4] = [
    ("what a policy closes is told before", rollout::told_before),
    ("a verdict is explained, a probe agrees", rollout::explained),
    ("drops are told by name", rollout::drops_told),
    ("recipes: closed, tiers, names, rolled back", recipes::tried),
];

fn encrypted(fabric: &Fabric, cast: &Cast) -> Result<String> {
    wire::captured(fabric, cast, "demo", || {
        wire::traffic(fabric, cast)?;
        paths::other_node(fabric, cast).map(drop)
    })
}

impl Demo {
    pub(crate) fn run(self) -> Result {
        prerequisites::check()?;
        let (product, lab) = product::build(if self.debug { Profile::Debug } else { Profile::Release })?;
        launch::use_program(lab);
        let layout = Layout::of("demo")?;
        crate::substrate::stop(&layout)?;
        let mut topology = Topology::of_nodes(3);
        topology.control_planes.count = 3;
        let began = Instant::now();
        let mut fabric = Fabric::tied(&layout, topology.checked()?, product, &mut progress)?;
        let mut table = Table::default();
        table.add(
            "-",
            "a fabric of 3 replicas and 3 nodes",
            began,
            Ok("ready, dual-stack, WireGuard".to_owned()),
        )?;
        let attached = Instant::now();
        let cast = Cast::attach(&fabric);
        let sentence = cast
            .as_ref()
            .map(|c| format!("{} pods attached by weft-cni", c.all.len()))
            .map_err(|e| anyhow::anyhow!("{e:#}"));
        table.add("M7", "pods through the CNI plugin", attached, sentence)?;
        let cast = cast?;
        for chapter in Chapter::value_variants().iter().copied() {
            if self.chapter.is_some_and(|only| only != chapter) {
                continue;
            }
            if chapter == Chapter::Services {
                services_chapter(&fabric, &cast, &mut table)?;
            }
            if chapter == Chapter::Policy {
                policy_chapter(&fabric, &cast, &mut table)?;
            }
            for (_, requirement, what, check) in STORY.iter().filter(|(of, ..)| *of == chapter) {
                let started = Instant::now();
                table.add(requirement, what, started, check(&fabric, &cast))?;
            }
        }
        if self.keep {
            fabric.keep()?;
            progress("the lab goes on: cargo lab ls demo; cargo lab down demo");
        } else {
            let ended = Instant::now();
            let down = fabric.down().map(|()| "no process, namespace, mount or link remains".to_owned());
            table.add("-", "taken down", ended, down)?;
        }
        table.close(began)
    }
}

/// Pods and services are set up, proved, and taken away again.
fn services_chapter(fabric: &Fabric, cast: &Cast, table: &mut Table) -> Result {
    let stage = Stage::set(fabric, cast)?;
    for (what, check) in SERVICES {
        let started = Instant::now();
        table.add("M8", what, started, check(&stage))?;
    }
    stage.strike()?;
    let shop = Shop::open(fabric, cast)?;
    for (what, check) in SHOP {
        let started = Instant::now();
        table.add("M8", what, started, check(&shop))?;
    }
    shop.close()
}

/// Pods are set up, policies proved on them, and they are taken away again.
fn policy_chapter(fabric: &Fabric, cast: &Cast, table: &mut Table) -> Result {
    let scene = Scene::set(fabric, cast)?;
    for (what, check) in POLICY {
        let started = Instant::now();
        table.add("M11", what, started, check(&scene))?;
    }
    scene.strike()
}

#[derive(Default)]
struct Table {
    proved: usize,
    failed: usize,
}

impl Table {
    fn add(&mut self, requirement: &str, what: &str, began: Instant, seen: Result<String>) -> Result {
        let seconds = began.elapsed().as_secs_f64();
        let (sign, sentence) = match &seen {
            Ok(sentence) => ("ok", sentence.clone()),
            Err(e) => ("FAILED", format!("{e:#}")),
        };
        match seen {
            Ok(_) => self.proved += 1,
            Err(_) => self.failed += 1,
        }
        print(format_args!("{sign:<6} {requirement:<4} {seconds:>6.1}s  {what:<40} {sentence}"))
    }

    fn close(&self, began: Instant) -> Result {
        let all = self.proved + self.failed;
        print(format_args!("\n{} of {all} proved in {:.1} s", self.proved, began.elapsed().as_secs_f64()))?;
        if self.failed == 0 { Ok(()) } else { Err(Refusal::Ended(1).into()) }
    }
}
