//! The calls of service Sync, each for the node of the caller's certificate.

use std::{sync::Arc, time::Instant};

use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use weft_errors::{Coded, Error, INTERNAL};
use weft_model::{Action, Answer, NodeName, NodeUid, PodReport};
use weft_proto::{convert::family_from_wire, v1};

use super::watch;
use crate::{
    access, admin,
    context::{Context, deadline, refuse, wall_time},
};

/// Service Sync of one replica.
pub(crate) struct SyncService {
    context: Arc<Context>,
    /// The replica task has ended.
    stop: CancellationToken,
}

impl SyncService {
    pub(crate) const fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }

    /// The calling node, if it still takes part in the state that this replica has applied. It is heard of by that.
    async fn node<T>(&self, request: &Request<T>) -> Result<(NodeName, NodeUid), Status> {
        let (name, uid) = access::node(request).map_err(refuse)?;
        let asked = name.clone();
        let active = self.context.handle.query(move |state| state.active_node(&asked, uid).map(|_| ())).await;
        active.map_err(refuse)?.map_err(|e| refuse(e.envelope()))?;
        self.context.pulses.present(&name, Instant::now());
        Ok((name, uid))
    }
}

#[tonic::async_trait]
impl weft_rpc::SyncService for SyncService {
    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<weft_rpc::FrameStream>, Status> {
        let (name, uid) = access::node(&request).map_err(refuse)?;
        let stream =
            watch::begin(Arc::clone(&self.context), name, uid, request.into_inner()).await.map_err(refuse)?;
        Ok(Response::new(Box::pin(stream.map_ok(weft_rpc::EncodedFrame::from_bytes))))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let (name, _) = self.node(&request).await?;
        let status = request.into_inner().status.unwrap_or_default();
        self.context.reports.take(name, status, Instant::now(), wall_time().0);
        Ok(Response::new(v1::ReportResponse {}))
    }

    async fn lease_block(
        &self,
        request: Request<v1::LeaseBlockRequest>,
    ) -> Result<Response<v1::LeaseBlockResponse>, Status> {
        let (node, uid) = self.node(&request).await?;
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let family = family_from_wire("family", wire.family).map_err(|e| refuse(e.envelope()))?;
        let action = Action::LeaseBlock { node, uid, family };
        match self
            .context
            .propose(wire.mutation, action, deadline)
            .await
            .map_err(refuse)?
            .answer
            .map_err(refuse)?
        {
            Answer::Lease(lease) => {
                Ok(Response::new(v1::LeaseBlockResponse { lease: Some((&lease).into()) }))
            }
            other @ (Answer::Done
            | Answer::Written(_)
            | Answer::Node(..)
            | Answer::Member(_)
            | Answer::Person(_)) => Err(refuse(strange(&other))),
        }
    }

    async fn return_block(
        &self,
        request: Request<v1::ReturnBlockRequest>,
    ) -> Result<Response<v1::ReturnBlockResponse>, Status> {
        let (node, uid) = self.node(&request).await?;
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let block = weft_proto::convert::required("block", wire.block).map_err(|e| refuse(e.envelope()))?;
        let action = Action::ReturnBlock { node, uid, block, epoch: weft_model::Epoch(wire.epoch) };
        let applied = self.context.propose(wire.mutation, action, deadline).await.map_err(refuse)?;
        applied.answer.map_err(refuse)?;
        Ok(Response::new(v1::ReturnBlockResponse { revision: applied.revision.0 }))
    }

    async fn publish_pods(
        &self,
        request: Request<v1::PublishPodsRequest>,
    ) -> Result<Response<v1::PublishPodsResponse>, Status> {
        let (node, uid) = self.node(&request).await?;
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let report = pods(node, uid, &wire).map_err(refuse)?;
        let applied = self
            .context
            .propose(wire.mutation, Action::PublishPods(report), deadline)
            .await
            .map_err(refuse)?;
        applied.answer.map_err(refuse)?;
        Ok(Response::new(v1::PublishPodsResponse { revision: applied.revision.0 }))
    }

    async fn publish_node(
        &self,
        request: Request<v1::PublishNodeRequest>,
    ) -> Result<Response<v1::PublishNodeResponse>, Status> {
        let (node, uid) = self.node(&request).await?;
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let facts = weft_proto::convert::required("facts", wire.facts).map_err(|e| refuse(e.envelope()))?;
        let action = Action::PublishNode { node, uid, facts };
        let applied = self.context.propose(wire.mutation, action, deadline).await.map_err(refuse)?;
        applied.answer.map_err(refuse)?;
        Ok(Response::new(v1::PublishNodeResponse { revision: applied.revision.0 }))
    }

    async fn answer(
        &self,
        request: Request<v1::AnswerRequest>,
    ) -> Result<Response<v1::AnswerResponse>, Status> {
        let (node, _) = access::node(&request).map_err(refuse)?;
        self.context.asks.answer(&node, request.into_inner()).map_err(refuse)?;
        Ok(Response::new(v1::AnswerResponse {}))
    }

    async fn find_pod(
        &self,
        request: Request<v1::FindPodRequest>,
    ) -> Result<Response<v1::FindPodResponse>, Status> {
        self.node(&request).await?;
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let owner = admin::owner_of(&self.context, &wire.namespace, &wire.name, deadline).await;
        let node = owner.map_err(refuse)?.map(|pod| pod.node.to_string()).unwrap_or_default();
        Ok(Response::new(v1::FindPodResponse { node }))
    }

    async fn pulse(
        &self,
        request: Request<Streaming<v1::PulseRequest>>,
    ) -> Result<Response<v1::PulseResponse>, Status> {
        let (name, _) = self.node(&request).await?;
        let mut pulses = request.into_inner();
        loop {
            let pulse = tokio::select! {
                () = self.stop.cancelled() => break,
                pulse = pulses.message() => pulse?,
            };
            let Some(pulse) = pulse else { break };
            self.context.pulses.hear(&name, pulse, Instant::now());
        }
        Ok(Response::new(v1::PulseResponse {}))
    }
}

/// A node's report; the node's name and identity come from its certificate, whatever the message says.
fn pods(node: NodeName, uid: NodeUid, wire: &v1::PublishPodsRequest) -> Result<PodReport, Error> {
    let mut upserts = Vec::with_capacity(wire.upserts.len());
    for (index, pod) in wire.upserts.iter().enumerate() {
        let mut pod = weft_model::Pod::try_from(pod.clone()).map_err(|e| e.envelope()).map_err(|e| {
            let field = format!("upserts[{index}].{}", e.field);
            e.field(field)
        })?;
        pod.node = node.clone();
        upserts.push(pod);
    }
    let deletes = wire
        .deletes
        .iter()
        .map(|bytes| <[u8; 16]>::try_from(bytes.as_ref()).map(weft_model::PodUid))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| {
            Error::new(&weft_errors::OBJECT_INVALID, "an identity of a pod has 16 bytes").field("deletes")
        })?;
    Ok(PodReport { node, uid, complete: wire.complete, upserts, deletes })
}

fn strange(answer: &Answer) -> Error {
    Error::new(&INTERNAL, format!("the state machine answered something else: {answer:?}"))
}
