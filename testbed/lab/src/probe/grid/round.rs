//! One round: everything is asked, everybody's answers are heard, and the nodes' rules have counted exactly what was to be dropped.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::Socket;

use super::counters::{Counters, Dropped, since};
use super::ends::{Ends, connect};
use super::{Ask, Seen};

/// The answers to one asker are waited for this long before the next one asks: more packets at once than sockets on the way hold get lost.
const TURN: Duration = Duration::from_millis(60);
/// One look at all sockets waits at most this long.
const LOOK: Duration = Duration::from_millis(2);
/// A datagram that isn't answered is sent again after this.
const RESEND: Duration = Duration::from_millis(250);
/// What is to be dropped has been by then, or got lost on the way.
const COUNTED: Duration = Duration::from_millis(1500);
/// A connection that is to be dropped ends before its kernel tries a second time (RFC 6298 section 2: after a second).
const ONE_TRY: Duration = Duration::from_millis(700);
/// Rounds in which packets get lost.
const TRIES: u32 = 4;
/// Problems that are told in words.
const MOST_TOLD: usize = 12;

/// What became of one question.
#[derive(Clone, Default)]
struct Answer {
    sent: Option<Instant>,
    answered: bool,
    /// A datagram came to whom it was for.
    delivered: bool,
    /// Why it can't come any more.
    refused: Option<String>,
}

struct Flight<'a> {
    ends: &'a Ends,
    asks: &'a [Ask],
    answers: Vec<Answer>,
    /// Connections that have no answer yet.
    open: Vec<(usize, Socket)>,
    /// Both sides of those that have one: they end with the round.
    established: Vec<Socket>,
    taken: Vec<TcpStream>,
    buffer: Vec<u8>,
}

/// Asks, as often as packets get lost.
pub(super) fn run(
    ends: &mut Ends,
    counters: &mut Counters,
    asks: &[Ask],
    patience: Duration,
) -> Result<Seen> {
    let mut expected = Dropped::new();
    for denied in asks.iter().filter_map(|ask| ask.denied) {
        *expected.entry(denied.counted()).or_default() += 1;
    }
    let dropped = asks.iter().filter(|ask| ask.denied.is_some()).count();
    let mut seen = Seen { asked: asks.len(), dropped, ..Seen::default() };
    let mut last = Dropped::new();
    for again in 0..TRIES {
        ends.round += 1;
        let began = Instant::now();
        let mut flight = Flight::new(ends, asks);
        let counted = flight.fly(counters, &expected, patience);
        ends.leave()?;
        let counted = counted?;
        (seen.again, seen.problems) = (again, flight.problems());
        seen.took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if !seen.problems.is_empty() || counted == expected {
            return Ok(seen);
        }
        last = counted;
    }
    seen.problems.extend(differing(&expected, &last).take(MOST_TOLD));
    Ok(seen)
}

fn differing(expected: &Dropped, counted: &Dropped) -> impl Iterator<Item = String> {
    let all: BTreeSet<_> = expected.keys().chain(counted.keys()).copied().collect();
    let of = |all: &Dropped, whose| all.get(&whose).copied().unwrap_or(0);
    let pairs = all.into_iter().map(move |whose| (whose, of(expected, whose), of(counted, whose)));
    pairs.filter(|(_, expected, counted)| expected != counted).map(
        |((direction, address), expected, counted)| {
            format!("{direction} of {address}: {counted} packets dropped instead of {expected}")
        },
    )
}

/// Whether more was dropped than is to be.
fn exceeds(counted: &Dropped, expected: &Dropped) -> bool {
    counted.iter().any(|(whose, packets)| *packets > expected.get(whose).copied().unwrap_or(0))
}

impl<'a> Flight<'a> {
    fn new(ends: &'a Ends, asks: &'a [Ask]) -> Self {
        Self {
            ends,
            asks,
            answers: vec![Answer::default(); asks.len()],
            open: Vec::new(),
            established: Vec::new(),
            taken: Vec::new(),
            buffer: vec![0; 2048],
        }
    }

    /// Asks everything; returns what was dropped meanwhile, as soon as nothing is to be waited for.
    fn fly(&mut self, counters: &mut Counters, expected: &Dropped, patience: Duration) -> Result<Dropped> {
        let before = counters.read()?;
        let mut first = 0;
        for turn in self.asks.chunk_by(|one, next| one.from == next.from) {
            self.ends.enter(turn[0].from)?;
            for place in first..first + turn.len() {
                self.ask(place)?;
            }
            first += turn.len();
            let until = Instant::now() + TURN;
            while self.is_waiting() && Instant::now() < until {
                self.look(LOOK)?;
            }
        }
        let all_sent = Instant::now();
        loop {
            self.look(if self.is_waiting() { LOOK } else { Duration::ZERO })?;
            self.ask_again()?;
            let counted = since(&before, &counters.read()?);
            let late = if self.is_waiting() { patience } else { COUNTED };
            let is_over = !self.is_waiting() && (counted == *expected || exceeds(&counted, expected));
            if is_over || self.has_failed() || all_sent.elapsed() >= late {
                // Whoever got through was on its way at the same time.
                self.look(Duration::ZERO)?;
                return Ok(counted);
            }
            if !self.is_waiting() {
                self.look(LOOK)?;
            }
        }
    }

    /// Something that may pass has no answer yet.
    fn is_waiting(&self) -> bool {
        let pairs = self.asks.iter().zip(&self.answers);
        pairs
            .filter(|(ask, _)| ask.denied.is_none())
            .any(|(_, a)| a.sent.is_some() && !a.answered && a.refused.is_none())
    }

