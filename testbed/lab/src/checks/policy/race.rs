//! Races: policies, labels and pods change many times a second, and nobody gets through who never may, and nobody is refused who may.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::grid::Grid;
use super::script;
use super::state::{self, State};
use crate::checks::{TCP, eventually, same_family, works};
use crate::fabric::Pod;
use crate::probe::Change;
use crate::probe::grid::race::Race;
use crate::topology;

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For how long.
    pub span: Duration,
    /// Changes per second, beside those of the pod that is let in and kept out.
    pub rate: f64,
}

impl Pace {
    /// As much as a test may take.
    pub const SHORT: Self = Self { span: Duration::from_secs(10), rate: 50.0 };
    /// What the issue asks for.
    pub const LONG: Self = Self { span: Duration::from_mins(1), rate: 50.0 };
}

/// Who is asked, and at last who is in turn let in and kept out, who always may, who never may.
const ASKED: [&str; 2] = ["x/a", "x/c"];
const TURNING: &str = "x/b";
pub(super) const FRIEND: &str = "y/b";
const STRANGERS: [&str; 5] = ["y/a", "y/c", "z/a", "z/b", "z/c"];
/// The policy that stays.
const CLOSED: &str = "{podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {role: web}}}, \
                      {namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {role: web}}}]}]}";
/// Policies that come and go beside it. None of them lets a stranger in.
const CHURN: [&str; 4] = ["x/churn-0", "x/churn-1", "x/churn-2", "z/churn"];
/// How names of new pods begin.
const NEW: &str = "race";
/// How many addresses behind those that are held are asked.
const SPARE: u32 = 12;
/// A new pod is reached within this, once every node knows it.
const SOON: Duration = Duration::from_secs(20);

/// Runs a race on a grid.
pub fn races(grid: &mut Grid<'_>, pace: &Pace) -> Result<String> {
    let race = race(grid, pace)?;
    let text = serde_json::to_string(&race)?;
    let (over, pods) = (AtomicBool::new(false), AtomicU32::new(0));
    let (seen, coming) = std::thread::scope(|scope| {
        let coming = [0, 1].map(|node| {
            let (grid, over, pods) = (&*grid, &over, &pods);
            scope.spawn(move || come_and_go(grid, node, over, pods))
        });
        let seen = grid.fabric.told_probe(&["race"], text, pace.span + Duration::from_secs(60));
        over.store(true, Ordering::Relaxed);
        let coming = coming.map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")));
        (seen, coming)
    });
    let seen = seen?;
    back(grid)?;
    coming.into_iter().collect::<Result<Vec<()>>>()?;
    ensure!(seen["ok"] == true, "{seen}");
    // The first one of each node may have come before anybody looked, and the last one too late.
    let unseen = seen["unseen"].as_array().map_or(usize::MAX, Vec::len);
    ensure!(unseen <= 2 * grid.nodes.len(), "what was sent to them wasn't seen: {seen}");
    let number = |key: &str| seen[key].as_u64().unwrap_or(0);
    let new = pods.load(Ordering::Relaxed);
    ensure!(new > 0 && number("sniffers") > 2, "no pod came: {seen}");
    ensure!(number("turns") > 0 && number("turned") > 0, "nobody was let in and kept out: {seen}");
    Ok(format!(
        "{} changes in {:.1} s ({:.0}/s) while {new} pods came and went; {} packets of those who never may, and {} times kept out: none \
         came; {} connections of those who may: none refused",
        number("changes"),
        number("ms") as f64 / 1000.0,
        number("changes") as f64 * 1000.0 / number("ms").max(1) as f64,
        number("sent"),
        number("turns"),
        number("connections")
    ))
}

