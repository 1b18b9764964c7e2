//! Signs of life: what this node has in its kernel, each second and on every change.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{
    limits,
    node::Node,
    status::{Detail, status},
};

/// Reports until the process stops. A lost report is replaced by the next one.
pub(crate) async fn report(node: Arc<Node>, channel: Channel, stop: CancellationToken) {
    let mut changes = node.states.watch();
    loop {
        changes.mark_unchanged();
        if node.is_connected() {
            let request = v1::ReportRequest { status: Some(status(&node, Detail::Brief)) };
            let mut client = channel.sync();
            let call = client.report(with_deadline(request, limits::CALL_DEADLINE));
            if let Err(error) = channel.call(limits::CALL_DEADLINE, call).await {
                tracing::debug!(%error, "a report was lost");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(limits::REPORT_EVERY) => {}
        }
    }
}
