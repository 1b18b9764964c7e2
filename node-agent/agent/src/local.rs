//! Service Local: what `weft` asks on the node itself, also without a control plane.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weft_errors::{ALREADY_EXISTS, Error, INTERNAL};
use weft_model::PodName;
use weft_proto::v1::{self, local_server::Local};
use weft_rpc::{Channel, Request, Response, Status, status_of, with_deadline};

use crate::{
    ask::{flows, pod_name},
    attach::Engine,
    drain,
    lookup::lookup,
    node::published,
    ping, pods,
    status::account,
};

/// A call gets its answer within this.
const DEADLINE: Duration = Duration::from_secs(30);

/// A name is looked up in the control plane for so long; when it can't be had, this node's own pods are all that count.
const NAME_CHECK: Duration = Duration::from_secs(2);

/// The service.
pub(crate) struct LocalService {
    engine: Arc<Engine>,
    channel: Channel,
}

impl LocalService {
    /// Over the engine of this node and the way to the control plane.
    pub(crate) const fn new(engine: Arc<Engine>, channel: Channel) -> Self {
        Self { engine, channel }
    }

    /// Refuses a name that a pod of another node owns. This node's own pods are looked at under the pod's lock.
    async fn check_name(&self, name: &PodName) -> Result<(), Error> {
        let node = self.engine.node();
        if !node.is_connected() {
            return Ok(());
        }
        let request =
            v1::FindPodRequest { namespace: name.namespace.to_string(), name: name.name.to_string() };
        let mut client = self.channel.sync();
        let call = client.find_pod(with_deadline(request, NAME_CHECK));
        let owner = match self.channel.call(NAME_CHECK, call).await {
            Ok(found) => found.node,
            Err(error) => {
                tracing::debug!(%error, "a name is not looked up in the control plane");
                return Ok(());
            }
        };
        if owner.is_empty() || owner == node.name.as_str() {
            return Ok(());
        }
        Err(Error::new(&ALREADY_EXISTS, format!("the name {name} is taken"))
            .object("pod", name.namespace.as_str(), &name.name)
            .field("metadata.name")
            .because(format!("node {owner} has a pod of that name"))
            .try_this("choose another name, or remove that pod first", format!("weft pod remove {name}")))
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
        request: Request<v1::LocalNodeRequest>,
    ) -> Result<Response<v1::LocalNodeResponse>, Status> {
        let check = request.into_inner().check;
        self.blocking(move |engine, _| {
            let node = engine.node();
            Ok(v1::LocalNodeResponse {
                node: node.name.to_string(),
                status: Some(account(engine, check)),
                connected: node.is_connected(),
                pods: node.pods().iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn add_pod(&self, request: Request<v1::PodAdd>) -> Result<Response<v1::AddPodResponse>, Status> {
        let request = request.into_inner();
        let name = pod_name(&request.namespace, &request.name).map_err(|error| status_of(&error))?;
        self.check_name(&name).await.map_err(|error| status_of(&error))?;
        self.blocking(move |engine, deadline| {
            let probes = pods::probes(request.readiness, request.startup)?;
            let holding = pods::add(engine, name, request.labels, probes, deadline)?;
            let pod = Some((&published(engine.node(), &holding)).into());
            let setup = engine.setups().folder(&holding.attachment.container).display().to_string();
            Ok(v1::AddPodResponse { pod, netns: holding.netns, setup })
        })
        .await
    }

    async fn remove_pod(
        &self,
        request: Request<v1::PodRemove>,
    ) -> Result<Response<v1::RemovePodResponse>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| {
            drain::remove(engine, &request, deadline)?;
            Ok(v1::RemovePodResponse {})
        })
        .await
    }

    async fn setup(&self, request: Request<v1::Setup>) -> Result<Response<v1::SetupResult>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, _| engine.setups().answer(engine.node(), &request.pod)).await
    }

    async fn lookup(&self, request: Request<v1::Lookup>) -> Result<Response<v1::LookupResult>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| lookup(engine, &request, deadline)).await
    }

    async fn flows(&self, request: Request<v1::Flows>) -> Result<Response<v1::FlowsResult>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| flows(engine.node(), &request, deadline)).await
    }

    async fn ping(&self, request: Request<v1::Ping>) -> Result<Response<v1::PingResult>, Status> {
        let request = request.into_inner();
        self.blocking(move |engine, deadline| ping::ping(engine.node(), &request, deadline)).await
    }
}
