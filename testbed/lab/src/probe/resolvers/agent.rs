//! The agent's part of the conversation with our DNS process: sockets, pods, items; and what the process says of itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use weft_dns::Socket;
use weft_dns::frame::{Frames, Received, send};
use weft_model::{Item, Revision, ownership};
use weft_proto::convert::{address_to_wire, delta_frame, in_sync_frame, snapshot_frames};
use weft_proto::v1::{self, names_order::Order, names_word::Word};

use super::servers::Server;
use crate::Result;

/// A frame comes, or the process says how it is, within this.
const SOON: Duration = Duration::from_secs(20);
/// What has come is there within this.
const LOOK: Duration = Duration::from_micros(100);

/// The DNS process, and the agent that it takes us for.
pub(super) struct Fed {
    pub(super) server: Server,
    stream: UnixStream,
    frames: Frames,
}

/// What the process needs from an agent.
pub(super) struct Agent<'a> {
    listener: UnixListener,
    program: &'a Path,
    sockets: Vec<Socket>,
    clients: Vec<SocketAddr>,
}

impl<'a> Agent<'a> {
    /// Takes the agent's place on this machine, with one socket of UDP and one of TCP at `at`.
    pub(super) fn new(program: &'a Path, at: SocketAddr, clients: Vec<SocketAddr>) -> Result<Self> {
        let path = Path::new(ownership::run::DNS_SOCKET);
        std::fs::create_dir_all(path.parent().context("the socket lies nowhere")?)?;
        let listener = UnixListener::bind(path).with_context(|| format!("bind {}", path.display()))?;
        let mut sockets = weft_dns::bind(at.ip()).with_context(|| format!("bind {at}"))?;
        // One thread on one core, as the others have it.
        let mut kinds = BTreeSet::new();
        sockets.retain(|socket| kinds.insert(socket.stream));
        Ok(Self { listener, program, sockets, clients })
    }

    /// Starts the process and gives it sockets and nothing else: it has what it saved.
    pub(super) fn start(&self, at: SocketAddr) -> Result<Fed> {
        let mut command = Command::new(self.program);
        command.arg("dns");
        let server = Server::start("weft", at, command)?;
        let (stream, _) = self.listener.accept()?;
        let mut frames = Frames::new(stream.try_clone()?);
        let first = frames.receive::<v1::NamesWord>(SOON)?;
        let greets = matches!(&first, Received::Frame(v1::NamesWord { word: Some(Word::Hello(_)) }, _));
        ensure!(greets, "the DNS process doesn't greet: {first:?}");
        let descriptors: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        let sockets = order(Order::Sockets(weft_dns::to_wire(&self.sockets)));
        send(&stream, &sockets, &descriptors)?;
        Ok(Fed { server, stream, frames })
    }

    /// Tells everything and waits until it is taken up.
    pub(super) fn tell(&self, fed: &mut Fed, revision: Revision, items: &[Item]) -> Result {
        let pod = |(number, client): (usize, &SocketAddr)| v1::NamesPod {
            address: address_to_wire(client.ip()),
            pod: Some(v1::ObjectName { namespace: "ns1".to_owned(), name: format!("client-{number}") }),
            search: ["ns1.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned).into(),
        };
        let came = self.clients.iter().enumerate().map(pod).collect();
        fed.say(Order::Pods(v1::NamesPods { whole: true, came, went: Vec::new() }))?;
        for part in snapshot_frames(revision, items, weft_dns::ITEMS_PER_FRAME) {
            fed.say(Order::Items(part))?;
            // Else it has no room to say how it is.
            fed.drain()?;
        }
        fed.say(Order::Items(in_sync_frame(revision)))?;
        fed.wait(revision)
    }
}

impl Fed {
    fn say(&self, what: Order) -> Result {
        Ok(send(&self.stream, &order(what), &[])?)
    }

    /// The last word that has come.
    fn hear(&mut self, wait: Duration) -> Result<Option<v1::NamesState>> {
        let (mut wait, mut last) = (wait, None);
        loop {
            match self.frames.receive::<v1::NamesWord>(wait)? {
                Received::Frame(v1::NamesWord { word: Some(Word::State(state)) }, _) => last = Some(state),
                Received::Frame(..) => {}
                Received::Nothing => return Ok(last),
                Received::End => bail!("the DNS process has ended"),
            }
            wait = LOOK;
        }
    }

    /// Until its answers are of that revision.
    fn wait(&mut self, revision: Revision) -> Result {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let state = self.hear(Duration::from_millis(100))?;
            if state.is_some_and(|state| state.serving && state.revision >= revision.0) {
                return Ok(());
            }
        }
        bail!("the DNS process doesn't take up revision {}", revision.0)
    }

    /// One change.
    pub(super) fn change(&mut self, revision: Revision, item: &Item) -> Result {
        self.say(Order::Items(delta_frame(revision, [item], [])))
    }

    /// Reads what it says, so that it goes on.
    pub(super) fn drain(&mut self) -> Result {
        self.hear(LOOK).map(drop)
    }
}

fn order(order: Order) -> v1::NamesOrder {
    v1::NamesOrder { order: Some(order) }
}