/// Pods of the role that is asked come to a node, are reached by who may, and go.
fn come_and_go(grid: &Grid<'_>, node: usize, over: &AtomicBool, pods: &AtomicU32) -> Result<()> {
    let fabric = grid.fabric;
    let friend = grid.pod(FRIEND).context("no friend")?;
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let pod = fabric.attach(&topology::Pod {
            name: format!("{NEW}-{node}-{turn}"),
            namespace: "x".to_owned(),
            node: grid.nodes[node].clone(),
            labels: [("role".to_owned(), "db".to_owned())].into(),
            serve: vec![format!("tcp:{TCP}")],
        })?;
        let reached = reached(grid, friend, &pod);
        fabric.detach(&pod)?;
        reached.with_context(|| format!("{} at {:?}", pod.name(), pod.addresses()))?;
        pods.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn reached(grid: &Grid<'_>, friend: &Pod, pod: &Pod) -> Result<()> {
    grid.fabric.settle()?;
    for address in pod.addresses() {
        same_family(friend, *address)?;
        // Once every node knows it, one try is enough.
        let arguments = ["tcp", &address.to_string(), TCP, "--within", "4000"];
        eventually(SOON, || works(grid.fabric, &friend.place(), &arguments))?;
    }
    Ok(())
}

pub(super) fn race(grid: &mut Grid<'_>, pace: &Pace) -> Result<Race> {
    let names = Grid::names();
    let place = |name: &str| names.iter().position(|one| one == name).with_context(|| format!("no {name}"));
    let places = |all: &[&str]| all.iter().map(|name| place(name)).collect::<Result<Vec<_>>>();
    let mut wanted = script::base();
    let mut put = |(key, text)| wanted.put(key, text);
    put(state::policy("x/closed", CLOSED));
    ASKED.iter().for_each(|name| put(state::pod(name, "role: db", "")));
    put(state::pod(TURNING, "role: out", ""));
    put(state::pod(FRIEND, "role: web", ""));
    STRANGERS.iter().for_each(|name| put(state::pod(name, "role: stranger", "")));
    let mut ends = grid.ends()?;
    ends.truncate(grid.pods.len());
    Ok(Race {
        folders: grid.folders()?,
        prefix: format!("x.{NEW}-"),
        span_ms: u64::try_from(pace.span.as_millis())?,
        rate: pace.rate,
        first: grid.state.become_(wanted),
        churn: if pace.rate > 0.0 { churn() } else { Vec::new() },
        turns: ["web", "out"].map(|role| Change::Apply(state::pod(TURNING, &format!("role: {role}"), "").1)),
        turning: place(TURNING)?,
        friend: place(FRIEND)?,
        strangers: places(&STRANGERS)?,
        asked: places(&ASKED)?,
        spare: spare(grid),
        ends,
    })
}

/// Addresses behind the last ones of each node.
fn spare(grid: &Grid<'_>) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for node in &grid.nodes {
        let own: Vec<&Pod> = grid.pods.iter().filter(|pod| pod.node() == node).collect();
        for v6 in [false, true] {
            let last = own.iter().flat_map(|pod| pod.addresses()).filter(|a| a.is_ipv6() == v6).max();
            all.extend(last.into_iter().flat_map(|last| (1..=SPARE).map(move |step| behind(*last, step))));
        }
    }
    all
}

fn behind(address: IpAddr, step: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + step).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + u128::from(step)).into()),
    }
}

/// Changes, over and over: policies, labels of those who never may, and of their namespace. Each writer has objects of its own.
fn churn() -> Vec<Vec<Change>> {
    let put = |place: usize, spec: &str| Change::Apply(state::policy(CHURN[place], spec).1);
    let gone = |place: usize| Change::Remove(vec![state::key("KIND_NETWORK_POLICY", CHURN[place])]);
    let from = |turn: u32| {
        format!(
            "{{podSelector: {{matchLabels: {{role: db}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{turn: t{turn}}}}}}}], ports: \
             [{{port: {}}}]}}]}}",
            80 + turn
        )
    };
    let team = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: q}}, podSelector: {matchLabels: {role: \
                web}}}]}, {from: [{podSelector: {matchLabels: {role: web}}}, {namespaceSelector: {matchLabels: {ns: y}}, podSelector: \
                {matchLabels: {role: web}}}]}]}";
    let block = "{podSelector: {matchLabels: {role: db}}, ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24}}, {ipBlock: {cidr: \
                 \"2001:db8::/32\", except: [\"2001:db8:1::/48\"]}}]}]}";
    let out = "{podSelector: {}, policyTypes: [Egress], egress: [{}]}";
    let own = [
        vec![
            put(0, &from(1)),
            put(1, block),
            put(0, &from(2)),
            gone(1),
            put(0, &from(3)),
            put(1, &from(2)),
            gone(0),
            gone(1),
        ],
        vec![put(3, out), put(2, team), put(2, &from(1)), gone(3), put(2, team), gone(2)],
    ];
    let pod = |name: &str, turn: u32| {
        Change::Apply(state::pod(name, &format!("role: stranger, turn: t{turn}"), "").1)
    };
    let team = |labels: &str| Change::Apply(state::namespace("z", labels).1);
    let labels = [
        vec![
            pod("z/a", 1),
            team("ns: z, team: q"),
            pod("z/a", 3),
            pod("z/c", 1),
            team("ns: z"),
            pod("z/c", 3),
        ],
        vec![pod("y/a", 2), pod("y/c", 2), pod("z/b", 2), pod("y/a", 1), pod("y/c", 3), pod("z/b", 1)],
    ];
    own.into_iter().chain(labels).collect()
}

/// To where the grid began, whatever the last change was.
pub(super) fn back(grid: &mut Grid<'_>) -> Result<()> {
    let (put, gone): (Vec<_>, Vec<_>) = CHURN
        .iter()
        .map(|name| {
            let (key, text) = state::policy(name, "{podSelector: {}}");
            (text, key)
        })
        .unzip();
    // What may be gone already is made first, so that nothing is missing.
    let mut changes = vec![Change::Apply(put.join("\n---\n")), Change::Remove(gone)];
    let closed = vec![state::policy("x/closed", CLOSED).0];
    changes.push(Change::Remove(closed));
    let mut fresh = State::default();
    changes.extend(fresh.become_(script::base()));
    grid.state = fresh;
    let step = crate::probe::grid::Step {
        name: "afterwards".to_owned(),
        changes,
        matrix: script::open(grid),
        ..Default::default()
    };
    let report = grid.run(vec![step], 1)?;
    ensure!(report.ok, "after the race: {:?}", report.rounds);
    Ok(())
}
