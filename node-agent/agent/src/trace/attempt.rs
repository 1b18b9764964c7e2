//! One real packet, or one real connection, out of a pod; and whether it went as it was told.
//!
//! Which backend got it, and which source that one sees, is read from connection tracking: the kernel's own word.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use tokio::{net::TcpSocket, runtime::Builder};
use weft_errors::{Coded, Error, INTERNAL};
use weft_kernel::{ConnFilter, Conntrack, Echo, LEAST_PROBE, Namespace, Pinger, Way};
use weft_model::{Family, Protocol};
use weft_plan::Packet;
use weft_proto::{convert::address_to_wire, v1};

/// Longest wait for an answer: a lost SYN is sent again after one second.
const WAIT: Duration = Duration::from_secs(2);
/// What a probe sends by UDP.
const GREETING: &[u8] = b"weft trace";
/// Longest wait for an answer that nobody should give: nothing else is on the way but what the probe sent.
const SILENCE: Duration = Duration::from_millis(600);
/// Backends that are asked themselves when a connection is refused.
const ASKED: usize = 4;

/// What was told.
pub(super) struct Told {
    pub(super) fate: v1::TraceFate,
    /// Who may get the packet.
    pub(super) may: Vec<Candidate>,
}

/// One who may get the packet.
pub(super) struct Candidate {
    pub(super) socket: SocketAddr,
    /// The source that it should see.
    pub(super) source: IpAddr,
    pub(super) name: String,
    /// Who drops the packet instead.
    pub(super) closed: Closed,
}

/// Where policies, or port security, drop a packet without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Nowhere.
    No,
    /// On this node, before its connection is tracked.
    Here,
    /// On the receiver's node: this one tracks a connection that nobody answers.
    There,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    /// Sent, and nobody said anything (UDP).
    Sent,
    Refused,
    Unreachable,
    Timeout,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
        }
    }

    fn of(error: &io::Error) -> Self {
        let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
        // A process of a node whose packet is refused on its way out is told that it isn't permitted.
        if is(&[ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset, ErrorKind::PermissionDenied]) {
            Self::Refused
        } else if is(&[ErrorKind::TimedOut, ErrorKind::WouldBlock]) {
            Self::Timeout
        } else {
            Self::Unreachable
        }
    }
}

/// What was seen of one attempt.
struct Seen {
    end: End,
    took: Duration,
    /// Where answers come from and go to, by connection tracking.
    reply: Option<Way>,
}

/// Tries, compares and says what it means.
pub(super) fn attempt(
    netns: Option<&str>,
    packet: Packet,
    told: &Told,
    deadline: Instant,
) -> Result<v1::TraceProbe, Error> {
    let namespace = netns.map(Namespace::open_foreign).transpose().map_err(|e| e.envelope())?;
    let namespace = namespace.as_ref();
    let closed = !told.may.is_empty() && told.may.iter().all(|candidate| candidate.closed != Closed::No);
    let wait = if closed { SILENCE } else { WAIT };
    let seen = once(namespace, packet, wait, deadline)?;
    let mut verdict = judge(packet, told, &seen);
    if seen.end == End::Refused && told.fate == v1::TraceFate::Served {
        // A backend's own refusal leaves no trace in connection tracking: it is asked without the service.
        let open = told.may.iter().filter(|candidate| candidate.closed == Closed::No);
        for candidate in open.take(ASKED) {
            let (to, port) = (candidate.socket.ip(), candidate.socket.port());
            if once(namespace, Packet { to, port, ..packet }, wait, deadline)?.end == End::Refused {
                let Candidate { socket, name, .. } = candidate;
                verdict = (true, format!("{name} itself refuses: nothing listens at {socket}"));
                break;
            }
        }
    }
    let (agrees, meaning) = verdict;
    let reply = seen.reply.filter(|_| packet.port != 0);
    Ok(v1::TraceProbe {
        outcome: seen.end.as_str().to_owned(),
        took_us: u64::try_from(seen.took.as_micros()).unwrap_or(u64::MAX),
        backend: reply.map(|reply| address_to_wire(reply.source)).unwrap_or_default(),
        backend_port: reply.map_or(0, |reply| reply.source_port.into()),
        source: reply.map(|reply| address_to_wire(reply.destination)).unwrap_or_default(),
        agrees,
        meaning,
    })
}

