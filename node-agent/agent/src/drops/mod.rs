//! What this node drops: numbers for its account, and packets for those who watch (`weft flows --verdict dropped`).
//!
//! The kernel sends copies of some of the packets that rules drop, at once and within bounds, and counts all of them; what was counted
//! and never told is told as a number. Not here: rules and reasons (weft-plan), what policies mean (weft-policy).

mod explain;
mod tally;

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error};
use weft_kernel::PacketLog;
use weft_model::{PodUid, ownership::LOG_GROUP};

use crate::{limits, node::Node};

use explain::Explainer;
pub(crate) use tally::Drops;

/// Hears of dropped packets and counts them until the process stops.
pub(crate) fn run(node: &Node, stop: &CancellationToken) -> Result<(), Error> {
    let (mut listening, mut explainer) = (Listening::default(), Explainer::default());
    let mut count_at = Instant::now();
    while !stop.is_cancelled() {
        let packets = listening.wait(stop);
        let is_watched = node.watchers.watch_drops(Instant::now());
        if !packets.is_empty() {
            let (view, facts) = (node.view(), node.facts());
            for packet in &packets {
                let Some((key, told)) = explainer.explain(packet, &view, &facts, is_watched) else {
                    continue;
                };
                node.drops.told(key);
                if let Some((told, pods)) = told {
                    node.watchers.dropped(told, pods.each_ref().map(Option::as_ref));
                }
            }
        }
        // Somebody who has just begun to watch isn't to wait.
        let every = if is_watched { limits::DROPS_WATCHED } else { limits::DROPS_EVERY };
        count_at = count_at.min(Instant::now() + every);
        // Of copies that weren't read yet nobody knows whether they will be.
        if Instant::now() >= count_at && packets.len() < CROWD {
            count_at = Instant::now() + every;
            node.drops.count(node);
            node.drops.tell_left_out(node, is_watched);
        }
    }
    Ok(())
}

/// From so many packets at once on more may wait.
const CROWD: usize = 256;

/// Addresses of this node's pods.
fn pods_by_address(node: &Node) -> BTreeMap<IpAddr, PodUid> {
    let facts = node.facts();
    let pods = facts.pods.values();
    pods.flat_map(|pod| pod.addresses.iter().map(|address| (*address, pod.uid))).collect()
}

/// The socket, opened anew when it fails.
#[derive(Debug, Default)]
struct Listening {
    log: Option<PacketLog>,
    /// It was said that nobody can listen.
    is_said: bool,
}

impl Listening {
    /// The next packets; none when none came for a moment.
    fn wait(&mut self, stop: &CancellationToken) -> Vec<weft_kernel::LoggedPacket> {
        let log = match &mut self.log {
            Some(log) => log,
            None => match PacketLog::open(LOG_GROUP) {
                Ok(log) => self.log.insert(log),
                Err(error) => return self.failed(&error, stop),
            },
        };
        match log.wait(limits::DROPS_WAIT) {
            Ok(logged) => {
                self.is_said = false;
                logged
            }
            Err(error) => {
                self.log = None;
                self.failed(&error, stop)
            }
        }
    }

    fn failed(
        &mut self,
        error: &weft_kernel::Error,
        stop: &CancellationToken,
    ) -> Vec<weft_kernel::LoggedPacket> {
        if !std::mem::replace(&mut self.is_said, true) {
            tracing::warn!(error = %error.envelope(), "dropped packets are counted, but can't be told one by one");
        }
        let stopped = || stop.is_cancelled().then_some(());
        // It is tried again after that.
        let _ = weft_process::wait::until_blocking(limits::DROPS_WAIT, "stop", stopped);
        Vec::new()
    }
}
