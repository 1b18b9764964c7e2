//! Serving gRPC over TLS on one TCP listener.

mod accept;
mod io;
mod places;

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{
    Error, Services, SharedIdentity,
    limits::{CONNECTION_WINDOW, HEADER_LIST_LIMIT, Limits, SERVER_ASKS_EVERY, SERVER_WAITS, STREAM_WINDOW},
};
use accept::Acceptor;
pub use places::{Place, Places, Replaces};

/// Connections that wait between handshake and HTTP/2: full means that handshakes wait.
const READY_CONNECTIONS: usize = 16;

/// HTTP/2 streams that the peer opened and reset before they were seen (CVE-2023-44487): more close the connection.
const PENDING_RESETS: usize = 20;

/// HTTP/2 streams that we had to reset for the peer's mistakes (CVE-2025-8671): more close the connection.
const LOCAL_RESETS: usize = 1024;

/// Serves until `stop`; then takes no new connections, lets calls end for `limits.stop`, and closes the rest.
///
/// The certificate may be replaced while it runs. A client's certificate is optional: see [`crate::caller`]. Handlers of
/// endless streams should end them on the same token.
pub async fn serve(
    listener: TcpListener,
    identity: SharedIdentity,
    services: Services,
    limits: Limits,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (ready, connections) = mpsc::channel(READY_CONNECTIONS);
    // A certificate that can't be used is an error now, not at the first connection.
    crate::tls::server_config(&identity.current())?;
    let kill = CancellationToken::new();
    let _break_what_is_left = kill.clone().drop_guard();
    let acceptor = Arc::new(Acceptor::new(identity, limits, kill));
    let accepting = tokio::spawn(accept::run(listener, acceptor, ready, stop.clone()));
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    let serving = builder(&limits)
        .add_routes(services.into_routes())
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let deadline = after(stop, limits.stop);
    let served = tokio::select! {
        served = serving => served.map_err(Error::tls),
        () = deadline => Ok(()),
    };
    accepting.abort();
    served
}

/// The settings that all servers share.
pub(crate) fn builder(limits: &Limits) -> Server {
    Server::builder()
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(SERVER_ASKS_EVERY))
        .http2_keepalive_timeout(Some(SERVER_WAITS))
        .http2_max_header_list_size(HEADER_LIST_LIMIT)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS))
}

/// Completes some time after the token was cancelled.
pub(crate) async fn after(stop: CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}
