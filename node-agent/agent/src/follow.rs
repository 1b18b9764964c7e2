//! Follows a replica: `Sync.Watch` folded into the View, with resume, recovery and the View on disk: what changes is written
//! down before the loops hear of it (view_log.rs), the whole from time to time (view_file.rs).

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error, NODE_REMOVED, OTHER_CLUSTER, PRIMARY_MISMATCH, UNREACHABLE};
use weft_model::{ClusterId, Family};
use weft_proto::{convert::Frame, v1};
use weft_rpc::{Channel, error_of};
use weft_view::{Touched, Update, View};

use crate::{
    backoff::Backoff,
    clock, control,
    identity::{self, Membership},
    join::check_primary_of,
    limits,
    node::Node,
    paths::Paths,
    states::Subsystem,
    view_file,
    view_log::{Records, ViewLog},
};

/// Frames that are folded before the loops are told.
const BURST: usize = 256;

/// What following needs.
pub(crate) struct Follower {
    pub(crate) node: Arc<Node>,
    pub(crate) channel: Channel,
    pub(crate) cluster: ClusterId,
    pub(crate) primary: Option<Family>,
    pub(crate) asks: mpsc::Sender<v1::Ask>,
    pub(crate) paths: Paths,
    pub(crate) membership: Membership,
    pub(crate) log: Arc<ViewLog>,
    /// Since when a replica is followed.
    pub(crate) connected: Option<Instant>,
}

/// How long to wait for the next try, and whether anybody should hear of the last one.
struct Tries {
    usual: Backoff,
    /// Of a removed node nobody expects anything; it only looks whether that was taken back.
    removed: Backoff,
    said: Option<String>,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    /// It was said already.
    Nothing,
    /// No replica is followed.
    Warning,
    /// The node was removed.
    Removed,
}

impl Tries {
    const fn new() -> Self {
        Self {
            usual: Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST),
            removed: Backoff::new(limits::RECONNECT_LONGEST, limits::REMOVED_LONGEST),
            said: None,
        }
    }

    /// After a stream that was followed for `lived`, or never.
    fn failed(&mut self, error: &Error, lived: Option<Duration>, chance: u8) -> (Say, Duration) {
        if lived.is_some() {
            self.said = None;
        }
        // A replica that takes nodes and drops them at once isn't asked ten times a second.
        if lived.is_some_and(|lived| lived >= limits::RECONNECT_LONGEST) {
            *self = Self::new();
        }
        let news = self.said.as_ref() != Some(&error.code);
        self.said = Some(error.code.clone());
        let removed = error.registered() == &NODE_REMOVED;
        let pause = if removed { self.removed.next(chance) } else { self.usual.next(chance) };
        match (news, removed) {
            (false, _) => (Say::Nothing, pause),
            (true, false) => (Say::Warning, pause),
            (true, true) => (Say::Removed, pause),
        }
    }
}

