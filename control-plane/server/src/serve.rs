//! Puts a replica together and serves it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error, FILE_UNREADABLE, INTERNAL, OTHER_CLUSTER, REPLICA_REMOVED, STORE_CORRUPT};
use weft_model::{Part, ReplicaId};
use weft_process::Tasks;
use weft_raft::{Replica, ReplicaConfig};
use weft_rpc::{Identity, Limits, Services, SharedIdentity};
use weft_store::{DataDir, Disk, EngineLog, LogStore, SledState, StateHealth, StateStore};
use weft_trust::Authority;

use crate::{
    admin::AdminService,
    ask::Asks,
    codec::codec,
    context::{Context, random, wall_time},
    events::Events,
    handle::ReplicaHandle,
    inbox::{Senders, channels},
    join::JoinService,
    limits::ACCEPT_QUEUE,
    owners::{Ours, keep_assigned},
    pace::Pace,
    peers::{Peers, Place},
    pulses::{PulseBoard, pass_on},
    raft_log::logger,
    raft_service::RaftService,
    renewal::{identity_files, keep_renewed, renew},
    replica::{self, Completions, Parts, Removed, view_of},
    room::{Room, keep_looking},
    silence,
    sync::{Fanout, SyncService},
};

/// How to serve a replica.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Its data directory, made by `weftd init` or `weftd join`.
    pub data_dir: PathBuf,
    /// Raft's clock.
    pub pace: Pace,
    /// What the listener bears.
    pub limits: Limits,
}

/// A replica that serves.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Where.
    pub listen: SocketAddr,
    /// Which.
    pub id: ReplicaId,
    turns: Arc<AtomicU64>,
}

impl Serving {
    /// Turns of the replica task so far: it stands still only when the task hangs.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

/// Starts everything on a tree of tasks. Stopping the tree hands leadership over and writes what waits.
///
/// Fails when the directory can't be used (`NOT_INITIALIZED`, `STORE_LOCKED`, `LOG_LOST`, `OTHER_CLUSTER`, …), or the
/// address can't be listened on.
pub async fn serve(options: ServerOptions, tasks: &Tasks) -> Result<Serving, Error> {
    let ServerOptions { data_dir, pace, limits } = options;
    let path = data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Opened::open(&path, pace)).await;
    let opened =
        opened.map_err(|e| Error::new(&INTERNAL, "opening the data directory panicked").because(e))??;
    let who = opened.directory.identity().clone();
    let listener = listen(who.listen)?;
    let (identity, authority) = (opened.identity.clone(), Arc::clone(&opened.authority));

    let (senders, inbox) = channels();
    let peers = Peers::new(who.id, identity.clone(), tasks.clone(), senders.events.clone());
    peers.follow(who.peers.iter().map(|peer| Place { id: peer.id, name: None, address: peer.address }));
    let room = Room::new(who.name.clone());
    let (view, views) = watch::channel(view_of(who.id, &opened.replica));
    let events = Arc::new(Events::default());
    events.begin(opened.replica.state());
    let context = Arc::new(Context {
        handle: ReplicaHandle::new(senders.clone(), views, peers.clone(), room.clone()),
        peers: peers.clone(),
        fanout: Arc::new(Fanout::new(opened.replica.state().meta().revision)),
        reports: Arc::default(),
        events: Arc::clone(&events),
        pulses: PulseBoard::new(who.id),
        asks: Asks::default(),
        authority: Arc::clone(&authority),
        id: who.id,
        name: who.name.clone(),
        listen: who.listen,
    });
    let (removed, ended, turns) = (Removed::default(), CancellationToken::new(), Arc::<AtomicU64>::default());
    let services = services(&context, &senders, &removed, &ended)?;

    let completions = Arc::new(Completions::default());
    let Opened { directory, replica, log, states, .. } = opened;
    tasks.spawn("room", keep_looking(directory.reserve(), room, tasks.token()));
    let report = Arc::clone(&completions);
    let disk = Disk::start(log, states, move |done| report.report(done)).map_err(|e| e.envelope())?;
    let parts = Parts {
        id: who.id,
        replica,
        disk,
        completions,
        inbox,
        peers,
        fanout: Arc::clone(&context.fanout),
        reports: Arc::clone(&context.reports),
        events,
        removed,
        view,
        pace,
        turns: Arc::clone(&turns),
        stop: tasks.token(),
    };
    // The listener stops only after the replica has handed over and its streams have ended.
    let end = ended.clone().drop_guard();
    tasks.spawn_thread("weft-replica", move || {
        // The lock of the directory is held for as long as anything writes.
        let _held = (directory, end);
        replica::run(parts)
    })?;
    let shared = identity.clone();
    tasks.spawn_vital("grpc", async move {
        weft_rpc::serve(listener, shared, services, limits, ended).await.map_err(|e| e.envelope())
    });
    tasks.spawn("owners", keep_assigned(Ours::new(Arc::clone(&context))?, tasks.token()));
    let listening = silence::Ours::new(Arc::clone(&context))?;
    tasks.spawn("silence", silence::keep_listening(listening, tasks.token()));
    tasks.spawn("pulses", pass_on(Arc::clone(&context), tasks.token()));
    tasks.spawn("renewal", keep_renewed(identity, authority, data_dir, tasks.token()));
    tracing::info!(replica = %who.name, id = who.id.0, listen = %who.listen, cluster = %who.cluster, "serving");
    Ok(Serving { listen: who.listen, id: who.id, turns })
}

