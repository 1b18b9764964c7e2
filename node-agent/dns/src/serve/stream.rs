//! TCP: few connections, each bounded in time and in number per asker; queries may follow each other without waiting
//! (RFC 7766), and answers come as they are ready.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::WriteHalf},
    sync::mpsc,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use weft_names::{DropCause, Moment, Reader, Response, Transport};

use super::{Asked, Common, Waiter};
use crate::{
    askers,
    count::{Latencies, Numbers, Published, publish},
    limits,
    sockets::Socket,
    watch::{Fate, Noted},
};

/// A listener that is to be served.
pub(crate) struct Listening {
    pub(crate) socket: Socket,
    pub(crate) reader: Reader,
    pub(crate) stop: CancellationToken,
}

/// A pause after a connection couldn't be accepted: without descriptors the next attempt fails at once too.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Connection>,
    /// Connections that were hung up on because their asker had enough.
    refused: u64,
}

#[derive(Debug)]
struct Connection {
    asker: IpAddr,
    /// When it last brought a query.
    used: Instant,
    cut: CancellationToken,
}

impl Connections {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// How many were hung up on because their asker had enough.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Makes room for one more; `None` when its asker has enough.
    fn enter(&self, asker: IpAddr) -> Option<(u64, CancellationToken)> {
        let mut open = self.lock();
        let own = open.all.values().filter(|connection| connection.asker == asker).count();
        if own >= limits::CONNECTIONS_PER_ASKER {
            open.refused += 1;
            return None;
        }
        if open.all.len() >= limits::CONNECTIONS {
            let idle = open.all.iter().min_by_key(|(_, connection)| connection.used).map(|(id, _)| *id)?;
            if let Some(connection) = open.all.remove(&idle) {
                connection.cut.cancel();
            }
        }
        let (id, cut) = (open.next, CancellationToken::new());
        open.next += 1;
        open.all.insert(id, Connection { asker, used: Instant::now(), cut: cut.clone() });
        Some((id, cut))
    }

    fn used(&self, id: u64) {
        if let Some(connection) = self.lock().all.get_mut(&id) {
            connection.used = Instant::now();
        }
    }