impl Follower {
    /// Follows until the process stops. Fails only when the node can't take part as it is configured.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.follow() => ended,
            };
            let lived = self.connected.take().map(|since| since.elapsed());
            self.node.set_connected(false);
            let error = match ended {
                Ok(()) => Error::new(&UNREACHABLE, "the replica ended the stream"),
                Err(error) => error,
            };
            if error.registered() == &PRIMARY_MISMATCH {
                return Err(error);
            }
            if error.registered() == &NODE_REMOVED {
                self.node.leave();
            }
            let (say, pause) = tries.failed(&error, lived, clock::chance());
            match say {
                Say::Nothing => {}
                Say::Warning => tracing::warn!(%error, "no replica is followed; the last view is served"),
                Say::Removed => {
                    tracing::error!(%error, "this node is no part of the fabric any more; its pods keep what they have");
                    self.node.states.failed(Subsystem::Publish, error, clock::wall());
                }
            }
            self.channel.leave_replica();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let mut view = View::clone(&self.node.view());
        view.abandon_snapshot();
        let request = v1::WatchRequest {
            resume_revision: view.revision().0,
            cluster: self.cluster.0.to_vec().into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            primary: self.primary.map_or(v1::Family::Unspecified, Into::into).into(),
        };
        let mut client = self.channel.sync();
        let stream = self.channel.call(limits::CALL_DEADLINE, client.watch(request)).await?;
        let mut stream = stream.map(|frame| frame.map_err(|status| error_of(&status)));
        loop {
            let mut records = Records::default();
            let burst = burst(&mut stream, &mut view, &mut records, |ask| self.ask(ask));
            let Some(touched) = burst.await? else { return Ok(()) };
            if let Some(fabric) = view.fabric() {
                check_primary_of(self.primary, fabric.families.primary())?;
                if fabric.cluster != self.cluster {
                    return Err(Error::new(
                        &OTHER_CLUSTER,
                        format!("the replica belongs to cluster {}", fabric.cluster),
                    ));
                }
            }
            self.learn_replicas(&view).await;
            let in_sync = view.is_in_sync();
            self.log.record(&records, || {
                if view != *self.node.view() {
                    self.node.adopt(view.clone(), &touched);
                }
            });
            if in_sync && self.node.set_connected(true) {
                self.connected = Some(Instant::now());
                let replica = self.channel.connected().map(|c| c.endpoint).unwrap_or_default();
                tracing::info!(replica, revision = view.revision().0, "following the control plane");
                self.node.publications.everything();
            }
        }
    }

    /// Replicas that came or went: the next connection may go to any of them, after a restart too.
    async fn learn_replicas(&mut self, view: &View) {
        let told: Vec<_> =
            view.fabric().into_iter().flat_map(|f| &f.replicas).map(ToString::to_string).collect();
        let membership = self.membership.told(&told);
        if told.is_empty() || membership == self.membership {
            return;
        }
        let order = control::spread(membership.endpoints.clone(), &self.node.name);
        if let Err(error) = self.channel.set_endpoints(order) {
            tracing::warn!(%error, "the control plane says of itself what can't be");
            return;
        }
        tracing::info!(replicas = told.join(" "), "the replicas of the control plane are others now");
        self.membership = membership.clone();
        let paths = self.paths.clone();
        let saved = tokio::task::spawn_blocking(move || identity::save_membership(&paths, &membership)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "where the replicas are can't be written to disk"),
            Err(error) => tracing::warn!(%error, "writing where the replicas are broke off"),
        }
    }

    /// An admin waits: too many questions at once are dropped, and the admin's time limit tells.
    fn ask(&self, ask: v1::Ask) {
        if self.asks.try_send(ask).is_err() {
            tracing::warn!("a question of an admin was dropped: too many at once");
        }
    }
}

/// The next frame and those that have come already, at most [`BURST`] in all; `None` at the end of the stream.
async fn burst<S>(
    stream: &mut S,
    view: &mut View,
    records: &mut Records,
    mut ask: impl FnMut(v1::Ask),
) -> Result<Option<Touched>, Error>
where
    S: Stream<Item = Result<v1::WatchResponse, Error>> + Unpin,
{
    let mut touched = Touched::default();
    for count in 0..BURST {
        let next = match count {
            0 => stream.next().await,
            _ => match stream.next().now_or_never() {
                Some(next) => next,
                None => break,
            },
        };
        let Some(wire) = next else { return Ok(None) };
        let wire = wire?;
        records.take(&wire);
        match wire.try_into().map_err(|e: weft_proto::convert::ShapeError| e.envelope())? {
            Frame::Ask(question) => ask(question),
            Frame::Snapshot { revision, first, last, items } => {
                touched.merge(fold(view, Update::SnapshotPart { revision, first, last, items })?);
            }
            Frame::InSync(revision) => touched.merge(fold(view, Update::InSync { revision })?),
            Frame::Delta { revision, upserts, deletes } => {
                touched.merge(fold(view, Update::Delta { revision, upserts, deletes })?);
            }
        }
    }
    Ok(Some(touched))
}

fn fold(view: &mut View, update: Update) -> Result<Touched, Error> {
    view.fold(update).map_err(|e| e.envelope())
}

