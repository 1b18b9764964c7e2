//! `weft wait`: returns when every reachable node has a revision in its kernel.

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_proto::v1;

use super::Run;
use crate::{
    args::Wait,
    client::Session,
    fail::{Failure, Outcome},
    table::count,
};

/// Runs the command.
pub(crate) async fn run(args: &Wait, run: &Run) -> Outcome {
    let session = run.session()?;
    let answer = until_applied(&session, args.revision).await?;
    run.printer.value(&value(&answer), &sentence(&answer));
    if answer.done { Ok(()) } else { Err(Failure::Answer(ExitCode::Timeout)) }
}

/// Asks the control plane to wait within the command's time.
pub(crate) async fn until_applied(session: &Session, revision: u64) -> Outcome<v1::WaitResponse> {
    let request = v1::WaitRequest { revision, timeout_ms: session.answer_ms() };
    session.call(request, |mut admin, request| async move { admin.wait(request).await }).await
}

/// The answer as a value.
pub(crate) fn value(answer: &v1::WaitResponse) -> Value {
    json!({
        "kind": "Wait",
        "revision": answer.revision,
        "done": answer.done,
        "applied": answer.applied,
        "behind": answer.behind,
        "unreachable": answer.unreachable,
    })
}

/// `revision 8124   live on 4/4 reachable nodes   (unreachable: worker-3)`.
pub(crate) fn sentence(answer: &v1::WaitResponse) -> String {
    let reachable = answer.applied.len() + answer.behind.len();
    let mut text = format!("revision {}   ", answer.revision);
    text += &match (reachable, answer.unreachable.len(), answer.done) {
        (0, 0, true) => "stored; no node has joined yet".to_owned(),
        (0, 0, false) => "not reached yet".to_owned(),
        (0, _, _) => "unknown: no node is reachable".to_owned(),
        _ => format!("live on {}/{}", answer.applied.len(), count(reachable, "reachable node")),
    };
    if !answer.behind.is_empty() {
        text += &format!("   (behind: {})", answer.behind.join(", "));
    }
    if !answer.unreachable.is_empty() {
        text += &format!("   (unreachable: {})", answer.unreachable.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_never_claims_what_no_node_said() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        for (applied, behind, unreachable, done, said) in [
            ("a b", "", "", true, "live on 2/2 reachable nodes"),
            ("a", "b", "", false, "live on 1/2 reachable nodes   (behind: b)"),
            ("a", "", "c", true, "live on 1/1 reachable node   (unreachable: c)"),
            ("", "", "b c", false, "unknown: no node is reachable   (unreachable: b, c)"),
            ("", "", "", true, "stored; no node has joined yet"),
            ("", "", "", false, "not reached yet"),
        ] {
            let (applied, behind, unreachable) = (list(applied), list(behind), list(unreachable));
            let answer = v1::WaitResponse { revision: 7, done, applied, behind, unreachable };
            assert_eq!(sentence(&answer), format!("revision 7   {said}"));
        }
    }
}
