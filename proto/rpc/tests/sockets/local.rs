//! Service Local over a unix socket.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tokio_util::sync::CancellationToken;
use weft_errors::Coded;
use weft_process::wait;
use weft_proto::v1::{self, local_server::Local};
use weft_rpc::{
    Error, Limits, Request, Response, Services, Status, async_trait, error_of, local_channel, serve_local,
};

use crate::world::LIMIT;

struct Agent;

#[async_trait]
impl Local for Agent {
    async fn status(
        &self,
        _: Request<v1::LocalNodeRequest>,
    ) -> Result<Response<v1::LocalNodeResponse>, Status> {
        Ok(Response::new(v1::LocalNodeResponse { node: "n1".to_owned(), ..Default::default() }))
    }

    async fn add_pod(&self, _: Request<v1::PodAdd>) -> Result<Response<v1::AddPodResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn remove_pod(&self, _: Request<v1::PodRemove>) -> Result<Response<v1::RemovePodResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn setup(&self, _: Request<v1::Setup>) -> Result<Response<v1::SetupResult>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn lookup(&self, _: Request<v1::Lookup>) -> Result<Response<v1::LookupResult>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn flows(&self, _: Request<v1::Flows>) -> Result<Response<v1::FlowsResult>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn ping(&self, _: Request<v1::Ping>) -> Result<Response<v1::PingResult>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

async fn serve_at(path: &Path, stop: &CancellationToken) -> Result<(), Error> {
    serve_local(path, Services::new().local(Agent), Limits::default(), stop.clone()).await
}

async fn node_name(path: &Path) -> Option<String> {
    let response = local_channel(path).status(v1::LocalNodeRequest::default()).await;
    response.ok().map(|response| response.into_inner().node)
}

#[tokio::test]
async fn a_local_socket_is_private_replaces_a_stale_one_and_goes_with_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let error = error_of(&local_channel(&path).status(v1::LocalNodeRequest::default()).await.unwrap_err());
    assert_eq!(error.code, "W1001");
    // A socket that nobody serves: what a killed agent leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let stop = CancellationToken::new();
    let server = tokio::spawn({
        let (path, stop) = (path.clone(), stop.clone());
        async move { serve_at(&path, &stop).await }
    });
    let name = wait::until(LIMIT, "the agent answers", async || node_name(&path).await).await;
    assert_eq!(name.unwrap(), "n1");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let second = serve_at(&path, &stop).await.unwrap_err();
    assert!(matches!(second, Error::SocketTaken { .. }), "{second}");
    assert!(node_name(&path).await.is_some(), "the first goes on");

    stop.cancel();
    server.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_local_socket_that_somebody_deleted_is_served_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("weft");
    fs::create_dir(&run).unwrap();
    let path = run.join("agent.sock");
    let stop = CancellationToken::new();
    let server = tokio::spawn({
        let (path, stop) = (path.clone(), stop.clone());
        async move { serve_at(&path, &stop).await }
    });
    wait::until(LIMIT, "the agent answers", async || node_name(&path).await).await.unwrap();
    // Whether a call in between finds nobody is a matter of milliseconds: who answers afterwards is under the name again.
    fs::remove_dir_all(&run).unwrap();
    wait::until(LIMIT, "the agent answers again", async || node_name(&path).await).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    stop.cancel();
    server.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    fs::write(&path, "precious").unwrap();
    let error = serve_at(&path, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{}", error.envelope());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}
