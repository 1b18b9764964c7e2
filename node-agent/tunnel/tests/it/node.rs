//! A node: a thread in namespaces of its own, with a tunnel process, a mesh handle and UDP sockets in them.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    process::Child,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;
use weft_mesh::{Backend, BackendChoice, Mesh, MeshOptions, public_key};
use weft_model::{NodeName, Secret, WireguardKey};
use weft_plan::{DeviceConfig, DeviceState, PeerConfig, Sweep, peer_steps};
use weft_process::wait::until_blocking;
use weft_tunnel::{TunnelOptions, run};

use crate::world::{again, enter_new_namespaces, has_role, ip};

/// The test whose body is the tunnel process.
const TUNNEL_TEST: &str = "node::tunnel_process";
/// Makes the tunnel process log everything.
const LOG_VARIABLE: &str = "WEFT_TUNNEL_TEST_TRACE";
/// Longest wait for anything that should come soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What a tunnel process does; nothing when it is run as a test.
#[test]
fn tunnel_process() {
    if !has_role("tunnel") {
        return;
    }
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).unwrap();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(if std::env::var_os(LOG_VARIABLE).is_some() {
            LevelFilter::TRACE
        } else {
            LevelFilter::WARN
        })
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut tunnel = tokio::spawn(run(TunnelOptions::of_device("weft0"), stop.clone()));
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let ended = tokio::select! {
            ended = &mut tunnel => ended,
            _ = term.recv() => {
                stop.cancel();
                tunnel.await
            }
        };
        if let Err(error) = ended.unwrap() {
            panic!("the tunnel ended: {error}");
        }
    });
}

type Job = Box<dyn FnOnce(&mut Inside) + Send>;

/// A handle to the node's thread.
pub(crate) struct Node {
    jobs: mpsc::Sender<Job>,
    pub(crate) thread: i32,
    pub(crate) number: u8,
}

/// What lives inside the node's namespaces.
pub(crate) struct Inside {
    pub(crate) number: u8,
    mesh: Option<Mesh>,
    tunnel: Option<Child>,
    /// Where the tunnel logs everything; `None`: what is wrong, to stderr.
    pub(crate) log_to: Option<String>,
}

