//! Service Local over a unix socket: only the same user or root may call. A socket whose file somebody deleted is made anew.

use std::{
    convert::Infallible,
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use weft_proto::v1::local_client::LocalClient;

use crate::{
    Attempt, Error, Limits, Services, Transport,
    client::{endpoint, local_client},
    server::{after, builder},
};

/// Mode of the socket: its owner alone.
const SOCKET_MODE: u32 = 0o600;

/// The socket is looked for under its name this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Connections that were accepted and aren't served yet.
const READY_CONNECTIONS: usize = 16;

/// Pause after an error of `accept`: without descriptors it comes back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on a unix socket until `stop`, then removes it. The directory must exist.
///
/// A socket that nobody serves any more is replaced. Fails with [`Error::SocketTaken`] when a living process serves it,
/// and with [`Error::Listen`] when the path is something else or the system refuses.
pub async fn serve_local(
    path: &Path,
    services: Services,
    limits: Limits,
    stop: CancellationToken,
) -> Result<(), Error> {
    let listener = bind(path).await?;
    let _removed_at_the_end = Socket(path.to_owned());
    let (ready, connections) = mpsc::channel(READY_CONNECTIONS);
    let serving = builder(&limits)
        .add_routes(services.into_routes())
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.clone().cancelled_owned());
    tokio::select! {
        served = serving => served.map_err(Error::tls),
        never = accept(path, listener, ready) => match never {},
        () = after(stop, limits.stop) => Ok(()),
    }
}

/// Accepts, and keeps the socket under its name, until it is dropped.
async fn accept(
    path: &Path,
    mut listener: UnixListener,
    ready: mpsc::Sender<io::Result<LocalIo>>,
) -> Infallible {
    let own = rustix::process::geteuid().as_raw();
    let mut file = file_id(path);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = look.tick() => {
                if file_id(path) != file {
                    match renew(path).await {
                        Ok(renewed) => (listener, file) = (renewed, file_id(path)),
                        Err(error) => tracing::warn!(%error, "the local socket is gone and can't be made again yet"),
                    }
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) if admitted(&stream, own) => {
                // An error means that the server has stopped, and this is about to.
                let _stopped = ready.send(Ok(LocalIo(stream))).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a local connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Listens again under a name that somebody deleted, with its directory or alone.
async fn renew(path: &Path) -> Result<UnixListener, Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .map_err(|source| Error::Listen { place: path.display().to_string(), source })?;
    }
    let listener = bind(path).await?;
    tracing::warn!(path = %path.display(), "the local socket was gone and has been made again");
    Ok(listener)
}

/// Device and inode of a file; `None` when it is gone.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// A client of service Local; connects with the first call, anew when the agent was restarted.
pub fn local_channel(path: &Path) -> LocalClient<Transport> {
    let path = path.to_owned();
    let transport = endpoint().connect_with_connector_lazy(tower::service_fn(move |_| {
        let path = path.clone();
        async move {
            UnixStream::connect(&path).await.map(TokioIo::new).map_err(|error| Error::Unreachable {
                attempts: vec![Attempt { endpoint: path.display().to_string(), why: error.to_string() }],
            })
        }
    }));
    local_client(transport)
}

fn admitted(stream: &UnixStream, own: u32) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "a local caller of another user was refused");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a local caller without credentials was refused");
            false
        }
    }
}

async fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Listen { place: path.display().to_string(), source };
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::SocketTaken { path: path.display().to_string() });
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        // Something that isn't ours: never removed.
        Ok(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever connected before this line is judged by its credentials all the same.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}

/// Removes the socket when serving ends in any way.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone already; the next start replaces it anyway.
        let _gone = fs::remove_file(&self.0);
    }
}

struct LocalIo(UnixStream);

impl Connected for LocalIo {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for LocalIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for LocalIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
