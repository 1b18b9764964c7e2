//! Who watches what happens on this node (`weft flows`), and what each of them hasn't fetched yet.
//!
//! In: queries as the DNS process tells them while somebody watches, packets that were dropped; whoever watches asks again and again.
//! Out: what is new to a watcher; whom the process is to tell of. Nobody is waited for: what a watcher doesn't fetch in time is dropped and counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weft_errors::{BUSY, Error};
use weft_model::PodName;
use weft_plan::DropReason;
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
    what: Watched,
    waiting: VecDeque<Event>,
    /// Events that weren't kept.
    dropped: u64,
    /// Dropped packets that nobody told, by reason and pod.
    left_out: BTreeMap<(DropReason, String), u64>,
    /// When it last asked.
    seen: Instant,
}

/// What somebody watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Whose; `None`: everybody's.
    pub(crate) pod: Option<PodName>,
    /// Questions about names.
    pub(crate) names: bool,
    /// Packets that are dropped.
    pub(crate) drops: bool,
}

impl Watched {
    fn is_about(&self, pod: Option<&PodName>) -> bool {
        self.pod.is_none() || self.pod.as_ref() == pod
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
enum Event {
    Query(Box<v1::NamesQuery>),
    Drop(Box<v1::DroppedPacket>),
}

impl Watcher {
    fn new(what: Watched) -> Self {
        let (waiting, left_out) = (VecDeque::new(), BTreeMap::new());
        Self { what, waiting, dropped: 0, left_out, seen: Instant::now() }
    }

    fn has_news(&self) -> bool {
        self.dropped > 0 || !self.waiting.is_empty() || !self.left_out.is_empty()
    }

    fn put(&mut self, event: &Event) {
        if self.waiting.len() >= limits::WATCHED {
            self.dropped += 1;
        } else {
            self.waiting.push_back(event.clone());
        }
    }

    fn take(&mut self) -> v1::FlowsResult {
        let count = self.waiting.len().min(limits::WATCHED_AT_ONCE);
        let mut result =
            v1::FlowsResult { dropped: std::mem::take(&mut self.dropped), ..v1::FlowsResult::default() };
        for event in self.waiting.drain(..count) {
            match event {
                Event::Query(query) => result.names.push(*query),
                Event::Drop(packet) => result.drops.push(*packet),
            }
        }
        let left_out = std::mem::take(&mut self.left_out).into_iter();
        let told =
            left_out.map(|((reason, pod), packets)| v1::LeftOut { reason: reason.to_string(), pod, packets });
        result.left_out = told.collect();
        result
    }
}

impl Watchers {
    /// What a watcher hasn't fetched yet; the first time it begins to watch, and `begun` is called. Waits at most `wait` for
    /// something to come. Fails when too many watch.
    pub(crate) fn fetch(
        &self,
        watcher: u64,
        what: Watched,
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
            state.watchers.insert(watcher, Watcher::new(what));
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
    pub(crate) fn arrived(&self, told: v1::NamesQueries) {
        let mut state = self.lock();
        let State { watchers, pods } = &mut *state;
        for mut query in told.queries {
            let pod = address_from_wire(&query.from).ok().and_then(|address| pods.get(&address));
            query.pod = pod.map(ToString::to_string).unwrap_or_default();
            let wanted = |watcher: &&mut Watcher| watcher.what.names && watcher.what.is_about(pod);
            let event = Event::Query(Box::new(query));
            watchers.values_mut().filter(wanted).for_each(|watcher| watcher.put(&event));
        }
        let of_names = watchers.values_mut().filter(|watcher| watcher.what.names);
        of_names.for_each(|watcher| watcher.dropped += told.dropped);
        self.came.notify_all();
    }

    /// A packet was dropped that is about these pods, one of which may have been the other side.
    pub(crate) fn dropped(&self, packet: v1::DroppedPacket, pods: [Option<&PodName>; 2]) {
        let event = Event::Drop(Box::new(packet));
        let wanted = |watcher: &&mut Watcher| {
            watcher.what.drops && pods.into_iter().any(|pod| watcher.what.is_about(pod))
        };
        self.lock().watchers.values_mut().filter(wanted).for_each(|watcher| watcher.put(&event));
        self.came.notify_all();
    }

    /// So many packets were dropped for a reason, and of a pod where that is counted, and not told.
    pub(crate) fn left_out(&self, reason: DropReason, pod: Option<&PodName>, packets: u64) {
        let key = (reason, pod.map(ToString::to_string).unwrap_or_default());
        let mut state = self.lock();
        let wanted = |watcher: &&mut Watcher| watcher.what.drops && watcher.what.is_about(pod);
        for watcher in state.watchers.values_mut().filter(wanted) {
            *watcher.left_out.entry(key.clone()).or_default() += packets;
        }
        drop(state);
        self.came.notify_all();
    }

    /// Whether anybody watches packets that are dropped. Forgets watchers that ask no more.
    pub(crate) fn watch_drops(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.forget(now);
        state.watchers.values().any(|watcher| watcher.what.drops)
    }

    /// Knows these pods from now on.
    pub(crate) fn know(&self, pods: BTreeMap<IpAddr, PodName>) {
        self.lock().pods = pods;
    }

    /// What the DNS process is to tell of now. Forgets watchers that ask no more.
    pub(crate) fn wanted(&self, now: Instant) -> v1::NamesWatch {
        let mut state = self.lock();
        state.forget(now);
        let off = v1::NamesWatch { off: true, addresses: Vec::new() };
        let of_names = || state.watchers.values().filter(|watcher| watcher.what.names);
        if of_names().next().is_none() {
            return off;
        }
        let Some(pods) = of_names().map(|watcher| watcher.what.pod.as_ref()).collect::<Option<BTreeSet<_>>>()
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

    fn names(pod: Option<&str>) -> Watched {
        Watched { pod: pod.map(|pod| pod.parse().unwrap()), names: true, drops: false }
    }

    fn begun(watchers: &Watchers, watcher: u64, what: Watched) {
        let mut is_new = false;
        watchers.fetch(watcher, what, Duration::ZERO, || is_new = true).unwrap();
        assert!(is_new);
    }

    fn fetched(watchers: &Watchers, watcher: u64) -> (Vec<String>, u64) {
        let result =
            watchers.fetch(watcher, Watched::default(), SOON, || panic!("it watches already")).unwrap();
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
        begun(&watchers, 1, names(Some("shop/web")));
        assert_eq!(watchers.wanted(Instant::now()).addresses.len(), 1);
        watchers.arrived(told(&[query("10.1.0.2", "a"), query("10.1.0.3", "b")], 0));
        assert_eq!(fetched(&watchers, 1), (vec!["shop/web a".to_owned()], 0));
        begun(&watchers, 2, names(None));
        assert_eq!(watchers.wanted(Instant::now()), v1::NamesWatch::default());
        watchers.arrived(told(&[query("10.1.0.3", "c"), query("192.0.2.1", "d")], 7));
        assert_eq!(fetched(&watchers, 2), (vec!["shop/api c".to_owned(), " d".to_owned()], 7));
        assert_eq!(fetched(&watchers, 1), (Vec::new(), 7));
        let later = Instant::now() + limits::WATCHER_GONE;
        assert!(watchers.wanted(later).off, "nobody asks any more");
        begun(&watchers, 3, names(Some("shop/gone")));
        assert!(off(&watchers), "a pod without an address isn't everybody");
    }

    #[test]
    fn what_isnt_fetched_is_dropped_and_counted_and_watchers_are_few() {
        let watchers = Watchers::default();
        begun(&watchers, 0, names(None));
        watchers.arrived(told(&vec![query("10.1.0.2", "a"); limits::WATCHED + 5], 0));
        let (first, dropped) = fetched(&watchers, 0);
        assert_eq!((first.len(), dropped), (limits::WATCHED_AT_ONCE, 5));
        assert_eq!(fetched(&watchers, 0).1, 0, "told once");
        (1..limits::WATCHERS as u64).for_each(|watcher| begun(&watchers, watcher, names(None)));
        let more = watchers.fetch(99, names(None), Duration::ZERO, || panic!("no room")).unwrap_err();
        assert_eq!(more.registered(), &BUSY);
    }

    #[test]
    fn whoever_waits_hears_at_once() {
        let watchers = std::sync::Arc::new(Watchers::default());
        begun(&watchers, 1, names(None));
        let waiting = std::sync::Arc::clone(&watchers);
        let thread = std::thread::spawn(move || fetched(&waiting, 1));
        watchers.arrived(told(&[query("10.1.0.2", "a")], 0));
        assert_eq!(thread.join().unwrap().0, [" a"]);
    }

    #[test]
    fn whoever_watches_drops_hears_of_both_sides_and_of_what_nobody_tells() {
        let watchers = Watchers::default();
        let drops = |pod: Option<&str>| Watched { names: false, drops: true, ..names(pod) };
        assert!(!watchers.watch_drops(Instant::now()));
        begun(&watchers, 1, drops(None));
        begun(&watchers, 2, drops(Some("shop/db")));
        begun(&watchers, 3, names(None));
        assert!(watchers.watch_drops(Instant::now()));
        let [web, db]: [PodName; 2] = ["shop/web", "shop/db"].map(|name| name.parse().unwrap());
        let packet = |reason: &str| v1::DroppedPacket { reason: reason.to_owned(), ..Default::default() };
        watchers.dropped(packet("a"), [Some(&web), Some(&db)]);
        watchers.dropped(packet("b"), [Some(&web), None]);
        watchers.dropped(packet("c"), [None, None]);
        watchers.left_out(DropReason::PolicyIngress, Some(&db), 5);
        watchers.left_out(DropReason::PolicyIngress, Some(&db), 2);
        watchers.left_out(DropReason::Spoofed, None, 1);
        watchers.arrived(told(&[query("10.1.0.2", "a")], 9));
        let heard = |watcher| {
            let result = watchers.fetch(watcher, Watched::default(), Duration::ZERO, || ()).unwrap();
            let drops = result.drops.into_iter().map(|packet| packet.reason);
            let left_out = result.left_out.into_iter().map(|one| format!("{} {}", one.reason, one.packets));
            (drops.chain(left_out).collect::<Vec<_>>().join(","), result.names.len(), result.dropped)
        };
        assert_eq!(heard(1), ("a,b,c,policy-ingress 7,spoofed 1".to_owned(), 0, 0));
        assert_eq!(heard(2), ("a,policy-ingress 7".to_owned(), 0, 0));
        assert_eq!(heard(3), (String::new(), 1, 9));
        assert_eq!(heard(1).0, "", "told once");
        assert!(!watchers.watch_drops(Instant::now() + limits::WATCHER_GONE));
    }
}
