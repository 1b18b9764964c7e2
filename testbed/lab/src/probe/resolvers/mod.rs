//! Servers of names beside each other: ours, other people's, and the bare limit; for `bench dns`. Runs on a machine of its own.
//!
//! All serve on one core, the load comes from another one over a link. Rounds of all take turns, first to last and last to first.

mod agent;
mod data;
pub(super) mod echo;
mod large;
mod load;
mod pace;
mod servers;
mod usage;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::{Value, json};
use weft_model::Revision;

use self::agent::{Agent, Fed};
use self::data::{Questions, items};
use self::load::{Expected, Load};
use self::servers::{ADDRESSES, Peer, Server, UPSTREAM, address, echo};
use crate::namespace::in_thread;
use crate::wait::until;
use crate::{Result, ip, priority};

/// Where servers run.
const SERVER_CORE: usize = 0;
/// Where the load comes from.
const LOAD_CORE: usize = 1;
/// Sockets of the load, each with an address of its own, as so many pods have.
const SOCKETS: u8 = 16;
/// Services that every server knows.
const SERVICES: u32 = 10_000;
/// Foreign names that are asked for.
const FOREIGN_NAMES: u32 = 1000;
/// A server that has just been started answers within this.
const START: Duration = Duration::from_secs(20);

/// How servers are compared.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Our node agent.
    #[arg(long)]
    agent: PathBuf,
    /// Rounds of everything.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Milliseconds of each.
    #[arg(long, default_value_t = 2000)]
    span: u64,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "services,pace,foreign,large")]
    parts: Vec<Part>,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Answers about services for each second of the server's core.
    Services,
    /// Time of an answer at a fixed rate.
    Pace,
    /// Answers about foreign names that are cached.
    Foreign,
    /// A hundred thousand services in our server.
    Large,
}

/// What was measured: system, metric, unit, rounds.
#[derive(Default)]
struct Rows(Vec<(String, &'static str, &'static str, Vec<f64>)>);

impl Rows {
    fn add(&mut self, system: &str, metric: &'static str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|row| row.0 == system && row.1 == metric) {
            Some(row) => row.3.push(value),
            None => self.0.push((system.to_owned(), metric, unit, vec![value])),
        }
    }
}

/// Everything that is there.
struct Bench<'a> {
    plan: &'a Plan,
    clients: Vec<UdpSocket>,
    agent: Agent<'a>,
    fed: Fed,
    others: Vec<Server>,
    notes: Vec<String>,
    rows: Rows,
}

/// Measures.
pub(super) fn run(plan: &Plan) -> Result<Value> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores > LOAD_CORE, "servers and load need a core each; this machine has {cores}");
    let clients = network()?;
    let mut bench = Bench::new(plan, clients)?;
    pin(LOAD_CORE)?;
    priority::first();
    for part in &plan.parts {
        match part {
            Part::Services => bench.services()?,
            Part::Pace => bench.pace()?,
            Part::Foreign => bench.foreign()?,
            Part::Large => {}
        }
    }
    let Bench { agent, fed, others, notes, mut rows, clients, .. } = bench;
    drop((fed, others));
    if plan.parts.contains(&Part::Large) {
        large::run(&agent, &clients[0], plan.rounds, &mut rows)?;
    }
    let rows: Vec<Value> = rows
        .0
        .into_iter()
        .map(|(system, metric, unit, rounds)| json!({"system": system, "metric": metric, "unit": unit, "rounds": rounds}))
        .collect();
    Ok(json!({"ok": true, "rows": rows, "notes": notes}))
}

/// The calling thread, and the processes that it starts, run on one core.
fn pin(core: usize) -> Result {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("run on core {core}"))
}

