//! Service Raft: what other replicas ask of this one. Who they are is in their certificate; only members are heard.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use weft_errors::{BUSY, Coded, Error, MALFORMED, REPLICA_REMOVED, ROLE_DENIED, UNREACHABLE};
use weft_model::{Refusal, ReplicaId};
use weft_proto::{
    codec,
    v1::{self, raft_server::Raft},
};

use crate::{
    access,
    admin::{ask_here, local_status},
    context::{Context, deadline, refuse},
    handle::Decided,
    inbox::Event,
    limits::{ACK_EVERY, SNAPSHOT_PART_TIME},
    replica::Removed,
    snapshot::Incoming,
    wire::message_from_wire,
};

/// Service Raft of one replica.
pub(crate) struct RaftService {
    context: Arc<Context>,
    events: mpsc::Sender<Event>,
    removed: Removed,
    /// Replicas whose snapshot is coming in.
    receiving: Arc<Mutex<BTreeSet<ReplicaId>>>,
    /// The replica task has ended.
    stop: CancellationToken,
}

impl RaftService {
    pub(crate) fn new(
        context: Arc<Context>,
        events: mpsc::Sender<Event>,
        removed: Removed,
        stop: CancellationToken,
    ) -> Self {
        Self { context, events, removed, receiving: Arc::default(), stop }
    }

    /// The calling replica, if it takes part.
    fn member<T>(&self, request: &Request<T>) -> Result<ReplicaId, Status> {
        let id = access::replica(request).map_err(refuse)?;
        if self.removed.has(id) {
            return Err(refuse(told_removed(id)));
        }
        if self.context.peers.has(id) {
            return Ok(id);
        }
        Err(refuse(Error::new(&ROLE_DENIED, format!("replica {id} is no member of this cluster"))))
    }
}

/// One incoming stream of messages.
struct MessageStream {
    from: ReplicaId,
    messages: Streaming<v1::RaftMessage>,
    taken: u64,
    events: mpsc::Sender<Event>,
    removed: Removed,
    stop: CancellationToken,
    /// The first acknowledgement says that the stream is open.
    opened: bool,
}

impl MessageStream {
    /// Takes messages until it is time for an acknowledgement; `None` at the end.
    async fn next(&mut self) -> Result<Option<v1::RaftAck>, Status> {
        if !std::mem::replace(&mut self.opened, true) {
            return Ok(Some(v1::RaftAck { taken: 0 }));
        }
        loop {
            let message = tokio::select! {
                () = self.stop.cancelled() => return Err(refuse(Error::new(&UNREACHABLE, "this replica is stopping"))),
                message = self.messages.message() => message?,
            };
            let Some(message) = message else { return Ok(None) };
            if self.removed.has(self.from) {
                return Err(refuse(told_removed(self.from)));
            }
            let message = message_from_wire(message).map_err(|e| refuse(e.envelope()))?;
            let event = Event::Message(self.from, Box::new(message));
            if self.events.send(event).await.is_err() {
                return Ok(None);
            }
            self.taken += 1;
            if self.taken.is_multiple_of(ACK_EVERY) {
                return Ok(Some(v1::RaftAck { taken: self.taken }));
            }
        }
    }
}

fn told_removed(id: ReplicaId) -> Error {
    Error::new(&REPLICA_REMOVED, format!("replica {id} was removed from the cluster"))
        .object("member", "", id)
}

/// Takes the place of one snapshot from a replica; gives it back when dropped.
struct Receiving {
    all: Arc<Mutex<BTreeSet<ReplicaId>>>,
    from: ReplicaId,
}

impl Receiving {
    fn begin(all: &Arc<Mutex<BTreeSet<ReplicaId>>>, from: ReplicaId) -> Result<Self, Error> {
        if all.lock().unwrap_or_else(PoisonError::into_inner).insert(from) {
            return Ok(Self { all: Arc::clone(all), from });
        }
        Err(Error::new(&BUSY, format!("a snapshot of replica {from} is coming in already")))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.from);
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    type MessagesStream = BoxStream<'static, Result<v1::RaftAck, Status>>;

