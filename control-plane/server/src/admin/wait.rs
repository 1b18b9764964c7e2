//! Wait: true once every reachable node has a revision in its kernel, by the nodes' own reports. Where there are nodes and
//! none can be asked, nothing is known, so it isn't true; a fabric without nodes has nobody to wait for.

use std::time::{Duration, Instant};

use weft_errors::Error;
use weft_model::NodeState;
use weft_proto::v1;

use super::{read::fresh, status::everybody};
use crate::{
    context::Context,
    limits::{WAIT_MOST, WAIT_POLL, WAIT_POLL_MOST},
    sync::merge_reports,
};

/// Waits, and tells how it stands when the time is up.
pub(crate) async fn wait(
    context: &Context,
    wire: v1::WaitRequest,
    deadline: Instant,
) -> Result<v1::WaitResponse, Error> {
    fresh(context, false, deadline).await?;
    let revision = match wire.revision {
        0 => context.handle.query(|state| state.meta().revision.0).await?,
        given => given,
    };
    let until = Instant::now() + Duration::from_millis(wire.timeout_ms.into()).min(WAIT_MOST);
    let mut pause = WAIT_POLL;
    loop {
        let reports = everybody(context).await?.into_iter().flat_map(|answer| answer.nodes);
        let mut merged = merge_reports(reports);
        let (now, nodes) = context
            .handle
            .query(|state| {
                let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
                (state.meta().revision.0, active.map(|node| node.name.to_string()).collect::<Vec<_>>())
            })
            .await?;
        let reports = nodes.into_iter().map(|node| {
            let report = merged.remove(&node);
            (node, report)
        });
        let answer = standing(revision, now, reports);
        if answer.done || Instant::now() >= until {
            return Ok(answer);
        }
        // Close looks at first, when the answer is near; seldom ones while somebody waits for long.
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(WAIT_POLL_MOST);
    }
}

/// Who has it, who doesn't, who can't be asked. Nobody has a revision that the store, at `now`, hasn't reached.
fn standing(
    revision: u64,
    now: u64,
    nodes: impl IntoIterator<Item = (String, Option<v1::NodeReport>)>,
) -> v1::WaitResponse {
    let mut answer = v1::WaitResponse { revision, ..v1::WaitResponse::default() };
    for (node, report) in nodes {
        match report.filter(|report| report.connected).and_then(|report| report.status) {
            Some(status) if status.applied_revision >= revision => answer.applied.push(node),
            Some(_) => answer.behind.push(node),
            None => answer.unreachable.push(node),
        }
    }
    let known = !answer.applied.is_empty() || answer.unreachable.is_empty();
    answer.done = answer.behind.is_empty() && known && now >= revision;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node: &str, connected: bool, applied_revision: u64) -> (String, Option<v1::NodeReport>) {
        let status = v1::NodeStatus { applied_revision, ..v1::NodeStatus::default() };
        let report = v1::NodeReport {
            node: node.to_owned(),
            connected,
            last_report_ms: 1,
            status: Some(status),
            silent_since_ms: 0,
        };
        (node.to_owned(), Some(report))
    }

    #[test]
    fn every_reachable_node_must_have_it_and_no_other_counts() {
        let all = standing(7, 9, [report("a", true, 7), report("b", true, 9)]);
        assert!(all.done && all.applied == ["a", "b"]);
        let behind = standing(7, 7, [report("a", true, 7), report("b", true, 6)]);
        assert!(!behind.done && behind.behind == ["b"]);
        let away = standing(7, 7, [report("a", true, 7), report("b", false, 6), ("c".to_owned(), None)]);
        assert!(away.done && away.unreachable == ["b", "c"]);
        let nobody = standing(7, 7, [report("b", false, 7), ("c".to_owned(), None)]);
        assert!(!nobody.done && nobody.unreachable == ["b", "c"], "of none of the nodes anything is known");
        assert!(standing(7, 7, []).done, "there is no node to wait for");
        let never = standing(7, 6, [report("b", false, 6)]);
        assert!(!never.done, "revision 7 doesn't exist yet");
    }
}
