//! `weft-agent run`: reads the disk, looks at the kernel, starts every loop, and serves.

use std::{collections::BTreeMap, fs, os::unix::net::UnixStream, path::Path, sync::Arc, time::Instant};

use tokio::sync::mpsc;
use weft_errors::{Coded, Error};
use weft_kernel::{LinkExecutor, RouteExecutor};
use weft_mesh::{Mesh, MeshOptions};
use weft_model::{
    Family,
    ownership::run::{PODS_DIR, SETUP_DIR},
};
use weft_plan::{Facts, Link, Route};
use weft_process::Tasks;
use weft_rpc::{Channel, Limits, Services, SharedIdentity};
use weft_view::View;

use crate::{
    addresses::{Addresses, JournalFile, Opened},
    announce, ask,
    attach::{self, Engine},
    clock,
    config::Config,
    conflist, control, drain, drops, flows, follow, host, identity,
    inbox::{Wish, Work},
    ip_netns, join, lease, limits,
    local::LocalService,
    lock::Lock,
    names,
    node::{Node, Parts, local_pod},
    notes::Notes,
    path_mtu,
    paths::Paths,
    ports, publisher, pulse, readiness,
    reconcile::{GuardLoop, MeshLoop, PolicyLoop, ServiceLoop, SubjectLoop, mesh_device},
    recover, renew, report, revive, settings,
    setup::Setups,
    states::Subsystem,
    view_file,
    view_log::{self, ViewLog},
};