    async fn messages(
        &self,
        request: Request<Streaming<v1::RaftMessage>>,
    ) -> Result<Response<Self::MessagesStream>, Status> {
        let from = access::replica(&request).map_err(refuse)?;
        if self.removed.has(from) {
            return Err(refuse(told_removed(from)));
        }
        // Whether it takes part is for the gate: a replica may hear of another before it knows it.
        let incoming = MessageStream {
            from,
            messages: request.into_inner(),
            taken: 0,
            events: self.events.clone(),
            removed: self.removed.clone(),
            stop: self.stop.clone(),
            opened: false,
        };
        let acks = stream::unfold(Some(incoming), |incoming| async move {
            let mut incoming = incoming?;
            match incoming.next().await {
                Ok(Some(ack)) => Some((Ok(ack), Some(incoming))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(acks.boxed()))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotReceipt>, Status> {
        let from = access::replica(&request).map_err(refuse)?;
        let _one = Receiving::begin(&self.receiving, from).map_err(refuse)?;
        let mut parts = request.into_inner();
        let mut incoming: Option<Incoming> = None;
        loop {
            let part = tokio::select! {
                () = self.stop.cancelled() => return Err(refuse(Error::new(&UNREACHABLE, "this replica is stopping"))),
                part = tokio::time::timeout(SNAPSHOT_PART_TIME, parts.message()) => {
                    part.map_err(|_| refuse(Error::new(&BUSY, "a part of the snapshot took too long")))??
                }
            };
            let Some(part) = part else { break };
            match &mut incoming {
                None => incoming = Some(Incoming::begin(part).map_err(|e| refuse(e.envelope()))?),
                Some(incoming) => incoming.push(&part.data).map_err(|e| refuse(e.envelope()))?,
            }
        }
        let incoming = incoming.ok_or_else(|| refuse(Error::new(&MALFORMED, "the snapshot has no parts")))?;
        let message = incoming.finish().map_err(|e| refuse(e.envelope()))?;
        let stopping = |_| refuse(Error::new(&UNREACHABLE, "this replica is stopping"));
        self.events.send(Event::Message(from, Box::new(message))).await.map_err(stopping)?;
        Ok(Response::new(v1::SnapshotReceipt {}))
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        self.member(&request)?;
        let deadline = deadline(&request);
        let command = codec::decode_command(&request.into_inner().command)
            .map_err(|e| refuse(Error::new(&MALFORMED, "the command can't be read").because(e)))?;
        let Decided { index, outcome } =
            self.context.handle.propose_here(command, deadline).await.map_err(refuse)?;
        let answer = outcome.answer.map_err(|refusal| Box::new(Refusal::from(&refusal)));
        Ok(Response::new(v1::ProposeResponse {
            revision: outcome.revision.0,
            index: index.0,
            answer: codec::encode_answer(&answer),
        }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        self.member(&request)?;
        let index = self.context.handle.read_here(deadline(&request)).await.map_err(refuse)?;
        Ok(Response::new(v1::ReadIndexResponse { index: index.0 }))
    }

    async fn local_status(
        &self,
        request: Request<v1::LocalStatusRequest>,
    ) -> Result<Response<v1::LocalStatusResponse>, Status> {
        self.member(&request)?;
        local_status(&self.context).await.map(Response::new).map_err(refuse)
    }

    async fn relay_ask(
        &self,
        request: Request<v1::AskNodeRequest>,
    ) -> Result<Response<v1::AskNodeResponse>, Status> {
        self.member(&request)?;
        let answer = ask_here(&self.context, request.into_inner()).await.map_err(refuse)?;
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn pulses(
        &self,
        request: Request<v1::PulsesRequest>,
    ) -> Result<Response<v1::PulsesResponse>, Status> {
        let from = self.member(&request)?;
        self.context.pulses.hear_from(from, request.into_inner(), Instant::now());
        Ok(Response::new(v1::PulsesResponse {}))
    }
}
