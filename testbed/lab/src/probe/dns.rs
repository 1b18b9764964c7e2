//! Questions about names, with messages of another implementation: what it can't read is an error of ours.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{MsgFlags, recv};
use serde_json::{Value, json};

use super::talk::micros;
use super::{Event, Stop};
use crate::Result;

/// What is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct Question {
    /// The server.
    pub(super) server: IpAddr,
    /// The name; always taken as whole.
    name: Name,
    /// Type of the records.
    #[arg(long = "type", default_value = "A")]
    kind: RecordType,
    /// The server's port.
    #[arg(long, default_value_t = 53)]
    pub(super) port: u16,
    /// Milliseconds until it gives up.
    #[arg(long, default_value_t = 3000)]
    within: u64,
    /// Longest datagram that is taken, as EDNS says it; 0: no EDNS.
    #[arg(long, default_value_t = 1232)]
    edns: u16,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.name, self.kind, self.server())
    }
}

impl Question {
    /// As a client asks who says nothing else.
    pub(super) fn new(server: IpAddr, name: Name, kind: RecordType) -> Self {
        Self { server, name, kind, port: 53, within: 3000, edns: 1232 }
    }

    pub(super) fn message(&self, id: u16) -> Result<Vec<u8>> {
        let mut name = self.name.clone();
        name.set_fqdn(true);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, self.kind));
        if self.edns > 0 {
            let mut edns = Edns::new();
            edns.set_max_payload(self.edns);
            message.set_edns(edns);
        }
        message.to_vec().context("encode a query")
    }

    fn server(&self) -> SocketAddr {
        SocketAddr::new(self.server, self.port)
    }

    pub(super) fn socket(&self) -> Result<UdpSocket> {
        let any: IpAddr = if self.server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(self.server())?;
        Ok(socket)
    }
}

/// Between two tries of a datagram: as short as resolvers may be told to wait.
const RETRY: Duration = Duration::from_millis(1000);

/// One question over UDP, asked again when nothing comes.
pub(super) fn ask(question: &Question) -> Result<Value> {
    let began = Instant::now();
    let within = Duration::from_millis(question.within.max(1));
    let socket = question.socket()?;
    let mut buffer = vec![0; 65_536];
    for number in 1_u16.. {
        let query = question.message(number)?;
        socket.send(&query)?;
        let left = within.saturating_sub(began.elapsed());
        socket.set_read_timeout(Some(left.min(RETRY).max(Duration::from_millis(1))))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let mut seen = read(&buffer[..length], 1..=number)?;
                seen["tries"] = json!(number);
                seen["us"] = json!(micros(began.elapsed()));
                return Ok(seen);
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if began.elapsed() >= within {
                    return Err(e.into());
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    bail!("no answer")
}

/// One question over TCP; `count` of them one behind the other without waiting, in one connection.
pub(super) fn ask_by_stream(question: &Question, count: u16) -> Result<Value> {
    let began = Instant::now();
    let within = Duration::from_millis(question.within.max(1));
    let mut stream = TcpStream::connect_timeout(&question.server(), within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    for number in 1..=count.max(1) {
        let query = question.message(number)?;
        bytes.extend(u16::try_from(query.len())?.to_be_bytes());
        bytes.extend(query);
    }
    stream.write_all(&bytes)?;
    let mut last = json!({});
    let mut numbers: Vec<u16> = (1..=count.max(1)).collect();
    while !numbers.is_empty() {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        let id = answer.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)).context("an empty answer")?;
        let place = numbers.iter().position(|number| *number == id).context("an answer to nothing")?;
        numbers.swap_remove(place);
        last = read(&answer, id..=id)?;
    }
    last["us"] = json!(micros(began.elapsed()));
    Ok(last)
}

/// An answer to one of the tries.
pub(super) fn read(bytes: &[u8], ids: RangeInclusive<u16>) -> Result<Value> {
    let answer = Message::from_vec(bytes).context("the answer can't be read")?;
    if !ids.contains(&answer.metadata.id) || answer.metadata.message_type != MessageType::Response {
        bail!("this is no answer to the question: {:?}", answer.metadata);
    }
    let rcode = format!("{:?}", answer.metadata.response_code);
    Ok(json!({
        "ok": rcode == "NoError", "rcode": rcode, "bytes": bytes.len(),
        "aa": answer.metadata.authoritative, "tc": answer.metadata.truncation,
        "ra": answer.metadata.recursion_available,
        "answers": records(&answer.answers), "authority": records(&answer.authorities),
        "additional": records(&answer.additionals), "edns": answer.edns.map(|edns| edns.max_payload()),
    }))
}

fn records(records: &[Record]) -> Vec<Value> {
    let one = |record: &Record| {
        json!({
            "name": record.name.to_string(), "type": record.record_type().to_string(), "ttl": record.ttl,
            "data": record.data.to_string(),
        })
    };
    records.iter().map(one).collect()
}

/// Sockets that the load is spread over, so that the server's are all asked.
const SOCKETS: usize = 16;
/// A query without an answer after this is lost.
const LOST: Duration = Duration::from_secs(2);
/// Queries that are sent in one go at most: a sender that was late catches up.
const AT_ONCE: usize = 64;

/// What became of one query of the load.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    took: Option<Duration>,
}

