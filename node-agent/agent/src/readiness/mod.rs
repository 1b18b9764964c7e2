//! Readiness of pods that nobody else judges: one task asks them all, and publishes each verdict at once.
//!
//! In: probes of the View (what people wrote) and of the journal (what was said when the pod was made); people win. Out:
//! verdicts in the journal, so that an agent that starts anew changes nothing, and publications. Not here: thresholds
//! and who is asked when (weft-plan), the question itself (question.rs).

mod question;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use weft_ipam::Holding;
use weft_model::{PodUid, Probe, Probes};
use weft_plan::{Asked, Schedule};
use weft_view::View;

use crate::{
    addresses::Durability,
    clock, limits,
    node::{Node, published},
};

/// A pod that was made longer ago than this keeps its readiness until a new probe has judged it.
const SETTLED: Duration = Duration::from_secs(30);

/// What people wrote of a pod's probes, else what was said when it was made.
pub(crate) fn probes_of(view: &View, holding: &Holding) -> Probes {
    match view.probes().get(&holding.pod) {
        Some(item) => Probes { readiness: item.readiness.clone(), startup: item.startup.clone() },
        None => Probes::clone(&holding.serving.probes),
    }
}

/// Whether a pod takes new connections, as its node sees it.
pub(crate) fn is_ready(view: &View, holding: &Holding) -> bool {
    let probes = probes_of(view, holding);
    // Without a probe nobody doubts it, whatever an earlier one said.
    probes.is_empty() || holding.serving.verdict.unwrap_or(false)
}

/// Asks pods until the process stops.
pub(crate) async fn watch_pods(node: Arc<Node>, stop: CancellationToken) {
    let began = Instant::now();
    let mut schedule = Schedule::default();
    let mut asking: JoinSet<Answer> = JoinSet::new();
    let mut changed = true;
    loop {
        if changed {
            refresh(&node, &mut schedule, began.elapsed());
        }
        while asking.len() < limits::PROBES_AT_ONCE
            && let Some(due) = schedule.next_due(began.elapsed())
        {
            asking.spawn(answer(due));
        }
        changed = false;
        // With every place taken the next question waits for an answer.
        let next = schedule.next_at().filter(|_| asking.len() < limits::PROBES_AT_ONCE);
        let pause = next.map_or_else(|| Instant::now() + limits::OBSERVE_EVERY, |at| began + at);
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.wakes.readiness.notified() => changed = true,
            Some(Ok(answer)) = asking.join_next(), if !asking.is_empty() => learn(&node, &mut schedule, answer),
            () = tokio::time::sleep_until(pause) => {}
        }
    }
}

/// The answer of one pod.
struct Answer {
    uid: PodUid,
    epoch: u64,
    result: Result<(), String>,
}

async fn answer(asked: Asked) -> Answer {
    let Asked { uid, epoch, address, probe } = asked;
    Answer { uid, epoch, result: question::ask(address, &probe).await }
}

/// Brings the schedule to what is attached and how it is to be asked now.
fn refresh(node: &Node, schedule: &mut Schedule, now: Duration) {
    let view = node.view();
    let holdings: Vec<Holding> =
        node.addresses.read(|ledger| ledger.holdings().filter(|h| h.attached).cloned().collect());
    schedule.retain(|uid| holdings.iter().any(|holding| holding.uid == uid));
    for holding in &holdings {
        let probes = probes_of(&view, holding);
        if schedule.is_known(holding.uid, &probes) {
            continue;
        }
        let Some(address) = holding.addresses.first() else { continue };
        // What was published when it was made is out of date.
        let other = schedule.is_asked(holding.uid) || probes != *holding.serving.probes;
        let verdict = holding.serving.verdict;
        let first_probe = verdict.is_none() && holding.serving.probes.is_empty() && !probes.is_empty();
        let keeps = first_probe && is_settled(holding);
        let first = now + until_first_question(holding, &probes, verdict.is_some() || keeps);
        schedule.put(holding.uid, *address, probes, verdict.or(keeps.then_some(true)), first);
        if keeps {
            judge(node, holding.uid, true, "it was ready before anybody asked it");
        } else if other {
            node.publications.put(published(node, holding));
        }
    }
}

fn is_settled(holding: &Holding) -> bool {
    clock::wall().0.saturating_sub(holding.created.0)
        >= u64::try_from(SETTLED.as_millis()).unwrap_or(u64::MAX)
}

/// How long until a pod is asked first: its delay; one that was asked before at any moment of a period, so that a node's pods
/// aren't all asked at once when the agent starts.
fn until_first_question(holding: &Holding, probes: &Probes, asked_before: bool) -> Duration {
    let probe = probes.startup.as_ref().or(probes.readiness.as_ref());
    let (delay, period) = probe.map_or((0, 0), |probe: &Probe| (probe.initial_delay_ms, probe.period_ms));
    let age = clock::wall().0.saturating_sub(holding.created.0);
    let left = u64::from(delay).saturating_sub(age);
    let spread = if asked_before { u64::from(period) * u64::from(clock::chance()) / 256 } else { 0 };
    Duration::from_millis(left + spread)
}

fn learn(node: &Node, schedule: &mut Schedule, answer: Answer) {
    let Answer { uid, epoch, result } = answer;
    let good = result.is_ok();
    if let Some(ready) = schedule.learn(uid, epoch, good, clock::chance()) {
        judge(node, uid, ready, result.err().as_deref().unwrap_or("it answers"));
    }
}

/// Writes a verdict down and publishes it.
fn judge(node: &Node, uid: PodUid, ready: bool, why: &str) {
    let (judged, _) = node.addresses.change(Durability::WithNext, |ledger| {
        let attachment = ledger.holdings().find(|h| h.uid == uid).map(|h| h.attachment.clone());
        let entry = attachment.as_ref().and_then(|attachment| ledger.judge(attachment, ready));
        let holding = attachment.and_then(|attachment| ledger.holding(&attachment).cloned());
        (holding, entry.into_iter().collect())
    });
    let Some(holding) = judged else { return };
    tracing::info!(pod = %holding.pod, ready, why, "a pod's readiness changed");
    node.publications.put(published(node, &holding));
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
