//! The connection to the agent: what it sends is taken up here, and it is told how things are.
//!
//! One thread owns the View, the writer of the zone and the pods. Without an agent it goes on with what it has.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_errors::Error;
use weft_model::{ItemKey, Revision};
use weft_names::{ForwardConfig, Names, Problem, Reader};
use weft_proto::{
    convert::{Frame, ShapeError, address_from_wire},
    v1::{self, names_order::Order as Wire, names_word::Word},
};
use weft_view::{Touched, Update, View};

use crate::{
    frame::{self, Frames, Received},
    limits, problem, question,
    resolv_conf::HostServers,
    serve::{Common, Order, Serving},
    sockets::{self, Socket},
    tables::{self, Tables},
};

/// A connection on which the first word has been said.
#[derive(Debug)]
pub(crate) struct Session {
    stream: UnixStream,
    frames: Frames,
}

impl Session {
    /// Connects and says who speaks and which sockets it holds.
    pub(crate) fn open(path: &Path, held: &[Socket]) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let hello = v1::NamesHello {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets: Some(sockets::to_wire(held)),
        };
        let descriptors: Vec<_> = held.iter().map(AsFd::as_fd).collect();
        frame::send(&stream, &word(Word::Hello(hello)), &descriptors)?;
        let frames = Frames::new(stream.try_clone()?);
        Ok(Self { stream, frames })
    }

    /// The sockets that the agent gives as its first word; `None` when it says nothing in time.
    pub(crate) fn sockets(&mut self, wait: Duration) -> io::Result<Option<Vec<Socket>>> {
        match self.frames.receive::<v1::NamesOrder>(wait)? {
            Received::Frame(v1::NamesOrder { order: Some(Wire::Sockets(given)) }, descriptors) => {
                sockets::from_wire(given, descriptors).map(Some).map_err(misshapen)
            }
            Received::Frame(..) => Err(io::Error::new(io::ErrorKind::InvalidData, "sockets come first")),
            Received::Nothing => Ok(None),
            Received::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn word(word: Word) -> v1::NamesWord {
    v1::NamesWord { word: Some(word) }
}

fn misshapen(error: ShapeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Everything that the thread works with.
pub(crate) struct Link {
    pub(crate) path: PathBuf,
    pub(crate) names: Names,
    pub(crate) tables: Tables,
    pub(crate) common: Common,
    pub(crate) serving: Arc<Serving>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) hosts: HostServers,
    pub(crate) chance: StdRng,
    pub(crate) saver: SyncSender<Tables>,
    pub(crate) save_at: Option<Instant>,
    pub(crate) saved_at: Option<Instant>,
    /// When memory that is free goes back to the system: everything was taken in anew, which needed much of it.
    pub(crate) tidy_at: Option<Instant>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) reader: Reader,
    pub(crate) stop: CancellationToken,
    pub(crate) leave: CancellationToken,
    /// The connection of now, so that it can be cut.
    pub(crate) open: Arc<Mutex<Option<UnixStream>>>,
    /// The agent has told all that it knew.
    pub(crate) is_told: bool,
}

impl Link {
    /// Works until the process stops; gives back the tables when they aren't on disk as they are.
    pub(crate) fn run(mut self, first: Option<Session>) -> Result<Option<Tables>, Error> {
        let mut next = first;
        while !self.stop.is_cancelled() {
            let session = match next.take() {
                Some(session) => Ok(session),
                None => Session::open(&self.path, &self.serving.sockets()),
            };
            match session.and_then(|session| self.follow(session)) {
                Ok(()) => tracing::info!("the agent has hung up: names are served as they are known"),
                Err(error) => tracing::debug!(%error, "the agent isn't there"),
            }
            // It was the one who watched.
            self.common.watch.turn_off();
            self.maintain();
            let stopped = || self.stop.is_cancelled().then_some(());
            // Time passing is the expected end here.
            let _ = weft_process::wait::until_blocking(limits::RECONNECT, "stop", stopped);
        }
        Ok(self.save_at.map(|_| self.tables))
    }

    /// Takes up what an agent that is there tells at once, before anybody is answered: tables of the disk may be older than what
    /// clients have been told. Who asks meanwhile waits in the sockets, and not for long.
    pub(crate) fn catch_up(&mut self, mut session: Session) -> Option<Session> {
        let (began, mut most) = (Instant::now(), limits::FIRST_WORD);
        while !self.is_told {
            let left = most.saturating_sub(began.elapsed());
            if left.is_zero() {
                tracing::info!("the agent hasn't told everything yet: names are served as the disk had them");
                break;
            }
            let heard = match session.frames.receive::<v1::NamesOrder>(left) {
                Ok(Received::Frame(v1::NamesOrder { order: Some(order) }, descriptors)) => {
                    most = limits::CATCH_UP;
                    self.order(order, descriptors, &session.stream).map(drop)
                }
                Ok(Received::Frame(v1::NamesOrder { order: None }, _) | Received::Nothing) => Ok(()),
                Ok(Received::End) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                tracing::debug!(%error, "the agent went while it told what it knows");
                return None;
            }
        }
        Some(session)
    }

    fn follow(&mut self, mut session: Session) -> io::Result<()> {
        let kept = session.stream.try_clone()?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        tracing::info!(revision = self.tables.view.revision().0, "following the agent");
        let mut tell_at = Instant::now();
        while !self.stop.is_cancelled() {
            self.maintain();
            if Instant::now() >= tell_at {
                self.tell(&session.stream)?;
                tell_at = Instant::now() + limits::STATE_EVERY;
            }
            let mut wait = tell_at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if self.common.watch.is_on() {
                if let Some(queries) = self.common.watch.told() {
                    frame::send(&session.stream, &word(Word::Queries(queries)), &[])?;
                }
                wait = wait.min(limits::WATCHED_EVERY);
            }
            match session.frames.receive::<v1::NamesOrder>(wait)? {
                Received::End => return Ok(()),
                Received::Nothing => {}
                Received::Frame(v1::NamesOrder { order: None }, _) => {}
                Received::Frame(v1::NamesOrder { order: Some(order) }, descriptors) => {
                    if self.order(order, descriptors, &session.stream)? {
                        tell_at = Instant::now();
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes up an order; whether the agent is to hear of it.
    fn order(
        &mut self,
        order: Wire,
        with: Vec<std::os::fd::OwnedFd>,
        stream: &UnixStream,
    ) -> io::Result<bool> {
        match order {
            Wire::Sockets(given) => {
                let sockets = sockets::from_wire(given, with).map_err(misshapen)?;
                self.serve(sockets).map_err(io::Error::other)?;
                Ok(true)
            }
            Wire::Items(items) => self.items(items.try_into().map_err(misshapen)?),
            Wire::Pods(pods) => {
                self.tables.pods.change(pods).map_err(misshapen)?;
                self.put_askers();
                self.must_save();
                Ok(false)
            }
            Wire::Question(question) => {
                let revision = self.tables.view.revision().0;
                question::answer(&question, stream.try_clone()?, &self.common, &mut self.reader, revision);
                Ok(false)
            }
            Wire::Watch(watch) => {
                let addresses = watch.addresses.iter().map(|address| address_from_wire(address));
                let addresses = addresses.collect::<Result<_, _>>().map_err(misshapen)?;
                match watch.off {
                    true => self.common.watch.turn_off(),
                    false => self.common.watch.turn_on(addresses),
                }
                Ok(false)
            }
            Wire::Leave(v1::NamesLeave {}) => {
                tracing::info!("another process has taken over");
                self.leave.cancel();
                Ok(false)
            }
        }
    }

    /// Serves these sockets from now on.
    pub(crate) fn serve(&mut self, sockets: Vec<Socket>) -> Result<(), Error> {
        self.serving.serve(sockets, &self.names, &mut self.chance)
    }

    fn items(&mut self, frame: Frame) -> io::Result<bool> {
        self.is_told |= matches!(&frame, Frame::Snapshot { last: true, .. } | Frame::InSync(_));
        let view = &mut self.tables.view;
        let folded = match frame {
            Frame::Snapshot { revision, first, last, items } => {
                // The agent's word counts, also where this process has seen more: another cluster, or an older disk.
                if first && view.revision() > revision {
                    *view = View::restored(Revision(0), view.items().collect::<Vec<_>>());
                }
                if last {
                    self.tidy_at = Some(Instant::now() + limits::TIDY_AFTER);
                }
                let items = items.into_iter().map(tables::slim).collect();
                view.fold(Update::SnapshotPart { revision, first, last, items })
            }
            Frame::InSync(revision) => view.fold(Update::InSync { revision }),
            Frame::Delta { revision, upserts, deletes } => {
                view.amend(revision, upserts.into_iter().map(tables::slim).collect(), deletes)
            }
            Frame::Ask(_) => return Ok(false),
        };
        let touched = folded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.fold(&touched);
        self.must_save();
        Ok(true)
    }

    /// Takes what was touched into the zone, and everything that depends on settings.
    pub(crate) fn fold(&mut self, touched: &Touched) {
        if touched.keys.is_empty() {
            return;
        }
        self.names.fold(&self.tables.view, touched);
        if touched.keys.contains(&ItemKey::Fabric) {
            self.put_askers();
            self.configure();
        }
    }

    /// Who is asked about foreign names.
    fn configure(&mut self) {
        let Some(fabric) = self.tables.view.fabric() else { return };
        let (config, problems) = ForwardConfig::new(fabric, self.hosts.list());
        if problems != self.problems {
            for problem in &problems {
                tracing::warn!(%problem, "a setting of names is left out");
            }
            self.problems = problems;
        }
        // Full only while the thread that asks hangs; then a later one comes through.
        if let Err(error) = self.orders.try_send(Order::Configure(config)) {
            tracing::warn!(%error, "upstreams stay as they were");
        }
    }

    fn put_askers(&self) {
        let domain = self.tables.view.fabric().map_or("", |fabric| fabric.domain.as_str());
        self.common.askers.put(&self.tables.pods, domain);
    }

    fn must_save(&mut self) {
        if self.save_at.is_none() && self.tables.view.fabric().is_some() {
            let rested = self.saved_at.map(|saved| saved + limits::SAVE_EVERY);
            self.save_at = rested.max(Some(Instant::now() + limits::SAVE_FIRST));
        }
    }

    /// What is done from time to time.
    fn maintain(&mut self) {
        let now = Instant::now();
        if self.hosts.refresh(now) {
            tracing::info!(servers = ?self.hosts.list(), "the node's own servers of names");
            self.configure();
        }
        if self.tidy_at.is_some_and(|at| now >= at) {
            weft_kernel::give_memory_back();
            self.tidy_at = None;
        }
        if self.save_at.is_some_and(|at| now >= at) {
            match self.saver.try_send(self.tables.clone()) {
                Ok(()) => (self.save_at, self.saved_at) = (None, Some(now)),
                // The last one is still being written.
                Err(_) => self.save_at = Some(now + limits::SAVE_FIRST),
            }
        }
    }

    fn tell(&self, stream: &UnixStream) -> io::Result<()> {
        let state = v1::NamesState {
            revision: self.tables.view.revision().0,
            serving: !self.serving.sockets().is_empty(),
            problems: self.problems.iter().map(ToString::to_string).collect(),
            troubles: self.problems.iter().map(problem::to_wire).collect(),
            ..self.common.counts.state()
        };
        frame::send(stream, &word(Word::State(state)), &[])
    }
}

/// Writes tables that come, until nobody sends any.
pub(crate) fn keep(path: &Path, tables: &std::sync::mpsc::Receiver<Tables>) {
    while let Ok(tables) = tables.recv() {
        if let Err(error) = tables::save(path, &tables) {
            tracing::warn!(%error, "the tables of names aren't saved");
        }
    }
}
