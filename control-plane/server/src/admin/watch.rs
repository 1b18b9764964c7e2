//! WatchObjects: what is there, then every change, for people who look.
//!
//! The stream compares what it sent with the state after each revision: changes in quick succession come as one.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weft_errors::{Coded, Error};
use weft_model::{Key, Object, Revision};
use weft_proto::{convert::kind_from_wire, v1};

use super::read::Scope;
use crate::{
    context::{Context, refuse},
    limits::WATCH_PAUSE,
};

/// Frames that wait for one watcher; it is slowed down beyond, never cut.
const QUEUE: usize = 256;

/// Begins a stream.
pub(crate) fn objects(
    context: Arc<Context>,
    wire: v1::WatchObjectsRequest,
) -> Result<BoxStream<'static, Result<v1::WatchObjectsResponse, Status>>, Error> {
    let kind = kind_from_wire("kind", wire.kind).map_err(|e| e.envelope())?;
    let scope = Scope::new(kind, &wire.namespace, &wire.selector)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(error) = follow(&context, scope, &sender).await {
            // The watcher may have gone; then nobody needs the reason.
            drop(sender.send(Err(refuse(error))).await);
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Sends differences until the watcher goes.
async fn follow(
    context: &Context,
    scope: Scope,
    sender: &mpsc::Sender<Result<v1::WatchObjectsResponse, Status>>,
) -> Result<(), Error> {
    let mut revisions = context.fanout.revisions();
    let mut sent: BTreeMap<Key, Object> = BTreeMap::new();
    let mut first = true;
    loop {
        revisions.borrow_and_update();
        let scope = scope.clone();
        let (objects, revision) =
            context.handle.query(move |state| (scope.objects(state), state.meta().revision)).await?;
        let now: BTreeMap<Key, Object> = objects.into_iter().map(|object| (object.key(), object)).collect();
        for frame in differences(&sent, &now, revision) {
            if sender.send(Ok(frame)).await.is_err() {
                return Ok(());
            }
        }
        sent = now;
        if std::mem::take(&mut first) {
            let frame =
                v1::WatchObjectsResponse { in_sync: true, revision: revision.0, ..Default::default() };
            if sender.send(Ok(frame)).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            changed = revisions.changed() => if changed.is_err() { return Ok(()) },
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Frames from one picture to the next, in order of keys.
fn differences(
    before: &BTreeMap<Key, Object>,
    now: &BTreeMap<Key, Object>,
    revision: Revision,
) -> Vec<v1::WatchObjectsResponse> {
    let frame = |object: &Object, deleted| v1::WatchObjectsResponse {
        object: Some(object.into()),
        deleted,
        revision: revision.0,
        in_sync: false,
    };
    let gone =
        before.iter().filter(|(key, _)| !now.contains_key(*key)).map(|(_, object)| frame(object, true));
    let changed = now
        .iter()
        .filter(|(key, object)| before.get(*key) != Some(*object))
        .map(|(_, object)| frame(object, false));
    gone.chain(changed).collect()
}
