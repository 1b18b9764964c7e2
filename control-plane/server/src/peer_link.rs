//! The link to one replica: an ordered stream of messages that comes back by itself, and snapshots beside it.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use weft_errors::{Error, INTERNAL, REPLICA_REMOVED};
use weft_model::ReplicaId;
use weft_proto::v1;
use weft_raft::Message;
use weft_rpc::error_of;

use crate::{
    inbox::Event,
    limits::{RECONNECT, SNAPSHOT_CHUNK, SNAPSHOT_PART_TIME},
    peers::Link,
    snapshot::parts,
    wire::message_to_wire,
};

/// Keeps the stream to a replica until the link is stopped.
pub(crate) async fn run(link: Link, events: mpsc::Sender<Event>) {
    let id = link.place.id;
    let mut pause = *RECONNECT.start();
    let mut said = false;
    loop {
        let error = tokio::select! {
            () = link.stop.cancelled() => return,
            error = session(&link) => error,
        };
        let was_connected = link.connected.swap(false, Ordering::Relaxed);
        link.outbox.clear();
        if error.registered() == &REPLICA_REMOVED {
            drop(events.send(Event::Removed).await);
            return;
        }
        if was_connected || !said {
            tracing::warn!(replica = id.0, address = %link.place.address, %error, "a replica doesn't answer, calling it again");
            said = true;
        }
        if was_connected {
            pause = *RECONNECT.start();
        }
        if events.send(Event::Unreachable(id)).await.is_err() {
            return;
        }
        tokio::select! {
            () = link.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(pause, id)) => pause = (pause * 2).min(*RECONNECT.end()),
        }
    }
}

/// One stream, until it breaks: why.
async fn session(link: &Link) -> Error {
    let number = link.outbox.begin();
    let mut client = link.channel.raft();
    let mut acks = match client.messages(outgoing(link, number)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return error_of(&status),
    };
    loop {
        match acks.message().await {
            Ok(Some(_)) => {
                if !link.connected.swap(true, Ordering::Relaxed) {
                    tracing::info!(replica = link.place.id.0, address = %link.place.address, "a replica is connected");
                }
            }
            Ok(None) => return Error::new(&weft_errors::UNREACHABLE, "the replica closed the stream"),
            Err(status) => return error_of(&status),
        }
    }
}

fn outgoing(link: &Link, number: u64) -> impl Stream<Item = v1::RaftMessage> + Send + use<> {
    stream::unfold(std::sync::Arc::clone(&link.outbox), move |outbox| async move {
        let message = outbox.next(number).await?;
        Some((message_to_wire(&message), outbox))
    })
}

/// Between half and the whole of a pause, different for each replica: two that lost each other don't call in step.
fn jittered(pause: Duration, id: ReplicaId) -> Duration {
    let chance = crate::context::random::<1>().map_or(id.0 % 256, |[byte]| u64::from(byte));
    pause / 2 + pause.mul_f64(chance as f64 / 512.0)
}

/// Sends the snapshot of a message; whatever comes of it is reported, so that Raft never waits for ever.
pub(crate) async fn send_snapshot(link: Link, message: Message, events: mpsc::Sender<Event>) {
    let start = Instant::now();
    let outcome = tokio::select! {
        () = link.stop.cancelled() => Err(Error::new(&weft_errors::UNREACHABLE, "the link was stopped")),
        outcome = transfer(&link, &message) => outcome,
    };
    let (replica, taken) = (link.place.id.0, outcome.is_ok());
    match outcome {
        Ok(bytes) => {
            tracing::info!(replica, bytes, took = ?start.elapsed(), "a snapshot was sent")
        }
        Err(error) => tracing::warn!(replica, %error, "a snapshot was not taken"),
    }
    link.sending.store(false, Ordering::Release);
    // The task may have ended: then nobody waits for the report.
    drop(events.send(Event::SnapshotSent(link.place.id, taken)).await);
}

async fn transfer(link: &Link, message: &Message) -> Result<usize, Error> {
    let snapshot =
        message.snapshot.as_ref().ok_or_else(|| Error::new(&INTERNAL, "the message carries no snapshot"))?;
    let bytes = snapshot.data.len();
    let count = u32::try_from(bytes.div_ceil(SNAPSHOT_CHUNK)).unwrap_or(u32::MAX);
    let time = SNAPSHOT_PART_TIME.saturating_mul(1 + count / 16);
    let mut client = link.channel.raft();
    let call = client.snapshot(weft_rpc::with_deadline(stream::iter(parts(message, snapshot)), time));
    match tokio::time::timeout(time, call).await {
        Ok(Ok(_)) => Ok(bytes),
        Ok(Err(status)) => Err(error_of(&status)),
        Err(_elapsed) => {
            Err(Error::new(&weft_errors::DEADLINE, format!("it took longer than {} s", time.as_secs())))
        }
    }
}
