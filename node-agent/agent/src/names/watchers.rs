//! Who watches questions about names on this node (`weft flows --dns`), and what each of them hasn't fetched yet.
//!
//! In: queries as the DNS process tells them while somebody watches; whoever watches asks again and again. Out: what is new to a
//! watcher; whom the process is to tell of. Nobody is waited for: what a watcher doesn't fetch in time is dropped and counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weft_errors::{BUSY, Error};
use weft_model::PodName;
use weft_proto::{
    convert::{address_from_wire, address_to_wire},
    v1,
};

use crate::limits;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watchers: BTreeMap<u64, Watcher>,
    /// Pods of this node, by address.
    pods: BTreeMap<IpAddr, PodName>,
}

#[derive(Debug)]
struct Watcher {
    /// Whose queries; `None`: everybody's.
    pod: Option<PodName>,
    waiting: VecDeque<v1::NamesQuery>,
    dropped: u64,
    /// When it last asked.
    seen: Instant,
}

impl Watcher {
    fn has_news(&self) -> bool {
        self.dropped > 0 || !self.waiting.is_empty()
    }

    fn put(&mut self, query: &v1::NamesQuery) {
        if self.waiting.len() >= limits::WATCHED {
            self.dropped += 1;
        } else {
            self.waiting.push_back(query.clone());
        }
    }