/// Writes the View to disk at most once a second, a large one less often, and on stop.
pub(crate) async fn keep_view(node: Arc<Node>, paths: Paths, log: Arc<ViewLog>, stop: CancellationToken) {
    let (mut saved, mut pause) = (node.view(), limits::VIEW_SAVE_EVERY);
    // Memory that was only needed on the way goes back once changes pause.
    let mut tidy = false;
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        };
        if !same(&saved, &node.view()) {
            let (path, node, log) = (paths.view(), Arc::clone(&node), Arc::clone(&log));
            let began = Instant::now();
            match tokio::task::spawn_blocking(move || save(&path, &node, &log)).await {
                Ok(Ok(view)) => saved = view,
                Ok(Err(error)) => tracing::warn!(%error, "the view can't be written to disk"),
                Err(error) => tracing::warn!(%error, "writing the view broke off"),
            }
            let took = began.elapsed();
            if took > Duration::from_secs(1) {
                tracing::warn!(elapsed_ms = took.as_millis(), "the disk is slow");
            }
            pause = (took * limits::VIEW_SAVE_SHARE).clamp(limits::VIEW_SAVE_EVERY, limits::VIEW_SAVE_LATEST);
            tidy = false;
        } else if !tidy && !stopping {
            tidy = tokio::task::spawn_blocking(weft_kernel::give_memory_back).await.is_ok();
        }
        if stopping {
            return;
        }
    }
}

fn save(path: &Path, node: &Node, log: &ViewLog) -> Result<Arc<View>, Error> {
    let view = log.turn(|| node.view());
    view_file::save(path, &view)?;
    log.forget_before();
    Ok(view)
}

/// Whether two Views would be the same file.
fn same(a: &Arc<View>, b: &Arc<View>) -> bool {
    Arc::ptr_eq(a, b) || (a.revision() == b.revision() && a.items().eq(b.items()))
}

#[cfg(test)]
mod tests {
    use weft_model::{Item, NodeName, Revision, RouteItem};
    use weft_proto::convert::delta_frame;

    use super::*;

    #[tokio::test]
    async fn frames_that_wait_are_folded_in_bursts_and_none_is_lost() {
        const FRAMES: u64 = 600;
        let frame = |n: u64| {
            let block = format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap();
            let route = RouteItem { block, node: NodeName::new("n1").unwrap(), epoch: weft_model::Epoch(n) };
            Ok(delta_frame(Revision(n), &[Item::Route(route)], &[]))
        };
        let mut stream = futures_util::stream::iter((1..=FRAMES).map(frame)).chain(tokio_stream::pending());
        let (mut view, mut touched) = (View::default(), Vec::new());
        while view.revision() != Revision(FRAMES) {
            let burst =
                burst(&mut stream, &mut view, &mut Records::default(), |_| {}).await.unwrap().unwrap();
            touched.push(burst.keys.len());
        }
        assert_eq!(touched, [256, 256, 88]);
        assert_eq!(view.routes().len(), 600);
    }

    #[test]
    fn a_removed_node_is_told_once_and_asks_once_a_minute() {
        let mut tries = Tries::new();
        let removed = Error::new(&NODE_REMOVED, "node n1 was removed");
        let all: Vec<_> = (0..6).map(|_| tries.failed(&removed, None, 255)).collect();
        assert_eq!(all.iter().map(|(_, pause)| pause.as_secs()).collect::<Vec<_>>(), [5, 10, 20, 40, 60, 60]);
        assert_eq!((all[0].0, all[1].0), (Say::Removed, Say::Nothing));
    }

    #[test]
    fn a_stream_that_lives_shortly_is_told_and_makes_the_pauses_no_shorter() {
        let mut tries = Tries::new();
        let ended = Error::new(&UNREACHABLE, "the replica ended the stream");
        let shortly = Some(Duration::from_millis(3));
        let pauses: Vec<_> = (0..3).map(|_| tries.failed(&ended, shortly, 255)).collect();
        let expected = [100, 200, 400].map(|ms| (Say::Warning, Duration::from_millis(ms)));
        assert_eq!(pauses, expected);
        let long = Some(limits::RECONNECT_LONGEST);
        assert_eq!(tries.failed(&ended, long, 255), (Say::Warning, Duration::from_millis(100)));
        assert_eq!(tries.failed(&ended, None, 255), (Say::Nothing, Duration::from_millis(200)));
    }
}
