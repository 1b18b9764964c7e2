//! What the host is, and who changed it: kernel monitors, the underlay, the host's routes.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error};
use weft_kernel::{Look, Monitor, NftMonitor, Notice};
use weft_plan::{UnderlayChoice, choose_underlay};

use crate::{
    inbox::{Wish, Work},
    limits,
    node::Node,
};

/// Notifications are waited for in slices, so that a stop is noticed.
const SLICE: Duration = Duration::from_millis(500);

/// Hears of changes of links, addresses, routes and rules, and tells the loops to look.
pub(crate) fn watch_kernel(node: &Node, stop: &CancellationToken) -> Result<(), Error> {
    let mut monitor = Monitor::open().map_err(|e| e.envelope())?;
    let mut settings_at = Instant::now();
    while !stop.is_cancelled() {
        if settings_at.elapsed() >= SLICE {
            settings_at = Instant::now();
            watch_bridge_netfilter(node);
        }
        let mut looks = match monitor.wait(SLICE) {
            Ok(looks) => looks,
            Err(error) => {
                tracing::warn!(%error, "the kernel's notifications can't be read; everything is looked at");
                [Look::Everything].into()
            }
        };
        if looks.is_empty() {
            continue;
        }
        // What belongs together comes together.
        looks.extend(monitor.wait(limits::SETTLE).unwrap_or_else(|_| [Look::Everything].into()));
        tell(node, &looks);
    }
    Ok(())
}

/// No notice tells of these settings, and others set them (kube-proxy, docker). They come with a module, at any time.
fn watch_bridge_netfilter(node: &Node) {
    let values: Vec<_> = weft_plan::Setting::bridge_netfilter()
        .filter_map(|setting| Some((weft_kernel::read_setting(&setting).ok()??, setting)))
        .map(|(value, setting)| (setting, value))
        .collect();
    if !values.is_empty() && !node.facts().features.bridge_netfilter {
        node.change_facts(|facts| facts.features.bridge_netfilter = true);
    }
    if values.iter().any(|(_, value)| value != "0") {
        node.inboxes.links.poke(Wish::observe());
    }
    node.change_surroundings(|around| around.bridge_netfilter = values);
}

fn tell(node: &Node, looks: &BTreeSet<Look>) {
    let has = |look| looks.contains(&look) || looks.contains(&Look::Everything);
    let inboxes = &node.inboxes;
    for (wanted, inbox) in [
        (has(Look::Links) || has(Look::Host), &inboxes.links),
        (has(Look::Routes), &inboxes.routes),
        (has(Look::Mesh), &inboxes.mesh),
        (has(Look::Host), &inboxes.host),
    ] {
        if wanted {
            inbox.poke(Wish::observe());
        }
    }
}

/// Hears of commits of others to nf_tables.
pub(crate) fn watch_nft(node: &Node, mut monitor: NftMonitor, stop: &CancellationToken) -> Result<(), Error> {
    while !stop.is_cancelled() {
        match monitor.next(SLICE) {
            Ok(Notice::Quiet) => {}
            Ok(Notice::Foreign(generation)) => {
                tracing::debug!(generation = generation.id, "another program changed nftables");
                look_at_nft(node);
            }
            Ok(Notice::Lost) => look_at_nft(node),
            Err(error) => {
                tracing::warn!(%error, "notices of nf_tables can't be read");
                look_at_nft(node);
                stop_or_pause(stop);
            }
        }
    }
    Ok(())
}

fn look_at_nft(node: &Node) {
    let inboxes = &node.inboxes;
    for inbox in [&inboxes.nft, &inboxes.services, &inboxes.policies, &inboxes.announce] {
        inbox.poke(Wish::observe());
    }
}

/// Keeps the facts about the host: at once after a change, and on the slow timer.
pub(crate) fn follow_host(node: &Arc<Node>, choice: &UnderlayChoice) -> Result<(), Error> {
    let mut said = None;
    let mut complained = Vec::new();
    loop {
        match node.inboxes.host.take(Instant::now() + limits::OBSERVE_EVERY) {
            Work::Stop => return Ok(()),
            Work::Wish(_, ticket) => node.inboxes.host.done(ticket, crate::inbox::Outcome::default()),
            Work::Nothing => {}
        }
        if let Err(error) = refresh(node, choice) {
            if said.as_ref() != Some(&error.code) {
                tracing::warn!(%error, "the host can't be read as it should be");
            }
            said = Some(error.code);
        } else {
            said = None;
        }
        complain(node, &mut complained);
    }
}

/// Says what this node and the fabric can't do together, once.
fn complain(node: &Node, said: &mut Vec<weft_plan::Error>) {
    let problems = weft_plan::problems(&node.view(), &node.facts());
    for problem in problems.iter().filter(|problem| !said.contains(problem)) {
        tracing::error!(error = %problem.envelope(), "this node can't do all that the fabric asks");
    }
    *said = problems;
}

/// Reads the host once. The underlay that was known stays when a new one can't be chosen.
pub(crate) fn refresh(node: &Node, choice: &UnderlayChoice) -> Result<(), Error> {
    let host = weft_kernel::read_host().map_err(|e| e.envelope())?;
    let chosen = choose_underlay(&host, choice);
    let (underlay, problem) = match chosen {
        Ok(underlay) => (Some(underlay), None),
        Err(error) => (node.facts().underlay.clone(), Some(error.envelope())),
    };
    let before = node.facts().underlay.clone();
    let changed = node.change_facts(|facts| {
        facts.host = host;
        facts.underlay.clone_from(&underlay);
    });
    if changed && before != underlay {
        let (interface, address) = underlay.as_ref().map_or((String::new(), String::new()), |u| {
            (u.interface.clone(), u.addresses.first().map(ToString::to_string).unwrap_or_default())
        });
        tracing::info!(interface, address, "the underlay is");
    }
    problem.map_or(Ok(()), Err)
}

/// A short pause that ends with the process.
fn stop_or_pause(stop: &CancellationToken) {
    let stopped = || stop.is_cancelled().then_some(());
    // Time passing is the expected end here.
    let _ = weft_process::wait::until_blocking(SLICE, "stop", stopped);
}
