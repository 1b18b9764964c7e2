//! `weft wait`: returns when every reachable node has a revision in its kernel.

use serde_json::json;
use weft_errors::ExitCode;
use weft_proto::v1;

use super::Run;
use crate::{
    args::Wait,
    client::Session,
    fail::{Failure, Outcome},
};

/// Runs the command.
pub(crate) async fn run(args: &Wait, run: &Run) -> Outcome {
    let session = run.session()?;
    let answer = until_applied(&session, run, args.revision).await?;
    let value = json!({
        "kind": "Wait",
        "revision": answer.revision,
        "done": answer.done,
        "applied": answer.applied,
        "behind": answer.behind,
        "unreachable": answer.unreachable,
    });
    run.printer.value(&value, &sentence(&answer));
    if answer.done { Ok(()) } else { Err(Failure::Answer(ExitCode::Timeout)) }
}

/// Asks the control plane to wait within the command's time.
pub(crate) async fn until_applied(session: &Session, run: &Run, revision: u64) -> Outcome<v1::WaitResponse> {
    // The server answers a little before our own deadline, so that its last state gets through.
    let budget = run.global.timeout.saturating_sub(std::time::Duration::from_millis(200));
    let timeout_ms = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
    let request = session.request(v1::WaitRequest { revision, timeout_ms });
    Ok(session.admin()?.wait(request).await.map_err(|s| session.failure(s))?.into_inner())
}

/// `revision 8124   live on 4/4 reachable nodes   (worker-3 unreachable)`.
pub(crate) fn sentence(answer: &v1::WaitResponse) -> String {
    let reachable = answer.applied.len() + answer.behind.len();
    let mut text = format!(
        "revision {}   live on {}/{reachable} reachable nodes",
        answer.revision,
        answer.applied.len()
    );
    if !answer.behind.is_empty() {
        text += &format!("   (behind: {})", answer.behind.join(", "));
    }
    if !answer.unreachable.is_empty() {
        text += &format!("   (unreachable: {})", answer.unreachable.join(", "));
    }
    text
}
