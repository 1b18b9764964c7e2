//! The agent of this machine, by its socket.

use std::{path::Path, time::Duration};

use weft_errors::{AGENT_UNREACHABLE, Error, INTERNAL, UNREACHABLE};
use weft_model::{PodName, ownership};
use weft_proto::v1;
use weft_rpc::{Status, Transport, error_of, with_deadline};

use crate::fail::{Failure, Outcome};

/// The agent of this machine, by its socket.
pub(crate) struct LocalAgent(v1::local_client::LocalClient<Transport>);

impl LocalAgent {
    /// Opens the socket; connecting happens with the first call.
    pub(crate) fn open() -> Outcome<Self> {
        let path = Path::new(ownership::run::AGENT_SOCKET);
        if !path.exists() {
            return Err(Error::new(
                &AGENT_UNREACHABLE,
                format!("{} isn't there: no weft-agent runs on this machine", path.display()),
            )
            .object("file", "", path.display())
            .try_this("start weft-agent here, or name the node of the pod", "weft pod add NAME --node NODE")
            .into());
        }
        Ok(Self(weft_rpc::local_channel(path)))
    }

    /// Makes a pod here; the pod, and the folder of the files that it was given.
    pub(crate) async fn add_pod(&mut self, add: v1::PodAdd, timeout: Duration) -> Outcome<(v1::Pod, String)> {
        let answer = self.0.add_pod(with_deadline(add, timeout)).await.map_err(|s| failure(&s))?;
        let v1::AddPodResponse { pod, setup, .. } = answer.into_inner();
        let pod = pod.ok_or_else(|| Failure::new(&INTERNAL, "the agent made a pod and didn't say which"))?;
        Ok((pod, setup))
    }

    /// Removes a pod here.
    pub(crate) async fn remove_pod(&mut self, remove: v1::PodRemove, timeout: Duration) -> Outcome {
        self.0.remove_pod(with_deadline(remove, timeout)).await.map(|_| ()).map_err(|s| failure(&s))
    }

    /// What the agent says of its node; with `check` it tries to reach the replicas first.
    pub(crate) async fn status(&mut self, check: bool, timeout: Duration) -> Outcome<v1::LocalNodeResponse> {
        let answer = self.0.status(with_deadline(v1::LocalNodeRequest { check }, timeout)).await;
        answer.map(weft_rpc::Response::into_inner).map_err(|s| failure(&s))
    }

    /// What a pod of this node was given when it was made.
    pub(crate) async fn setup(&mut self, pod: &PodName, timeout: Duration) -> Outcome<v1::SetupResult> {
        let answer = self.0.setup(with_deadline(v1::Setup { pod: pod.to_string() }, timeout)).await;
        answer.map(weft_rpc::Response::into_inner).map_err(|s| failure(&s))
    }

    /// What a pod of this node, or the node itself, gets for a name.
    pub(crate) async fn lookup(
        &mut self,
        lookup: v1::Lookup,
        timeout: Duration,
    ) -> Outcome<v1::LookupResult> {
        let answer = self.0.lookup(with_deadline(lookup, timeout)).await;
        answer.map(weft_rpc::Response::into_inner).map_err(|s| failure(&s))
    }

    /// What happened here since the watcher asked last.
    pub(crate) async fn flows(&mut self, flows: v1::Flows, timeout: Duration) -> Outcome<v1::FlowsResult> {
        let answer = self.0.flows(with_deadline(flows, timeout)).await;
        answer.map(weft_rpc::Response::into_inner).map_err(|s| failure(&s))
    }

    /// Whether a pod is attached here.
    pub(crate) async fn has_pod(&mut self, name: &PodName, timeout: Duration) -> Outcome<bool> {
        let same = |pod: &v1::Pod| pod.namespace == name.namespace.as_str() && pod.name == name.name.as_str();
        Ok(self.status(false, timeout).await?.pods.iter().any(same))
    }
}

/// On a socket nobody but the agent can be missing.
fn failure(status: &Status) -> Failure {
    let error = error_of(status);
    if error.registered() != &UNREACHABLE {
        return error.into();
    }
    let socket = ownership::run::AGENT_SOCKET;
    let message = format!("weft-agent doesn't answer at {socket}");
    let failed = Error::new(&AGENT_UNREACHABLE, message).object("file", "", socket);
    error.cause.iter().fold(failed, Error::because).into()
}
