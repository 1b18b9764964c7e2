//! What threads count: each publishes its own numbers, and whoever looks adds them up.

use std::{
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use weft_names::{COUNTED_TYPES, Counters, ForwardCounters, Rcode, Realm, Source, UpstreamState};
use weft_proto::v1;

/// Classes of times: the n-th counts answers that took less than 2^n microseconds; the last takes all longer ones.
const CLASSES: usize = 24;

/// How long answers took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latencies([u64; CLASSES]);

impl Latencies {
    /// So many answers took so long.
    pub(crate) fn note(&mut self, took: Duration, answers: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = usize::try_from(u64::BITS - micros.leading_zeros()).unwrap_or(CLASSES);
        self.0[class.min(CLASSES - 1)] += answers;
    }
}

/// Numbers of one thread; they only rise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    /// What the reader counted.
    pub(crate) reader: Counters,
    /// How long answers took.
    pub(crate) latencies: Latencies,
    /// Answers that the kernel refused to send.
    pub(crate) unsent: u64,
    /// Questions dropped because too many waited for the outside.
    pub(crate) crowded: u64,
}

impl AddAssign for Numbers {
    fn add_assign(&mut self, other: Self) {
        self.reader += other.reader;
        self.latencies.0.iter_mut().zip(other.latencies.0).for_each(|(sum, more)| *sum += more);
        self.unsent += other.unsent;
        self.crowded += other.crowded;
    }
}

/// What one thread has published.
pub(crate) type Published = Arc<Mutex<Numbers>>;

/// Publishes what a thread counted so far.
pub(crate) fn publish(place: &Published, numbers: Numbers) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
}

/// Numbers of all threads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    threads: Mutex<Vec<Published>>,
    /// Of threads that have ended.
    ended: Mutex<Numbers>,
    outside: Mutex<Outside>,
}

/// What the thread that asks the outside says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    /// What the forwarder counted.
    pub(crate) forwarder: ForwardCounters,
    /// How upstreams do.
    pub(crate) upstreams: Vec<UpstreamState>,
    /// Octets that the cache takes, and answers in it.
    pub(crate) cached: (usize, usize),
    /// TCP connections that are open.
    pub(crate) connections: usize,
    /// TCP connections that were hung up on because their asker had enough.
    pub(crate) connections_refused: u64,
}

impl Counts {
    /// A place for one thread's numbers.
    pub(crate) fn place(&self) -> Published {
        let place = Published::default();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&place));
        place
    }

    /// The thread has ended; its numbers stay.
    pub(crate) fn retire(&self, place: &Published) {
        let numbers = *place.lock().unwrap_or_else(PoisonError::into_inner);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += numbers;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|other| !Arc::ptr_eq(other, place));
    }

    /// Notes what the outside looks like.
    pub(crate) fn put_outside(&self, outside: Outside) {
        *self.outside.lock().unwrap_or_else(PoisonError::into_inner) = outside;
    }

    fn sum(&self) -> Numbers {
        let mut sum = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for place in threads.iter() {
            sum += *place.lock().unwrap_or_else(PoisonError::into_inner);
        }
        sum
    }

    /// The numbers as the agent is told.
    pub(crate) fn state(&self) -> v1::NamesState {
        let numbers = self.sum();
        let outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = numbers.reader;
        let types =
            COUNTED_TYPES.iter().map(|kind| kind.map_or_else(|| "other".to_owned(), |kind| kind.to_string()));
        let rcodes = (0..6).map(|code| Rcode(code).to_string()).chain(["other".to_owned()]);
        let sources = Source::ALL.iter().map(ToString::to_string);
        v1::NamesState {
            revision: 0,
            serving: false,
            types: counts(types, &reader.types),
            rcodes: counts(rcodes, &reader.rcodes),
            sources: counts(sources, &reader.sources),
            events: events(&numbers, &outside.forwarder),
            latencies: numbers.latencies.0.to_vec(),
            cached: u64::try_from(outside.cached.1).unwrap_or(u64::MAX),
            cache_bytes: u64::try_from(outside.cached.0).unwrap_or(u64::MAX),
            upstreams: outside.upstreams.iter().map(upstream).collect(),
            connections: u32::try_from(outside.connections).unwrap_or(u32::MAX),
            zones: counts(Realm::ALL.iter().map(ToString::to_string), &reader.realms),
            cache: cache(&reader),
            limited: limited(&numbers, &outside),
            problems: Vec::new(),
            troubles: Vec::new(),
        }
    }
}

