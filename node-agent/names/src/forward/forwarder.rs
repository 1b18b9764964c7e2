//! The forwarder: jobs of clients wait for flights, flights for exchanges with upstreams.
//!
//! Bounds: jobs in all and per asker, flights, messages per flight and per job. Each job ends by its deadline. Equal questions share a
//! flight. An answer is taken only from the exchange that asked, with its number, name, case and type; of what it says only
//! what was asked for is kept (`message/answer.rs`).

mod exchange;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Client, Effect, Exchange, ForwardConfig, ForwardCounters, Input, UpstreamState,
    flight::{Flight, Topic},
    job::{Job, Step},
    probe::Look,
    server::Servers,
};
use crate::{
    Ask, DomainName, Limits, Moment, Origin,
    budget::Budgets,
    cache::Entry,
    limits::{FAILURE_MS, MAX_CACHED, MAX_TRIES},
    message::Body,
    names::Shared,
};

/// The forwarder: one per process, on a thread of its own.
pub struct Forwarder {
    shared: Arc<Shared>,
    limits: Limits,
    config: ForwardConfig,
    servers: Servers,
    jobs: HashMap<Client, Job>,
    flights: HashMap<u64, Flight>,
    topics: HashMap<Topic, u64>,
    exchanges: HashMap<Exchange, u64>,
    timers: BTreeSet<(Moment, Timer)>,
    /// Questions that wait, by asker.
    waiting: HashMap<IpAddr, u32>,
    budgets: Budgets,
    look: Look,
    /// The latest time that was passed in.
    now: Moment,
    last_flight: u64,
    last_exchange: u64,
    counters: ForwardCounters,
    out: Box<[u8]>,
}

/// Who wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Flight(u64),
    Job(Client),
}

/// What one input works with.
struct Turn<'a> {
    now: Moment,
    chance: &'a mut dyn FnMut() -> u64,
    effects: &'a mut Vec<Effect>,
}