    fn leave(&self, id: u64) {
        self.lock().all.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves listeners that come until `stop`; connections end soon after it.
    pub(crate) async fn serve(
        self,
        common: Common,
        mut listening: mpsc::Receiver<Listening>,
        stop: CancellationToken,
    ) {
        let mut served = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(next) = listening.recv() => {
                    let (connections, common, stop) = (self.clone(), common.clone(), stop.clone());
                    served.spawn(accept(connections, common, next, stop));
                }
                Some(_) = served.join_next(), if !served.is_empty() => {}
            }
        }
        while served.join_next().await.is_some() {}
        let end = Instant::now() + limits::DRAIN;
        while self.count() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What connections of a listener share.
struct Answering {
    common: Common,
    connections: Connections,
    desk: Mutex<Desk>,
    stop: CancellationToken,
}

struct Desk {
    reader: Reader,
    room: Vec<u8>,
    latencies: Latencies,
    crowded: u64,
    place: Published,
    published: Moment,
}

async fn accept(connections: Connections, common: Common, listening: Listening, stop: CancellationToken) {
    let Listening { socket, reader, stop: taken_away } = listening;
    let listener = match adopt(&socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, address = %socket.address, "names can't be served over TCP");
            return;
        }
    };
    let place = common.counts.place();
    let desk = Desk {
        reader,
        room: vec![0; limits::MESSAGE],
        latencies: Latencies::default(),
        crowded: 0,
        place: Arc::clone(&place),
        published: Moment(0),
    };
    let answering = Arc::new(Answering { common, connections, desk: Mutex::new(desk), stop });
    loop {
        let accepted = tokio::select! {
            () = answering.stop.cancelled() => break,
            () = taken_away.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let asker = from.ip().to_canonical();
                let Some((id, cut)) = answering.connections.enter(asker) else { continue };
                let answering = Arc::clone(&answering);
                tokio::spawn(async move {
                    if let Err(error) = talk(&answering, stream, asker, id, &cut).await {
                        tracing::debug!(%error, %asker, "a TCP connection broke");
                    }
                    answering.connections.leave(id);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a TCP connection can't be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    answering.publish();
    answering.common.counts.retire(&place);
}

fn adopt(socket: &Socket) -> io::Result<TcpListener> {
    let listener = StdListener::from(socket.descriptor().try_clone()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What a query leads to.
enum Next {
    Answer(Vec<u8>),
    Waits,
    Nothing,
}

impl Answering {
    fn query(&self, asker: IpAddr, query: &[u8], answers: &mpsc::Sender<Vec<u8>>) -> Next {
        let began = Instant::now();
        let now = self.common.clock.moment(began);
        let askers = self.common.askers.load();
        let is_watched = self.common.watch.watched().is_some_and(|watched| watched.has(asker));
        let note = |fate: Fate| self.common.watch.note(Noted::now(asker, began.elapsed(), true, fate));
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let Desk { reader, room, .. } = &mut *desk;
        let response =
            askers::with(&askers, asker, |asker| reader.respond(asker, Transport::Tcp, now, query, room));
        let next = match response {
            Response::Answer { length, source } => {
                if is_watched {
                    let message = desk.room[..length].into();
                    note(Fate::Answered { message, source, origin: desk.reader.origin() });
                }
                desk.latencies.note(began.elapsed(), 1);
                Next::Answer(framed(&desk.room[..length]))
            }
            Response::Ask(ask) => {
                let asked = Asked { waiter: Waiter::Stream(answers.clone()), ask, since: began };
                match self.common.asks.try_send(asked) {
                    Ok(()) => Next::Waits,
                    Err(_) => {
                        desk.crowded += 1;
                        if is_watched {
                            note(Fate::Dropped { message: query.into(), why: "crowded" });
                        }
                        Next::Nothing
                    }
                }
            }
            Response::Drop(DropCause::Budget) if is_watched => {
                note(Fate::Dropped { message: query.into(), why: "rate" });
                Next::Nothing
            }
            Response::Drop(DropCause::Budget | DropCause::Short | DropCause::IsAnswer) => Next::Nothing,
        };
        if now.since(desk.published) >= limits::COUNT_EVERY_MS {
            desk.publish(now);
        }
        next
    }

    fn publish(&self) {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).publish(self.common.clock.now());
    }
}

impl Desk {
    fn publish(&mut self, now: Moment) {
        self.published = now;
        let Self { latencies, crowded, .. } = *self;
        let reader = *self.reader.counters();
        publish(&self.place, Numbers { reader, latencies, crowded, unsent: 0 });
    }
}

async fn talk(
    answering: &Answering,
    mut stream: TcpStream,
    asker: IpAddr,
    id: u64,
    cut: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    // As many as may wait: it is never full.
    let (sender, mut answers) = mpsc::channel(limits::PIPELINED);
    let mut bytes = Vec::with_capacity(512);
    let (mut waiting, mut ended, mut stopping) = (0_usize, false, false);
    let mut until = Instant::now() + limits::IDLE;
    loop {
        while waiting < limits::PIPELINED
            && let Some(query) = take(&mut bytes)
        {
            answering.connections.used(id);
            until = Instant::now() + limits::IDLE;
            match answering.query(asker, &query, &sender) {
                Next::Answer(answer) => say(&mut writer, &answer).await?,
                Next::Waits => waiting += 1,
                Next::Nothing => {}
            }
        }
        if (ended || stopping) && waiting == 0 {
            return Ok(());
        }
        tokio::select! {
            () = cut.cancelled() => return Ok(()),
            () = answering.stop.cancelled(), if !stopping => {
                stopping = true;
                until = until.min(Instant::now() + limits::DRAIN);
            }
            () = sleep_until(until.into()) => return Ok(()),
            Some(answer) = answers.recv() => {
                waiting -= 1;
                say(&mut writer, &framed(&answer)).await?;
            }
            read = reader.read_buf(&mut bytes), if !ended && waiting < limits::PIPELINED => {
                ended = read? == 0;
            }
        }
    }
}

/// Whoever doesn't take its answers is hung up on.
async fn say(writer: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
    timeout(limits::IDLE, writer.write_all(bytes)).await?
}

/// The first whole message of those that have come.
fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk::<2>()?));
    let message = bytes.get(2..2 + length)?.to_vec();
    bytes.drain(..2 + length);
    Some(message)
}

/// A message behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(message.len() + 2);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&message[..usize::from(length)]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_one_by_one_and_parts_wait() {
        let mut bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        bytes.pop();
        assert_eq!(take(&mut bytes).as_deref(), Some(&b"one"[..]));
        assert_eq!(take(&mut bytes).as_deref(), Some(&b""[..]));
        assert_eq!(take(&mut bytes), None, "its end hasn't come");
        bytes.push(b'e');
        assert_eq!(take(&mut bytes).as_deref(), Some(&b"three"[..]));
        assert_eq!(take(&mut bytes), None);
    }

    #[test]
    fn an_asker_has_few_connections_and_the_idlest_makes_room() {
        let connections = Connections::default();
        let asker = |n: u32| IpAddr::from(n.to_be_bytes());
        let own: Vec<_> = (0..limits::CONNECTIONS_PER_ASKER).map(|_| connections.enter(asker(1))).collect();
        assert!(own.iter().all(Option::is_some));
        assert!(connections.enter(asker(1)).is_none(), "enough for one");
        assert_eq!(connections.refused(), 1);
        let (_, first) = own.into_iter().flatten().next().unwrap();
        let others = u32::try_from(limits::CONNECTIONS - limits::CONNECTIONS_PER_ASKER).unwrap();
        for n in 0..others {
            assert!(connections.enter(asker(100 + n)).is_some());
        }
        assert!(!first.is_cancelled());
        assert!(connections.enter(asker(2)).is_some());
        assert!(first.is_cancelled(), "the one that was idle longest");
        assert_eq!(connections.count(), limits::CONNECTIONS);
    }
}
