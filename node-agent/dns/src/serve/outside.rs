//! Questions to the outside: drives the forwarder of weft-names with sockets, the clock and chance.
//!
//! Every conversation with an upstream has a socket of its own, from a port that the kernel picks by chance, connected, so
//! that what comes from elsewhere is dropped there.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use rustix::net::{SendFlags, sendto};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use weft_names::{
    Client, Counters, Effect, Exchange, ForwardConfig, Forwarder, Input, Origin, Source, Transport,
};

use super::{Asked, Common, Connections, Waiter};
use crate::{
    clock,
    count::{Latencies, Numbers, Outside, Published, publish},
    limits,
    watch::{Fate, Noted},
};

/// Longest datagram of an upstream that is taken, bytes: more than we say we take.
const DATAGRAM: usize = 4096;
/// How often this thread's numbers are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);

/// What the forwarder is told beside questions.
#[derive(Debug)]
pub(crate) enum Order {
    /// Who is asked from now on.
    Configure(ForwardConfig),
}

/// What came of a conversation.
enum Event {
    Message(Exchange, Vec<u8>),
    Failed(Exchange),
}

/// Asks until `stop`, and then a moment longer for those who wait.
pub(crate) async fn run(
    forwarder: Forwarder,
    common: Common,
    mut asks: mpsc::Receiver<Asked>,
    mut orders: mpsc::Receiver<Order>,
    connections: Connections,
    chance: StdRng,
    stop: CancellationToken,
) {
    let (sender, mut events) = mpsc::channel(limits::EVENTS);
    let mut asking = Asking {
        forwarder,
        place: common.counts.place(),
        common,
        chance,
        events: sender,
        next: 0,
        waiting: HashMap::new(),
        exchanges: HashMap::new(),
        effects: Vec::new(),
        counters: Counters::default(),
        latencies: Latencies::default(),
        connections,
    };
    let mut publish = interval(PUBLISH_EVERY);
    publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end: Option<Instant> = None;
    loop {
        let ends = end.is_some_and(|end| asking.waiting.is_empty() || Instant::now() >= end);
        if ends && asks.is_empty() {
            asking.publish();
            return;
        }
        let deadline = asking.forwarder.deadline().map(|moment| asking.common.clock.instant(moment));
        let wake = [deadline, end].into_iter().flatten().min();
        tokio::select! {
            () = stop.cancelled(), if end.is_none() => end = Some(Instant::now() + limits::DRAIN),
            Some(order) = orders.recv() => asking.order(order),
            Some(event) = events.recv() => asking.event(event),
            Some(asked) = asks.recv() => asking.ask(asked),
            _ = publish.tick() => asking.publish(),
            () = sleep_until(wake.unwrap_or_else(far).into()), if wake.is_some() => asking.input(Input::Tick),
        }
    }
}

fn far() -> Instant {
    Instant::now() + PUBLISH_EVERY
}

/// A client that waits.
struct Waiting {
    waiter: Waiter,
    since: Instant,
    asker: IpAddr,
    is_tcp: bool,
}

struct Asking {
    forwarder: Forwarder,
    common: Common,
    chance: StdRng,
    events: mpsc::Sender<Event>,
    next: u64,
    waiting: HashMap<Client, Waiting>,
    exchanges: HashMap<Exchange, AbortHandle>,
    effects: Vec<Effect>,
    counters: Counters,
    latencies: Latencies,
    place: Published,
    connections: Connections,
}

impl Asking {
    fn order(&mut self, order: Order) {
        let Order::Configure(config) = order;
        self.forwarder.configure(self.common.clock.now(), config);
    }

