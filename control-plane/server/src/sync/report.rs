//! What the agents that this replica serves said last: kept in memory, never in Raft.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use weft_model::NodeName;
use weft_proto::v1;

use crate::limits::REPORT_FRESH;

#[derive(Debug)]
struct Last {
    at: Instant,
    wall_ms: u64,
    status: v1::NodeStatus,
}

/// Last reports by node.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    last: Mutex<BTreeMap<NodeName, Last>>,
}

impl Reports {
    /// Takes a report. A brief one, without findings, keeps peers, findings, names and drops of the report before.
    pub(crate) fn take(&self, node: NodeName, mut status: v1::NodeStatus, now: Instant, wall_ms: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = last.get_mut(&node).filter(|_| status.findings.is_empty()) {
            status.peers = std::mem::take(&mut before.status.peers);
            status.findings = std::mem::take(&mut before.status.findings);
            status.names = before.status.names.take();
            status.drops = before.status.drops.take();
        }
        last.insert(node, Last { at: now, wall_ms, status });
    }

    /// Forgets a removed node.
    pub(crate) fn forget(&self, node: &NodeName) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// All reports, for status; `streams` says whether a node has an open stream here.
    pub(crate) fn all(&self, now: Instant, streams: impl Fn(&NodeName) -> bool) -> Vec<v1::NodeReport> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter()
            .map(|(node, report)| v1::NodeReport {
                node: node.to_string(),
                connected: now.duration_since(report.at) < REPORT_FRESH && streams(node),
                last_report_ms: report.wall_ms,
                status: Some(report.status.clone()),
                // In the state, for whoever merges the reports.
                silent_since_ms: 0,
            })
            .collect()
    }
}

/// Reports of all replicas merged: of each node the connected one, else the youngest.
pub(crate) fn merge(reports: impl IntoIterator<Item = v1::NodeReport>) -> BTreeMap<String, v1::NodeReport> {
    let mut merged: BTreeMap<String, v1::NodeReport> = BTreeMap::new();
    for report in reports {
        let better = merged.get(&report.node).is_none_or(|known| {
            (report.connected, report.last_report_ms) > (known.connected, known.last_report_ms)
        });
        if better {
            merged.insert(report.node.clone(), report);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn status(applied_revision: u64) -> v1::NodeStatus {
        v1::NodeStatus { applied_revision, ..v1::NodeStatus::default() }
    }

    #[test]
    fn a_node_is_connected_while_it_streams_and_reports() {
        let reports = Reports::default();
        let node = NodeName::new("n1").unwrap();
        let start = Instant::now();
        let mut first = status(7);
        first.peers.push(v1::PeerStatus::default());
        reports.take(node.clone(), first, start, 1);
        reports.take(node.clone(), status(8), start, 2);
        let at = |now, streams: bool| {
            reports.all(now, |_| streams).first().map(|r| (r.connected, r.last_report_ms))
        };
        assert_eq!(at(start, true), Some((true, 2)));
        assert_eq!(at(start, false), Some((false, 2)));
        assert_eq!(at(start + REPORT_FRESH + Duration::from_secs(1), true), Some((false, 2)));
        let seen = |reports: &Reports| {
            let all = reports.all(start, |_| true);
            all[0].status.as_ref().map(|s| (s.applied_revision, s.peers.len()))
        };
        assert_eq!(seen(&reports), Some((8, 1)), "a brief report keeps the peers");
        let mut alone = status(9);
        alone.findings.push(v1::Finding::default());
        reports.take(node.clone(), alone, start, 2);
        assert_eq!(seen(&reports), Some((9, 0)), "a whole report says that there are none");
        reports.forget(&node);
        assert_eq!(at(start, true), None);
    }

    #[test]
    fn of_several_reports_of_a_node_the_live_one_counts() {
        let report = |connected, last_report_ms| v1::NodeReport {
            node: "n1".to_owned(),
            connected,
            last_report_ms,
            status: None,
            silent_since_ms: 0,
        };
        let merged = merge([report(false, 9), report(true, 5), report(false, 3)]);
        assert_eq!(merged.get("n1").map(|r| r.last_report_ms), Some(5));
        let merged = merge([report(false, 3), report(false, 9)]);
        assert_eq!(merged.get("n1").map(|r| r.last_report_ms), Some(9));
    }
}