/// Runs until a signal or a failure that makes going on useless.
pub(crate) async fn run(paths: Paths, config: Config) -> Result<(), Error> {
    let started = start(&paths, &config)?;
    let tasks = Tasks::new();
    let Started { node, file, identity, membership, mesh, view_log, _lock } = started;
    let engine = Arc::new(Engine::new(Arc::clone(&node), Notes::new(PODS_DIR), Setups::new(SETUP_DIR)));
    start_journal(&tasks, &node, file)?;
    start_loops(&tasks, &node, &engine, &config, mesh)?;
    let channel = start_clients(&tasks, &engine, &paths, &config, &identity, (membership, view_log))?;
    start_servers(&tasks, &engine, &paths, channel)?;
    stop_threads(&tasks, &node, &paths);
    let stopped = tasks.run().await;
    match stopped.failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What was found on the disk and the host.
struct Started {
    node: Arc<Node>,
    file: JournalFile,
    identity: SharedIdentity,
    membership: identity::Membership,
    mesh: Mesh,
    view_log: ViewLog,
    _lock: Lock,
}

fn start(paths: &Paths, config: &Config) -> Result<Started, Error> {
    let loaded = identity::load(paths)?;
    let lock = Lock::take(paths)?;
    let (view, view_log) = load_view(paths);
    if let Some(fabric) = view.fabric() {
        join::check_primary_of(config.primary, fabric.families.primary())?;
    }
    let key = identity::wireguard_key(paths)?;
    let mesh_key = weft_mesh::public_key(&key);
    let options = MeshOptions { device: mesh_device().to_owned(), private_key: key, backend: config.backend };
    let mesh = Mesh::open(options).map_err(|e| e.envelope())?;
    let Opened { addresses, file, damage, rebooted } =
        Addresses::open(&paths.journal(), clock::boot_id(), clock::uptime())?;
    if let Some(error) = &damage {
        tracing::error!(%error, "the allocation journal was damaged");
    }
    // A journal that knows of no pod may be one that somebody deleted: the kernel has the last word within one boot.
    let knows_nobody = !rebooted && addresses.read(|ledger| ledger.holdings().next().is_none());
    if damage.is_some() || knows_nobody {
        let primary = view.fabric().map_or(Family::V4, |fabric| fabric.families.primary());
        recover::adopt_from_kernel(&addresses, primary, &Notes::new(PODS_DIR))?;
    }
    if rebooted {
        tracing::info!("the machine has started anew: the pods of before are gone, their addresses rest");
        ip_netns::purge(&mut Vec::new());
    }
    let facts = first_facts(&loaded.name, &addresses);
    let parts = Parts { name: loaded.name, addresses, view, facts, mesh_key };
    let node = Arc::new(Node::new(parts));
    if let Err(error) = host::refresh(&node, &config.underlay) {
        tracing::warn!(%error, "the host can't be read as it should be");
    }
    settings::remember(&node, &paths.settings())?;
    tracing::info!(node = %node.name, revision = node.view().revision().0, pods = node.facts().pods.len(), "starting");
    Ok(Started {
        node,
        file,
        identity: SharedIdentity::new(loaded.identity),
        membership: loaded.membership,
        mesh,
        view_log,
        _lock: lock,
    })
}

/// The View as the last agent knew it, also one that was killed; its log begins anew.
fn load_view(paths: &Paths) -> (View, ViewLog) {
    let mut view = view_file::load(&paths.view()).unwrap_or_else(|error| {
        tracing::warn!(%error, "starting without a view");
        View::default()
    });
    if view_log::replay(paths, &mut view)
        && let Err(error) = view_file::save(&paths.view(), &view)
    {
        tracing::warn!(%error, "the view can't be written to disk");
    }
    let log = ViewLog::begin(paths, view.revision());
    (view, log)
}

fn first_facts(name: &weft_model::NodeName, addresses: &Addresses) -> Facts {
    let mut facts = Facts::new(name.clone());
    facts.features = weft_kernel::detect_features();
    facts.mesh = weft_kernel::read_mesh_devices().unwrap_or_default();
    facts.pods = addresses.read(|ledger| {
        ledger.holdings().filter(|h| h.attached).map(|h| (h.uid, local_pod(h))).collect::<BTreeMap<_, _>>()
    });
    facts.pods_read = true;
    facts
}

fn start_journal(tasks: &Tasks, node: &Arc<Node>, file: JournalFile) -> Result<(), Error> {
    let node = Arc::clone(node);
    tasks.spawn_thread("journal", move || node.addresses.write_all(file))
}

fn start_loops(
    tasks: &Tasks,
    node: &Arc<Node>,
    engine: &Arc<Engine>,
    config: &Config,
    mesh: Mesh,
) -> Result<(), Error> {
    let guard = GuardLoop::open(Arc::clone(node))?;
    let monitor = guard.monitor()?;
    let shared = || Arc::clone(node);
    let (links, routes) = (shared(), shared());
    // Routes lead to links: those are made first. A node whose links can't be made still closes its ranges.
    let first_links = node.inboxes.links.poke(Wish::everything());
    tasks.spawn_thread("links", move || {
        let executor = LinkExecutor::open().map_err(|e| e.envelope())?;
        SubjectLoop::<Link, _>::new(links, Subsystem::Links, executor, revive::repair_port).run()
    })?;
    tasks.spawn_thread("routes", move || {
        routes.inboxes.links.wait(first_links, Instant::now() + limits::FIRST_LINKS);
        let executor = RouteExecutor::open().map_err(|e| e.envelope())?;
        SubjectLoop::<Route, _>::new(routes, Subsystem::Routes, executor, |_, _| false).run()
    })?;
    let (served, socket, socket_of_answers) = (shared(), guard.socket()?, guard.socket()?);
    let (policed, socket_of_policies) = (shared(), guard.socket()?);
    tasks.spawn_thread("policy", move || PolicyLoop::new(policed, socket_of_policies).run())?;
    tasks.spawn_thread("nft", move || guard.run())?;
    tasks.spawn_thread("services", move || ServiceLoop::new(served, socket).run())?;
    let announcing = shared();
    tasks.spawn_thread("announce", move || announce::run(&announcing, socket_of_answers))?;
    let forgetting = shared();
    tasks.spawn_thread("flows", move || flows::forget_addresses(&forgetting))?;
    let meshed = shared();
    tasks.spawn_thread("mesh", move || MeshLoop::new(meshed, mesh).run())?;
    let (watched, stop) = (shared(), tasks.token());
    tasks.spawn_thread("monitor", move || host::watch_kernel(&watched, &stop))?;
    let (watched, stop) = (shared(), tasks.token());
    tasks.spawn_thread("nft-monitor", move || host::watch_nft(&watched, monitor, &stop))?;
    let (hosted, choice) = (shared(), config.underlay.clone());
    tasks.spawn_thread("host", move || host::follow_host(&hosted, &choice))?;
    let (dropping, stop) = (shared(), tasks.token());
    tasks.spawn_thread("drops", move || drops::run(&dropping, &stop))?;
    let probed = shared();
    tasks.spawn_thread("path-mtu", move || path_mtu::run(&probed))?;
    let fed = names::Feed::new(Arc::clone(engine));
    tasks.spawn_thread("dns", move || fed.run())?;
    let reaped = Arc::clone(engine);
    tasks.spawn_thread("reap", move || reaped.reap_all())?;
    let collected = Arc::clone(engine);
    tasks.spawn_thread("collect", move || revive::collect(&collected))
}

fn start_clients(
    tasks: &Tasks,
    engine: &Arc<Engine>,
    paths: &Paths,
    config: &Config,
    identity: &SharedIdentity,
    (membership, view_log): (identity::Membership, ViewLog),
) -> Result<Channel, Error> {
    let (node, view_log) = (engine.node(), Arc::new(view_log));
    let channel: Channel =
        control::open(control::spread(membership.endpoints.clone(), &node.name), identity)?;
    let (asks, questions) = mpsc::channel(limits::ASKS);
    let follower = follow::Follower {
        node: Arc::clone(node),
        channel: channel.clone(),
        cluster: identity.current().holder().cluster,
        primary: config.primary,
        asks,
        paths: paths.clone(),
        membership,
        log: Arc::clone(&view_log),
        connected: None,
    };
    tasks.spawn("watchdog", weft_process::watchdog_loop(tasks.token(), || true));
    tasks.spawn_vital("follow", follower.run(tasks.token()));
    tasks.spawn("view", follow::keep_view(Arc::clone(node), paths.clone(), view_log, tasks.token()));
    tasks.spawn("ask", ask::answer_all(Arc::clone(engine), channel.clone(), questions, tasks.token()));
    tasks.spawn("pulse", pulse::give(Arc::clone(node), channel.clone(), tasks.token()));
    tasks.spawn("report", report::report(Arc::clone(node), channel.clone(), tasks.token()));
    let mutations = control::Mutations::new;
    tasks.spawn(
        "publish",
        publisher::publish_pods(Arc::clone(node), channel.clone(), mutations()?, tasks.token()),
    );
    tasks.spawn(
        "facts",
        publisher::publish_facts(Arc::clone(node), channel.clone(), mutations()?, tasks.token()),
    );
    tasks.spawn("ports", ports::serve(Arc::clone(node), tasks.token()));
    tasks.spawn("readiness", readiness::watch_pods(Arc::clone(node), tasks.token()));
    tasks.spawn("drain", drain::remove_drained(Arc::clone(engine), tasks.token()));
    tasks.spawn("lease", lease::keep_blocks(Arc::clone(node), channel.clone(), mutations()?, tasks.token()));
    tasks.spawn(
        "renew",
        renew::keep_certificate(identity.clone(), channel.clone(), paths.clone(), tasks.token()),
    );
    Ok(channel)
}

fn start_servers(tasks: &Tasks, engine: &Arc<Engine>, paths: &Paths, channel: Channel) -> Result<(), Error> {
    let directory = paths.cni_socket().parent().unwrap_or(Path::new("/run/weft"));
    fs::create_dir_all(directory).map_err(|error| socket_failed(directory, &error))?;
    let (services, _) = Services::new()
        .local(LocalService::new(Arc::clone(engine), channel))
        .health_and_reflection()
        .map_err(|e| e.envelope())?;
    let socket = paths.agent_socket().to_owned();
    let stop = tasks.token();
    tasks.spawn_vital("local", async move {
        weft_rpc::serve_local(&socket, services, Limits::default(), stop).await.map_err(|e| e.envelope())
    });
    names::serve(tasks, engine.node(), paths.dns_socket())?;
    let (engine, tasks_of_cni, paths) = (Arc::clone(engine), tasks.clone(), paths.clone());
    // Kept DELs and unfinished attachments first, then new calls.
    tasks.spawn_thread("attach", move || serve_cni(&tasks_of_cni, &engine, &paths))
}

/// Opens the CNI socket once the kernel is ready, then looks for kept DELs from time to time.
fn serve_cni(tasks: &Tasks, engine: &Arc<Engine>, paths: &Paths) -> Result<(), Error> {
    let path = paths.cni_socket();
    let socket = attach::Socket::bind(path).map_err(|error| socket_failed(path, &error))?;
    engine.undo_unfinished(Instant::now() + limits::ATTACH_DEADLINE);
    attach::replay_spool(engine, &paths.spool());
    attach::serve(tasks, engine, socket)?;
    let node = engine.node();
    let mut announced = false;
    loop {
        let pause = if announced { limits::SPOOL_EVERY } else { limits::READY_EVERY };
        if matches!(node.inboxes.spool.take(Instant::now() + pause), Work::Stop) {
            return Ok(());
        }
        if !announced && node.is_ready() {
            announced = true;
            node.states.well(Subsystem::Cni, node.view().revision(), clock::wall());
            conflist::write(&paths.conflist())?;
            weft_process::notify_ready();
            tracing::info!(node = %node.name, "ready to attach pods");
        }
        attach::replay_spool(engine, &paths.spool());
    }
}

fn socket_failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(&weft_errors::FILE_UNREADABLE, "the agent's socket can't be made")
        .object("file", "", path.display())
        .because(error)
}

/// Threads that wait for something else than the token are woken when it is cancelled.
fn stop_threads(tasks: &Tasks, node: &Arc<Node>, paths: &Paths) {
    let (stop, node) = (tasks.token(), Arc::clone(node));
    let sockets = [paths.cni_socket(), paths.dns_socket()];
    tasks.spawn("stop", async move {
        stop.cancelled().await;
        node.inboxes.stop();
        node.addresses.stop();
        for socket in sockets {
            // Whoever accepts sees the token after this connection.
            drop(UnixStream::connect(socket));
            drop(fs::remove_file(socket));
        }
    });
}