impl Node {
    /// A node in empty namespaces.
    pub(crate) fn new(number: u8) -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (born, thread) = mpsc::channel();
        thread::spawn(move || {
            enter_new_namespaces();
            born.send(nix::unistd::gettid().as_raw()).unwrap();
            let mut inside = Inside { number, mesh: None, tunnel: None, log_to: None };
            while let Ok(job) = inbox.recv() {
                job(&mut inside);
            }
        });
        Self { jobs, thread: thread.recv_timeout(SOON).unwrap(), number }
    }

    /// Runs something in the node's thread.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Inside) -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        self.jobs.send(Box::new(move |inside| answer.send(job(inside)).unwrap())).unwrap();
        answered.recv_timeout(SOON * 3).expect("the node's job ended")
    }

    /// Its public key.
    pub(crate) fn key(&self) -> WireguardKey {
        public_key(&private(self.number))
    }

    /// Its address on the wire.
    pub(crate) fn underlay(&self) -> SocketAddr {
        format!("192.168.7.{}:51820", self.number).parse().unwrap()
    }

    /// Makes the TUN device, its address and routes, starts the tunnel and waits until it answers.
    pub(crate) fn start(&self) {
        self.run(|inside| {
            weft_kernel::ensure_tun("weft0", None).unwrap();
            ip("link set weft0 mtu 1420 up");
            ip(&format!("addr add 10.200.0.{}/24 dev weft0", inside.number));
            ip("route add 10.201.0.0/16 dev weft0");
            ip(&format!("addr add 10.201.{}.1/32 dev lo", inside.number));
            inside.start_tunnel();
            inside.open_mesh(private(inside.number));
        });
    }

    /// Makes the device equal to the given peers: number, allowed ranges.
    pub(crate) fn configure(&self, peers: &[(&Self, &str)]) -> DeviceState {
        self.configure_with(
            self.key(),
            peers.iter().map(|(node, allowed)| (node.key(), Some(node.underlay()), *allowed)),
        )
    }

    /// The same with any keys.
    pub(crate) fn configure_with<'a>(
        &self,
        own: WireguardKey,
        peers: impl Iterator<Item = (WireguardKey, Option<SocketAddr>, &'a str)>,
    ) -> DeviceState {
        let peers: BTreeMap<_, _> = peers
            .zip(1..)
            .map(|((key, endpoint, allowed), i)| {
                let allowed = allowed.split_whitespace().map(|r| r.parse().unwrap()).collect();
                (
                    key,
                    PeerConfig {
                        node: NodeName::new(format!("p{i}")).unwrap(),
                        endpoint,
                        allowed,
                        keepalive_secs: 0,
                    },
                )
            })
            .collect();
        let wish = DeviceConfig { name: "weft0".to_owned(), key: own, listen_port: 51820, peers };
        self.run(move |inside| {
            let mesh = inside.mesh.as_ref().unwrap();
            let state = mesh.execute(&peer_steps(&mesh.observe().unwrap(), &wish, Sweep::Allowed)).unwrap();
            assert_eq!(peer_steps(&state, &wish, Sweep::Allowed), vec![], "nothing is pending after execute");
            state
        })
    }

    /// What the device shows.
    pub(crate) fn observe(&self) -> DeviceState {
        self.run(|inside| inside.mesh.as_ref().unwrap().observe().unwrap())
    }

    /// Answers every datagram on its mesh address, from a thread of its own in the node's namespace.
    pub(crate) fn echo(&self) {
        self.run(|_| {
            let socket = UdpSocket::bind("0.0.0.0:9000").unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        });
    }

    /// Sends `text` until the echo comes; how long it took.
    pub(crate) fn reaches(&self, to: &str, text: &str, within: Duration) -> Option<Duration> {
        let (to, text) = (to.to_owned(), text.to_owned());
        self.run(move |_| {
            let started = Instant::now();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut buffer = [0; 2048];
            while started.elapsed() < within {
                // A route that isn't there yet is one of the things that are waited for.
                let _ = socket.send_to(text.as_bytes(), &to);
                if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    assert_eq!(&buffer[..length], text.as_bytes());
                    return Some(started.elapsed());
                }
            }
            None
        })
    }
}

impl Inside {
    /// Starts the tunnel process in these namespaces.
    pub(crate) fn start_tunnel(&mut self) {
        let mut command = again(TUNNEL_TEST, "tunnel");
        if let Some(path) = &self.log_to {
            command.env(LOG_VARIABLE, "1").stderr(std::fs::File::create(path).unwrap());
        }
        self.tunnel = Some(command.spawn().unwrap());
    }

    /// Opens the device with a private key; waits until the tunnel answers.
    pub(crate) fn open_mesh(&mut self, private_key: Secret<[u8; 32]>) {
        let options =
            MeshOptions { device: "weft0".to_owned(), private_key, backend: BackendChoice::UserspaceOnly };
        let mesh = Mesh::open(options).unwrap();
        assert_eq!(mesh.prepare().unwrap(), Backend::Userspace);
        until_blocking(SOON, "the tunnel's answer", || mesh.observe().ok()).unwrap();
        self.mesh = Some(mesh);
    }

    /// The handle.
    pub(crate) const fn mesh(&self) -> Option<&Mesh> {
        self.mesh.as_ref()
    }

    /// Ends the tunnel process by a signal and waits for it.
    pub(crate) fn end_tunnel(&mut self, signal: nix::sys::signal::Signal) -> std::process::ExitStatus {
        let mut child = self.tunnel.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        child.wait().unwrap()
    }

    /// Waits until the tunnel process ends by itself.
    pub(crate) fn await_end(&mut self) -> std::process::ExitStatus {
        let child = self.tunnel.as_mut().unwrap();
        until_blocking(SOON, "the end of the tunnel", || child.try_wait().unwrap()).unwrap()
    }
}

/// Private key of a node or of nobody.
pub(crate) fn private(number: u8) -> Secret<[u8; 32]> {
    Secret::new([number; 32])
}
