//! Channels: one connection at a time to one of several replicas; a broken one is replaced by the next call.

mod connect;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Endpoint};
use weft_errors::{BUSY, DEADLINE, NO_LEADER, UNREACHABLE};
use weft_model::{Holder, ReplicaId};
use weft_proto::v1::{
    admin_client::AdminClient, join_client::JoinClient, local_client::LocalClient, raft_client::RaftClient,
    sync_client::SyncClient,
};

pub(crate) use connect::tune;

use crate::{
    Error, SharedIdentity, Transport, Trust, error_of,
    limits::{
        CLIENT_ASKS_EVERY, CLIENT_WAITS, CONNECTION_WINDOW, HEADER_LIST_LIMIT, MESSAGE_LIMIT, STREAM_WINDOW,
    },
};

/// Pauses between tries of [`Channel::retry`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whom a channel goes to and as whom.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Endpoints of replicas, `ADDRESS:PORT`; at least one.
    pub endpoints: Vec<String>,
    /// What the servers must prove.
    pub trust: Trust,
    /// Who we are; `None` for a machine that joins.
    pub identity: Option<SharedIdentity>,
    /// The one replica that must answer (between replicas); `None` for any.
    pub replica: Option<ReplicaId>,
}

/// The replica at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The endpoint that led to it.
    pub endpoint: String,
    /// Whom its certificate speaks for.
    pub holder: Holder,
}

/// A connection to one of several replicas. Clones share it. Made inside a tokio runtime; connects with the first call.
///
/// It keeps to a replica that works. When the connection breaks, the next call tries the same replica, then the others,
/// a new one each 300 ms until one answers; a round in which none did is followed by a pause of 100 ms to 2 s.
#[derive(Clone)]
pub struct Channel {
    transport: Transport,
    shared: Arc<Shared>,
}

/// What the channel and its connector have in common.
pub(crate) struct Shared {
    endpoints: ArcSwap<Vec<String>>,
    trust: Trust,
    identity: Option<SharedIdentity>,
    replica: Option<ReplicaId>,
    place: Mutex<Place>,
}

/// Where the channel stands.
#[derive(Default)]
struct Place {
    /// The endpoint to try first.
    preferred: usize,
    connected: Option<Connected>,
    /// Closes the present connection.
    kill: CancellationToken,
    failed_rounds: u32,
    not_before: Option<Instant>,
}

impl Channel {
    /// A channel over TLS.
    ///
    /// Fails with [`Error::EndpointInvalid`] when an endpoint isn't `ADDRESS:PORT` or there is none.
    pub fn new(options: ChannelOptions) -> Result<Self, Error> {
        check_endpoints(&options.endpoints)?;
        let shared = Arc::new(Shared {
            endpoints: ArcSwap::from_pointee(options.endpoints),
            trust: options.trust,
            identity: options.identity,
            replica: options.replica,
            place: Mutex::default(),
        });
        let connector = Arc::clone(&shared);
        let transport = endpoint().connect_with_connector_lazy(tower::service_fn(move |_| {
            let shared = Arc::clone(&connector);
            async move { connect::connect(&shared).await.map(TokioIo::new) }
        }));
        Ok(Self { transport, shared })
    }

    /// A client of service Admin.
    ///
    /// Like all clients here it takes messages of at most 4 MiB. What it sends is limited by the server, which answers
    /// with `TOO_LARGE`; the client's own limit would only break the stream without a reason.
    pub fn admin(&self) -> AdminClient<Transport> {
        AdminClient::new(self.transport()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of service Join.
    pub fn join(&self) -> JoinClient<Transport> {
        JoinClient::new(self.transport()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of service Sync.
    pub fn sync(&self) -> SyncClient<Transport> {
        SyncClient::new(self.transport()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of service Raft.
    pub fn raft(&self) -> RaftClient<Transport> {
        RaftClient::new(self.transport()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The bare transport, for other clients.
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// The endpoints, in order.
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.endpoints.load().to_vec()
    }

    /// Replaces the endpoints, for the next connection.
    pub fn set_endpoints(&self, endpoints: Vec<String>) -> Result<(), Error> {
        check_endpoints(&endpoints)?;
        self.shared.endpoints.store(Arc::new(endpoints));
        Ok(())
    }

    /// The replica of the last connection that worked.
    pub fn connected(&self) -> Option<Connected> {
        self.shared.place().connected.clone()
    }

    /// Gives up the present connection; the next call begins with another replica. For a replica that answers but is of
    /// no use.
    pub fn leave_replica(&self) {
        let mut place = self.shared.place();
        place.preferred = place.preferred.wrapping_add(1);
        place.connected = None;
        place.kill.cancel();
    }

    /// One call with a deadline that also covers connecting; errors come as envelopes that name the endpoints tried.
    pub async fn call<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, weft_errors::Error> {
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.name_endpoints(error_of(&status))),
            Err(_elapsed) => {
                let message = format!("no answer came within {} ms", deadline.as_millis());
                Err(self.name_endpoints(weft_errors::Error::new(&DEADLINE, message)))
            }
        }
    }

    /// Calls again, with growing pauses, while nobody can answer (unreachable, no leader, busy), until the deadline.
    /// For reads, and for mutations that carry the same mutation id each time.
    pub async fn retry<T, C>(
        &self,
        deadline: Duration,
        mut call: impl FnMut() -> C,
    ) -> Result<T, weft_errors::Error>
    where
        C: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match self.call(left, call()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let passing = [&UNREACHABLE, &NO_LEADER, &BUSY].contains(&error.registered());
            if !passing || Instant::now() + pause >= end {
                return Err(error);
            }
            if error.registered() == &NO_LEADER {
                // It may be cut off from the others, which may well have a leader.
                self.leave_replica();
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn name_endpoints(&self, error: weft_errors::Error) -> weft_errors::Error {
        let needs_names = [&UNREACHABLE, &DEADLINE].contains(&error.registered());
        if !needs_names || !error.cause.is_empty() {
            return error;
        }
        let endpoints = self.shared.endpoints.load().join(", ");
        error.because(format!("the endpoints are {endpoints}"))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl Shared {
    /// No statement leaves the place half changed, so a poisoned lock is still good.
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that tells the server when its answer is useless.
pub fn with_deadline<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// A client of service Local over any transport.
pub(crate) fn local_client(transport: Transport) -> LocalClient<Transport> {
    LocalClient::new(transport).max_decoding_message_size(MESSAGE_LIMIT)
}

/// The settings that all channels share. The URI is never resolved: our connectors know where to go.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://weft")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(CLIENT_ASKS_EVERY)
        .keep_alive_timeout(CLIENT_WAITS)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_LIST_LIMIT)
}

fn check_endpoints(endpoints: &[String]) -> Result<(), Error> {
    if endpoints.is_empty() {
        return Err(Error::EndpointInvalid { text: String::new() });
    }
    for text in endpoints {
        let port =
            text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(Error::EndpointInvalid { text: text.clone() });
        }
    }
    Ok(())
}
