//! Questions to the DNS process of this node, and its answers: whoever asks waits here, whoever has the connection passes on.
//!
//! The connection (`/run/weft/dns.sock`) is opened with [`Desk::open`] and closed with [`Desk::close`]; answers come in by
//! [`Desk::heard`].

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use weft_errors::{DEADLINE, DNS_UNREACHABLE, Error};
use weft_proto::v1;

/// Writes one question to the DNS process.
pub(crate) type Say = Arc<dyn Fn(v1::NamesQuestion) -> io::Result<()> + Send + Sync>;

/// The desk.
#[derive(Default)]
pub(crate) struct Desk(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    say: Option<Say>,
    waiting: BTreeMap<u64, SyncSender<v1::NamesAnswer>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The DNS process has connected: questions go there.
    pub(crate) fn open(&self, say: Say) {
        let mut state = self.state();
        state.waiting.clear();
        state.say = Some(say);
    }

    /// The connection is gone: nobody who asked it gets an answer.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        (state.say, state.waiting) = (None, BTreeMap::new());
    }

    /// An answer came.
    pub(crate) fn heard(&self, answer: v1::NamesAnswer) {
        let waiting = self.state().waiting.remove(&answer.id);
        if let Some(waiting) = waiting {
            // One place for one answer; who has given up meanwhile doesn't miss it.
            let _ = waiting.try_send(answer);
        }
    }

    /// Asks and waits. Fails with `DnsUnreachable` when no process is connected or it goes, with `Deadline` when it says nothing in
    /// time.
    pub(crate) fn ask(
        &self,
        question: v1::NamesQuestion,
        deadline: Instant,
    ) -> Result<v1::NamesAnswer, Error> {
        let gone = || Error::new(&DNS_UNREACHABLE, "the DNS of this node isn't running");
        let (sender, receiver) = sync_channel(1);
        let (id, say) = {
            let mut state = self.state();
            let say = state.say.clone().ok_or_else(gone)?;
            state.next += 1;
            let id = state.next;
            state.waiting.insert(id, sender);
            (id, say)
        };
        // Not under the lock: whoever reads answers needs it, and a process that waits for a reader doesn't read itself.
        if let Err(error) = say(v1::NamesQuestion { id, ..question }) {
            self.state().waiting.remove(&id);
            return Err(gone().because(error));
        }
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Err(gone().because("its connection broke off")),
            Err(RecvTimeoutError::Timeout) => {
                self.state().waiting.remove(&id);
                Err(Error::new(&DEADLINE, "the DNS of this node says nothing"))
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn each_asker_gets_its_own_answer() {
        let desk = Arc::new(Desk::default());
        let (sender, asked) = sync_channel::<v1::NamesQuestion>(8);
        desk.open(Arc::new(move |question| sender.send(question).map_err(io::Error::other)));
        let ask = |took_us: u64| {
            let desk = Arc::clone(&desk);
            let question =
                v1::NamesQuestion { query: took_us.to_be_bytes().to_vec().into(), ..Default::default() };
            thread::spawn(move || desk.ask(question, soon()).unwrap().took_us)
        };
        let askers: Vec<_> = (0..4).map(ask).collect();
        let mut questions: Vec<_> = (0..4).map(|_| asked.recv().unwrap()).collect();
        questions.reverse();
        for question in questions {
            let took_us = u64::from_be_bytes(question.query.as_ref().try_into().unwrap());
            desk.heard(v1::NamesAnswer { id: question.id, took_us, ..Default::default() });
        }
        let answers: Vec<_> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
        assert_eq!(answers, [0, 1, 2, 3]);
        desk.heard(v1::NamesAnswer { id: 99, ..Default::default() });
    }

    #[test]
    fn nobody_waits_for_a_process_that_is_gone_or_silent() {
        let desk = Arc::new(Desk::default());
        let code = |error: Error| error.registered().number;
        let question = v1::NamesQuestion::default;
        assert_eq!(desk.ask(question(), soon()).map_err(code), Err(DNS_UNREACHABLE.number));
        let (sender, asked) = sync_channel::<v1::NamesQuestion>(8);
        desk.open(Arc::new(move |question| sender.send(question).map_err(io::Error::other)));
        let now = Instant::now();
        assert_eq!(desk.ask(question(), now).map_err(code), Err(DEADLINE.number));
        let asker = Arc::clone(&desk);
        let asker = thread::spawn(move || asker.ask(question(), soon()));
        assert_eq!(asked.recv().unwrap().id, 1);
        assert_eq!(asked.recv().unwrap().id, 2);
        // It waits by now, or will find nobody.
        desk.close();
        assert_eq!(asker.join().unwrap().map_err(code), Err(DNS_UNREACHABLE.number));
        desk.open(Arc::new(|_| Err(io::ErrorKind::BrokenPipe.into())));
        assert_eq!(desk.ask(question(), soon()).map_err(code), Err(DNS_UNREACHABLE.number));
    }
}