/// Told to be dropped, and no answer came.
const SILENT: &str = "no answer, as told";
/// Told to be dropped, and an answer came.
const PASSED: &str = "told that it is dropped, but it got there";

/// Whether what was seen is what was told, and in words.
fn judge(packet: Packet, told: &Told, seen: &Seen) -> (bool, String) {
    let target = SocketAddr::new(packet.to, packet.port);
    let is_closed = told.may.iter().any(|candidate| candidate.closed != Closed::No);
    match (told.fate, seen.end) {
        (v1::TraceFate::Straight, End::Timeout | End::Sent) if is_closed => (true, SILENT.to_owned()),
        (v1::TraceFate::Straight, End::Answered | End::Refused) if is_closed => (false, PASSED.to_owned()),
        (v1::TraceFate::Served, End::Answered | End::Sent | End::Timeout) => met(told, seen),
        (v1::TraceFate::Served, End::Refused)
            if is_closed && told.may.iter().all(|c| c.closed != Closed::No) =>
        {
            (false, PASSED.to_owned())
        }
        (v1::TraceFate::Served, End::Refused) => {
            (false, "refused, although backends serve and none of them refuses".to_owned())
        }
        (v1::TraceFate::Straight, End::Answered | End::Sent) => (true, String::new()),
        (v1::TraceFate::Straight, End::Refused) => (true, format!("nothing listens at {target}")),
        (v1::TraceFate::Refused, End::Refused) => (true, "refused at once, as told".to_owned()),
        (v1::TraceFate::Dropped, End::Timeout | End::Sent)
            if seen.reply.is_none_or(|r| r.source == packet.to) =>
        {
            (true, "no answer, as told".to_owned())
        }
        (v1::TraceFate::Refused | v1::TraceFate::Dropped, _) => {
            (false, "told that nobody gets it, but it went on".to_owned())
        }
        (v1::TraceFate::Served | v1::TraceFate::Straight, End::Unreachable) => {
            (false, "the kernel of the pod or of a node on the way knows no route".to_owned())
        }
        (v1::TraceFate::Straight, End::Timeout) => (false, format!("no answer from {target}")),
        (v1::TraceFate::Unspecified, _) => (false, "nothing was told".to_owned()),
    }
}

/// A connection that a backend should have got.
fn met(told: &Told, seen: &Seen) -> (bool, String) {
    let Some(reply) = seen.reply else {
        let ok = seen.end == End::Answered;
        if !ok && told.may.iter().any(|candidate| candidate.closed == Closed::Here) {
            return (true, SILENT.to_owned());
        }
        return (
            ok,
            if ok { String::new() } else { "connection tracking shows no such connection".to_owned() },
        );
    };
    let backend = SocketAddr::new(reply.source, reply.source_port);
    let Some(candidate) = told.may.iter().find(|candidate| candidate.socket == backend) else {
        return (false, format!("it went to {backend}, which isn't among the backends that were told"));
    };
    let Candidate { source, name, closed, .. } = candidate;
    match (closed, seen.end) {
        (Closed::No, _) => {}
        (_, End::Answered | End::Refused) => return (false, format!("{name}: {PASSED}")),
        (Closed::There, End::Sent | End::Timeout | End::Unreachable) => {
            return (true, format!("it went to {name}, which said nothing, as told"));
        }
        (Closed::Here, End::Sent | End::Timeout | End::Unreachable) => {
            return (false, format!("it left this node for {name}, although told that it is dropped here"));
        }
    }
    if reply.destination != *source {
        return (false, format!("{name} sees {} instead of {source}", reply.destination));
    }
    match seen.end {
        End::Timeout => (false, format!("it went to {name} as told, and no answer came back")),
        End::Sent => (true, format!("it went to {name}, which said nothing")),
        End::Answered | End::Refused | End::Unreachable => (true, String::new()),
    }
}

