//! Programs that run inside pods and on machines and say in one JSON document what they saw.
//!
//! Every client has a deadline. Exit status 0: it worked; 1: it ran and did not; the document says why.

mod answers;
mod attach;
mod bench_node;
mod bulk;
mod clients;
mod connects;
mod dns;
mod drops;
mod flood;
mod gaps;
pub(crate) mod grid;
mod health;
pub(crate) mod liar;
mod moments;
pub(crate) mod names;
mod ping;
mod policies;
mod resolvers;
mod ruleset;
mod secure;
mod serve;
mod sink;
mod spray;
mod stream;
mod tables;
mod talk;
mod watch;
mod write;

use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use clap::Subcommand;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};

pub(crate) use write::Change;

use crate::{Refusal, Result};

/// What every payload of a probe carries, so that a capture can be searched for it.
pub const MARKER: &[u8] = b"<weft-lab-marker:b4d1c0ffee5e:end>";

/// A probe.
#[derive(Debug, Subcommand)]
pub enum Probe {
    /// Servers until SIGTERM: http:PORT, https:PORT, grpc:PORT (health: all serve but the service `ill`), tcp:PORT, udp:PORT, bulk:PORT,
    /// icmp (hears echo requests), alternate:PORT (HTTP: well and ill in turn, and prints when), usage:PORT (HTTP: processor time of
    /// this process), names:PORT (DNS below example.test), liar:PORT (the same, and lies below lie.test).
    Serve {
        /// What to serve.
        #[arg(required = true)]
        what: Vec<String>,
    },
    /// Connects, hears which address the server saw, sends the marker and hears it back.
    Tcp(Target),
    /// The same over UDP, with a few tries.
    Udp(Target),
    /// One GET request.
    Http(Target),
    /// Echo requests at a fixed rate; without --count until SIGTERM.
    Ping {
        /// Whom.
        address: IpAddr,
        /// How many.
        #[arg(long)]
        count: Option<u32>,
        /// Requests per second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// Bytes of payload.
        #[arg(long, default_value_t = 56)]
        size: usize,
        /// Milliseconds to wait for the last answers.
        #[arg(long, default_value_t = 1000)]
        within: u64,
    },
    /// Sends bytes to a bulk server and compares hashes.
    Put {
        /// Whom.
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 10_000_000)]
        bytes: u64,
    },
    /// One TCP connection to a tcp server that carries numbers there and back until SIGTERM.
    Stream {
        /// Whom.
        #[command(flatten)]
        target: Target,
        /// Numbers per second.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// Datagrams with numbers to a udp server until SIGTERM: the longest time in which nothing came back.
    Gaps {
        /// Whom.
        #[command(flatten)]
        target: Target,
        /// Datagrams per second.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// Times TCP connections.
    Connects {
        /// Whom.
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        count: u32,
    },
    /// Many clients that connect to random ones of many addresses over HTTP; without --count until SIGTERM.
    Clients(clients::Plan),
    /// Loads the tables of many services into this machine's kernel and connects through them.
    Tables {
        /// Whose tables.
        #[arg(value_enum)]
        system: tables::System,
        /// How many services, of two ports each.
        #[arg(long)]
        services: u32,
        /// The server behind one of them.
        #[arg(long)]
        backend: std::net::SocketAddr,
    },
    /// Loads the tables of many policies into a kernel of this process's own, follows changes, and sends packets through them.
    Policies(policies::Plan),
    /// What a change of policies costs the control plane among ten thousand pods, and a matrix of two thousand.
    PolicyCompile,
    /// One question about names; over TCP a number of the same, one behind the other.
    Dns {
        /// What and whom.
        #[command(flatten)]
        question: dns::Question,
        /// Over TCP, so many times in one connection.
        #[arg(long)]
        tcp: Option<u16>,
    },
    /// The same question about names at a fixed rate until SIGTERM: what was lost, and how long answers took.
    DnsLoad {
        /// What and whom.
        #[command(flatten)]
        question: dns::Question,
        /// Questions per second.
        #[arg(long, default_value_t = 1000)]
        rate: u32,
    },
    /// Names asked over and over until SIGTERM, over UDP and TCP: every answer with its moments.
    DnsAnswers(answers::Plan),
    /// Many questions about names, each once over UDP and once over TCP.
    DnsEach(answers::Each),
    /// One name over and over until SIGTERM: a line for each answer that differs from the one before.
    DnsChanges(dns::Question),
    /// A hostile client of a server of names, until SIGTERM.
    DnsFlood(flood::Plan),
    /// Compares servers of names on one core: ours, others that are installed, and a bare echo.
    Resolvers(resolvers::Plan),
    /// Answers datagrams and does nothing else, until it is killed.
    Echo {
        /// Where.
        at: std::net::SocketAddr,
        /// With what.
        #[arg(value_enum)]
        what: resolvers::echo::Echo,
    },
    /// Takes datagrams, says nothing, and hangs up on connections, until SIGTERM.
    Sink {
        /// Where.
        at: std::net::SocketAddr,
    },
    /// Everything that the kernel says is made or removed here (links, addresses, routes, rules, neighbours, nf_tables), until SIGTERM.
    Watch,
    /// When elements of nf_tables sets are made and removed here, line by line, until SIGTERM.
    Moments,
    /// Applies texts through clients that stay connected.
    Write(write::Plan),
    /// A grid of pods that all ask each other, while objects change; its plan stands on standard input.
    Grid(grid::Options),
    /// Policies, labels and pods change while raw sockets try what is never allowed; what exactly stands on standard input.
    Race(grid::Options),
    /// Lists a large nf_tables table for a while: how often anybody committed meanwhile, and how long it took.
    Ruleset {
        /// What it holds.
        #[arg(long)]
        elements: u16,
        /// For how long.
        #[arg(long)]
        seconds: u64,
    },
    /// Sends many datagrams as fast as they go.
    Spray {
        /// To whom.
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long)]
        count: u32,
    },
    /// What this machine's tables have dropped so far, by reason and by pod.
    Drops,
    /// ICMP redirects received here.
    Redirects,
    /// Times a CNI plugin over many namespaces; its configuration stands on standard input.
    Attach {
        /// The plugin.
        program: std::path::PathBuf,
        /// How many namespaces.
        #[arg(long, default_value_t = 40)]
        count: u32,
    },
}

