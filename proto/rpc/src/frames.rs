//! Service Sync with frames that were encoded once: the same bytes go to every follower.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};
use futures_util::{Stream, StreamExt, future::BoxFuture};
use prost::Message;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService, ServerStreamingService},
};
use weft_proto::v1::{
    AnswerRequest, AnswerResponse, FindPodRequest, FindPodResponse, LeaseBlockRequest, LeaseBlockResponse,
    PublishNodeRequest, PublishNodeResponse, PublishPodsRequest, PublishPodsResponse, PulseRequest,
    PulseResponse, ReportRequest, ReportResponse, ReturnBlockRequest, ReturnBlockResponse, WatchRequest,
    WatchResponse,
    sync_server::{Sync as GeneratedSync, SyncServer},
};

use crate::limits::MESSAGE_LIMIT;

/// A `WatchResponse` as bytes. A clone shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedFrame(Bytes);

impl EncodedFrame {
    /// Encodes a frame.
    pub fn new(frame: &WatchResponse) -> Self {
        Self(frame.encode_to_vec().into())
    }

    /// Takes the bytes of an encoded `WatchResponse`; the caller vouches that they are one.
    pub const fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes as they go on the wire, without the length before them.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for EncodedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedFrame({} bytes)", self.0.len())
    }
}

/// What `watch` returns: bounded by its producer; dropped when the follower goes.
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<EncodedFrame, Status>> + Send>>;

/// Service Sync as a server implements it.
#[tonic::async_trait]
pub trait SyncService: Send + Sync + 'static {
    /// The stream of one follower.
    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<FrameStream>, Status>;
    /// What a node has in its kernel.
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status>;
    /// One more block.
    async fn lease_block(
        &self,
        request: Request<LeaseBlockRequest>,
    ) -> Result<Response<LeaseBlockResponse>, Status>;
    /// A block comes back.
    async fn return_block(
        &self,
        request: Request<ReturnBlockRequest>,
    ) -> Result<Response<ReturnBlockResponse>, Status>;
    /// Pods that came and went.
    async fn publish_pods(
        &self,
        request: Request<PublishPodsRequest>,
    ) -> Result<Response<PublishPodsResponse>, Status>;
    /// What a node says of itself.
    async fn publish_node(
        &self,
        request: Request<PublishNodeRequest>,
    ) -> Result<Response<PublishNodeResponse>, Status>;
    /// The answer to an Ask.
    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status>;
    /// Where the pod lives that owns a name.
    async fn find_pod(&self, request: Request<FindPodRequest>) -> Result<Response<FindPodResponse>, Status>;
    /// Signs of life, until either side goes.
    async fn pulse(
        &self,
        request: Request<Streaming<PulseRequest>>,
    ) -> Result<Response<PulseResponse>, Status>;
}

/// The generated service over ours. Its `watch` decodes frames and is only reached by callers that don't come through
/// [`EncodedSync`].
struct Adapter<T>(Arc<T>);

#[tonic::async_trait]
impl<T: SyncService> GeneratedSync for Adapter<T> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let decode = |frame: Result<EncodedFrame, Status>| {
            WatchResponse::decode(frame?.0).map_err(|error| Status::internal(error.to_string()))
        };
        Ok(self.0.watch(request).await?.map(|frames| frames.map(decode).boxed()))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.0.report(request).await
    }

    async fn lease_block(
        &self,
        request: Request<LeaseBlockRequest>,
    ) -> Result<Response<LeaseBlockResponse>, Status> {
        self.0.lease_block(request).await
    }

    async fn return_block(
        &self,
        request: Request<ReturnBlockRequest>,
    ) -> Result<Response<ReturnBlockResponse>, Status> {
        self.0.return_block(request).await
    }

    async fn publish_pods(
        &self,
        request: Request<PublishPodsRequest>,
    ) -> Result<Response<PublishPodsResponse>, Status> {
        self.0.publish_pods(request).await
    }

    async fn publish_node(
        &self,
        request: Request<PublishNodeRequest>,
    ) -> Result<Response<PublishNodeResponse>, Status> {
        self.0.publish_node(request).await
    }

    async fn answer(&self, request: Request<AnswerRequest>) -> Result<Response<AnswerResponse>, Status> {
        self.0.answer(request).await
    }

    async fn find_pod(&self, request: Request<FindPodRequest>) -> Result<Response<FindPodResponse>, Status> {
        self.0.find_pod(request).await
    }

    async fn pulse(
        &self,
        request: Request<Streaming<PulseRequest>>,
    ) -> Result<Response<PulseResponse>, Status> {
        self.0.pulse(request).await
    }
}

/// The service as the router takes it: `Watch` goes past the generated code, all else through it.
pub(crate) struct EncodedSync<T> {
    service: Arc<T>,
    generated: SyncServer<Adapter<T>>,
}

impl<T: SyncService> EncodedSync<T> {
    pub(crate) fn new(service: T) -> Self {
        let service = Arc::new(service);
        let generated = SyncServer::new(Adapter(Arc::clone(&service)))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Self { service, generated }
    }
}

impl<T> Clone for EncodedSync<T> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service), generated: self.generated.clone() }
    }
}

impl<T> NamedService for EncodedSync<T> {
    const NAME: &'static str = "weft.v1.Sync";
}

impl<T: SyncService> tower::Service<http::Request<Body>> for EncodedSync<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != "/weft.v1.Sync/Watch" {
            return tower::Service::call(&mut self.generated, request);
        }
        let method = Watch(Arc::clone(&self.service));
        Box::pin(async move {
            let mut grpc = Grpc::new(FrameCodec)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT);
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

struct Watch<T>(Arc<T>);

impl<T: SyncService> ServerStreamingService<WatchRequest> for Watch<T> {
    type Response = EncodedFrame;
    type ResponseStream = FrameStream;
    type Future = BoxFuture<'static, Result<Response<FrameStream>, Status>>;

    fn call(&mut self, request: Request<WatchRequest>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { service.watch(request).await })
    }
}

/// Frames out as they are, requests in by prost.
struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = EncodedFrame;
    type Decode = WatchRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FrameCodec {
    type Item = EncodedFrame;
    type Error = Status;

    fn encode(&mut self, frame: EncodedFrame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(frame.0);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = WatchRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<WatchRequest>, Status> {
        WatchRequest::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