fn once(
    namespace: Option<&Namespace>,
    packet: Packet,
    longest: Duration,
    deadline: Instant,
) -> Result<Seen, Error> {
    let wait = deadline.saturating_duration_since(Instant::now()).min(longest);
    let began = Instant::now();
    let send = || match (packet.port, packet.protocol) {
        (0, _) => echo(packet, wait),
        (_, Protocol::Tcp) => connect(packet, wait),
        (_, Protocol::Udp | Protocol::Sctp) => datagram(packet, wait),
    };
    let sent = match namespace {
        Some(namespace) => namespace.run(send).map_err(|e| e.envelope())?,
        None => send(),
    };
    let (end, port, _socket) =
        sent.map_err(|error| Error::new(&INTERNAL, "the probe can't be sent out of the pod").because(error))?;
    let took = began.elapsed();
    let reply = if packet.port == 0 { None } else { tracked(packet, port)? };
    Ok(Seen { end, took, reply })
}

/// Kept open while connection tracking is looked at: a closed one may be gone from there.
enum Open {
    Tcp { _stream: Option<tokio::net::TcpStream>, _runtime: tokio::runtime::Runtime },
    Udp { _socket: UdpSocket },
    Nothing,
}

type Sent = io::Result<(End, u16, Open)>;

fn connect(packet: Packet, wait: Duration) -> Sent {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (end, port, stream) = runtime.block_on(async {
        let socket = if packet.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(packet.source, 0))?;
        let port = socket.local_addr()?.port();
        let made = socket.connect(SocketAddr::new(packet.to, packet.port));
        Ok::<_, io::Error>(match tokio::time::timeout(wait, made).await {
            Ok(Ok(stream)) => (End::Answered, port, Some(stream)),
            Ok(Err(error)) => (End::of(&error), port, None),
            Err(_) => (End::Timeout, port, None),
        })
    })?;
    Ok((end, port, Open::Tcp { _stream: stream, _runtime: runtime }))
}

fn datagram(packet: Packet, wait: Duration) -> Sent {
    let socket = UdpSocket::bind(SocketAddr::new(packet.source, 0))?;
    let port = socket.local_addr()?.port();
    socket.connect(SocketAddr::new(packet.to, packet.port))?;
    socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
    let heard = socket.send(GREETING).and_then(|_| socket.recv(&mut [0; 64]));
    let end = match heard {
        Ok(_) => End::Answered,
        Err(error) if End::of(&error) == End::Timeout => End::Sent,
        Err(error) => End::of(&error),
    };
    Ok((end, port, Open::Udp { _socket: socket }))
}

fn echo(packet: Packet, wait: Duration) -> Sent {
    let mut pinger = Pinger::open(packet.to, Some(packet.source)).map_err(io::Error::other)?;
    let end = match pinger.echo(LEAST_PROBE, wait).map_err(io::Error::other)? {
        Echo::Replied { .. } => End::Answered,
        Echo::Silent => End::Timeout,
        Echo::TooLarge { .. } | Echo::Unreachable => End::Unreachable,
    };
    Ok((end, 0, Open::Nothing))
}