impl Forwarder {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits, seed: u64) -> Self {
        Self {
            shared,
            limits,
            config: ForwardConfig::default(),
            servers: Servers::default(),
            jobs: HashMap::new(),
            flights: HashMap::new(),
            topics: HashMap::new(),
            exchanges: HashMap::new(),
            timers: BTreeSet::new(),
            waiting: HashMap::new(),
            budgets: Budgets::new(seed, limits.asks_per_second),
            look: Look::default(),
            now: Moment::default(),
            last_flight: 0,
            last_exchange: 0,
            counters: ForwardCounters::default(),
            out: vec![0; usize::from(u16::MAX)].into(),
        }
    }

    /// Takes up who is asked; what is under way goes on. What the cache holds of names whose servers changed is forgotten. The
    /// upstreams are looked at for loops with the next input.
    pub fn configure(&mut self, now: Moment, config: ForwardConfig) {
        if config == self.config {
            return;
        }
        if config.filters_like(&self.config) {
            config.changed(&self.config).for_each(|domain| self.shared.cache.forget(domain));
        } else {
            self.shared.cache.clear();
        }
        self.config = config;
        let servers: Vec<_> =
            self.config.routes().iter().flat_map(|route| route.servers.iter().copied()).collect();
        self.servers.keep(&servers);
        self.look = Look::begin(self.everybodys(), now);
    }

    /// Upstreams of the root.
    fn everybodys(&self) -> Vec<SocketAddr> {
        self.config.route(&DomainName::root()).map(|route| route.servers.clone()).unwrap_or_default()
    }

    /// Takes an input and appends what is to be done. `chance` gives 64 random bits at each call, from a source nobody can
    /// predict: numbers and letter cases of messages come from it.
    pub fn input(
        &mut self,
        now: Moment,
        input: Input<'_>,
        chance: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        self.now = now;
        let mut turn = Turn { now, chance, effects };
        match input {
            Input::Ask { client, ask } => self.ask(client, ask, &mut turn),
            Input::Gone { client } => {
                self.end(client);
            }
            Input::Message { exchange, bytes } => self.message(exchange, bytes, &mut turn),
            Input::Failed { exchange } => self.unreachable(exchange, &mut turn),
            Input::Tick => {}
        }
        self.wake(&mut turn);
    }

    /// When the next [`Input::Tick`] is due; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Moment> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.look.due].into_iter().flatten().min()
    }

    /// How the upstreams do.
    pub fn upstreams(&self) -> Vec<UpstreamState> {
        let routes = self.config.routes().iter();
        let servers = routes.flat_map(|route| route.servers.iter().map(|server| (&route.domain, *server)));
        let state = |(domain, address): (&DomainName, SocketAddr)| {
            let server = self.servers.peek(address);
            UpstreamState {
                domain: domain.clone(),
                server: address,
                is_down: server.is_down(self.now),
                is_loop: server.is_loop,
                failures: server.failures,
                round_trip_ms: server.round_trip_ms(),
                answers: server.answers,
                errors: server.errors,
                asked: server.asked,
            }
        };
        servers.map(state).collect()
    }

    /// What it counted.
    pub const fn counters(&self) -> &ForwardCounters {
        &self.counters
    }

    /// Octets that the cache takes, and answers in it.
    pub fn cached(&self) -> (usize, usize) {
        (self.shared.cache.octets(), self.shared.cache.count())
    }

    /// Questions of clients that wait.
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    fn ask(&mut self, client: Client, ask: Box<Ask>, turn: &mut Turn<'_>) {
        self.counters.asks += 1;
        let job = Job::new(ask, turn.now);
        let asker = job.asker();
        let others = self.waiting.get(&asker).copied().unwrap_or_default();
        let refused = if self.jobs.len() >= self.limits.waiting || self.jobs.contains_key(&client) {
            Some(&mut self.counters.refused_crowded)
        } else if others >= self.limits.asks_in_flight {
            Some(&mut self.counters.refused_waiting)
        } else if !self.budgets.admit(asker, turn.now) {
            Some(&mut self.counters.refused_rate)
        } else {
            None
        };
        if let Some(count) = refused {
            *count += 1;
            self.tell(client, &job, false, turn);
            return;
        }
        *self.waiting.entry(asker).or_default() += 1;
        self.timers.insert((job.deadline, Timer::Job(client)));
        let first = job.first();
        self.jobs.insert(client, job);
        self.step(client, first, turn);
    }

    /// Goes on with a client's question, as far as the cache leads.
    fn step(&mut self, client: Client, mut step: Step, turn: &mut Turn<'_>) {
        loop {
            let topic = match step {
                Step::Ask(topic) => topic,
                Step::Reply => return self.finish(client, true, turn),
            };
            let known = self.shared.cache.find(topic.asked()).filter(|entry| entry.counts(turn.now));
            let Some(entry) = known else { return self.board(client, topic, turn) };
            let Some(next) = self.taken(client, entry) else { return };
            step = next;
        }
    }

    fn taken(&mut self, client: Client, entry: Arc<Entry>) -> Option<Step> {
        let head = self.shared.tables.head();
        Some(self.jobs.get_mut(&client)?.take(entry, head.as_ref()?))
    }

    /// Joins the flight of a topic, or begins it.
    fn board(&mut self, client: Client, topic: Topic, turn: &mut Turn<'_>) {
        let Some(job) = self.jobs.get_mut(&client) else { return };
        if job.messages >= MAX_TRIES {
            return self.finish(client, false, turn);
        }
        job.set_asked();
        if let Some(flight) = self.topics.get(&topic).and_then(|id| self.flights.get_mut(id)) {
            self.counters.joined += 1;
            flight.waiters.push(client);
            return;
        }
        if self.flights.len() >= self.limits.flights {
            self.counters.refused_crowded += 1;
            return self.finish(client, false, turn);
        }
        let servers =
            self.config.route(&topic.name).map(|route| route.servers.as_slice()).unwrap_or_default();
        let order = self.servers.order(servers, turn.now);
        let stale = self.shared.cache.find(topic.asked()).filter(|entry| entry.may_be_told(turn.now));
        self.last_flight += 1;
        let id = self.last_flight;
        let lasts = self.servers.lasts(&order, turn.now);
        let mut flight = Flight::new(topic.clone(), order, stale, turn.now, lasts);
        flight.waiters.push(client);
        self.topics.insert(topic, id);
        self.flights.insert(id, flight);
        self.try_next(id, turn);
    }

    /// Asks the next server, or gives up.
    fn try_next(&mut self, id: u64, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.set_lasts(self.servers.lasts(flight.servers(), turn.now));
        match flight.next_server(turn.now) {
            Some(server) => {
                flight.tried();
                self.servers.get(server).chosen(turn.now);
                self.send(id, server, false, turn);
            }
            // Somebody may still answer.
            None if flight.pending.iter().any(|pending| !pending.is_late) => self.rearm(id),
            None => self.give_up(id, turn),
        }
    }

    fn send(&mut self, id: u64, address: SocketAddr, is_tcp: bool, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        self.last_exchange += 1;
        let exchange = Exchange(self.last_exchange);
        let server = self.servers.get(address);
        server.asked += 1;
        let message = flight.send(exchange, (address, server), is_tcp, turn.now, turn.chance);
        self.exchanges.insert(exchange, id);
        turn.effects.push(if is_tcp {
            self.counters.sent_tcp += 1;
            Effect::Tcp { exchange, server: address, message }
        } else {
            self.counters.sent_udp += 1;
            Effect::Udp { exchange, server: address, message }
        });
        self.rearm(id);
    }

    fn rearm(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.set_lasts(self.servers.lasts(flight.servers(), self.now));
        self.timers.remove(&(flight.wake, Timer::Flight(id)));
        flight.wake = flight.next_wake();
        self.timers.insert((flight.wake, Timer::Flight(id)));
    }

    /// An answer came: all who wait go on.
    fn land(&mut self, id: u64, upstream: SocketAddr, body: Body, turn: &mut Turn<'_>) {
        let Some(flight) = self.remove(id, turn) else { return };
        let is_kept = body.ttl > 0 && body.octets() <= MAX_CACHED;
        let entry = Entry::new(flight.topic.asked(), body.clone(), turn.now).from(upstream);
        if is_kept {
            let kept = Entry::new(flight.topic.asked(), body, turn.now).from(upstream);
            self.shared.cache.put(kept, self.limits.cache_bytes, turn.now);
        }
        self.resume(flight.waiters, flight.messages, &Arc::new(entry), turn);
    }

    /// Nobody answers: an old answer, or our trouble.
    fn give_up(&mut self, id: u64, turn: &mut Turn<'_>) {
        let Some(flight) = self.remove(id, turn) else { return };
        self.counters.failed += 1;
        let (asked, now) = (flight.topic.asked(), turn.now);
        if let Some(stale) = flight.stale {
            self.counters.stale += flight.waiters.len() as u64;
            self.shared.cache.put(stale.granted(now), self.limits.cache_bytes, now);
            return self.resume(flight.waiters, flight.messages, &stale, turn);
        }
        let failure = || Entry::until(asked, Body::failure(asked.name), now, now.after(FAILURE_MS));
        self.shared.cache.put(failure(), self.limits.cache_bytes, now);
        self.resume(flight.waiters, flight.messages, &Arc::new(failure()), turn);
    }

    fn remove(&mut self, id: u64, turn: &mut Turn<'_>) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        self.topics.remove(&flight.topic);
        self.timers.remove(&(flight.wake, Timer::Flight(id)));
        for pending in &flight.pending {
            self.exchanges.remove(&pending.exchange);
            turn.effects.push(Effect::Close { exchange: pending.exchange });
        }
        Some(flight)
    }

    /// All who waited go on; `messages` were sent for them.
    fn resume(&mut self, waiters: Vec<Client>, messages: u32, entry: &Arc<Entry>, turn: &mut Turn<'_>) {
        for client in waiters {
            if let Some(job) = self.jobs.get_mut(&client) {
                job.messages += messages;
            }
            if let Some(step) = self.taken(client, Arc::clone(entry)) {
                self.step(client, step, turn);
            }
        }
    }

    /// What is due.
    fn wake(&mut self, turn: &mut Turn<'_>) {
        if self.look.due.is_some_and(|due| due <= turn.now) {
            self.looked(turn);
        }
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= turn.now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Job(client) => self.finish(client, false, turn),
                Timer::Flight(id) => self.flight_due(id, turn),
            }
        }
    }

    fn flight_due(&mut self, id: u64, turn: &mut Turn<'_>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if flight.is_stale_due(turn.now) {
            flight.is_stale_told = true;
            let waiters = std::mem::take(&mut flight.waiters);
            let messages = flight.messages;
            if let Some(stale) = flight.stale.clone() {
                self.counters.stale += waiters.len() as u64;
                self.resume(waiters, messages, &stale, turn);
            }
        }
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.set_lasts(self.servers.lasts(flight.servers(), turn.now));
        if !flight.is_retry_due(turn.now) && flight.next_server(turn.now).is_some() {
            return self.rearm(id);
        }
        for pending in flight.pending.iter_mut().filter(|pending| !pending.is_late) {
            pending.is_late = true;
            self.servers.get(pending.server).failed(turn.now);
        }
        self.try_next(id, turn);
    }

    /// Answers a client; its question is over.
    fn finish(&mut self, client: Client, is_whole: bool, turn: &mut Turn<'_>) {
        if let Some(job) = self.end(client) {
            self.tell(client, &job, is_whole, turn);
        }
    }

    fn end(&mut self, client: Client) -> Option<Job> {
        let job = self.jobs.remove(&client)?;
        self.timers.remove(&(job.deadline, Timer::Job(client)));
        let asker = job.asker();
        if let Some(count) = self.waiting.get_mut(&asker) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&asker);
            }
        }
        Some(job)
    }

    fn tell(&mut self, client: Client, job: &Job, is_whole: bool, turn: &mut Turn<'_>) {
        if let Some((length, source)) = job.reply(turn.now, is_whole, &mut self.out) {
            let message = self.out.get(..length).unwrap_or_default().to_vec();
            let origin = if is_whole { job.origin(source, turn.now) } else { Origin::default() };
            turn.effects.push(Effect::Answer { client, message, source, origin });
        }
    }
}
