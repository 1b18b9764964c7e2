//! A grid of pods that all ask each other: one process with sockets in every pod's network namespace, which changes objects, waits until
//! every node has them, asks every pair over TCP and UDP, and holds what came of it against what was expected.
//!
//! Who may is answered. Who may not is counted: each of its packets once, by the rules of the nodes that drop it, so that nobody waits for
//! a time-out. In: a [`Plan`] on standard input. Out: what each round saw. Not here: what is expected (checks/policy).

mod counters;
mod ends;
pub(crate) mod race;
mod raw;
mod round;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weft_model::Direction;

use super::millis;
use super::write::{self, Change, Writer};
use crate::Result;
use crate::checks::policy::PORTS;
use counters::Counters;
use ends::Ends;

/// Everything that is done, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Pods, which ask and are asked, and then machines, which only ask.
    pub(crate) ends: Vec<End>,
    /// Network namespaces of the nodes whose rules count.
    pub(crate) nodes: Vec<PathBuf>,
    /// The steps.
    pub(crate) steps: Vec<Step>,
    /// What may pass is answered within this, milliseconds.
    pub(crate) patience_ms: u64,
    /// Ends after this many rounds that weren't as expected.
    pub(crate) most_problems: usize,
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// For messages.
    pub(crate) name: String,
    /// File of its network namespace.
    pub(crate) netns: PathBuf,
    /// Where it is asked; a machine isn't.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What is changed, and what is seen then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    /// For messages.
    pub(crate) name: String,
    /// Objects that change; the round begins when every node has them.
    pub(crate) changes: Vec<Change>,
    /// For every pair of pods (the asking one first), for every address of the asked one, for each of [`PORTS`]: `+` where it is
    /// answered, `e` where the asking pod's policies drop it, `i` where the asked one's do, `.` where nobody asks.
    pub(crate) matrix: String,
    /// Further questions.
    pub(crate) more: Vec<Ask>,
}

/// One question.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Place of the asking end.
    pub(crate) from: usize,
    /// Whom.
    pub(crate) to: SocketAddr,
    /// TCP, or UDP.
    pub(crate) tcp: bool,
    /// Whose policies drop it, and at which address of a pod that is counted; none: it is answered.
    pub(crate) denied: Option<Denied>,
}

/// Where a packet is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Denied {
    /// By the policies of who sends it, or of who would get it.
    pub(crate) egress: bool,
    /// An address of that pod.
    pub(crate) at: IpAddr,
}

impl Denied {
    /// Under what the node counts it.
    fn counted(self) -> (Direction, IpAddr) {
        (if self.egress { Direction::Egress } else { Direction::Ingress }, self.at)
    }
}

/// Who writes, and waits.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: write::Target,
}

/// What was seen in one round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Of the step.
    pub(crate) name: String,
    /// Questions, and how many of them were dropped.
    pub(crate) asked: usize,
    /// Dropped, and counted.
    pub(crate) dropped: usize,
    /// How long the changes took until every node had them, and the round, microseconds.
    pub(crate) changed_us: u64,
    /// The round.
    pub(crate) took_us: u64,
    /// Rounds that were made again, since packets got lost on the way.
    pub(crate) again: u32,
    /// What wasn't as expected.
    pub(crate) problems: Vec<String>,
}

/// Everything that was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// All as expected.
    pub(crate) ok: bool,
    /// One per step.
    pub(crate) rounds: Vec<Seen>,
}

/// Runs the plan.
pub(super) fn run(options: &Options) -> Result<Value> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let plan: Plan = serde_json::from_str(&text).context("standard input is no plan")?;
    let began = Instant::now();
    let mut writer = Writer::open(&options.target)?;
    let (mut ends, mut counters) = Ends::open(&plan.ends, &plan.nodes)?;
    let (mut rounds, mut bad) = (Vec::new(), 0);
    for step in &plan.steps {
        let seen = look(&mut writer, &mut ends, &mut counters, &plan, step);
        let mut seen = seen.unwrap_or_else(|e| Seen { problems: vec![format!("{e:#}")], ..Seen::default() });
        seen.name.clone_from(&step.name);
        bad += usize::from(!seen.problems.is_empty());
        rounds.push(seen);
        if bad >= plan.most_problems {
            break;
        }
    }
    let mut report = serde_json::to_value(Report { ok: bad == 0, rounds })?;
    report["ms"] = json!(millis(began.elapsed()));
    Ok(report)
}

/// One step: what it changes, and what is seen then.
fn look(
    writer: &mut Writer,
    ends: &mut Ends,
    counters: &mut Counters,
    plan: &Plan,
    step: &Step,
) -> Result<Seen> {
    let changing = Instant::now();
    writer.change_and_wait(&step.changes)?;
    let changed_us = u64::try_from(changing.elapsed().as_micros()).unwrap_or(u64::MAX);
    let asks = asks(&plan.ends, step)?;
    let seen = round::run(ends, counters, &asks, Duration::from_millis(plan.patience_ms))?;
    Ok(Seen { changed_us, ..seen })
}

/// All questions of a step: the matrix's, then the others.
fn asks(ends: &[End], step: &Step) -> Result<Vec<Ask>> {
    let mut said = step.matrix.bytes();
    let mut asks = Vec::new();
    if !step.matrix.is_empty() {
        for from in pods(ends) {
            for to in pods(ends) {
                for address in &ends[to].addresses {
                    for (port, tcp) in PORTS {
                        let expected = said.next().context("the matrix is too small")?;
                        let to = SocketAddr::new(*address, port);
                        let denied = match expected {
                            b'+' => None,
                            b'e' => Some(Denied { egress: true, at: own(&ends[from], *address)? }),
                            b'i' => Some(Denied { egress: false, at: *address }),
                            _ => continue,
                        };
                        asks.push(Ask { from, to, tcp, denied });
                    }
                }
            }
        }
        ensure!(said.next().is_none(), "the matrix is too large");
    }
    asks.extend(&step.more);
    Ok(asks)
}

/// An end's address in the family of another.
fn own(end: &End, other: IpAddr) -> Result<IpAddr> {
    let found = end.addresses.iter().find(|address| address.is_ipv4() == other.is_ipv4());
    found.copied().with_context(|| format!("{} has no address of the family of {other}", end.name))
}

fn pods(ends: &[End]) -> impl Iterator<Item = usize> {
    ends.iter().enumerate().filter(|(_, end)| !end.addresses.is_empty()).map(|(place, _)| place)
}
