//! The log of queries, on request: while somebody watches, those who answer note what they did here, and the thread of the agent's
//! connection fetches it.
//!
//! Nobody waits for it: what doesn't fit is dropped and counted. While nobody watches it costs one look at a flag per batch.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use weft_names::{Origin, Source, show};
use weft_proto::{convert::address_to_wire, v1};

use crate::limits;

/// What became of a query.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It was answered.
    Answered {
        /// The answer.
        message: Box<[u8]>,
        /// Where it came from.
        source: Source,
        /// Whom it came from.
        origin: Origin,
    },
    /// Nothing was sent.
    Dropped {
        /// The query.
        message: Box<[u8]>,
        /// Why, in one word.
        why: &'static str,
    },
}

/// A query that somebody watches.
#[derive(Debug)]
pub(crate) struct Noted {
    /// When it was done.
    at: SystemTime,
    from: IpAddr,
    took: Duration,
    is_tcp: bool,
    fate: Fate,
}

impl Noted {
    /// A query that has just been done, so long after it came.
    pub(crate) fn now(from: IpAddr, took: Duration, is_tcp: bool, fate: Fate) -> Self {
        Self { at: SystemTime::now(), from, took, is_tcp, fate }
    }

    /// As the agent is told; `None` for what has no question.
    fn to_wire(&self) -> Option<v1::NamesQuery> {
        let (message, source, origin) = match &self.fate {
            Fate::Answered { message, source, origin } => (message, source.to_string(), *origin),
            Fate::Dropped { message, why } => (message, (*why).to_owned(), Origin::default()),
        };
        let shown = show(message)?;
        let question = shown.question?;
        let is_answered = matches!(self.fate, Fate::Answered { .. });
        let came = self.at.checked_sub(self.took).unwrap_or(self.at);
        let since = came.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(v1::NamesQuery {
            time_us: micros(since),
            from: address_to_wire(self.from),
            pod: String::new(),
            name: question.name,
            r#type: question.kind.to_string(),
            rcode: if is_answered { shown.rcode.to_string() } else { String::new() },
            source,
            upstream: origin.upstream.as_ref().map(Into::into),
            took_us: micros(self.took),
            tcp: self.is_tcp,
            answers: u32::try_from(shown.answers.len()).unwrap_or(u32::MAX),
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whose queries are watched.
#[derive(Debug, Default)]
pub(crate) struct Watched(BTreeSet<IpAddr>);

impl Watched {
    /// Whether those of this address are.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.contains(&address)
    }
}

/// Whose queries are watched, and those that wait to be told.
#[derive(Debug)]
pub(crate) struct Watch {
    is_on: AtomicBool,
    watched: ArcSwap<Watched>,
    sender: SyncSender<Noted>,
    dropped: AtomicU64,
    waiting: Mutex<Receiver<Noted>>,
}

impl Default for Watch {
    fn default() -> Self {
        let (sender, waiting) = sync_channel(limits::WATCHED);
        Self {
            is_on: AtomicBool::new(false),
            watched: ArcSwap::default(),
            sender,
            dropped: AtomicU64::new(0),
            waiting: Mutex::new(waiting),
        }
    }
}

impl Watch {
    /// Whose queries are watched; `None`: nobody's. For one batch.
    pub(crate) fn watched(&self) -> Option<arc_swap::Guard<std::sync::Arc<Watched>>> {
        self.is_on.load(Ordering::Relaxed).then(|| self.watched.load())
    }

    /// Whether somebody watches.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Watches these from now on; none: everybody.
    pub(crate) fn turn_on(&self, addresses: BTreeSet<IpAddr>) {
        self.watched.store(std::sync::Arc::new(Watched(addresses)));
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Watches nobody from now on, and forgets what waits.
    pub(crate) fn turn_off(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.take(|_| ());
        self.dropped.store(0, Ordering::Relaxed);
    }

    /// Notes a query, if there is room.
    pub(crate) fn note(&self, noted: Noted) {
        match self.sender.try_send(noted) {
            Ok(()) => {}
            // Its other end lives as long as this.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What is to be told; `None`: nothing.
    pub(crate) fn told(&self) -> Option<v1::NamesQueries> {
        let mut queries = Vec::new();
        self.take(|noted| queries.extend(noted.to_wire()));
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        (dropped > 0 || !queries.is_empty()).then_some(v1::NamesQueries { queries, dropped })
    }

    /// Takes what waits, no more than fits: others go on noting.
    fn take(&self, mut act: impl FnMut(Noted)) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.try_iter().take(limits::WATCHED).for_each(&mut act);
    }
}

#[cfg(test)]
mod tests {
    use weft_names::{RecordType, question};

    use super::*;

    fn noted(from: IpAddr, name: &str) -> Noted {
        let message = question(7, &name.parse().unwrap(), RecordType::AAAA).into();
        Noted::now(from, Duration::from_millis(2), true, Fate::Dropped { message, why: "rate" })
    }

    #[test]
    fn nothing_is_watched_until_somebody_asks_and_then_only_whom() {
        let (one, other): (IpAddr, IpAddr) = ("10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap());
        let watch = Watch::default();
        assert!(watch.watched().is_none());
        watch.turn_on(BTreeSet::new());
        assert!(watch.watched().is_some_and(|watched| watched.has(one) && watched.has(other)));
        watch.turn_on([one].into());
        assert!(watch.watched().is_some_and(|watched| watched.has(one) && !watched.has(other)));
        watch.note(noted(one, "web.shop"));
        let told = watch.told().unwrap();
        let query = told.queries.first().unwrap();
        let shown = (query.name.as_str(), query.r#type.as_str(), query.source.as_str(), query.rcode.as_str());
        assert_eq!(shown, ("web.shop.", "AAAA", "rate", ""));
        assert_eq!((query.took_us, query.tcp, told.dropped), (2000, true, 0));
        assert!(query.time_us > 1_600_000_000_000_000, "{}", query.time_us);
        assert!(watch.told().is_none(), "each once");
        watch.note(noted(one, "x"));
        watch.turn_off();
        assert!(watch.told().is_none() && watch.watched().is_none());
    }

    #[test]
    fn what_doesnt_fit_is_counted() {
        let watch = Watch::default();
        watch.turn_on(BTreeSet::new());
        let from = "10.1.0.2".parse().unwrap();
        (0..limits::WATCHED + 3).for_each(|_| watch.note(noted(from, "x")));
        let told = watch.told().unwrap();
        assert_eq!((told.queries.len(), told.dropped), (limits::WATCHED, 3));
        assert!(watch.told().is_none(), "told once");
    }
}
