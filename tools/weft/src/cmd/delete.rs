//! `weft delete KIND NAME`.

use serde_json::json;
use weft_model::Kind;
use weft_proto::v1;

use super::{Run, get::suggest, kinds::kind_of};
use crate::{args::Delete, fail::Outcome};

/// Runs the command.
pub(crate) async fn run(args: &Delete, run: &Run) -> Outcome {
    let kind = kind_of(&args.kind)?.object_kind(&args.kind)?;
    let session = run.session()?;
    session.confirm(&format!("delete {kind}/{}", args.name), args.yes)?;
    let request = v1::DeleteRequest {
        mutation: Some(session.mutation()),
        kind: v1::Kind::from(kind).into(),
        namespace: if kind == Kind::Pod { session.namespace().to_owned() } else { String::new() },
        name: args.name.clone(),
    };
    let answer = session.call(request, |mut admin, request| async move { admin.delete(request).await }).await;
    let revision = match answer {
        Ok(answer) => answer.revision,
        Err(failure) => return Err(suggest(&session, failure, kind, &args.name).await),
    };
    let value = json!({"kind": kind.to_string(), "metadata": {"name": args.name}, "deleted": true, "revision": revision});
    run.printer.value(&value, &format!("{kind}/{}   deleted\nrevision {revision}", args.name));
    Ok(())
}
