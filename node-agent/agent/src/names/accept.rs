//! `/run/weft/dns.sock`: who connects, and what it says. A thread per connection; there are one or two.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use rustix::net::sockopt::socket_peercred;
use tokio_util::sync::CancellationToken;
use weft_dns::frame::{Frames, Received};
use weft_errors::Error;
use weft_process::Tasks;
use weft_proto::v1::{self, names_word::Word};

use super::post::{Arrival, Line};
use crate::{attach, inbox::Wish, limits, node::Node};

/// Serves the socket until the process stops.
pub(crate) fn serve(tasks: &Tasks, node: &Arc<Node>, path: &Path) -> Result<(), Error> {
    let socket = attach::Socket::bind(path).map_err(|error| {
        Error::new(&weft_errors::FILE_UNREADABLE, "the agent's socket for names can't be made")
            .object("file", "", path.display())
            .because(error)
    })?;
    let (stop, node, tasks_of_links) = (tasks.token(), Arc::clone(node), tasks.clone());
    tasks.spawn_thread("dns-accept", move || {
        let (links, open) = (AtomicU64::new(0), Arc::new(AtomicUsize::new(0)));
        for stream in socket.connections(stop.clone(), || {}) {
            let admitted = stream.and_then(|stream| check(&stream, &open).map(|()| stream));
            let begun = admitted.and_then(|stream| {
                let link = links.fetch_add(1, Ordering::Relaxed);
                let kept = stream.try_clone()?;
                begin(&tasks_of_links, &node, link, stream, &open, stop.clone()).map(|()| kept)
            });
            if let Err(error) = begun {
                tracing::warn!(%error, "a connection for names isn't served");
            }
        }
        Ok(())
    })
}

/// Only a process of our own user speaks here, and only a few at a time.
fn check(stream: &UnixStream, open: &AtomicUsize) -> io::Result<()> {
    let peer = socket_peercred(stream.as_fd())?;
    if peer.uid != rustix::process::geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {} may not", peer.uid.as_raw()),
        ));
    }
    if open.load(Ordering::Acquire) >= limits::DNS_LINKS {
        return Err(io::Error::other("too many are there already"));
    }
    Ok(())
}

fn begin(
    tasks: &Tasks,
    node: &Arc<Node>,
    link: u64,
    stream: UnixStream,
    open: &Arc<AtomicUsize>,
    stop: CancellationToken,
) -> io::Result<()> {
    // The listener's connections never wait; this one does, in a thread of its own.
    stream.set_nonblocking(false)?;
    let (node, open) = (Arc::clone(node), Arc::clone(open));
    open.fetch_add(1, Ordering::AcqRel);
    let thread = move || {
        match hear(&node, link, stream, &stop) {
            Ok(()) => tracing::info!(link, "the DNS process has hung up"),
            Err(error) => tracing::warn!(%error, link, "the DNS process is hung up on"),
        }
        tell(&node, Arrival::Gone { link });
        open.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    };
    tasks.spawn_thread(format!("dns-{link}"), thread).map_err(io::Error::other)
}

fn tell(node: &Node, arrival: Arrival) {
    node.names.arrive(arrival);
    node.inboxes.dns.poke(Wish::default());
}

fn hear(node: &Node, link: u64, stream: UnixStream, stop: &CancellationToken) -> io::Result<()> {
    let line = Line::new(stream.try_clone()?);
    let mut frames = Frames::new(stream);
    let mut greeted = false;
    while !stop.is_cancelled() {
        let (word, descriptors) = match frames.receive::<v1::NamesWord>(limits::DNS_LOOK)? {
            Received::Frame(v1::NamesWord { word: Some(word) }, descriptors) => (word, descriptors),
            Received::Frame(v1::NamesWord { word: None }, _) | Received::Nothing => continue,
            Received::End => return Ok(()),
        };
        match word {
            Word::Hello(hello) if !greeted => {
                greeted = true;
                let offered = weft_dns::from_wire(hello.sockets.unwrap_or_default(), descriptors)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                tracing::info!(
                    link,
                    pid = hello.pid,
                    version = hello.version,
                    sockets = offered.len(),
                    "a DNS process has come"
                );
                tell(node, Arrival::Hello { link, pid: hello.pid, line: line.clone(), offered });
            }
            Word::State(state) if greeted => tell(node, Arrival::State { link, state: Box::new(state) }),
            Word::Answer(answer) if greeted => node.desk.heard(answer),
            Word::Queries(queries) if greeted => node.watchers.arrived(queries),
            Word::Hello(_) | Word::State(_) | Word::Answer(_) | Word::Queries(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "words come in a wrong order"));
            }
        }
    }
    Ok(())
}
