//! One accepted connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::places::Place;
use crate::Connection;

/// A TLS stream with what is known of its client; it gives its places back when dropped.
pub(super) struct ServerIo {
    tls: TlsStream<TcpStream>,
    connection: Connection,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    _places: (OwnedSemaphorePermit, Option<Place>),
}

/// What breaks a connection from our side.
pub(super) struct End {
    /// The server has stopped.
    pub(super) kill: CancellationToken,
    /// The time that a connection without a certificate has, and the loss of its place.
    pub(super) life: Option<(Duration, CancellationToken)>,
}

impl ServerIo {
    /// The connection keeps its places until it is dropped.
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        connection: Connection,
        end: End,
        places: (OwnedSemaphorePermit, Option<Place>),
    ) -> Self {
        let end = Box::pin(async move {
            let End { kill, life } = end;
            match life {
                None => kill.cancelled().await,
                Some((life, lost)) => tokio::select! {
                    () = kill.cancelled() => {}
                    () = lost.cancelled() => {}
                    () = tokio::time::sleep(life) => {}
                },
            }
        });
        Self { tls, connection, end, _places: places }
    }
}

impl Connected for ServerIo {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(context, slices)
    }
}