/// A link from a network namespace of the load's to this one, in which all servers have their addresses. Gives the load's sockets.
fn network() -> Result<Vec<UdpSocket>> {
    let client = |number: u8| Ipv4Addr::new(198, 18, 0, number);
    let pid = std::process::id();
    let sockets = in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        let mut lines = vec![format!("link add name load type veth peer name names netns {pid}")];
        lines.extend((1..=SOCKETS).map(|number| format!("address add {}/16 dev load", client(number))));
        lines.push("link set load up".to_owned());
        lines.push("route add 10.112.0.0/14 via 198.18.255.1 dev load onlink".to_owned());
        ip::batch(&lines)?;
        (1..=SOCKETS).map(|number| bind(client(number))).collect::<Result<Vec<_>>>()
    })?;
    let mut lines = vec!["address add 198.18.255.1/16 dev names".to_owned(), "link set names up".to_owned()];
    let servers = (0..ADDRESSES).map(address).chain([UPSTREAM]);
    lines.extend(servers.map(|server| format!("address add {}/32 dev names", server.ip())));
    lines.push("link set lo up".to_owned());
    ip::batch(&lines)?;
    Ok(sockets)
}

/// With room for answers that come while others have the core.
fn bind(address: Ipv4Addr) -> Result<UdpSocket> {
    const ROOM: usize = 8 << 20;
    let socket = UdpSocket::bind((address, 0)).context("bind a socket of the load")?;
    if setsockopt(&socket, sockopt::RcvBufForce, &ROOM).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &ROOM)?;
    }
    Ok(socket)
}

impl<'a> Bench<'a> {
    /// Starts all servers.
    fn new(plan: &'a Plan, clients: Vec<UdpSocket>) -> Result<Self> {
        let addresses = clients.iter().map(UdpSocket::local_addr).collect::<std::io::Result<_>>()?;
        let folder = std::env::temp_dir().join(format!("weft-lab-resolvers-{}", std::process::id()));
        let wanted = |name: &str| plan.only.is_empty() || plan.only.iter().any(|only| only == name);
        let (mut others, mut notes) = (vec![echo("upstream", UPSTREAM, "answer")?], Vec::new());
        if wanted("echo") {
            others.push(echo("echo", address(1), "question")?);
        }
        for (peer, number) in Peer::ALL.into_iter().zip(2..).filter(|(peer, _)| wanted(peer.name())) {
            match peer.find() {
                Some(program) => {
                    notes.push(peer.version(&program)?);
                    others.push(peer.start(&program, address(number), &folder, SERVICES)?);
                }
                None => {
                    notes.push(format!("not run: {0} is not installed (apt-get install {0})", peer.name()))
                }
            }
        }
        let agent = Agent::new(&plan.agent, address(0), addresses)?;
        let mut fed = agent.start(address(0))?;
        agent.tell(&mut fed, Revision(1), &items(SERVICES, UPSTREAM)?)?;
        let questions = Questions::services(1)?;
        let mut bench = Self { plan, clients, agent, fed, others, notes, rows: Rows::default() };
        for server in bench.others.iter_mut().chain([&mut bench.fed.server]) {
            if !is_echo(server) {
                answered(&bench.clients[0], server.at, &questions, START)
                    .with_context(|| format!("{} doesn't answer", server.name))?;
            }
            server.settle()?;
        }
        // They have read what they need.
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(bench)
    }

    /// Servers of a measurement, in the order of a round.
    fn servers(&self, round: u32, also: impl Fn(&Server) -> bool) -> Vec<&Server> {
        let all = [&self.fed.server].into_iter().chain(&self.others);
        let mut all: Vec<_> = all.filter(|server| server.at != UPSTREAM && also(server)).collect();
        if round % 2 == 1 {
            all.reverse();
        }
        all
    }

    fn services(&mut self) -> Result {
        let questions = Questions::services(SERVICES)?;
        self.load(&questions, "services", |_| true)
    }

    fn foreign(&mut self) -> Result {
        let questions = Questions::foreign(FOREIGN_NAMES)?;
        let is_resolver = |server: &Server| matches!(server.name, "weft" | "unbound");
        for server in self.servers(0, is_resolver) {
            warm(&self.clients, server.at, &questions)
                .with_context(|| format!("foreign names by {}", server.name))?;
        }
        self.load(&questions, "foreign", is_resolver)
    }

