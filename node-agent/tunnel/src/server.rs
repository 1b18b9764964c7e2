//! The UAPI socket: frames of lines that end with a blank one, each answered before the next is read.
//!
//! In: connections. Out: requests for the owner of the engine, with a place for the answer. Not here: what they mean.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

use crate::{
    Error, limits,
    uapi::{Request, parse_request},
};

/// One request and the place for its answer.
pub(crate) struct Call {
    /// What is asked.
    pub(crate) request: Request,
    /// Takes the whole answer, closing blank line included.
    pub(crate) answer: oneshot::Sender<Zeroizing<String>>,
}

/// The listening socket; its file goes with it.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`. A file that is there is removed only when nobody answers on it.
    pub(crate) fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Socket { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        match BlockingStream::connect(path) {
            Ok(_) => return Err(Error::Served { path: path.to_owned() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?
            }
            Err(source) => return Err(failed(source)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Accepts until told to stop, then waits for what is open.
    pub(crate) async fn serve(self, calls: mpsc::Sender<Call>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            let (place, stream) = match accepted {
                (Ok(place), Ok((stream, _))) => (place, stream),
                (_, Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                    continue;
                }
                (Err(_), Ok(_)) => break,
            };
            let (calls, stop) = (calls.clone(), stop.clone());
            connections.spawn(async move {
                let talk = converse(stream, calls);
                if let Some(Err(error)) = stop.run_until_cancelled(talk).await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the socket's file stays");
        }
    }
}

/// Serves one connection until it closes, is idle for too long or says something that can't be framed.
async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let frame = timeout(limits::CONNECTION_IDLE, read_frame(&mut reader)).await??;
        let (frame, complete) = match frame {
            Frame::End => return Ok(()),
            Frame::Whole(bytes) => (bytes, true),
            Frame::TooLong => (Zeroizing::default(), false),
        };
        if !complete {
            writer.write_all(errno_text(rustix::io::Errno::TOOBIG).as_bytes()).await?;
            return Ok(());
        }
        let answer = match parse_request(&frame) {
            Ok(request) => ask(&calls, request).await,
            Err(error) => {
                tracing::warn!(%error, "a request can't be read");
                errno_text(rustix::io::Errno::INVAL)
            }
        };
        writer.write_all(answer.as_bytes()).await?;
    }
}

async fn ask(calls: &mpsc::Sender<Call>, request: Request) -> Zeroizing<String> {
    let (answer, answered) = oneshot::channel();
    let sent = calls.send(Call { request, answer }).await.is_ok();
    match answered.await {
        Ok(text) if sent => text,
        // The owner of the engine is on its way out.
        Ok(_) | Err(_) => errno_text(rustix::io::Errno::IO),
    }
}

enum Frame {
    End,
    Whole(Zeroizing<Vec<u8>>),
    TooLong,
}

/// Reads lines up to a blank one, which isn't kept.
async fn read_frame(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Frame> {
    let mut frame = Zeroizing::new(Vec::with_capacity(4096));
    loop {
        let room = limits::REQUEST_BYTES.saturating_sub(frame.len());
        let start = frame.len();
        let length = (&mut *reader).take(room as u64).read_until(b'\n', &mut frame).await?;
        if frame.last() != Some(&b'\n') || length == 0 {
            return Ok(if frame.len() >= limits::REQUEST_BYTES { Frame::TooLong } else { Frame::End });
        }
        if frame[start..] == *b"\n" {
            frame.truncate(start);
            return Ok(Frame::Whole(frame));
        }
    }
}

/// The answer that is only a result; errors are positive numbers of `errno.h`.
pub(crate) fn errno_text(errno: rustix::io::Errno) -> Zeroizing<String> {
    Zeroizing::new(format!("errno={}\n\n", errno.raw_os_error()))
}

/// The answer to a set that was done.
pub(crate) fn done_text() -> Zeroizing<String> {
    Zeroizing::new("errno=0\n\n".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(text: &[u8]) -> (String, usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wireguard/weft9.sock");
        let server = Server::bind(&path).unwrap();
        assert!(
            matches!(Server::bind(&path), Err(Error::Served { .. })),
            "a live socket is never taken over"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (calls, mut inbox) = mpsc::channel::<Call>(1);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(calls, stop.clone()));
        let owner = tokio::spawn(async move {
            let mut asked = 0;
            while let Some(call) = inbox.recv().await {
                asked += 1;
                let _ = call.answer.send(done_text());
            }
            asked
        });
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        serving.await.unwrap();
        assert!(!path.exists());
        (answer, owner.await.unwrap())
    }

    #[tokio::test]
    async fn frames_are_answered_one_by_one() {
        for (text, answer, asked) in [
            ("get=1\n\n", "errno=0\n\n", 1),
            ("get=1\n\nset=1\nlisten_port=7\n\n", "errno=0\n\nerrno=0\n\n", 2),
            ("set=1\nlisten_port=x\n\nget=1\n\n", "errno=22\n\nerrno=0\n\n", 1),
            ("get=1\n", "", 0),
            ("\n", "errno=22\n\n", 0),
        ] {
            assert_eq!(talk(text.as_bytes()).await, (answer.to_owned(), asked), "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_request_is_refused() {
        let long = vec![b'x'; limits::REQUEST_BYTES + 1];
        let mut reader = BufReader::new(&long[..]);
        assert!(matches!(read_frame(&mut reader).await.unwrap(), Frame::TooLong));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weft9.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Server::bind(&path).is_ok());
    }
}