fn counts(names: impl Iterator<Item = String>, numbers: &[u64]) -> Vec<v1::NamesCount> {
    names.zip(numbers).map(|(name, count)| v1::NamesCount { name, count: *count }).collect()
}

fn named<const N: usize>(all: [(&str, u64); N]) -> Vec<v1::NamesCount> {
    all.into_iter().map(|(name, count)| v1::NamesCount { name: name.to_owned(), count }).collect()
}

/// What came of looking into the cache.
fn cache(reader: &Counters) -> Vec<v1::NamesCount> {
    let of = |source: Source| reader.sources[source as usize];
    named([("hits", of(Source::Cache)), ("misses", reader.asked), ("stale", of(Source::Stale))])
}

/// Why queries were limited: an asker's rate of questions, and of those that go outside; too many of one asker, or of all, wait;
/// an asker's TCP connections.
fn limited(numbers: &Numbers, outside: &Outside) -> Vec<v1::NamesCount> {
    let forwarder = &outside.forwarder;
    named([
        ("rate", numbers.reader.dropped_budget),
        ("outside-rate", forwarder.refused_rate),
        ("waiting", forwarder.refused_waiting),
        ("crowded", numbers.crowded + forwarder.refused_crowded),
        ("connections", outside.connections_refused),
    ])
}

fn events(numbers: &Numbers, forwarder: &ForwardCounters) -> Vec<v1::NamesCount> {
    let reader = numbers.reader;
    named([
        ("udp", reader.udp),
        ("tcp", reader.tcp),
        ("truncated", reader.truncated),
        ("asked", reader.asked),
        ("searched", reader.searched),
        ("dropped_short", reader.dropped_short),
        ("dropped_answers", reader.dropped_answers),
        ("unsent", numbers.unsent),
        ("forwarded", forwarder.asks),
        ("joined", forwarder.joined),
        ("sent_udp", forwarder.sent_udp),
        ("sent_tcp", forwarder.sent_tcp),
        ("strangers", forwarder.strangers),
        ("broken", forwarder.broken),
        ("failed", forwarder.failed),
    ])
}

fn upstream(state: &UpstreamState) -> v1::NamesUpstream {
    v1::NamesUpstream {
        address: Some((&state.server).into()),
        down: state.is_down,
        round_trip_ms: state.round_trip_ms,
        answers: state.answers,
        errors: state.errors,
        asked: state.asked,
        r#loop: state.is_loop,
        domain: state.domain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_add_up_and_stay_when_a_thread_ends() {
        let counts = Counts::default();
        let (first, second) = (counts.place(), counts.place());
        let mut numbers = Numbers { unsent: 2, ..Numbers::default() };
        numbers.latencies.note(Duration::from_micros(5), 3);
        publish(&first, numbers);
        publish(&second, Numbers { unsent: 1, ..Numbers::default() });
        counts.retire(&first);
        let state = counts.state();
        let event =
            |name: &str| state.events.iter().find(|event| event.name == name).map(|event| event.count);
        assert_eq!(event("unsent"), Some(3));
        assert_eq!(state.latencies.iter().position(|count| *count == 3), Some(3), "below 8 µs");
    }

    #[test]
    fn times_have_classes() {
        for (micros, class) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1 << 40, CLASSES - 1)] {
            let mut latencies = Latencies::default();
            latencies.note(Duration::from_micros(micros), 1);
            assert_eq!(latencies.0[class], 1, "{micros} µs");
        }
    }
}