/// A server.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Milliseconds until it gives up.
    #[arg(long, default_value_t = 3000)]
    pub within: u64,
}

/// Runs the probe and prints its document.
pub fn run(probe: &Probe) -> Result {
    // Before any thread exists, so that every thread inherits it.
    let stop = Stop::new()?;
    let began = Instant::now();
    let seen = match probe {
        Probe::Serve { what } => return serve::run(what, &stop),
        Probe::Tcp(target) => talk::tcp(target),
        Probe::Udp(target) => talk::udp(target),
        Probe::Http(target) => talk::http(target),
        Probe::Ping { address, count, rate, size, within } => {
            let plan = ping::Plan {
                count: *count,
                rate: *rate,
                size: *size,
                within: Duration::from_millis(*within),
            };
            ping::run(*address, &plan, &stop)
        }
        Probe::Put { target, bytes } => bulk::put(target, *bytes),
        Probe::Stream { target, rate } => stream::run(target, *rate, &stop),
        Probe::Gaps { target, rate } => gaps::run(target, *rate, &stop),
        Probe::Connects { target, count } => connects::run(target, *count),
        Probe::Tables { system, services, backend } => tables::run(*system, *services, *backend),
        Probe::Policies(plan) => policies::run(plan),
        Probe::PolicyCompile => policies::run_compile(),
        Probe::Clients(plan) => clients::run(plan, &stop),
        Probe::Dns { question, tcp: None } => dns::ask(question),
        Probe::Dns { question, tcp: Some(count) } => dns::ask_by_stream(question, *count),
        Probe::DnsLoad { question, rate } => dns::load(question, *rate, &stop),
        Probe::DnsAnswers(plan) => answers::run(plan, &stop),
        Probe::DnsEach(plan) => answers::each(plan),
        Probe::DnsChanges(question) => answers::changes(question, &stop),
        Probe::DnsFlood(plan) => flood::run(plan, &stop),
        Probe::Resolvers(plan) => resolvers::run(plan),
        Probe::Echo { at, what } => resolvers::echo::run(*at, *what),
        Probe::Sink { at } => sink::run(*at, &stop),
        Probe::Watch => watch::run(&stop),
        Probe::Moments => moments::run(&stop),
        Probe::Write(plan) => write::run(plan),
        Probe::Grid(options) => grid::run(options),
        Probe::Race(options) => grid::race::run(options),
        Probe::Ruleset { elements, seconds } => ruleset::run(*elements, Duration::from_secs(*seconds)),
        Probe::Spray { target, count } => spray::run(target, *count),
        Probe::Drops => drops::run(),
        Probe::Redirects => redirects(),
        Probe::Attach { program, count } => attach::run(program, *count),
    };
    let (ok, document) = match seen {
        Ok(document) => (document["ok"] != json!(false), document),
        Err(e) => (
            false,
            json!({"ok": false, "why": format!("{e:#}"), "kind": kind(&e), "ms": millis(began.elapsed())}),
        ),
    };
    print(&document)?;
    if ok { Ok(()) } else { Err(Refusal::Ended(1).into()) }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock in microseconds: what processes of different namespaces have in common.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Processor time of this process so far, microseconds.
fn usage() -> Result<Value> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Ok(json!({"user_us": us(usage.user_time()), "system_us": us(usage.system_time())}))
}

