//! A connection that can be broken from our side at any moment: by a reader that finds it ended, whatever the other side
//! does. One type for both ends.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A stream, what ends it, and what it holds until it is dropped.
pub(crate) struct Breakable<S, H> {
    stream: S,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    broken: io::ErrorKind,
    held: H,
}

impl<S, H> Breakable<S, H> {
    /// Reading fails with `broken` as soon as `end` completes. HTTP/2 always reads, so that is at once.
    pub(crate) fn new(
        stream: S,
        end: impl Future<Output = ()> + Send + 'static,
        broken: io::ErrorKind,
        held: H,
    ) -> Self {
        Self { stream, end: Box::pin(end), broken, held }
    }
}

impl<S, H: Connected> Connected for Breakable<S, H> {
    type ConnectInfo = H::ConnectInfo;

    fn connect_info(&self) -> H::ConnectInfo {
        self.held.connect_info()
    }
}

impl<S: AsyncRead + Unpin, H: Unpin> AsyncRead for Breakable<S, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(self.broken.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, H: Unpin> AsyncWrite for Breakable<S, H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
