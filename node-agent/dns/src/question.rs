//! Questions of people (`weft dns`), asked over the agent's connection: answered as a client of that address would be.

use std::{
    os::unix::net::UnixStream,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use weft_names::{Origin, Reader, Response, Source, Transport};
use weft_proto::{
    convert::address_from_wire,
    v1::{self, names_word::Word},
};

use crate::{
    askers, frame, limits,
    serve::{Asked, Common, Waiter},
};

/// Who waits for the answer, and since when.
struct Asker {
    id: u64,
    revision: u64,
    began: Instant,
    stream: UnixStream,
}

impl Asker {
    /// Says what came; `None`: nothing did in time.
    fn tell(self, answered: Option<(Vec<u8>, Source, Origin)>) {
        let (response, source, origin) = match answered {
            Some((response, source, origin)) => (response, source.to_string(), origin),
            None => (Vec::new(), String::new(), Origin::default()),
        };
        let answer = v1::NamesAnswer {
            id: self.id,
            response: response.into(),
            source,
            took_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            revision: self.revision,
            upstream: origin.upstream.as_ref().map(Into::into),
            age_s: origin.age_ms.map(|age| u32::try_from(age / 1000).unwrap_or(u32::MAX)),
        };
        let word = v1::NamesWord { word: Some(Word::Answer(answer)) };
        if let Err(error) = frame::send(&self.stream, &word, &[]) {
            tracing::debug!(%error, "the agent doesn't hear an answer");
        }
    }
}

/// Answers a question, at once or from a thread of its own, and within the time that it says.
pub(crate) fn answer(
    question: &v1::NamesQuestion,
    stream: UnixStream,
    common: &Common,
    reader: &mut Reader,
    revision: u64,
) {
    let began = Instant::now();
    let Ok(from) = address_from_wire(&question.from) else { return };
    let asker = Asker { id: question.id, revision, began, stream };
    let mut room = vec![0; limits::MESSAGE];
    let now = common.clock.moment(began);
    let askers = common.askers.load();
    let response = askers::with(&askers, from, |asker| {
        reader.respond(asker, Transport::Tcp, now, &question.query, &mut room)
    });
    match response {
        Response::Answer { length, source } => {
            room.truncate(length);
            asker.tell(Some((room, source, reader.origin())));
        }
        Response::Drop(_) => asker.tell(None),
        Response::Ask(ask) => {
            let (sender, heard) = sync_channel(1);
            let asked = Asked { waiter: Waiter::Question(sender), ask, since: began };
            if common.asks.try_send(asked).is_err() {
                return asker.tell(None);
            }
            let patience = Duration::from_millis(question.timeout_ms.into());
            let wait = move || asker.tell(heard.recv_timeout(patience).ok());
            if let Err(error) = std::thread::Builder::new().name("question".to_owned()).spawn(wait) {
                tracing::warn!(%error, "a question isn't answered");
            }
        }
    }
}
