//! The process as a whole: sockets first, then capabilities away, then threads; and its orderly end.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    time::{Duration, Instant},
};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use tokio::sync::mpsc;
use weft_errors::{Coded, Error as Envelope};
use weft_model::{ownership, resolver_addresses};
use weft_names::Limits;
use weft_process::{Signals, Tasks};
use weft_view::Touched;

use crate::{
    Error,
    askers::Askers,
    clock::{self, Clock},
    count::Counts,
    limits,
    link::{self, Link, Session},
    resolv_conf::HostServers,
    serve::{self, Common, Connections, Serving},
    sockets::{self, Socket},
    tables::{self, Tables},
};

/// Where the process finds its things.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's socket.
    pub agent: PathBuf,
    /// Its directory.
    pub state: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { agent: ownership::run::DNS_SOCKET.into(), state: ownership::state::DNS_DIR.into() }
    }
}

/// Runs until a signal, or until another process has taken over. To be called while the process has one thread.
pub fn run(options: &Options) -> Result<(), Envelope> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let internal = |what: &'static str| {
        move |error: std::io::Error| Envelope::new(&weft_errors::INTERNAL, what).because(error)
    };
    let runtime = runtime.map_err(internal("the runtime can't be started"))?;
    // From here on a signal ends the process in order, whatever it waits for.
    let signals = {
        let _inside = runtime.enter();
        Signals::catch().map_err(internal("signals can't be received"))?
    };
    weft_process::private_dir(&options.state).map_err(|error| Error::Directory(error).envelope())?;
    let file = options.state.join("tables");
    let (tables, touched) = match tables::load(&file) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "starting without tables");
            Default::default()
        }
    };
    runtime.block_on(begin(options, &file, tables, touched, signals))
}

/// Sockets first, and then without capabilities.
async fn begin(
    options: &Options,
    file: &Path,
    tables: Tables,
    touched: Touched,
    mut signals: Signals,
) -> Result<(), Envelope> {
    let Some(start) = sockets_at_start(options, &tables, &mut signals).await else { return Ok(()) };
    give_up_capabilities().map_err(|error| Error::Capabilities(error).envelope())?;
    work(options, file, tables, touched, start, signals).await
}

/// What there is at the start.
struct Start {
    session: Option<Session>,
    sockets: Vec<Socket>,
}

/// The agent's sockets; when it is away or says nothing, sockets of our own at the addresses that the tables know. Waits for an
/// agent while there are no tables. `None`: a signal came first.
async fn sockets_at_start(options: &Options, tables: &Tables, signals: &mut Signals) -> Option<Start> {
    let addresses: Vec<_> =
        tables.view.fabric().map(|fabric| resolver_addresses(fabric).collect()).unwrap_or_default();
    let mut noted = false;
    loop {
        let mut session = Session::open(&options.agent, &[]).ok();
        let given = session.as_mut().map(|session| session.sockets(limits::SOCKETS_WAIT));
        match given {
            Some(Ok(Some(sockets))) => return Some(Start { session, sockets }),
            Some(Ok(None)) => {}
            Some(Err(_)) | None => session = None,
        }
        if !addresses.is_empty() {
            let sockets = bind_all(&addresses);
            if !sockets.is_empty() {
                tracing::info!(
                    sockets = sockets.len(),
                    "the agent isn't there: sockets of our own are served"
                );
                return Some(Start { session, sockets });
            }
        }
        if !noted {
            tracing::info!("waiting for the agent");
            noted = true;
        }
        if tokio::time::timeout(limits::RECONNECT, signals.stop()).await.is_ok() {
            return None;
        }
    }
}

fn bind_all(addresses: &[std::net::IpAddr]) -> Vec<Socket> {
    let mut all = Vec::new();
    for address in addresses.iter().take(sockets::MOST_ADDRESSES) {
        match sockets::bind(*address) {
            Ok(sockets) => all.extend(sockets),
            Err(error) => tracing::warn!(%error, %address, "names can't be served there"),
        }
    }
    all
}

/// Nothing but the sockets is needed from here on. Threads that are made later have none either.
fn give_up_capabilities() -> std::io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

async fn work(
    options: &Options,
    file: &Path,
    tables: Tables,
    touched: Touched,
    start: Start,
    mut signals: Signals,
) -> Result<(), Envelope> {
    let tasks = Tasks::new();
    let (clock, mut chance) = (Clock::new(), clock::chance()?);
    let (names, forwarder) = weft_names::open(clock::number(&mut chance), Limits::default());
    let (asks, asked) = mpsc::channel(limits::ASKS);
    let (orders, ordered) = mpsc::channel(8);
    let (listening, listeners) = mpsc::channel(limits::SOCKETS);
    let (saver, saved) = sync_channel(1);
    let common = Common {
        clock,
        askers: Askers::default(),
        counts: Arc::new(Counts::default()),
        asks,
        watch: Arc::default(),
    };
    let connections = Connections::default();
    let serving = Arc::new(Serving::new(common.clone(), tasks.clone(), listening));
    let open = Arc::default();
    let reader = names.reader(clock::number(&mut chance));
    let leave = tasks.token();
    let mut link = Link {
        path: options.agent.clone(),
        names,
        tables,
        common: common.clone(),
        serving: Arc::clone(&serving),
        orders,
        hosts: HostServers::read(),
        chance: clock::chance()?,
        saver,
        save_at: None,
        saved_at: None,
        tidy_at: Some(Instant::now() + limits::TIDY_AFTER),
        problems: Vec::new(),
        reader,
        stop: tasks.token(),
        leave: leave.clone(),
        open: Arc::clone(&open),
        is_told: false,
    };
    link.fold(&touched);
    let session = start.session.and_then(|session| link.catch_up(session));
    link.serve(start.sockets)?;
    tasks.spawn(
        "outside",
        serve::ask_outside(
            forwarder,
            common.clone(),
            asked,
            ordered,
            connections.clone(),
            chance,
            tasks.token(),
        ),
    );
    tasks.spawn("tcp", connections.serve(common, listeners, tasks.token()));
    tasks.spawn("watchdog", weft_process::watchdog_loop(tasks.token(), || true));
    let path = file.to_owned();
    tasks.spawn_thread("save", move || {
        link::keep(&path, &saved);
        Ok(())
    })?;
    let path = file.to_owned();
    tasks.spawn_thread("link", move || match link.run(session)? {
        Some(tables) => tables::save(&path, &tables),
        None => Ok(()),
    })?;
    tasks.spawn("end", end(tasks.clone(), leave, serving, open));
    weft_process::notify_ready();
    tasks.run_until(signals.stop()).await.failure.map_or(Ok(()), Err)
}

/// Ends those who wait for something else than the token.
async fn end(
    tasks: Tasks,
    leave: tokio_util::sync::CancellationToken,
    serving: Arc<Serving>,
    open: Arc<Mutex<Option<std::os::unix::net::UnixStream>>>,
) {
    leave.cancelled().await;
    let began = Instant::now();
    serving.end();
    tasks.stop();
    if let Some(stream) = open.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Whoever reads from it hears the end.
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    tracing::debug!(took = ?began.elapsed().max(Duration::ZERO), "told everybody to end");
}
