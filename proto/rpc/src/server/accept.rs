//! Accepting connections: caps that one source can't use up for others, handshakes with deadlines, errors of the system
//! with a pause.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    io::{End, ServerIo, accepted},
    places::{Place, Places, Replaces},
};
use crate::{
    Connection, Error, Limits, SharedIdentity,
    caller::Caller,
    identity::{Identity, wall_time},
    tls::server_config,
};

/// Pause after an error of `accept` that comes back at once (no file descriptors: RUSTSEC-2024-0376's busy loop).
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Acceptor {
    identity: SharedIdentity,
    limits: Limits,
    connections: Arc<Semaphore>,
    strangers: Arc<Places>,
    handshakes: Arc<Places>,
    kill: CancellationToken,
}

impl Acceptor {
    /// Cancelling `kill` breaks all connections.
    pub(super) fn new(identity: SharedIdentity, limits: Limits, kill: CancellationToken) -> Self {
        Self {
            identity,
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            strangers: Places::new(limits.strangers),
            handshakes: Places::new(limits.handshakes),
            kill,
        }
    }

    /// Shakes hands with one client and judges its certificate.
    async fn handshake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Option<ServerIo> {
        let identity = self.identity.current();
        let shaken = tokio::time::timeout(self.limits.handshake, self.shake_hands(&identity, stream)).await;
        let tls = match shaken {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "handshake failed");
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!(%peer, "handshake took too long");
                return None;
            }
        };
        let shown = tls.get_ref().1.peer_certificates();
        let caller = Caller::of(shown, identity.authority(), wall_time());
        let stranger = match &caller {
            Ok(_) => None,
            Err(error) => {
                if let Error::NoCertificate { why } = error
                    && !why.is_empty()
                {
                    tracing::info!(%peer, why, "client certificate does not count");
                }
                Some(self.place_of_stranger(peer.ip())?)
            }
        };
        let life = stranger.as_ref().map(|place| (self.limits.stranger_life, place.lost().clone()));
        let end = End { kill: self.kill.clone(), life };
        let connection = Connection { peer, caller: caller.map(Arc::new).map_err(Arc::new) };
        Some(accepted(tls, connection, end, (permit, stranger)))
    }

    /// TLS, with a shorter deadline for the first word of the client: until then a connection costs it nothing.
    async fn shake_hands(&self, identity: &Identity, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "its hello didn't come in time");
        let begun = tokio::time::timeout(self.limits.client_hello, hello).await.map_err(late)??;
        let config = server_config(identity).map_err(io::Error::other)?;
        begun.into_stream(Arc::new(config)).await
    }

    fn place_of_stranger(&self, address: IpAddr) -> Option<Place> {
        let place = self.strangers.take(address, Replaces::Richer);
        if place.is_none() {
            tracing::debug!(%address, "too many connections without a certificate");
        }
        place
    }
}

/// Accepts until `stop`, and as long as somebody takes the connections.
pub(super) async fn run(
    listener: TcpListener,
    acceptor: Arc<Acceptor>,
    ready: mpsc::Sender<ServerIo>,
    stop: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                begin(&acceptor, stream, peer, &ready, &stop);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections can't be accepted");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
            }
        }
    }
}

/// Starts the handshake of one connection, if there is room for it.
fn begin(
    acceptor: &Arc<Acceptor>,
    stream: TcpStream,
    peer: SocketAddr,
    ready: &mpsc::Sender<ServerIo>,
    stop: &CancellationToken,
) {
    let Ok(connection) = Arc::clone(&acceptor.connections).try_acquire_owned() else {
        tracing::debug!(%peer, "too many connections");
        return;
    };
    let Some(handshake) = acceptor.handshakes.take(peer.ip(), Replaces::Anybody) else { return };
    if let Err(error) = crate::client::tune(&stream) {
        tracing::debug!(%peer, %error, "socket options can't be set");
        return;
    }
    let (acceptor, ready, stop) = (Arc::clone(acceptor), ready.clone(), stop.clone());
    tokio::spawn(async move {
        let io = tokio::select! {
            () = stop.cancelled() => return,
            () = handshake.lost().cancelled() => return,
            io = acceptor.handshake(stream, peer, connection) => io,
        };
        drop(handshake);
        if let Some(io) = io {
            // An error means that the server is gone, and the connection with it.
            let _gone = ready.send(io).await;
        }
    });
}

/// Errors that say something of the connection, not of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
