//! Questions at a fixed rate from one socket: how long each answer takes, counted from the moment at which the question was due.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::prctl::set_timerslack;
use rustix::event::{PollFd, PollFlags, poll};

use super::data::Questions;
use super::load::Expected;
use crate::Result;

/// Questions per second.
const RATE: u32 = 10_000;
/// After the last question.
const WAIT: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paced {
    /// Microseconds within which half of all answers came.
    pub(super) p50: f64,
    /// And 99 of a hundred.
    pub(super) p99: f64,
    /// Questions without an answer.
    pub(super) lost: usize,
}

/// Asks one server.
pub(super) fn run(
    socket: &UdpSocket,
    to: SocketAddr,
    questions: &Questions,
    expected: Expected,
    span: Duration,
) -> Result<Paced> {
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 1500];
    while socket.recv(&mut buffer).is_ok() {}
    let step = Duration::from_secs(1) / RATE;
    let count = usize::try_from(span.as_micros() / step.as_micros())?.min(usize::from(u16::MAX));
    let mut due: Vec<Option<Instant>> = vec![None; count];
    let mut times = Vec::with_capacity(count);
    // Else the kernel wakes us 50 microseconds late.
    set_timerslack(1)?;
    let (began, mut sent) = (Instant::now(), 0);
    let end = began + span + WAIT;
    while Instant::now() < end && times.len() < count {
        let moment = if sent < count { began + step * u32::try_from(sent)? } else { end };
        let left = moment.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            // Not by turning in circles: on a busy machine others would get the core when it matters.
            poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left.try_into()?))?;
        } else if sent < count {
            let mut message = questions.message(questions.place(sent as u64)).to_vec();
            message[..2].copy_from_slice(&u16::try_from(sent)?.to_be_bytes());
            socket.send_to(&message, to).with_context(|| format!("send to {to}"))?;
            due[sent] = Some(moment);
            sent += 1;
        }
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let now = Instant::now();
            if from != to {
                continue;
            }
            let id: usize = buffer.first_chunk().map_or(0, |id| u16::from_be_bytes(*id)).into();
            let Some(moment) = due.get_mut(id).and_then(Option::take) else { continue };
            let place = questions.place(id as u64);
            ensure!(
                matches!(expected, Expected::Echo) || questions.is_plausible(place, &buffer[..length]),
                "{to}: a wrong answer: {:02x?}",
                &buffer[..length]
            );
            times.push(now.duration_since(moment));
        }
    }
    let lost = count - times.len();
    ensure!(lost < count / 2, "{to}: {lost} of {count} questions weren't answered");
    // Those without an answer took longer than anything.
    times.resize(count, end.duration_since(began));
    times.sort_unstable();
    let at = |hundredth: usize| times[times.len() * hundredth / 100].as_secs_f64() * 1e6;
    Ok(Paced { p50: at(50), p99: at(99), lost })
}
