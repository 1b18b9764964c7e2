//! The load: a window of questions on each of some sockets, each answer followed by the next question; many per system call.
//!
//! It spins on a core of its own. Not here: who answers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use weft_kernel::Datagrams;

use super::data::Questions;
use super::usage::{Usage, used};
use crate::Result;

/// Questions under way on each socket.
const WINDOW: usize = 16;
/// Every so many answers one is read by another implementation.
const SAMPLE: u64 = 256;
/// Before anything counts.
const WARM: Duration = Duration::from_millis(300);
/// When nothing has come on a socket for so long, what was under way is lost.
const LOST: Duration = Duration::from_millis(250);
/// Longest answer.
const ANSWER: usize = 1500;

/// The next question of the next run: a late answer to an earlier run has a number that is not in use.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// In place of a question.
const NOT_ASKED: u32 = u32::MAX;

/// What answers look like.
#[derive(Clone, Copy)]
pub(super) enum Expected {
    /// The question itself.
    Echo,
    /// An answer.
    Answer,
}

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Right answers, as far as each of them was looked at.
    pub(super) answers: u64,
    /// Others, and those that failed the closer look.
    pub(super) wrong: u64,
    /// Questions without an answer.
    pub(super) lost: u64,
    /// Processor time of the server, seconds.
    pub(super) cpu: f64,
    /// The time, seconds.
    pub(super) time: f64,
}

impl Seen {
    /// Answers for each second of the server's processor time.
    pub(super) fn per_core(self) -> f64 {
        self.answers as f64 / self.cpu
    }

    /// Part of the time in which the server ran.
    pub(super) fn share(self) -> f64 {
        self.cpu / self.time
    }
}

/// The client.
pub(super) struct Load<'a> {
    pub(super) sockets: &'a [UdpSocket],
    pub(super) questions: &'a Questions,
    pub(super) expected: Expected,
}

/// Where it stands.
struct Run<'a> {
    load: &'a Load<'a>,
    to: SocketAddr,
    batch: Datagrams,
    turn: u64,
    /// Which question a number was given to.
    asked: Vec<u32>,
    seen: Seen,
    why: Option<String>,
}

impl Load<'_> {
    /// Asks a server for so long; the calling thread should have a core of its own.
    pub(super) fn run(&self, to: SocketAddr, server: Usage<'_>, span: Duration) -> Result<Seen> {
        let mut run = Run {
            load: self,
            to,
            batch: Datagrams::new(WINDOW, ANSWER, ANSWER),
            turn: NEXT.load(Ordering::Relaxed),
            asked: vec![NOT_ASKED; usize::from(u16::MAX) + 1],
            seen: Seen::default(),
            why: None,
        };
        for socket in self.sockets {
            socket.set_nonblocking(true)?;
            // What is left of another run.
            while run.batch.receive(socket).is_ok() {}
            run.fill(socket)?;
        }
        run.work(WARM)?;
        if run.seen.answers == 0 {
            bail!("{to} answers nothing: {}", run.why.unwrap_or_else(|| "silence".to_owned()));
        }
        run.seen = Seen::default();
        let (cpu, began) = (used(server)?, Instant::now());
        run.work(span)?;
        run.seen.time = began.elapsed().as_secs_f64();
        run.seen.cpu = used(server)? - cpu;
        NEXT.store(run.turn, Ordering::Relaxed);
        if run.seen.wrong > 0 {
            bail!("{to}: {} wrong answers, the last one: {}", run.seen.wrong, run.why.unwrap_or_default());
        }
        Ok(run.seen)
    }
}

impl Run<'_> {
    fn fill(&mut self, socket: &UdpSocket) -> Result {
        let mut room = [0; ANSWER];
        for _ in 0..WINDOW {
            let length = next(self.load, &mut self.turn, &mut self.asked, &mut room);
            socket.send_to(&room[..length], self.to).with_context(|| format!("send to {}", self.to))?;
        }
        Ok(())
    }

    fn work(&mut self, span: Duration) -> Result {
        let began = Instant::now();
        let mut last = vec![began; self.load.sockets.len()];
        loop {
            let now = Instant::now();
            if now.duration_since(began) >= span {
                return Ok(());
            }
            for (socket, last) in self.load.sockets.iter().zip(&mut last) {
                match self.batch.receive(socket) {
                    Ok(count) => {
                        *last = now;
                        self.answers(socket, count);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        if now.duration_since(*last) >= LOST {
                            *last = now;
                            self.seen.lost += WINDOW as u64;
                            self.fill(socket)?;
                        }
                    }
                    Err(error) => return Err(error).with_context(|| format!("ask {}", self.to)),
                }
            }
        }
    }

    fn answers(&mut self, socket: &UdpSocket, count: usize) {
        for place in 0..count {
            // Another server may still have had something to say.
            let Some(datagram) = self.batch.get(place).filter(|datagram| datagram.from == self.to) else {
                continue;
            };
            let id = datagram.bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            let question = self.asked[usize::from(id)];
            if question == NOT_ASKED {
                continue;
            }
            let question = question as usize;
            match look(self.load, question, datagram.bytes, self.seen.answers) {
                Ok(()) => self.seen.answers += 1,
                Err(error) => {
                    self.seen.wrong += 1;
                    self.why = Some(format!("{error:#}"));
                }
            }
            let length = next(self.load, &mut self.turn, &mut self.asked, datagram.room);
            self.batch.answer(place, length);
        }
        let sent = self.batch.send(socket, count);
        self.seen.lost += sent.refused as u64;
    }
}

/// Writes the next question; how long it is.
fn next(load: &Load<'_>, turn: &mut u64, asked: &mut [u32], room: &mut [u8]) -> usize {
    let place = load.questions.place(*turn);
    let message = load.questions.message(place);
    let [.., high, low] = turn.to_be_bytes();
    *turn += 1;
    asked[usize::from(u16::from_be_bytes([high, low]))] = u32::try_from(place).unwrap_or_default();
    room[..message.len()].copy_from_slice(message);
    room[..2].copy_from_slice(&[high, low]);
    message.len()
}

fn look(load: &Load<'_>, place: usize, answer: &[u8], number: u64) -> Result {
    match load.expected {
        Expected::Echo if answer.get(2..) == Some(&load.questions.message(place)[2..]) => Ok(()),
        Expected::Answer if load.questions.is_plausible(place, answer) => {
            if number.is_multiple_of(SAMPLE) {
                load.questions.check(place, answer)
            } else {
                Ok(())
            }
        }
        Expected::Echo | Expected::Answer => {
            bail!("{:02x?} to {:02x?}", answer, load.questions.message(place))
        }
    }
}
