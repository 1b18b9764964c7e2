//! `weft delete KIND NAME`.

use serde_json::json;
use weft_proto::v1;

use super::{Run, confirm, get::kind_of};
use crate::{args::Delete, fail::Outcome};

/// Runs the command.
pub(crate) async fn run(args: &Delete, run: &Run) -> Outcome {
    let kind = kind_of(&args.kind)?.object_kind(&args.kind)?;
    confirm(&format!("delete {}/{}", args.kind, args.name), args.yes)?;
    let session = run.session()?;
    let request = v1::DeleteRequest {
        mutation: Some(session.mutation()),
        kind: v1::Kind::from(kind).into(),
        namespace: session.namespace().to_owned(),
        name: args.name.clone(),
    };
    let revision = session
        .admin()?
        .delete(session.request(request))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner()
        .revision;
    let value = json!({"kind": kind.to_string(), "metadata": {"name": args.name}, "deleted": true, "revision": revision});
    run.printer.value(&value, &format!("{kind}/{}   deleted\nrevision {revision}", args.name));
    Ok(())
}
