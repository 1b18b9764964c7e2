//! How upstreams do: time to their answers, failures, what they can't.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    Moment,
    limits::{ASK_MS, DOUBT_MS, DOWN_MS},
};

/// Failures in a row after which a server is left alone.
const FAILURES: u32 = 3;
/// Milliseconds for which it is left alone at first; doubled each time.
const REST_MS: u64 = 1000;
const LONGEST_REST_MS: u64 = 30_000;
/// Milliseconds after which a datagram counts as lost, before the server's own time is known.
const PATIENCE_MS: u64 = 400;
const PATIENCE: std::ops::RangeInclusive<u64> = 150..=1500;
/// Milliseconds for which an answer is a sign of life.
const ALIVE_MS: u64 = 5000;
/// Answers in the wrong case, in a row, after which letters are sent as they are.
const CASES: u32 = 3;

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// Smoothed milliseconds to an answer, times 8; 0 before the first.
    smoothed: u64,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Rests in a row.
    rests: u32,
    /// Until when it is left alone.
    rests_until: Moment,
    /// Answers in the wrong case, in a row.
    cases_lost: u32,
    /// It doesn't know EDNS.
    pub(crate) is_plain: bool,
    /// It asks us what we ask it.
    pub(crate) is_loop: bool,
    pub(crate) asked: u64,
    pub(crate) answers: u64,
    pub(crate) errors: u64,
    /// When it last answered.
    heard: Option<Moment>,
}

impl Server {
    /// Smoothed milliseconds to an answer; 0 before the first.
    pub(crate) const fn round_trip_ms(&self) -> u64 {
        self.smoothed / 8
    }

    /// Whether it is left alone.
    pub(crate) fn is_down(&self, now: Moment) -> bool {
        now < self.rests_until
    }

    /// Whether it answered a moment ago: what it doesn't answer then is a slow name, and worth waiting for.
    fn is_alive(&self, now: Moment) -> bool {
        !self.is_down(now) && self.heard.is_some_and(|heard| now.since(heard) < ALIVE_MS)
    }

    /// Whether letters of names may be sent in any case.
    pub(crate) const fn keeps_case(&self) -> bool {
        self.cases_lost < CASES
    }

    /// How long to wait for it, in milliseconds.
    pub(crate) fn patience(&self) -> u64 {
        if self.smoothed == 0 {
            return PATIENCE_MS;
        }
        (self.round_trip_ms() * 3 + 50).clamp(*PATIENCE.start(), *PATIENCE.end())
    }

    /// It is about to be asked. One that comes from its rest rests again at once, so that one question alone waits for it if it
    /// is still dead.
    pub(crate) fn chosen(&mut self, now: Moment) {
        if self.failures >= FAILURES && !self.is_down(now) {
            self.rest(now);
        }
    }

    /// It answered, this many milliseconds after it was asked.
    pub(crate) const fn answered(&mut self, millis: u64, now: Moment) {
        self.heard = Some(now);
        self.smoothed =
            if self.smoothed == 0 { millis * 8 } else { self.smoothed - self.smoothed / 8 + millis };
        if self.smoothed == 0 {
            self.smoothed = 1;
        }
        self.failures = 0;
        self.rests = 0;
        self.rests_until = Moment(0);
        self.answers += 1;
    }

    /// It kept the case, or not.
    pub(crate) const fn case(&mut self, kept: bool) {
        self.cases_lost = if kept { 0 } else { self.cases_lost.saturating_add(1) };
    }

    /// It didn't answer, or nothing useful.
    pub(crate) fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.errors += 1;
        if self.failures >= FAILURES && !self.is_down(now) {
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Moment) {
        let length = REST_MS.saturating_mul(1 << self.rests.min(5)).min(LONGEST_REST_MS);
        self.rests = self.rests.saturating_add(1);
        self.rests_until = now.after(length);
    }
}

/// All upstreams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(BTreeMap<SocketAddr, Server>);

impl Servers {
    /// What is known of a server.
    pub(crate) fn get(&mut self, server: SocketAddr) -> &mut Server {
        self.0.entry(server).or_default()
    }

    /// The same, for those who only look.
    pub(crate) fn peek(&self, server: SocketAddr) -> Server {
        self.0.get(&server).cloned().unwrap_or_default()
    }

    /// Forgets all but these.
    pub(crate) fn keep(&mut self, servers: &[SocketAddr]) {
        self.0.retain(|server, _| servers.contains(server));
    }

    /// How long a question that goes to these is waited for, milliseconds: long while one of them is known to live, short when all
    /// are known to be dead.
    pub(crate) fn lasts(&self, servers: &[SocketAddr], now: Moment) -> u64 {
        let mut known = servers.iter().filter_map(|server| self.0.get(server));
        if known.clone().any(|server| server.is_alive(now)) {
            ASK_MS - 100
        } else if known.clone().count() == servers.len() && known.all(|server| server.is_down(now)) {
            DOWN_MS
        } else {
            DOUBT_MS
        }
    }

    /// The order in which servers are tried: as written, those that rest behind the others, those that lead back here not at all.
    pub(crate) fn order(&self, servers: &[SocketAddr], now: Moment) -> Vec<SocketAddr> {
        let is_loop = |server: &SocketAddr| self.0.get(server).is_some_and(|known| known.is_loop);
        let is_down = |server: &SocketAddr| self.0.get(server).is_some_and(|known| known.is_down(now));
        let (down, up): (Vec<_>, Vec<_>) =
            servers.iter().copied().filter(|server| !is_loop(server)).partition(is_down);
        up.into_iter().chain(down).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_server_rests_longer_each_time_and_is_tried_by_one_question_at_a_time() {
        let servers: Vec<SocketAddr> = vec!["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()];
        let mut all = Servers::default();
        let first = |all: &Servers, at: u64| all.order(&servers, Moment(at))[0] == servers[0];
        (0..2).for_each(|_| all.get(servers[0]).failed(Moment(10)));
        assert!(first(&all, 10), "twice may be chance");
        all.get(servers[0]).failed(Moment(10));
        assert!(!first(&all, 10) && !first(&all, 1009), "three times isn't");
        assert!(first(&all, 1010), "after a second it is tried");
        all.get(servers[0]).chosen(Moment(1010));
        assert!(!first(&all, 1011) && !first(&all, 3009), "by one question alone");
        assert!(first(&all, 3010));
        all.get(servers[0]).answered(4, Moment(3010));
        assert!(first(&all, 3011) && all.get(servers[0]).round_trip_ms() == 4);
    }

    #[test]
    fn patience_follows_the_servers_own_time() {
        let mut server = Server::default();
        assert_eq!(server.patience(), PATIENCE_MS);
        (0..50).for_each(|_| server.answered(100, Moment(0)));
        assert_eq!(server.patience(), 350);
        (0..50).for_each(|_| server.answered(0, Moment(0)));
        assert_eq!(server.patience(), 150);
    }
}