/// What connection tracking of the node shows of it.
fn tracked(packet: Packet, port: u16) -> Result<Option<Way>, Error> {
    let filter = ConnFilter {
        original_source: Some(packet.source),
        original_destination: Some(packet.to),
        original_port: Some(packet.port),
        ..ConnFilter::of_protocol(Family::of(packet.to), packet.protocol)
    };
    let mut conntrack = Conntrack::open().map_err(|e| e.envelope())?;
    let found = conntrack.list(&filter).map_err(|e| e.envelope())?;
    Ok(found.into_iter().find(|connection| connection.original.source_port == port).map(|c| c.reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        let address = |text: &str| text.parse().unwrap();
        Packet { source: address("10.1.1.9"), to: address("10.112.0.1"), protocol: Protocol::Tcp, port: 80 }
    }

    fn told(fate: v1::TraceFate, closed: Closed) -> Told {
        let (socket, source) = ("10.1.1.2:8080".parse().unwrap(), "10.1.1.9".parse().unwrap());
        Told { fate, may: vec![Candidate { socket, source, name: "pod web-0 on n1".to_owned(), closed }] }
    }

    /// What connection tracking shows: the backend, and the source that it sees.
    fn seen(end: End, reply: Option<(&str, &str)>) -> Seen {
        let reply = reply.map(|(backend, client)| {
            let backend: SocketAddr = backend.parse().unwrap();
            Way {
                source: backend.ip(),
                destination: client.parse().unwrap(),
                source_port: backend.port(),
                destination_port: 40_000,
            }
        });
        Seen { end, took: Duration::ZERO, reply }
    }

    #[test]
    fn what_was_seen_agrees_with_what_was_told_or_says_in_what_it_differs() {
        use v1::TraceFate::{Dropped, Refused, Served, Straight};
        let right = Some(("10.1.1.2:8080", "10.1.1.9"));
        for (fate, end, reply, agrees, words) in [
            (Served, End::Answered, right, true, ""),
            (Served, End::Answered, Some(("10.1.1.3:8080", "10.1.1.9")), false, "it went to 10.1.1.3:8080"),
            (Served, End::Answered, Some(("10.1.1.2:8080", "10.111.0.1")), false, "sees 10.111.0.1 instead"),
            (Served, End::Sent, right, true, "which said nothing"),
            (Served, End::Sent, None, false, "no such connection"),
            (Served, End::Timeout, right, false, "no answer came back"),
            (Served, End::Refused, None, false, "none of them refuses"),
            (Refused, End::Refused, None, true, "as told"),
            (Refused, End::Answered, right, false, "it went on"),
            (Refused, End::Timeout, None, false, "it went on"),
            (Dropped, End::Timeout, None, true, "as told"),
            (Dropped, End::Sent, right, false, "it went on"),
            (Dropped, End::Refused, None, false, "it went on"),
            (Straight, End::Answered, None, true, ""),
            (Straight, End::Refused, None, true, "nothing listens at 10.112.0.1:80"),
            (Straight, End::Timeout, None, false, "no answer"),
        ] {
            let (found, meaning) = judge(packet(), &told(fate, Closed::No), &seen(end, reply));
            assert_eq!(found, agrees, "{fate:?} {end:?}: {meaning}");
            assert!(meaning.contains(words), "{fate:?} {end:?}: {meaning}");
        }
    }

    #[test]
    fn what_is_told_to_be_dropped_must_stay_unanswered() {
        use v1::TraceFate::{Served, Straight};
        let right = Some(("10.1.1.2:8080", "10.1.1.9"));
        for (fate, closed, end, reply, agrees, words) in [
            (Straight, Closed::Here, End::Timeout, None, true, "as told"),
            (Straight, Closed::There, End::Sent, right, true, "as told"),
            (Straight, Closed::There, End::Answered, right, false, "it got there"),
            (Straight, Closed::Here, End::Refused, None, false, "it got there"),
            (Served, Closed::Here, End::Timeout, None, true, "as told"),
            (Served, Closed::Here, End::Timeout, right, false, "it left this node"),
            (Served, Closed::There, End::Timeout, right, true, "which said nothing, as told"),
            (Served, Closed::There, End::Timeout, None, false, "no such connection"),
            (Served, Closed::There, End::Answered, right, false, "it got there"),
            (Served, Closed::Here, End::Refused, None, false, "it got there"),
        ] {
            let (found, meaning) = judge(packet(), &told(fate, closed), &seen(end, reply));
            assert_eq!(found, agrees, "{fate:?} {closed:?} {end:?}: {meaning}");
            assert!(meaning.contains(words), "{fate:?} {closed:?} {end:?}: {meaning}");
        }
    }
}
