//! One agent's stream: snapshot or resume, in sync, then what the fan-out gives.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tonic::Status;
use weft_errors::{Coded, Error, NO_LEADER, NODE_REMOVED, PRIMARY_MISMATCH};
use weft_model::{Family, NodeName, NodeUid, Revision};
use weft_proto::{
    convert::{in_sync_frame, snapshot_frames},
    v1,
};

use super::fanout::{Begin, Cut, Follower};
use crate::{
    context::{Context, refuse},
    limits::{LEADERLESS_STREAM, SNAPSHOT_PART_ITEMS},
};

/// Ends the registration when the stream is dropped.
struct Registered {
    context: Arc<Context>,
    follower: Arc<Follower>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.context.fanout.unfollow(&self.follower);
    }
}

/// Begins a stream of encoded frames for a node.
pub(crate) async fn begin(
    context: Arc<Context>,
    node: NodeName,
    uid: NodeUid,
    request: v1::WatchRequest,
) -> Result<impl Stream<Item = Result<Bytes, Status>> + Send + use<>, Error> {
    let resume = (request.resume_revision > 0).then_some(Revision(request.resume_revision));
    let cluster_of_view = request.cluster.clone();
    let facts = context
        .handle
        .query(|state| (state.meta().cluster, state.fabric().map(|f| f.families.primary())))
        .await?;
    let (cluster, primary) = facts;
    agree(request.primary(), primary, &node)?;
    let resume = resume.filter(|_| cluster_of_view.as_ref() == cluster.0.as_slice());

    // Registered before the state is read: whatever is applied in between is in the queue, and skipped if the
    // snapshot holds it already; a node that is removed in between is either cut there or refused here.
    let (follower, begin) = context.fanout.follow(&node, resume);
    let registered = Registered { context: Arc::clone(&context), follower };
    let name = node.clone();
    let active = context.handle.query(move |state| state.active_node(&name, uid).map(|_| ())).await?;
    active.map_err(|e| e.envelope())?;
    let (first, seen) = match begin {
        Begin::Resume(frames) => {
            let seen = frames.last().map_or(Revision(0), |frame| frame.revision);
            (frames.into_iter().map(|frame| frame.bytes).collect::<Vec<_>>(), seen)
        }
        Begin::Snapshot => {
            let (frames, revision) = snapshot(&context).await?;
            (frames.to_vec(), revision)
        }
    };
    tracing::debug!(%node, frames = first.len(), revision = seen.0, "a node follows");
    let live = stream::unfold((registered, seen, node), |(registered, seen, node)| async move {
        loop {
            let next = tokio::select! {
                next = registered.follower.next() => next,
                () = registered.context.handle.leaderless_for(LEADERLESS_STREAM) => Err(Cut::Leaderless),
            };
            match next {
                Ok(frame) if frame.revision.0 != 0 && frame.revision <= seen => {}
                Ok(frame) => {
                    let seen = seen.max(frame.revision);
                    return Some((Ok(frame.bytes), (registered, seen, node)));
                }
                Err(cut) => {
                    tracing::info!(%node, ?cut, "a follower was cut");
                    return ended(cut, &node).map(|status| (Err(status), (registered, seen, node)));
                }
            }
        }
    });
    // After an error the stream must end: `unfold` would ask the cut follower again and get the same answer.
    let live = live.scan(false, |failed, frame| {
        let over = std::mem::replace(failed, frame.is_err());
        futures_util::future::ready((!over).then_some(frame))
    });
    Ok(stream::iter(first.into_iter().map(Ok)).chain(live))
}

/// The whole state as frames and its revision: encoded once for all followers that begin at one revision.
async fn snapshot(context: &Context) -> Result<(Arc<[Bytes]>, Revision), Error> {
    if let Some(shared) = context.fanout.snapshot() {
        return Ok(shared);
    }
    let (revision, items) = context.handle.query(|state| (state.meta().revision, state.items())).await?;
    let mut frames: Vec<Bytes> = snapshot_frames(revision, &items, SNAPSHOT_PART_ITEMS)
        .iter()
        .map(|frame| frame.encode_to_vec().into())
        .collect();
    frames.push(in_sync_frame(revision).encode_to_vec().into());
    let frames: Arc<[Bytes]> = frames.into();
    context.fanout.keep_snapshot(revision, &frames);
    Ok((frames, revision))
}

/// What the agent is told; a slow one just comes back.
fn ended(cut: Cut, node: &NodeName) -> Option<Status> {
    match cut {
        Cut::Slow | Cut::Reset | Cut::Replaced => Some(Status::aborted(format!("begin anew: {cut:?}"))),
        Cut::Leaderless => Some(refuse(Error::new(
            &NO_LEADER,
            "this replica knows no leader; another one may be of more use",
        ))),
        Cut::Removed => Some(refuse(
            Error::new(&NODE_REMOVED, format!("node {node} was removed from the fabric"))
                .object("node", "", node),
        )),
    }
}

/// A component that was told another primary family refuses to go on (M6).
fn agree(told: v1::Family, primary: Option<Family>, node: &NodeName) -> Result<(), Error> {
    let told = match told {
        v1::Family::Unspecified => return Ok(()),
        v1::Family::V4 => Family::V4,
        v1::Family::V6 => Family::V6,
    };
    match primary {
        Some(primary) if primary != told => Err(Error::new(
            &PRIMARY_MISMATCH,
            format!("node {node} was told that {told} comes first; in this fabric {primary} does"),
        )
        .object("node", "", node)
        .field("primaryFamily")),
        Some(_) | None => Ok(()),
    }
}