    fn ask(&mut self, Asked { waiter, ask, since }: Asked) {
        let client = Client(self.next);
        self.next += 1;
        let (asker, is_tcp) = (ask.asker(), ask.transport() == Transport::Tcp);
        self.waiting.insert(client, Waiting { waiter, since, asker, is_tcp });
        self.input(Input::Ask { client, ask });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message(exchange, bytes) => self.input(Input::Message { exchange, bytes: &bytes }),
            Event::Failed(exchange) => self.input(Input::Failed { exchange }),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.common.clock.now();
        let chance = &mut self.chance;
        self.forwarder.input(now, input, &mut || clock::number(chance), &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Udp { exchange, server, message } => {
                    let talk = by_datagram(exchange, server, message, self.events.clone());
                    self.exchanges.insert(exchange, tokio::spawn(talk).abort_handle());
                }
                Effect::Tcp { exchange, server, message } => {
                    let talk = by_stream(exchange, server, message, self.events.clone());
                    self.exchanges.insert(exchange, tokio::spawn(talk).abort_handle());
                }
                Effect::Close { exchange } => {
                    if let Some(task) = self.exchanges.remove(&exchange) {
                        task.abort();
                    }
                }
                Effect::Answer { client, message, source, origin } => {
                    self.answer(client, message, source, origin)
                }
            }
        }
    }

    fn answer(&mut self, client: Client, message: Vec<u8>, source: Source, origin: Origin) {
        let Some(Waiting { waiter, since, asker, is_tcp }) = self.waiting.remove(&client) else { return };
        if !matches!(waiter, Waiter::Question(_)) {
            self.counters.answer(&message, source);
            self.latencies.note(since.elapsed(), 1);
            if self.common.watch.watched().is_some_and(|watched| watched.has(asker)) {
                let fate = Fate::Answered { message: message.as_slice().into(), source, origin };
                self.common.watch.note(Noted::now(asker, since.elapsed(), is_tcp, fate));
            }
        }
        match waiter {
            Waiter::Datagram { socket, to } => {
                // A client that can't be reached asks again, or is gone.
                if let Err(error) = sendto(&socket, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &to)
                {
                    tracing::debug!(%error, %to, "an answer isn't sent");
                }
            }
            // Who hung up doesn't want it any more.
            Waiter::Stream(answers) => drop(answers.try_send(message)),
            Waiter::Question(answer) => drop(answer.try_send((message, source, origin))),
        }
    }

    /// Tells what there is to tell, and forgets clients that hung up.
    fn publish(&mut self) {
        let gone = |waiting: &Waiting| match &waiting.waiter {
            // Whoever gave up a question of people meanwhile doesn't say so, and waits for no more than its time.
            Waiter::Datagram { .. } | Waiter::Question(_) => false,
            Waiter::Stream(answers) => answers.is_closed(),
        };
        let left: Vec<Client> =
            self.waiting.iter().filter(|(_, waiting)| gone(waiting)).map(|(client, _)| *client).collect();
        for client in left {
            self.waiting.remove(&client);
            self.input(Input::Gone { client });
        }
        let numbers = Numbers { reader: self.counters, latencies: self.latencies, ..Numbers::default() };
        publish(&self.place, numbers);
        self.common.counts.put_outside(Outside {
            forwarder: *self.forwarder.counters(),
            upstreams: self.forwarder.upstreams(),
            cached: self.forwarder.cached(),
            connections: self.connections.count(),
            connections_refused: self.connections.refused(),
        });
    }
}

async fn by_datagram(exchange: Exchange, server: SocketAddr, message: Vec<u8>, events: mpsc::Sender<Event>) {
    let talk = async {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&message).await?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if events.send(Event::Message(exchange, buffer[..length].to_vec())).await.is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    };
    conclude(talk.await, exchange, server, &events).await;
}

async fn by_stream(exchange: Exchange, server: SocketAddr, message: Vec<u8>, events: mpsc::Sender<Event>) {
    let talk = async {
        let mut stream = timeout(limits::CONNECT, TcpStream::connect(server)).await??;
        stream.set_nodelay(true)?;
        let length =
            u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(&message);
        stream.write_all(&bytes).await?;
        loop {
            let length = stream.read_u16().await?;
            let mut answer = vec![0; usize::from(length)];
            stream.read_exact(&mut answer).await?;
            if events.send(Event::Message(exchange, answer)).await.is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    };
    conclude(talk.await, exchange, server, &events).await;
}

async fn conclude(
    ended: io::Result<()>,
    exchange: Exchange,
    server: SocketAddr,
    events: &mpsc::Sender<Event>,
) {
    if let Err(error) = ended {
        tracing::debug!(%error, %server, "a conversation with an upstream ended");
        // Nobody hears it when the process ends.
        let _ = events.send(Event::Failed(exchange)).await;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.exchanges.values().for_each(AbortHandle::abort);
        self.common.counts.retire(&Arc::clone(&self.place));
    }
}
