//! The hot path: one thread, one socket, batches of datagrams, no waiting for anybody but the kernel.

use std::{io, os::fd::AsFd, sync::Arc, time::Instant};

use rustix::event::{PollFd, PollFlags, poll};
use weft_kernel::Datagrams;
use weft_names::{DropCause, Moment, Reader, Response, Transport};

use super::{Asked, Common, Mode, Switch, Waiter};
use crate::{
    askers,
    count::{Latencies, Numbers, Published, publish},
    limits,
    sockets::Socket,
    watch::{Fate, Noted},
};

/// Serves until the switch says otherwise.
pub(super) fn serve(socket: &Socket, reader: Reader, common: &Common, switch: &Switch) {
    let place = common.counts.place();
    let batch = Datagrams::new(limits::BATCH, limits::QUERY, limits::ANSWER);
    let mut thread = Thread {
        socket,
        common,
        reader,
        latencies: Latencies::default(),
        unsent: 0,
        crowded: 0,
        place: Arc::clone(&place),
        published: Moment(0),
        batch,
    };
    thread.run(switch);
    thread.publish(common.clock.now());
    common.counts.retire(&place);
}

struct Thread<'a> {
    socket: &'a Socket,
    common: &'a Common,
    reader: Reader,
    batch: Datagrams,
    latencies: Latencies,
    unsent: u64,
    crowded: u64,
    place: Published,
    published: Moment,
}

impl Thread<'_> {
    fn run(&mut self, switch: &Switch) {
        loop {
            if switch.mode() == Mode::End {
                return;
            }
            match self.batch.receive(self.socket) {
                Ok(count) => self.answer(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if switch.mode() == Mode::Drain {
                        return;
                    }
                    self.publish(self.common.clock.now());
                    self.wait(switch);
                }
                // An ICMP error about an answer: the client is gone.
                Err(error) => tracing::debug!(%error, address = %self.socket.address, "a socket of names"),
            }
        }
    }

    /// Until a datagram comes, or the switch is turned.
    fn wait(&self, switch: &Switch) {
        let socket = self.socket.as_fd();
        let mut ready = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&switch.wake, PollFlags::IN)];
        // Interrupted or failed: the caller looks again.
        let _ = poll(&mut ready, None);
    }

    fn answer(&mut self, count: usize) {
        let began = Instant::now();
        let now = self.common.clock.moment(began);
        let askers = self.common.askers.load();
        let watched = self.common.watch.watched();
        let mut answers = 0;
        for place in 0..count {
            let Some(datagram) = self.batch.get(place) else { continue };
            let from = datagram.from;
            let is_watched = watched.as_ref().is_some_and(|watched| watched.has(from.ip().to_canonical()));
            // A query that was cut can't be whole: its end is missing, and so it is malformed.
            let response = askers::with(&askers, from.ip().to_canonical(), |asker| {
                self.reader.respond(asker, Transport::Udp, now, datagram.bytes, datagram.room)
            });
            let fate = match response {
                Response::Answer { length, source } => {
                    let told = is_watched.then(|| Box::from(&datagram.room[..length]));
                    self.batch.answer(place, length);
                    answers += 1;
                    told.map(|message| Fate::Answered { message, source, origin: self.reader.origin() })
                }
                Response::Ask(ask) => {
                    let socket = Arc::clone(self.socket.descriptor());
                    let asked = Asked { waiter: Waiter::Datagram { socket, to: from }, ask, since: began };
                    let is_crowded = self.common.asks.try_send(asked).is_err();
                    self.crowded += u64::from(is_crowded);
                    let is_told = is_crowded && is_watched;
                    is_told.then(|| Fate::Dropped { message: datagram.bytes.into(), why: "crowded" })
                }
                Response::Drop(DropCause::Budget) => {
                    is_watched.then(|| Fate::Dropped { message: datagram.bytes.into(), why: "rate" })
                }
                Response::Drop(DropCause::Short | DropCause::IsAnswer) => None,
            };
            if let Some(fate) = fate {
                let noted = Noted::now(from.ip().to_canonical(), began.elapsed(), false, fate);
                self.common.watch.note(noted);
            }
        }
        let sent = self.batch.send(self.socket, count);
        self.unsent += u64::try_from(sent.refused).unwrap_or(u64::MAX);
        self.latencies.note(began.elapsed(), answers);
        if now.since(self.published) >= limits::COUNT_EVERY_MS {
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Moment) {
        self.published = now;
        let Self { latencies, unsent, crowded, .. } = *self;
        publish(&self.place, Numbers { reader: *self.reader.counters(), latencies, unsent, crowded });
    }
}
