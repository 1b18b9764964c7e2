//! Service Local: what `weft` asks on the node itself, also without a control plane.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weft_errors::{Error, INTERNAL};
use weft_proto::v1::{self, local_server::Local};
use weft_rpc::{Request, Response, Status, status_of};

use crate::{ask::pod_name, attach::Engine, node::published, ping, pods, status::status};

/// A call gets its answer within this.
const DEADLINE: Duration = Duration::from_secs(30);

/// The service.
pub(crate) struct LocalService {
    engine: Arc<Engine>,
}

impl LocalService {
    /// Over the engine of this node.
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Runs blocking work away from the runtime's workers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine, Instant) -> Result<T, Error> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let engine = Arc::clone(&self.engine);
        let done = tokio::task::spawn_blocking(move || work(&engine, Instant::now() + DEADLINE)).await;
        let result =
            done.unwrap_or_else(|error| Err(Error::new(&INTERNAL, "the call broke off").because(error)));
        result.map(Response::new).map_err(|error| status_of(&error))
    }
}

#[weft_rpc::async_trait]
impl Local for LocalService {
    async fn status(
        &self,
        _: Request<v1::LocalNodeRequest>,
    ) -> Result<Response<v1::LocalNodeResponse>, Status> {
        self.blocking(|engine, _| {
            let node = engine.node();
            Ok(v1::LocalNodeResponse {
                node: node.name.to_string(),
                status: Some(status(node)),
                connected: node.is_connected(),
                pods: node.pods().iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn add_pod(&self, request: Request<v1::PodAdd>) -> Result<Response<v1::AddPodResponse>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| {
            let name = pod_name(&request.namespace, &request.name)?;
            let holding = pods::add(engine, name, request.labels, deadline)?;
            let pod = Some((&published(&engine.node().name, &holding)).into());
            Ok(v1::AddPodResponse { pod, netns: holding.netns })
        })
        .await
    }

    async fn remove_pod(
        &self,
        request: Request<v1::PodRemove>,
    ) -> Result<Response<v1::RemovePodResponse>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| {
            pods::remove(engine, &pod_name(&request.namespace, &request.name)?, deadline)?;
            Ok(v1::RemovePodResponse {})
        })
        .await
    }

    async fn ping(&self, request: Request<v1::Ping>) -> Result<Response<v1::PingResult>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| ping::ping(engine.node(), &request, deadline)).await
    }
}
