//! One accepted connection: what is known of its client, what ends it, which places it takes.

use std::{io, time::Duration};

use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::places::Place;
use crate::{Connection, breakable::Breakable};

/// A TLS stream with what is known of its client.
pub(super) type ServerIo = Breakable<TlsStream<TcpStream>, Accepted>;

/// What a connection holds; its places are given back with it.
pub(super) struct Accepted {
    connection: Connection,
    _places: (OwnedSemaphorePermit, Option<Place>),
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

/// What breaks a connection from our side.
pub(super) struct End {
    /// The server has stopped.
    pub(super) kill: CancellationToken,
    /// The time that a connection without a certificate has, and the loss of its place.
    pub(super) life: Option<(Duration, CancellationToken)>,
}

impl End {
    async fn come(self) {
        let Self { kill, life } = self;
        match life {
            None => kill.cancelled().await,
            Some((life, lost)) => tokio::select! {
                () = kill.cancelled() => {}
                () = lost.cancelled() => {}
                () = tokio::time::sleep(life) => {}
            },
        }
    }
}

/// The connection keeps its places until it is dropped.
pub(super) fn accepted(
    tls: TlsStream<TcpStream>,
    connection: Connection,
    end: End,
    places: (OwnedSemaphorePermit, Option<Place>),
) -> ServerIo {
    let held = Accepted { connection, _places: places };
    Breakable::new(tls, end.come(), io::ErrorKind::TimedOut, held)
}