/// The same question `rate` times a second until a signal comes: what was lost, how long nothing came, how long answers took.
pub(super) fn load(question: &Question, rate: u32, stop: &Stop) -> Result<Value> {
    let sockets = (0..SOCKETS).map(|_| question.socket()).collect::<Result<Vec<_>>>()?;
    sockets.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
    let mut query = question.message(0)?;
    // One number of 16 bits per socket and query: unique for as long as an answer may come.
    let mut all: Vec<Sent> = Vec::new();
    let mut wrong = 0_u64;
    // Else the kernel wakes us 50 microseconds late.
    set_timerslack(1)?;
    let began = Instant::now();
    let mut end: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end || all.iter().rev().take(AT_ONCE).all(|sent| sent.took.is_some()))
        {
            break;
        }
        let due = u64::from(rate) * u64::try_from(now.duration_since(began).as_micros())? / 1_000_000;
        let due = usize::try_from(due)?.saturating_sub(all.len()).min(AT_ONCE);
        for _ in 0..if end.is_none() { due } else { 0 } {
            let number = all.len();
            query[..2].copy_from_slice(&id_of(number).to_be_bytes());
            all.push(Sent { at: Instant::now(), took: None });
            // What can't be sent is lost like what doesn't come back.
            let _ = sockets[number % SOCKETS].send(&query);
        }
        for (place, socket) in sockets.iter().enumerate() {
            wrong += hear(socket, place, &mut all);
        }
        let next = began + Duration::from_secs(1).mul_f64(all.len() as f64 / f64::from(rate.max(1)));
        let pause = next.saturating_duration_since(Instant::now());
        let pause = if end.is_none() { pause } else { Duration::from_millis(1) };
        if matches!(stop.or_any(&sockets, pause)?, Event::Stop) {
            end.get_or_insert_with(|| Instant::now() + LOST);
        }
    }
    Ok(judge(&all, wrong))
}

/// Queries of a socket are numbered through.
fn id_of(number: usize) -> u16 {
    u16::try_from(number / SOCKETS % (1 << 16)).unwrap_or(0)
}

/// Takes what has come; how many answers fit nothing or say that it went wrong.
fn hear(socket: &UdpSocket, place: usize, all: &mut [Sent]) -> u64 {
    let (mut buffer, mut wrong) = ([0; 2048], 0);
    while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        let Some([a, b, _, flags]) = buffer[..length].first_chunk::<4>().copied() else {
            wrong += 1;
            continue;
        };
        let id = usize::from(u16::from_be_bytes([a, b]));
        // The last query of that number.
        let last = all.len().saturating_sub(place + 1) / SOCKETS;
        let round = last.saturating_sub(id) >> 16;
        let number = ((round << 16) + id) * SOCKETS + place;
        match all.get_mut(number) {
            Some(sent) if flags & 0x0f == 0 => {
                sent.took.get_or_insert(sent.at.elapsed());
            }
            _ => wrong += 1,
        }
    }
    wrong
}

fn judge(all: &[Sent], wrong: u64) -> Value {
    let lost = all.iter().filter(|sent| sent.took.is_none()).count();
    let mut times: Vec<u64> = all.iter().filter_map(|sent| sent.took).map(micros).collect();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 1000).copied();
    let (mut gap, mut since) = (Duration::ZERO, None);
    for sent in all {
        let begun = *since.get_or_insert(sent.at);
        gap = gap.max(sent.at.saturating_duration_since(begun));
        if sent.took.is_some() {
            since = None;
        }
    }
    json!({
        "ok": lost == 0 && wrong == 0, "sent": all.len(), "lost": lost, "wrong": wrong,
        "p50_us": at(500), "p99_us": at(990), "max_us": times.last(),
        "longest_gap_ms": u64::try_from(gap.as_millis()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_queries_come_back_from_their_ids() {
        let at = Instant::now();
        for total in [1, 16, 17, 1000, (1 << 16) * SOCKETS + 40] {
            let number = total - 1;
            let (id, place) = (usize::from(id_of(number)), number % SOCKETS);
            let last = total.saturating_sub(place + 1) / SOCKETS;
            let round = last.saturating_sub(id) >> 16;
            assert_eq!(((round << 16) + id) * SOCKETS + place, number, "{total}");
        }
        let all =
            [Some(3), None, None, Some(5)].map(|took| Sent { at, took: took.map(Duration::from_micros) });
        let seen = judge(&all, 0);
        assert_eq!((&seen["sent"], &seen["lost"], &seen["max_us"]), (&json!(4), &json!(2), &json!(5)));
    }
}
