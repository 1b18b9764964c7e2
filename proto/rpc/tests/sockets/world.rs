//! What the tests share: an authority, a server with services that answer who called, channels.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weft_errors::{Error, RANGE_OVERLAP};
use weft_model::{ClusterId, Holder, Name, NodeName, NodeUid, Part, ReplicaId, ReplicaName, Role, WallTime};
use weft_proto::v1::{self, join_server::Join};
use weft_rpc::{
    CertificateDer, Channel, ChannelOptions, EncodedFrame, FrameStream, Health, Identity, Limits, Request,
    Response, Services, SharedIdentity, Status, SyncService, Trust, async_trait, caller, require_role, serve,
    status_of,
};
use weft_trust::Authority;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

fn holder(part: Part) -> Holder {
    Holder { cluster: CLUSTER, part }
}

pub(crate) fn replica(id: u64) -> Holder {
    holder(Part::Replica { name: ReplicaName::new(format!("cp-{id}")).unwrap(), id: ReplicaId(id) })
}

pub(crate) fn node(name: &str) -> Holder {
    holder(Part::Node { name: NodeName::new(name).unwrap(), uid: NodeUid([9; 16]) })
}

pub(crate) fn admin(name: &str) -> Holder {
    holder(Part::Admin { name: Name::new(name).unwrap() })
}

/// A cluster's authority and what it hands out.
pub(crate) struct World {
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::found(CLUSTER, now()).unwrap() }
    }

    pub(crate) fn identity(&self, holder: &Holder) -> SharedIdentity {
        SharedIdentity::new(self.authority.new_identity(holder, now()).unwrap())
    }

    /// An identity as it was issued some days ago.
    pub(crate) fn identity_of(&self, holder: &Holder, days_ago: u64) -> Identity {
        self.authority.new_identity(holder, WallTime(now().0 - days_ago * DAY_MS)).unwrap()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Authority(vec![self.authority.certificate().clone()])
    }

    pub(crate) async fn serve(&self, id: u64, limits: Limits) -> Server {
        Server::start(self.identity(&replica(id)), limits).await
    }

    pub(crate) fn channel(&self, servers: &[&Server], identity: Option<SharedIdentity>) -> Channel {
        channel(servers, self.trust(), identity)
    }
}

pub(crate) fn channel(servers: &[&Server], trust: Trust, identity: Option<SharedIdentity>) -> Channel {
    let endpoints = servers.iter().map(|server| server.address.to_string()).collect();
    Channel::new(ChannelOptions { endpoints, trust, identity, replica: None }).unwrap()
}

/// A running server; dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) identity: SharedIdentity,
    pub(crate) joins: Arc<AtomicUsize>,
    pub(crate) health: Health,
    pub(crate) stop: CancellationToken,
    pub(crate) done: tokio::task::JoinHandle<Result<(), weft_rpc::Error>>,
}

impl Server {
    pub(crate) async fn start(identity: SharedIdentity, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (joins, stop) = (Arc::default(), CancellationToken::new());
        let service = Answers { joins: Arc::clone(&joins) };
        let (services, health) =
            Services::new().join(service.clone()).sync(service).health_and_reflection().unwrap();
        health.serving().await;
        let done = tokio::spawn(serve(listener, identity.clone(), services, limits, stop.clone()));
        Self { address, identity, joins, health, stop, done }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.done.abort();
    }
}

/// Services that answer who called. `Report` is for nodes; its node name chooses the answer.
#[derive(Clone)]
struct Answers {
    joins: Arc<AtomicUsize>,
}

#[async_trait]
impl Join for Answers {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        self.joins.fetch_add(1, Ordering::SeqCst);
        if request.get_ref().name.len() >= 1 << 20 {
            return Ok(Response::new(v1::JoinResponse {
                certificate: vec![0; 5 << 20].into(),
                ..Default::default()
            }));
        }
        let who =
            caller(&request).map_or_else(|status| status.message().to_owned(), |c| c.holder.to_string());
        Ok(Response::new(v1::JoinResponse { certificate: who.into(), ..Default::default() }))
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let long = (0..3000).fold(Error::new(&RANGE_OVERLAP, "x".repeat(100 << 10)), |error, n| {
            error.because(format!("a long reason, number {n}"))
        });
        Err(status_of(&long))
    }
}

#[async_trait]
impl SyncService for Answers {
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<FrameStream>, Status> {
        require_role(&request, &[Role::Node])?;
        let from = request.get_ref().resume_revision;
        let frames = (from..from + 3).map(|revision| {
            let in_sync = v1::watch_response::Frame::InSync(v1::InSync { revision });
            Ok(EncodedFrame::new(&v1::WatchResponse { frame: Some(in_sync) }))
        });
        let endless = tokio_stream::StreamExt::chain(
            tokio_stream::iter(frames.collect::<Vec<_>>()),
            tokio_stream::pending(),
        );
        Ok(Response::new(Box::pin(endless) as Pin<Box<_>>))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        require_role(&request, &[Role::Node])?;
        Ok(Response::new(v1::ReportResponse {}))
    }

    async fn lease_block(
        &self,
        request: Request<v1::LeaseBlockRequest>,
    ) -> Result<Response<v1::LeaseBlockResponse>, Status> {
        let holder = require_role(&request, &[Role::Node])?.holder;
        let lease = v1::BlockLease { node: holder.to_string(), ..Default::default() };
        Ok(Response::new(v1::LeaseBlockResponse { lease: Some(lease) }))
    }

    async fn return_block(
        &self,
        _: Request<v1::ReturnBlockRequest>,
    ) -> Result<Response<v1::ReturnBlockResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn publish_pods(
        &self,
        request: Request<v1::PublishPodsRequest>,
    ) -> Result<Response<v1::PublishPodsResponse>, Status> {
        let revision = request.get_ref().upserts.len() as u64;
        Ok(Response::new(v1::PublishPodsResponse { revision }))
    }

    async fn publish_node(
        &self,
        _: Request<v1::PublishNodeRequest>,
    ) -> Result<Response<v1::PublishNodeResponse>, Status> {
        std::future::pending().await
    }

    async fn answer(&self, _: Request<v1::AnswerRequest>) -> Result<Response<v1::AnswerResponse>, Status> {
        Ok(Response::new(v1::AnswerResponse {}))
    }

    async fn find_pod(
        &self,
        _: Request<v1::FindPodRequest>,
    ) -> Result<Response<v1::FindPodResponse>, Status> {
        Ok(Response::new(v1::FindPodResponse::default()))
    }

    async fn pulse(
        &self,
        _: Request<weft_rpc::Streaming<v1::PulseRequest>>,
    ) -> Result<Response<v1::PulseResponse>, Status> {
        Ok(Response::new(v1::PulseResponse {}))
    }
}

/// Asks the server who we are; the answer of Join works without a certificate.
pub(crate) async fn who_am_i(channel: &Channel) -> Result<String, Error> {
    let request = v1::JoinRequest { token: "wt1.secret".to_owned(), ..Default::default() };
    let response = channel.call(LIMIT, async { channel.join().join(request).await }).await?;
    Ok(String::from_utf8_lossy(&response.certificate).into_owned())
}

/// A call that only nodes may make.
pub(crate) async fn node_call(channel: &Channel) -> Result<(), Error> {
    channel.call(LIMIT, async { channel.sync().report(v1::ReportRequest::default()).await }).await.map(drop)
}

pub(crate) fn root_of(identity: &SharedIdentity) -> CertificateDer<'static> {
    identity.current().authority()[0].clone()
}