    fn load(&mut self, questions: &Questions, what: &str, also: impl Fn(&Server) -> bool) -> Result {
        let span = Duration::from_millis(self.plan.span);
        let metrics = match what {
            "services" => {
                ["services_per_core", "services_per_second", "services_core_share", "services_lost"]
            }
            _ => ["foreign_per_core", "foreign_per_second", "foreign_core_share", "foreign_lost"],
        };
        for round in 0..self.plan.rounds {
            let mut all = Vec::new();
            for server in self.servers(round, &also) {
                let expected = if is_echo(server) { Expected::Echo } else { Expected::Answer };
                let load = Load { sockets: &self.clients, questions, expected };
                let seen = load.run(server.at, server.usage(), span)?;
                all.push((server.name, seen));
            }
            for (name, seen) in all {
                let values = [
                    (seen.per_core() / 1000.0, "k/s"),
                    (seen.answers as f64 / seen.time / 1000.0, "k/s"),
                    (100.0 * seen.share(), "%"),
                    (seen.lost as f64, "questions"),
                ];
                for (metric, (value, unit)) in metrics.into_iter().zip(values) {
                    self.rows.add(name, metric, unit, value);
                }
            }
            self.fed.drain()?;
        }
        Ok(())
    }

    fn pace(&mut self) -> Result {
        let questions = Questions::services(SERVICES)?;
        let span = Duration::from_millis(self.plan.span);
        for round in 0..self.plan.rounds {
            let mut all = Vec::new();
            for server in self.servers(round, |_| true) {
                let expected = if is_echo(server) { Expected::Echo } else { Expected::Answer };
                all.push((server.name, pace::run(&self.clients[0], server.at, &questions, expected, span)?));
            }
            for (name, paced) in all {
                self.rows.add(name, "answer_p50", "us", paced.p50);
                self.rows.add(name, "answer_p99", "us", paced.p99);
                self.rows.add(name, "answer_lost", "questions", paced.lost as f64);
            }
            self.fed.drain()?;
        }
        Ok(())
    }
}

fn is_echo(server: &Server) -> bool {
    matches!(server.name, "echo" | "upstream")
}

/// Asks the first question until it is answered rightly.
fn answered(socket: &UdpSocket, at: SocketAddr, questions: &Questions, within: Duration) -> Result {
    let mut last = None;
    until(within, Duration::from_micros(200), || {
        match ask(socket, at, questions, 0, Duration::from_millis(20)) {
            Ok(()) => Some(()),
            Err(error) => {
                last = Some(error);
                None
            }
        }
    })
    .ok_or_else(|| last.unwrap_or_else(|| anyhow::anyhow!("silence")))
}

/// One question, checked fully.
fn ask(socket: &UdpSocket, at: SocketAddr, questions: &Questions, place: usize, within: Duration) -> Result {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(within))?;
    let mut query = questions.message(place).to_vec();
    let id = u16::try_from(place % 65_521)?.to_be_bytes();
    query[..2].copy_from_slice(&id);
    socket.send_to(&query, at)?;
    let mut buffer = [0; 1500];
    loop {
        let length = socket.recv(&mut buffer).with_context(|| format!("no answer of {at}"))?;
        if buffer[..2] == id && buffer.get(12..14) == query.get(12..14) {
            return questions.check(place, &buffer[..length]);
        }
    }
}

/// Asks for every name once, so that it is known.
fn warm(clients: &[UdpSocket], at: SocketAddr, questions: &Questions) -> Result {
    const TRIES: usize = 20;
    for place in 0..questions.count() {
        let socket = &clients[place % clients.len()];
        let mut last = Ok(());
        for _ in 0..TRIES {
            last = ask(socket, at, questions, place, Duration::from_millis(300));
            if last.is_ok() {
                break;
            }
        }
        if let Err(error) = last {
            bail!("question {place}: {error:#}");
        }
    }
    Ok(())
}
