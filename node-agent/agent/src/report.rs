//! Signs of life: what this node has in its kernel, each second and on every change.
//!
//! Peers and findings go along only when they differ from what the replica was told, or were told long ago: of a
//! thousand nodes with a thousand peers each nobody wants to hear them every second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weft_errors::DEADLINE;
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{limits, node::Node, status::status};

/// Numbers of peers, such as bytes and round trips, are told at least this often.
const WHOLE_EVERY: Duration = Duration::from_secs(10);
/// A replica that doesn't take a report within this is left for another one: a machine that lost its power says
/// nothing, and the connection's own signs of life take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A handshake of this age or younger shows that a tunnel works (WireGuard, section 6.1: Reject-After-Time).
const FRESH_S: u64 = 180;

/// What a replica was told in full, and when.
struct Told {
    endpoint: Option<String>,
    at: Instant,
    gist: Gist,
}

/// What of peers and findings is told at once when it changes: names with whether they are well.
type Gist = (Vec<(String, bool)>, Vec<(String, bool)>);

/// Reports until the process stops. A lost report is replaced by the next one.
pub(crate) async fn report(node: Arc<Node>, channel: Channel, stop: CancellationToken) {
    let mut changes = node.states.watch();
    let mut connections = node.connections();
    let mut told = None;
    loop {
        changes.mark_unchanged();
        connections.mark_unchanged();
        if node.is_connected() {
            told = send(&node, &channel, told).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.changed() => {}
            // A replica that has just begun to serve this node knows nothing of it.
            _ = connections.changed() => {}
            () = tokio::time::sleep(limits::REPORT_EVERY) => {}
        }
    }
}

/// One report; gives back what the replica knows in full after it.
async fn send(node: &Node, channel: &Channel, told: Option<Told>) -> Option<Told> {
    let mut account = status(node);
    let (now, gist) = (Instant::now(), gist(&account));
    let endpoint = channel.connected().map(|connected| connected.endpoint);
    let known = |told: &Told| {
        told.endpoint == endpoint && told.gist == gist && now.duration_since(told.at) < WHOLE_EVERY
    };
    let whole = !told.as_ref().is_some_and(known);
    if !whole {
        account.peers.clear();
        account.findings.clear();
        account.names = None;
        account.drops = None;
    }
    let request = v1::ReportRequest { status: Some(account) };
    let mut client = channel.sync();
    let call = client.report(with_deadline(request, ANSWER_WITHIN));
    match channel.call(ANSWER_WITHIN, call).await {
        Ok(_) if whole => Some(Told { endpoint, at: now, gist }),
        Ok(_) => told,
        Err(error) => {
            tracing::debug!(%error, "a report was lost");
            if error.registered() == &DEADLINE && channel.connected().is_some() {
                channel.leave_replica();
            }
            None
        }
    }
}

fn gist(account: &v1::NodeStatus) -> Gist {
    let fresh = |peer: &v1::PeerStatus| peer.handshake_age_s.is_some_and(|age| age <= FRESH_S);
    let peers = account.peers.iter().map(|peer| (peer.node.clone(), fresh(peer)));
    let findings = account.findings.iter().map(|finding| (finding.name.clone(), finding.ok));
    (peers.collect(), findings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_peer_or_finding_is_told_at_once_and_a_moved_number_is_not() {
        let account = |node: &str, age, rx_bytes, ok| v1::NodeStatus {
            peers: vec![v1::PeerStatus {
                node: node.to_owned(),
                handshake_age_s: age,
                rx_bytes,
                ..v1::PeerStatus::default()
            }],
            findings: vec![v1::Finding { name: "underlay".to_owned(), ok, ..v1::Finding::default() }],
            ..v1::NodeStatus::default()
        };
        let first = gist(&account("n2", Some(1), 0, true));
        assert_eq!(first, gist(&account("n2", Some(180), 9, true)));
        for other in [
            account("n2", Some(181), 0, true),
            account("n2", None, 0, true),
            account("n3", Some(1), 0, true),
            account("n2", Some(1), 0, false),
        ] {
            assert_ne!(first, gist(&other), "{other:?}");
        }
    }
}
