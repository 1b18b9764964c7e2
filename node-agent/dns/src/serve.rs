//! Answering: a thread for each socket of UDP, and a thread with an event loop for TCP and for questions to the outside.

mod outside;
mod stream;
mod udp;

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_errors::{Error, INTERNAL};
use weft_names::{Ask, Names, Origin, Reader, Source};
use weft_process::Tasks;

pub(crate) use outside::{Order, run as ask_outside};
pub(crate) use stream::{Connections, Listening};

use crate::{
    askers::Askers,
    clock::{self, Clock},
    count::Counts,
    sockets::{Socket, SocketId},
    watch::Watch,
};

/// Who waits for an answer of the outside.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A client of UDP.
    Datagram {
        /// The socket that was asked.
        socket: Arc<OwnedFd>,
        /// The client.
        to: std::net::SocketAddr,
    },
    /// A TCP connection.
    Stream(mpsc::Sender<Vec<u8>>),
    /// Somebody who wants to know.
    Question(std::sync::mpsc::SyncSender<(Vec<u8>, Source, Origin)>),
}

/// A question for the outside.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) waiter: Waiter,
    pub(crate) ask: Box<Ask>,
    /// When the client's query came.
    pub(crate) since: Instant,
}

/// What all who answer share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) clock: Clock,
    pub(crate) askers: Askers,
    pub(crate) counts: Arc<Counts>,
    pub(crate) asks: mpsc::Sender<Asked>,
    pub(crate) watch: Arc<Watch>,
}

/// The sockets that are served, each until it is taken away.
pub(crate) struct Serving {
    common: Common,
    tasks: Tasks,
    listening: mpsc::Sender<Listening>,
    running: Mutex<BTreeMap<SocketId, Served>>,
}

struct Served {
    socket: Socket,
    end: End,
}

/// How one that serves a socket is ended.
enum End {
    Datagrams(Arc<Switch>),
    Listener(CancellationToken),
}

/// What one that serves datagrams shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Serve.
    Serve = 0,
    /// Answer what waits, and end: nobody else will.
    Drain = 1,
    /// End: another process answers what waits.
    End = 2,
}

/// Tells a thread what to do, and wakes it.
#[derive(Debug)]
pub(crate) struct Switch {
    mode: AtomicU8,
    wake: OwnedFd,
}

impl Switch {
    fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self {
            mode: AtomicU8::new(Mode::Serve as u8),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    fn turn(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
        // It can't be full: it is written once or twice.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Serve,
            1 => Mode::Drain,
            _ => Mode::End,
        }
    }
}

impl Serving {
    /// Nothing is served yet. Listeners of TCP go to `listening`.
    pub(crate) fn new(common: Common, tasks: Tasks, listening: mpsc::Sender<Listening>) -> Self {
        Self { common, tasks, listening, running: Mutex::default() }
    }

    /// The sockets that are served now.
    pub(crate) fn sockets(&self) -> Vec<Socket> {
        self.lock().values().map(|served| served.socket.clone()).collect()
    }

    /// Serves these sockets from now on and no others: new ones first, then those of before answer what waits and end.
    pub(crate) fn serve(
        &self,
        sockets: Vec<Socket>,
        names: &Names,
        chance: &mut StdRng,
    ) -> Result<(), Error> {
        let mut running = self.lock();
        let mut wanted = BTreeMap::new();
        for socket in sockets {
            let id = socket.id().map_err(|error| broken(&error))?;
            wanted.insert(id, socket);
        }
        for (id, socket) in &wanted {
            if !running.contains_key(id) {
                let reader = names.reader(clock::number(chance));
                running.insert(*id, self.begin(socket.clone(), reader)?);
            }
        }
        running.retain(|id, served| {
            let keep = wanted.contains_key(id);
            if !keep {
                served.end(Mode::Drain);
            }
            keep
        });
        Ok(())
    }

    /// Ends all: others who hold the sockets answer what waits in them.
    pub(crate) fn end(&self) {
        for served in std::mem::take(&mut *self.lock()).values() {
            served.end(Mode::End);
        }
    }

    fn begin(&self, socket: Socket, reader: Reader) -> Result<Served, Error> {
        let end = if socket.stream {
            let stop = CancellationToken::new();
            let listening = Listening { socket: socket.clone(), reader, stop: stop.clone() };
            // It has room for all sockets; whoever takes them ends after all who serve.
            let _ = self.listening.try_send(listening);
            End::Listener(stop)
        } else {
            let switch = Arc::new(Switch::new().map_err(|error| broken(&error))?);
            let (common, served, turned) = (self.common.clone(), socket.clone(), Arc::clone(&switch));
            let name = format!("udp {}", socket.address);
            self.tasks.spawn_thread(name, move || {
                udp::serve(&served, reader, &common, &turned);
                Ok(())
            })?;
            End::Datagrams(switch)
        };
        Ok(Served { socket, end })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketId, Served>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    fn end(&self, mode: Mode) {
        match &self.end {
            End::Datagrams(switch) => switch.turn(mode),
            End::Listener(stop) => stop.cancel(),
        }
    }
}

fn broken(error: &std::io::Error) -> Error {
    Error::new(&INTERNAL, "a socket for names can't be served").because(error)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