/// Both parts of it together, microseconds.
fn used_us() -> Result<f64> {
    let usage = usage()?;
    let of = |key: &str| usage[key].as_f64().unwrap_or_default();
    Ok(of("user_us") + of("system_us"))
}

/// Microseconds of processor time of the threads that carry packets when there are too many at once (`ksoftirqd`).
pub(crate) fn network_threads_us() -> Result<f64> {
    const US_PER_TICK: f64 = 10_000.0;
    let mut ticks = 0.0;
    for process in std::fs::read_dir("/proc")?.flatten() {
        // Others end while we look.
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.split_once(')') else { continue };
        if name.contains("(ksoftirqd/") {
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let of = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok());
            ticks += of(11).context("no utime")? + of(12).context("no stime")?;
        }
    }
    Ok(ticks * US_PER_TICK)
}

/// One line on standard output.
pub(crate) fn print(document: &Value) -> Result {
    let mut out = std::io::stdout();
    writeln!(out, "{document}")?;
    Ok(out.flush()?)
}

/// One word for what went wrong, where tests tell cases apart.
fn kind(error: &anyhow::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "refused",
        Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => "timeout",
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "unreachable",
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => "reset",
        // What a process gets whose own machine's rules drop or reject its datagram.
        Some(ErrorKind::PermissionDenied) => "denied",
        _ => "other",
    }
}

fn redirects() -> Result<Value> {
    let v4 = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut icmp = v4.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (icmp.next().unwrap_or_default(), icmp.next().unwrap_or_default());
    let v4 = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InRedirects");
    let v4: u64 = v4.and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
    let v6 = std::fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Icmp6InRedirects"));
    let v6: u64 = v6.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    Ok(json!({"v4": v4, "v6": v6}))
}

/// SIGTERM and SIGINT as something that can be waited for.
pub(crate) struct Stop(SignalFd);

impl Stop {
    fn new() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits until `other` can be read, a signal comes, or `within` has passed; says which.
    pub(crate) fn or_readable(&self, other: &impl AsFd, within: Duration) -> Result<Event> {
        let mut fds =
            [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(other.as_fd(), PollFlags::POLLIN)];
        // Rounded up, so that a caller that waits for a moment doesn't wake before it.
        let ms = u16::try_from(within.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        poll(&mut fds, PollTimeout::from(ms))?;
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if ready(&fds[0]) {
            self.0.read_signal()?;
            return Ok(Event::Stop);
        }
        Ok(if ready(&fds[1]) { Event::Readable } else { Event::Time })
    }

    /// As [`Stop::or_readable`], of any of some sockets, and without rounding.
    pub(crate) fn or_any(&self, others: &[UdpSocket], within: Duration) -> Result<Event> {
        use rustix::event::{PollFd, PollFlags};
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(others.iter().map(|other| PollFd::new(other, PollFlags::IN)));
        rustix::event::poll(&mut fds, Some(&within.try_into()?))?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            self.0.read_signal()?;
            return Ok(Event::Stop);
        }
        Ok(if ready.any(|ready| ready) { Event::Readable } else { Event::Time })
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) -> Result {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE)? == 0 {}
        Ok(())
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal.
    Stop,
    /// Data.
    Readable,
    /// Nothing in time.
    Time,
}
