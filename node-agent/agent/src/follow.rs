//! Follows a replica: `Sync.Watch` folded into the View, with resume, recovery and the View on disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error, OTHER_CLUSTER, PRIMARY_MISMATCH, UNREACHABLE};
use weft_model::{ClusterId, Family};
use weft_proto::{convert::Frame, v1};
use weft_rpc::{Channel, Streaming, error_of};
use weft_view::{Touched, Update, View};

use crate::{backoff::Backoff, clock, join::check_primary_of, limits, node::Node, paths::Paths, view_file};

/// Frames that are folded before the loops are told.
const BURST: usize = 256;

/// What following needs.
pub(crate) struct Follower {
    pub(crate) node: Arc<Node>,
    pub(crate) channel: Channel,
    pub(crate) cluster: ClusterId,
    pub(crate) primary: Option<Family>,
    pub(crate) asks: mpsc::Sender<v1::Ask>,
}

impl Follower {
    /// Follows until the process stops. Fails only when the node can't take part as it is configured.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(limits::RECONNECT_FIRST, limits::RECONNECT_LONGEST);
        let mut said = None;
        loop {
            let was_connected = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.follow() => {
                    let connected = self.node.set_connected(false);
                    let error = match ended {
                        Ok(()) => Error::new(&UNREACHABLE, "the replica ended the stream"),
                        Err(error) => error,
                    };
                    if error.registered() == &PRIMARY_MISMATCH {
                        return Err(error);
                    }
                    if connected || said.as_ref() != Some(&error.code) {
                        tracing::warn!(%error, "no replica is followed; the last view is served");
                        said = Some(error.code.clone());
                    }
                    connected
                }
            };
            self.channel.leave_replica();
            if was_connected {
                backoff.reset();
                said = None;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(backoff.next(clock::chance())) => {}
            }
        }
    }

    async fn follow(&self) -> Result<(), Error> {
        let mut view = View::clone(&self.node.view());
        view.abandon_snapshot();
        let request = v1::WatchRequest {
            resume_revision: view.revision().0,
            cluster: self.cluster.0.to_vec().into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            primary: self.primary.map_or(v1::Family::Unspecified, Into::into).into(),
        };
        let mut client = self.channel.sync();
        let mut stream = self.channel.call(limits::CALL_DEADLINE, client.watch(request)).await?;
        loop {
            let Some(touched) = self.burst(&mut stream, &mut view).await? else { return Ok(()) };
            if let Some(fabric) = view.fabric() {
                check_primary_of(self.primary, fabric.families.primary())?;
                if fabric.cluster != self.cluster {
                    return Err(Error::new(
                        &OTHER_CLUSTER,
                        format!("the replica belongs to cluster {}", fabric.cluster),
                    ));
                }
            }
            let in_sync = view.is_in_sync();
            if view != *self.node.view() {
                self.node.adopt(view.clone(), &touched);
            }
            if in_sync && self.node.set_connected(true) {
                let replica = self.channel.connected().map(|c| c.endpoint).unwrap_or_default();
                tracing::info!(replica, revision = view.revision().0, "following the control plane");
                self.node.publications.everything();
            }
        }
    }

    /// The next frame and all that have come already; `None` at the end of the stream.
    async fn burst(
        &self,
        stream: &mut Streaming<v1::WatchResponse>,
        view: &mut View,
    ) -> Result<Option<Touched>, Error> {
        let mut touched = Touched::default();
        let mut next = stream.next().await;
        for _ in 0..BURST {
            let Some(wire) = next else { return Ok(None) };
            let wire = wire.map_err(|status| error_of(&status))?;
            match wire.try_into().map_err(|e: weft_proto::convert::ShapeError| e.envelope())? {
                Frame::Ask(ask) => self.ask(ask),
                Frame::Snapshot { revision, first, last, items } => {
                    touched.merge(fold(view, Update::SnapshotPart { revision, first, last, items })?);
                }
                Frame::InSync(revision) => touched.merge(fold(view, Update::InSync { revision })?),
                Frame::Delta { revision, upserts, deletes } => {
                    touched.merge(fold(view, Update::Delta { revision, upserts, deletes })?);
                }
            }
            match stream.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        Ok(Some(touched))
    }

    /// An admin waits: too many questions at once are dropped, and the admin's time limit tells.
    fn ask(&self, ask: v1::Ask) {
        if self.asks.try_send(ask).is_err() {
            tracing::warn!("a question of an admin was dropped: too many at once");
        }
    }
}

fn fold(view: &mut View, update: Update) -> Result<Touched, Error> {
    view.fold(update).map_err(|e| e.envelope())
}

/// Writes the View to disk at most once a second, and on stop.
pub(crate) async fn keep_view(node: Arc<Node>, paths: Paths, stop: CancellationToken) {
    let mut saved = node.view();
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(limits::VIEW_SAVE_EVERY) => false,
        };
        let view = node.view();
        if !same(&saved, &view) {
            let (path, kept) = (paths.view(), Arc::clone(&view));
            let began = Instant::now();
            match tokio::task::spawn_blocking(move || view_file::save(&path, &kept)).await {
                Ok(Ok(())) => saved = view,
                Ok(Err(error)) => tracing::warn!(%error, "the view can't be written to disk"),
                Err(error) => tracing::warn!(%error, "writing the view broke off"),
            }
            if began.elapsed() > Duration::from_secs(1) {
                tracing::warn!(elapsed_ms = began.elapsed().as_millis(), "the disk is slow");
            }
        }
        if stopping {
            return;
        }
    }
}

/// Whether two Views would be the same file.
fn same(a: &Arc<View>, b: &Arc<View>) -> bool {
    Arc::ptr_eq(a, b) || (a.revision() == b.revision() && a.items().eq(b.items()))
}
