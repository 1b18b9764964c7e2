//! Questions to programs that aren't Weft's: gRPC health (`grpc.health.v1`) and TLS whose certificate nobody checks.
//!
//! For readiness probes of pods: whether a pod answers is the question, not who it is, as Kubernetes has it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::tls::client_of_anybody;

/// Largest answer, bytes: a status is two.
const ANSWER_LIMIT: usize = 4096;

/// Asks `grpc.health.v1.Health/Check` over HTTP/2 without TLS. Fails with the reason, in words, unless the service serves.
pub async fn check_grpc_health(address: SocketAddr, service: &str, limit: Duration) -> Result<(), String> {
    let asked = tokio::time::timeout(limit, ask(address, service)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())))
}

async fn ask(address: SocketAddr, service: &str) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let connect =
        tower::service_fn(move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) });
    let channel = endpoint.connect_with_connector(connect).await.map_err(|error| words(&error))?;
    let mut client = HealthClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = client.check(request).await.map_err(|status| format!("{}", status.code()))?.into_inner();
    match ServingStatus::try_from(answer.status) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(status) => Err(format!("it says {}", status.as_str_name())),
        Err(_) => Err(format!("it says status {}", answer.status)),
    }
}

/// The innermost reason: what the library wraps around it says nothing to people.
fn words(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), words)
}

/// TLS 1.3 over a connection, whoever the other side is. Never for anything that must be kept secret.
pub async fn tls_with_anybody(
    stream: TcpStream,
    name: ServerName<'static>,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, io::Error> {
    let mut config = client_of_anybody().map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    use super::*;

    #[tokio::test]
    async fn health_is_what_the_server_says_of_the_service() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
        reporter.set_service_status("sick", tonic_health::ServingStatus::NotServing).await;
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(serving);
        let check = async |service: &str| check_grpc_health(address, service, Duration::from_secs(5)).await;
        assert_eq!(check("").await, Ok(()));
        assert_eq!(check("shop").await, Ok(()));
        assert_eq!(check("sick").await, Err("it says NOT_SERVING".to_owned()));
        assert!(check("nobody").await.is_err());
        server.abort();
        // Its end is awaited: then nobody listens.
        let _ended = server.await;
        assert!(check("").await.unwrap_err().contains("refused"));
    }

    #[tokio::test]
    async fn one_that_never_answers_is_left_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let asked = check_grpc_health(address, "", Duration::from_millis(50)).await;
        assert_eq!(asked, Err("no answer within 50 ms".to_owned()));
    }
}