/// All services of a replica, with health and reflection.
fn services(
    context: &Arc<Context>,
    senders: &Senders,
    removed: &Removed,
    ended: &CancellationToken,
) -> Result<Services, Error> {
    let raft = RaftService::new(Arc::clone(context), senders.events.clone(), removed.clone(), ended.clone());
    let (services, _) = Services::new()
        .admin(AdminService::new(Arc::clone(context)))
        .join(JoinService::new(Arc::clone(context)))
        .sync(SyncService::new(Arc::clone(context), ended.clone()))
        .raft(raft)
        .health_and_reflection()
        .map_err(|e| e.envelope())?;
    Ok(services)
}

/// What a data directory holds, ready to run.
struct Opened {
    directory: DataDir,
    replica: Replica,
    log: Arc<EngineLog>,
    states: Arc<SledState>,
    identity: SharedIdentity,
    authority: Arc<Authority>,
}

impl Opened {
    fn open(path: &Path, pace: Pace) -> Result<Self, Error> {
        let directory = DataDir::open(path).map_err(|e| e.envelope())?;
        let authority = Arc::new(Authority::load(path).map_err(|e| e.envelope())?);
        let identity = own_identity(path, &directory, &authority)?;
        let log = Arc::new(directory.open_log().map_err(|e| e.envelope())?);
        let (states, health) = directory.open_states().map_err(|e| e.envelope())?;
        if let StateHealth::Rebuilt { why, aside } = health {
            tracing::warn!(why, aside = %aside.display(), "the applied state was damaged, rebuilding it from the log");
        }
        let states = Arc::new(states);
        let replica = replica_of(&directory, log.as_ref(), states.as_ref(), pace).map_err(|error| {
            // The replica knows no files; what it read is in this directory.
            if error.object.is_none() { error.object("directory", "", path.display()) } else { error }
        })?;
        Ok(Self { directory, replica, log, states, identity, authority })
    }
}

fn replica_of(
    directory: &DataDir,
    log: &dyn LogStore,
    states: &dyn StateStore,
    pace: Pace,
) -> Result<Replica, Error> {
    let who = directory.identity();
    let restored = weft_store::restore(log, states).map_err(|e| e.envelope())?;
    let config = ReplicaConfig {
        known: who.peers.iter().map(|peer| peer.id).collect(),
        logger: logger(),
        ..ReplicaConfig::new(who.id, who.cluster, u64::from_le_bytes(random()?), pace.timing())
    };
    let replica = Replica::new(config, restored, codec()).map_err(|e| e.envelope())?;
    let members = replica.state().members();
    if !members.is_empty() && !members.contains_key(&who.id) {
        let error =
            Error::new(&REPLICA_REMOVED, format!("replica {} was removed from the cluster", who.name));
        return Err(error.object("member", "", &who.name));
    }
    Ok(replica)
}

/// The certificate and key of the directory: of this replica, by this authority, and not out of its time.
fn own_identity(path: &Path, directory: &DataDir, authority: &Authority) -> Result<SharedIdentity, Error> {
    let who = directory.identity();
    let files = identity_files(path);
    let identity = Identity::load(&files).map_err(|e| e.envelope())?;
    let holder = identity.holder();
    if holder.cluster != who.cluster {
        let what =
            format!("the certificate is of cluster {}, the directory of {}", holder.cluster, who.cluster);
        return Err(Error::new(&OTHER_CLUSTER, what).object("file", "", files.certificate.display()));
    }
    if identity.authority_hash() != Some(authority.hash()) {
        let what = format!(
            "the authority in the directory, {}, hasn't issued the replica's certificate",
            authority.hash()
        );
        return Err(Error::new(&OTHER_CLUSTER, what).object("directory", "", path.join("ca").display()));
    }
    let ours = matches!(&holder.part, Part::Replica { id, .. } if *id == who.id);
    if !ours {
        let what = format!("the certificate is of {holder}, the directory of replica {}", who.id);
        return Err(Error::new(&STORE_CORRUPT, what).object("file", "", files.certificate.display()));
    }
    let late = wall_time() >= identity.expires();
    let shared = SharedIdentity::new(identity);
    if late {
        // The machine was off for longer than a certificate lives.
        renew(&shared, authority, &files)?;
    }
    Ok(shared)
}

/// Listens at an address; a replica that just ended may still have connections there.
fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(ACCEPT_QUEUE)
    };
    open().map_err(|e| {
        Error::new(&FILE_UNREADABLE, format!("{address} can't be listened on"))
            .object("address", "", address)
            .because(e)
            .try_this("stop what serves there, or give the machine this address", "")
    })
}
