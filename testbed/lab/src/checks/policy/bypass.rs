//! Ways around policies: through tables that somebody breaks, and through an address that was another pod's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::grid::Grid;
use super::race::{FRIEND, Pace, back, race};
use super::script;
use super::state;
use crate::checks::{TCP, UDP, eventually, same_family, works};
use crate::fabric::on;
use crate::probe::grid::Step;
use crate::topology;
use crate::wait::pass;

/// What somebody does to the tables of a node, for one family; none of it opens by itself.
const CHANGES: [&[&str]; 7] = [
    &["delete", "table", "FAMILY", "weft_policy"],
    &["flush", "table", "FAMILY", "weft_policy"],
    &["flush", "chain", "FAMILY", "weft_policy", "entering"],
    &["flush", "map", "FAMILY", "weft_policy", "profiles_in"],
    &["flush", "map", "FAMILY", "weft_policy", "identities"],
    &["flush", "chain", "inet", "weft", "forward"],
    &["flush", "chain", "inet", "weft", "marks"],
];
/// The pod whose node's tables are broken.
const ASKED: &str = "x/c";
/// Everything is broken and mended within this on any machine.
const SPAN: Duration = Duration::from_secs(7);
/// Before and after each change.
const AROUND: Duration = Duration::from_millis(250);
/// Who may hears nothing for so long at most, on a machine that does much else.
const CLOSED: u64 = 15_000;
/// On any machine.
const SOON: Duration = Duration::from_secs(20);

/// Tables are broken under raw packets of those who never may: none comes, and who may is soon let in again.
pub fn tampered(grid: &mut Grid<'_>) -> Result<String> {
    let fabric = grid.fabric;
    let race = race(grid, &Pace { span: SPAN, rate: 0.0 })?;
    let text = serde_json::to_string(&race)?;
    let (asked, friend) =
        (grid.pod(ASKED).context("nobody is asked")?, grid.pod(FRIEND).context("no friend")?);
    let server = fabric.serve_in(asked, &[&format!("udp:{UDP}")])?;
    let (seen, gaps) = std::thread::scope(|scope| {
        let seen = scope.spawn(|| fabric.told_probe(&["race"], text, SPAN + Duration::from_secs(60)));
        // It has begun when who always may gets an answer.
        let gaps = asked.addresses().iter().take(1).try_fold(Vec::new(), |mut all, address| {
            let address = address.to_string();
            eventually(SOON, || works(fabric, &friend.place(), &["udp", &address, UDP, "--within", "1000"]))?;
            for change in CHANGES {
                all.push(broken(grid, &address, change)?);
            }
            Ok::<_, anyhow::Error>(all)
        });
        (seen.join().unwrap_or_else(|_| bail!("a thread panicked")), gaps)
    });
    server.stop_silently();
    back(grid)?;
    let (seen, gaps) = (seen?, gaps?);
    // While the way is closed who may may be told so, too.
    ensure!(seen["delivered"] == serde_json::json!([]) && seen["late"] == 0, "{seen}");
    ensure!(seen["unseen"] == serde_json::json!([]), "what was sent to them wasn't seen: {seen}");
    let longest = gaps.iter().copied().max().unwrap_or(0);
    ensure!(longest <= CLOSED, "who may was kept out for {gaps:?} ms");
    Ok(format!(
        "{} times tables were broken under {} packets of those who never may: none came; who may heard nothing for {gaps:?} ms",
        CHANGES.len(),
        seen["sent"]
    ))
}

/// Breaks the tables once; for how long who may heard nothing, milliseconds.
fn broken(grid: &Grid<'_>, address: &str, change: &[&str]) -> Result<u64> {
    let fabric = grid.fabric;
    let (asked, friend) =
        (grid.pod(ASKED).context("nobody is asked")?, grid.pod(FRIEND).context("no friend")?);
    let family = if address.contains(':') { "ip6" } else { "ip" };
    let words: Vec<&str> = change.iter().map(|word| if *word == "FAMILY" { family } else { word }).collect();
    let gaps = fabric.background(friend.place(), &["gaps", address, UDP, "--rate", "500"], &[])?;
    pass(AROUND);
    let broke = fabric.on(on(asked.node()), &[&["nft"], words.as_slice()].concat())?.success("nft");
    pass(AROUND);
    let began = Instant::now();
    let again =
        eventually(SOON, || works(fabric, &friend.place(), &["udp", address, UDP, "--within", "500"]));
    let again = again.with_context(|| format!("{words:?} isn't mended after {:?}", began.elapsed()));
    let seen = gaps.stop()?;
    broke?;
    again?;
    seen["longest_gap_ms"].as_u64().with_context(|| format!("no gap in {seen}"))
}

/// An address that was a pod's that may is no way in for the next one: the node gives it to nobody for a while, and no table knows it.
pub fn reused(grid: &mut Grid<'_>) -> Result<String> {
    let fabric = grid.fabric;
    let mut wanted = script::base();
    let spec = "{podSelector: {matchLabels: {pod: c}}, ingress: [{from: [{podSelector: {matchLabels: {role: web}}}]}]}";
    let (key, text) = state::policy("x/closed", spec);
    wanted.put(key, text);
    let matrix = script::looked(grid, "in x/c: none")?;
    let step =
        Step { name: "closed".to_owned(), changes: grid.state.become_(wanted), matrix, ..Step::default() };
    let report = grid.run(vec![step], 1)?;
    ensure!(report.ok, "{:?}", report.rounds);
    let asked = grid.pod(ASKED).context("nobody is asked")?;
    let server = fabric.serve_in(asked, &[&format!("tcp:{TCP}")])?;
    let attach = |name: &str, role: &str| {
        fabric.attach(&topology::Pod {
            name: name.to_owned(),
            namespace: "x".to_owned(),
            node: grid.nodes[0].clone(),
            labels: [("role".to_owned(), role.to_owned())].into(),
            serve: Vec::new(),
        })
    };
    let target = asked.addresses()[0];
    let try_it = ["tcp", &target.to_string(), TCP, "--within", "3000"];
    let former = attach("former", "web")?;
    fabric.settle()?;
    works(fabric, &former.place(), &try_it)?;
    fabric.detach(&former)?;
    let next = attach("next", "stranger")?;
    let both = next.addresses().iter().filter(|address| former.addresses().contains(address)).count();
    ensure!(both == 0, "{:?} was given out again at once", next.addresses());
    fabric.settle()?;
    let own = same_family(&next, target)?;
    let before = fabric.drops(asked.node())?;
    let refused = fabric.probe(next.place(), &["tcp", try_it[1], TCP, "--within", "200"])?;
    let dropped = fabric.drops(asked.node())?.since(&before).at(weft_model::Direction::Ingress, target);
    ensure!(refused["ok"] == false && dropped >= 1, "{own} got in: {refused}, {dropped} dropped");
    for node in &grid.nodes {
        for address in former.addresses() {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            let element = format!("{{ {address} }}");
            eventually(SOON, || {
                let seen = fabric.on(
                    on(node),
                    &["nft", "get", "element", family, "weft_policy", "identities", &element],
                )?;
                ensure!(seen.status != 0, "{node} still knows {address}: {}", seen.stdout.trim());
                Ok(())
            })?;
        }
    }
    fabric.detach(&next)?;
    server.stop_silently();
    Ok("an address that was a pod's that may is nobody's, and the next pod is kept out".to_owned())
}