    fn take(&mut self) -> v1::FlowsResult {
        let count = self.waiting.len().min(limits::WATCHED_AT_ONCE);
        v1::FlowsResult {
            names: self.waiting.drain(..count).collect(),
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}

impl Watchers {
    /// What a watcher hasn't fetched yet; the first time it begins to watch, and `begun` is called. Waits at most `wait` for
    /// something to come. Fails when too many watch.
    pub(crate) fn fetch(
        &self,
        watcher: u64,
        pod: Option<PodName>,
        wait: Duration,
        begun: impl FnOnce(),
    ) -> Result<v1::FlowsResult, Error> {
        let until = Instant::now() + wait.min(limits::WATCH_WAIT);
        let mut state = self.lock();
        if !state.watchers.contains_key(&watcher) {
            state.forget(Instant::now());
            if state.watchers.len() >= limits::WATCHERS {
                let message = format!("{} others watch this node already", limits::WATCHERS);
                return Err(Error::new(&BUSY, message));
            }
            let new = Watcher { pod, waiting: VecDeque::new(), dropped: 0, seen: Instant::now() };
            state.watchers.insert(watcher, new);
            drop(state);
            begun();
            state = self.lock();
        }
        loop {
            let now = Instant::now();
            let Some(own) = state.watchers.get_mut(&watcher) else { return Ok(v1::FlowsResult::default()) };
            own.seen = now;
            if own.has_news() || now >= until {
                return Ok(own.take());
            }
            let waited = self.came.wait_timeout(state, until - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes what the DNS process tells.
    pub(super) fn arrived(&self, told: v1::NamesQueries) {
        let mut state = self.lock();
        let State { watchers, pods } = &mut *state;
        for mut query in told.queries {
            let pod = address_from_wire(&query.from).ok().and_then(|address| pods.get(&address));
            query.pod = pod.map(ToString::to_string).unwrap_or_default();
            let wanted = |watcher: &&mut Watcher| watcher.pod.is_none() || watcher.pod.as_ref() == pod;
            watchers.values_mut().filter(wanted).for_each(|watcher| watcher.put(&query));
        }
        watchers.values_mut().for_each(|watcher| watcher.dropped += told.dropped);
        self.came.notify_all();
    }

    /// Knows these pods from now on.
    pub(super) fn know(&self, pods: BTreeMap<IpAddr, PodName>) {
        self.lock().pods = pods;
    }

    /// What the DNS process is to tell of now. Forgets watchers that ask no more.
    pub(super) fn wanted(&self, now: Instant) -> v1::NamesWatch {
        let mut state = self.lock();
        state.forget(now);
        let off = v1::NamesWatch { off: true, addresses: Vec::new() };
        if state.watchers.is_empty() {
            return off;
        }
        let Some(pods) =
            state.watchers.values().map(|watcher| watcher.pod.as_ref()).collect::<Option<BTreeSet<_>>>()
        else {
            return v1::NamesWatch::default();
        };
        let of_these = state.pods.iter().filter(|(_, pod)| pods.contains(pod));
        let addresses: Vec<_> = of_these.map(|(address, _)| address_to_wire(*address)).collect();
        // No address would mean everybody's.
        if addresses.is_empty() { off } else { v1::NamesWatch { off: false, addresses } }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        self.watchers.retain(|_, watcher| now.saturating_duration_since(watcher.seen) < limits::WATCHER_GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn query(from: &str, name: &str) -> v1::NamesQuery {
        let from = address_to_wire(from.parse().unwrap());
        v1::NamesQuery { from, name: name.to_owned(), ..v1::NamesQuery::default() }
    }

    fn told(queries: &[v1::NamesQuery], dropped: u64) -> v1::NamesQueries {
        v1::NamesQueries { queries: queries.to_vec(), dropped }
    }

    fn begun(watchers: &Watchers, watcher: u64, pod: Option<&str>) {
        let pod = pod.map(|pod| pod.parse().unwrap());
        let mut is_new = false;
        watchers.fetch(watcher, pod, Duration::ZERO, || is_new = true).unwrap();
        assert!(is_new);
    }

    fn fetched(watchers: &Watchers, watcher: u64) -> (Vec<String>, u64) {
        let result = watchers.fetch(watcher, None, SOON, || panic!("it watches already")).unwrap();
        let shown = result.names.iter().map(|query| format!("{} {}", query.pod, query.name)).collect();
        (shown, result.dropped)
    }

    #[test]
    fn each_watcher_hears_of_its_pod_and_the_process_tells_of_nobody_else() {
        let watchers = Watchers::default();
        let off = |watchers: &Watchers| watchers.wanted(Instant::now()).off;
        assert!(off(&watchers));
        let pods = [("10.1.0.2", "shop/web"), ("10.1.0.3", "shop/api")];
        watchers.know(pods.map(|(address, pod)| (address.parse().unwrap(), pod.parse().unwrap())).into());
        begun(&watchers, 1, Some("shop/web"));
        assert_eq!(watchers.wanted(Instant::now()).addresses.len(), 1);
        watchers.arrived(told(&[query("10.1.0.2", "a"), query("10.1.0.3", "b")], 0));
        assert_eq!(fetched(&watchers, 1), (vec!["shop/web a".to_owned()], 0));
        begun(&watchers, 2, None);
        assert_eq!(watchers.wanted(Instant::now()), v1::NamesWatch::default());
        watchers.arrived(told(&[query("10.1.0.3", "c"), query("192.0.2.1", "d")], 7));
        assert_eq!(fetched(&watchers, 2), (vec!["shop/api c".to_owned(), " d".to_owned()], 7));
        assert_eq!(fetched(&watchers, 1), (Vec::new(), 7));
        let later = Instant::now() + limits::WATCHER_GONE;
        assert!(watchers.wanted(later).off, "nobody asks any more");
        begun(&watchers, 3, Some("shop/gone"));
        assert!(off(&watchers), "a pod without an address isn't everybody");
    }

    #[test]
    fn what_isnt_fetched_is_dropped_and_counted_and_watchers_are_few() {
        let watchers = Watchers::default();
        begun(&watchers, 0, None);
        watchers.arrived(told(&vec![query("10.1.0.2", "a"); limits::WATCHED + 5], 0));
        let (first, dropped) = fetched(&watchers, 0);
        assert_eq!((first.len(), dropped), (limits::WATCHED_AT_ONCE, 5));
        assert_eq!(fetched(&watchers, 0).1, 0, "told once");
        (1..limits::WATCHERS as u64).for_each(|watcher| begun(&watchers, watcher, None));
        let more = watchers.fetch(99, None, Duration::ZERO, || panic!("no room")).unwrap_err();
        assert_eq!(more.registered(), &BUSY);
    }

    #[test]
    fn whoever_waits_hears_at_once() {
        let watchers = std::sync::Arc::new(Watchers::default());
        begun(&watchers, 1, None);
        let waiting = std::sync::Arc::clone(&watchers);
        let thread = std::thread::spawn(move || fetched(&waiting, 1));
        watchers.arrived(told(&[query("10.1.0.2", "a")], 0));
        assert_eq!(thread.join().unwrap().0, [" a"]);
    }
}