    /// Something is otherwise than it should be, whatever comes.
    fn has_failed(&self) -> bool {
        let pairs = self.asks.iter().zip(&self.answers);
        pairs.into_iter().any(|(ask, answer)| is_wrong(ask, answer, false))
    }

    fn ask(&mut self, place: usize) -> Result<()> {
        let ask = &self.asks[place];
        self.answers[place].sent = Some(Instant::now());
        if !ask.tcp {
            return self.send(place);
        }
        match connect(ask.to) {
            Ok(socket) => self.open.push((place, socket)),
            Err(e) => self.answers[place].refused = Some(e.to_string()),
        }
        Ok(())
    }

    fn send(&mut self, place: usize) -> Result<()> {
        let ask = &self.asks[place];
        let number = u32::try_from(place).context("too many questions")?;
        let message = [self.ends.round.to_be_bytes(), number.to_be_bytes()].concat();
        if let Err(e) = self.ends.asking(ask)?.send_to(&message, ask.to) {
            self.answers[place].refused = Some(e.to_string());
        }
        Ok(())
    }

    fn ask_again(&mut self) -> Result<()> {
        let now = Instant::now();
        let late = |sent: Option<Instant>, span| sent.is_some_and(|sent| now.duration_since(sent) >= span);
        for place in 0..self.asks.len() {
            let (ask, answer) = (&self.asks[place], &mut self.answers[place]);
            if ask.denied.is_none()
                && !ask.tcp
                && !answer.answered
                && answer.refused.is_none()
                && late(answer.sent, RESEND)
            {
                answer.sent = Some(now);
                self.send(place)?;
            }
        }
        let (asks, answers) = (self.asks, &self.answers);
        self.open.retain(|(place, _)| asks[*place].denied.is_none() || !late(answers[*place].sent, ONE_TRY));
        Ok(())
    }

    /// Takes what has come.
    fn look(&mut self, within: Duration) -> Result<()> {
        let ends = self.ends;
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(160);
        fds.extend(ends.datagrams.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        fds.extend(ends.listeners.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        let askers: Vec<_> = ends.askers().collect();
        fds.extend(askers.iter().map(|socket| PollFd::new(*socket, PollFlags::IN)));
        fds.extend(
            self.open.iter().map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)),
        );
        poll(&mut fds, Some(&within.try_into()?))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let (servers, rest) = ready.split_at(ends.datagrams.len());
        let (listeners, rest) = rest.split_at(ends.listeners.len());
        let (asking, open) = rest.split_at(askers.len());
        for (socket, _) in ends.datagrams.iter().zip(servers).filter(|(_, ready)| **ready) {
            while let Ok((length, from)) = socket.recv_from(&mut self.buffer) {
                if let Some(place) = self.place(length) {
                    self.answers[place].delivered = true;
                    // Whether it comes back is seen there.
                    let _ = socket.send_to(&self.buffer[..length], from);
                }
            }
        }
        for (listener, _) in ends.listeners.iter().zip(listeners).filter(|(_, ready)| **ready) {
            while let Ok((stream, _)) = listener.accept() {
                self.taken.push(stream);
            }
        }
        for (socket, _) in askers.iter().zip(asking).filter(|(_, ready)| **ready) {
            while let Ok((length, _)) = socket.recv_from(&mut self.buffer) {
                if let Some(place) = self.place(length) {
                    self.answers[place].answered = true;
                }
            }
        }
        let mut ready = open.iter();
        let (done, open) =
            std::mem::take(&mut self.open).into_iter().partition(|_| ready.next() == Some(&true));
        self.open = open;
        for (place, socket) in done {
            match socket.take_error()? {
                None => self.answers[place].answered = true,
                Some(e) => self.answers[place].refused = Some(e.to_string()),
            }
            self.established.push(socket);
        }
        Ok(())
    }

    /// Which question a datagram in the buffer is; of another round it is none.
    fn place(&self, length: usize) -> Option<usize> {
        let (round, rest) = self.buffer.get(..length)?.split_first_chunk()?;
        let place = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        (u32::from_be_bytes(*round) == self.ends.round && place < self.asks.len()).then_some(place)
    }

    fn problems(&self) -> Vec<String> {
        let all = self.asks.iter().zip(&self.answers).filter(|(ask, answer)| is_wrong(ask, answer, true));
        let told = all.map(|(ask, answer)| {
            let protocol = if ask.tcp { "tcp" } else { "udp" };
            let seen = match (answer.delivered || answer.answered, &answer.refused) {
                (_, Some(why)) => why.clone(),
                (true, None) => "it came through".to_owned(),
                (false, None) => "nothing came".to_owned(),
            };
            let expected = if ask.denied.is_none() { "may" } else { "may not" };
            format!("{} {expected} reach {}/{protocol}: {seen}", self.ends.name(ask.from), ask.to)
        });
        let told: Vec<_> = told.collect();
        let more = told.len().saturating_sub(MOST_TOLD);
        let rest = (more > 0).then(|| format!("and {more} more"));
        told.into_iter().take(MOST_TOLD).chain(rest).collect()
    }
}

/// Whether an answer is another one than expected; in the end also that it is missing.
fn is_wrong(ask: &Ask, answer: &Answer, at_the_end: bool) -> bool {
    if ask.denied.is_none() {
        answer.refused.is_some() || at_the_end && !answer.answered
    } else {
        answer.delivered || answer.answered || answer.refused.is_some()
    }
}
