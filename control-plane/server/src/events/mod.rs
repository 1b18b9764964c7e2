//! What happened to the fabric, for people: kept in this replica's memory, never in Raft.
//!
//! In: items and silent nodes as they change on the replica's thread. Out: events in order of time, and how services are now. Each replica sees the same
//! changes, so each tells the same since it started. Bounds: [`EVENTS_KEPT`] and [`EVENT_LIFE`]; repeats within [`EVENT_FOLD`] are one.

mod service;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use weft_core::{ItemChange, State, waits_for_address};
use weft_errors::Error;
use weft_model::{Item, ItemKey, NodeName, Revision, ServiceName, WallTime};
use weft_proto::v1;

use crate::{
    context::{Context, wall_time},
    limits::{EVENT_FOLD, EVENT_LIFE, EVENTS_KEPT},
};
use service::Health;

/// What an event is about; a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No backend takes new connections any more.
    NobodyReady,
    /// The last backend is gone.
    EndpointsVanished,
    /// There is a ready backend again.
    BackendsReady,
    /// A load-balancer address can't be given.
    AddressPending,
    /// A load-balancer address was given.
    AddressGiven,
    /// A node is silent.
    NodeNotReady,
    /// A node is heard again.
    NodeReady,
}

impl Reason {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NobodyReady => "NobodyReady",
            Self::EndpointsVanished => "EndpointsVanished",
            Self::BackendsReady => "BackendsReady",
            Self::AddressPending => "AddressPending",
            Self::AddressGiven => "AddressGiven",
            Self::NodeNotReady => "NodeNotReady",
            Self::NodeReady => "NodeReady",
        }
    }

    /// Whether somebody should look.
    pub(crate) const fn is_warning(self) -> bool {
        match self {
            Self::NobodyReady | Self::EndpointsVanished | Self::AddressPending | Self::NodeNotReady => true,
            Self::BackendsReady | Self::AddressGiven | Self::NodeReady => false,
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Service(ServiceName),
    Node(NodeName),
}

impl About {
    const fn kind(&self) -> v1::Kind {
        match self {
            Self::Service(_) => v1::Kind::Service,
            Self::Node(_) => v1::Kind::Node,
        }
    }

    /// Empty for what is in none.
    fn namespace(&self) -> &str {
        match self {
            Self::Service(service) => service.namespace.as_str(),
            Self::Node(_) => "",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.name.as_str(),
            Self::Node(node) => node.as_str(),
        }
    }

    /// Whether it is asked for. What is in no namespace belongs to each.
    fn is_wanted(&self, wire: &v1::EventsRequest) -> bool {
        (wire.kind == 0 || wire.kind() == self.kind())
            && (wire.namespace.is_empty()
                || self.namespace().is_empty()
                || self.namespace() == wire.namespace)
            && (wire.name.is_empty() || self.name() == wire.name)
    }
}

/// One event, with its repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    first: WallTime,
    last: WallTime,
    count: u32,
    reason: Reason,
    about: About,
    message: String,
    revision: Revision,
}

#[derive(Debug, Default)]
struct Inner {
    /// In order of their last times.
    ring: VecDeque<Event>,
    services: BTreeMap<ServiceName, Health>,
    silent: BTreeSet<NodeName>,
    since: WallTime,
}

/// Events, and what they are made from.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Inner>);

impl Events {
    /// Begins from a state as it is: what was so before is no event.
    pub(crate) fn begin(&self, state: &State) {
        let keys = state.services().keys().cloned().map(ItemKey::Service);
        let items = keys.filter_map(|key| state.item(&key));
        let services = items.filter_map(|item| health(&item, state)).collect();
        let mut inner = self.lock();
        inner.services = services;
        inner.silent.clone_from(state.silent_nodes());
        if inner.since.0 == 0 {
            inner.since = wall_time();
        }
    }

    /// Takes which nodes are silent as of a revision.
    pub(crate) fn nodes(&self, revision: Revision, state: &State) {
        let silent = state.silent_nodes();
        let mut inner = self.lock();
        if inner.silent == *silent {
            return;
        }
        let before = std::mem::replace(&mut inner.silent, silent.clone());
        let is_there = |node: &&NodeName| {
            state.nodes().get(*node).is_some_and(|node| node.state == weft_model::NodeState::Active)
        };
        for node in silent.difference(&before) {
            let pods = match state.node_pods(node).count() {
                0 => "it has no pods".to_owned(),
                1 => "its pod takes no new connections while others of its service do".to_owned(),
                pods => format!("its {pods} pods take no new connections while others of their services do"),
            };
            let message = format!("nothing is heard of it: {pods}");
            inner.add(wall_time(), revision, Reason::NodeNotReady, About::Node(node.clone()), message);
        }
        for node in before.difference(silent).filter(is_there) {
            let message = "it is heard again".to_owned();
            inner.add(wall_time(), revision, Reason::NodeReady, About::Node(node.clone()), message);
        }
    }

    /// Takes the changes of one revision.
    pub(crate) fn take(&self, revision: Revision, changes: &[ItemChange], state: &State) {
        self.take_at(wall_time(), revision, changes, state);
    }

    fn take_at(&self, now: WallTime, revision: Revision, changes: &[ItemChange], state: &State) {
        let is_of_service = |change: &&ItemChange| {
            matches!(change, ItemChange::Upsert(Item::Service(_)) | ItemChange::Delete(ItemKey::Service(_)))
        };
        let mut inner = None;
        for change in changes.iter().filter(is_of_service) {
            let inner = inner.get_or_insert_with(|| self.lock());
            match change {
                ItemChange::Upsert(item) => {
                    let Some((name, health)) = health(item, state) else { continue };
                    let before = inner.services.insert(name.clone(), health.clone());
                    for (reason, message) in health.told(before.as_ref()) {
                        inner.add(now, revision, reason, About::Service(name.clone()), message);
                    }
                }
                ItemChange::Delete(ItemKey::Service(name)) => drop(inner.services.remove(name)),
                ItemChange::Delete(_) => {}
            }
        }
    }

    /// Services that nobody serves although they have backends, and how many services there are and serve.
    pub(crate) fn services(&self) -> (u64, u64, Vec<v1::ServiceTrouble>) {
        let inner = self.lock();
        let serving = inner.services.values().filter(|health| health.serves()).count();
        let troubles = inner.services.iter().filter(|(_, health)| health.is_trouble());
        let troubles = troubles.map(|(name, health)| v1::ServiceTrouble {
            namespace: name.namespace.to_string(),
            name: name.name.to_string(),
            backends: health.backends,
            ending: health.ending,
        });
        (inner.services.len() as u64, serving as u64, troubles.collect())
    }

    fn list(&self, now: WallTime, wanted: impl Fn(&Event) -> bool) -> (Vec<v1::Event>, WallTime) {
        let mut inner = self.lock();
        inner.forget(now);
        (inner.ring.iter().filter(|event| wanted(event)).map(to_wire).collect(), inner.since)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, now: WallTime, revision: Revision, reason: Reason, about: About, message: String) {
        let fold = u64::try_from(EVENT_FOLD.as_millis()).unwrap_or(u64::MAX);
        let is_repeat = |event: &Event| {
            event.reason == reason && event.about == about && event.last.0.saturating_add(fold) >= now.0
        };
        let repeated = self.ring.iter().rposition(is_repeat).and_then(|place| self.ring.remove(place));
        let (first, count) = repeated.map_or((now, 1), |old| (old.first, old.count.saturating_add(1)));
        self.ring.push_back(Event { first, last: now, count, reason, about, message, revision });
        self.forget(now);
    }

    fn forget(&mut self, now: WallTime) {
        let life = u64::try_from(EVENT_LIFE.as_millis()).unwrap_or(u64::MAX);
        while self
            .ring
            .front()
            .is_some_and(|event| self.ring.len() > EVENTS_KEPT || event.last.0.saturating_add(life) < now.0)
        {
            self.ring.pop_front();
        }
    }
}

/// How the service of an item is; other items say nothing.
fn health(item: &Item, state: &State) -> Option<(ServiceName, Health)> {
    let Item::Service(item) = item else { return None };
    let waits = state.services().get(&item.name).and_then(|service| waits_for_address(state, service));
    Some((item.name.clone(), Health::of(item, waits)))
}

fn to_wire(event: &Event) -> v1::Event {
    v1::Event {
        first_ms: event.first.0,
        last_ms: event.last.0,
        count: event.count,
        warning: event.reason.is_warning(),
        reason: event.reason.as_str().to_owned(),
        kind: event.about.kind().into(),
        namespace: event.about.namespace().to_owned(),
        name: event.about.name().to_owned(),
        message: event.message.clone(),
        revision: event.revision.0,
    }
}

/// Answers `Admin.Events` from this replica's memory.
pub(crate) fn events(context: &Context, wire: &v1::EventsRequest) -> Result<v1::EventsResponse, Error> {
    let (events, since) = context.events.list(wall_time(), |event| event.about.is_wanted(wire));
    Ok(v1::EventsResponse { events, since_ms: since.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &Events, at: u64, reason: Reason, name: &str) {
        let name: ServiceName = name.parse().unwrap();
        let about = About::Service(name);
        events.lock().add(WallTime(at), Revision(at), reason, about, format!("at {at}"));
    }

    fn listed(events: &Events, now: u64) -> Vec<(String, u32, u64, u64)> {
        let (list, _) = events.list(WallTime(now), |_| true);
        list.into_iter().map(|e| (e.name, e.count, e.first_ms, e.last_ms)).collect()
    }

    #[test]
    fn repeats_are_one_event_and_events_are_in_order_of_their_last_times() {
        let events = Events::default();
        let minute = 60_000;
        told(&events, minute, Reason::NobodyReady, "shop/cart");
        told(&events, 2 * minute, Reason::NobodyReady, "shop/web");
        told(&events, 3 * minute, Reason::NobodyReady, "shop/cart");
        told(&events, 14 * minute, Reason::NobodyReady, "shop/cart");
        assert_eq!(
            listed(&events, 14 * minute),
            [
                ("web".to_owned(), 1, 2 * minute, 2 * minute),
                ("cart".to_owned(), 2, minute, 3 * minute),
                ("cart".to_owned(), 1, 14 * minute, 14 * minute),
            ],
            "eleven minutes later it is another one"
        );
    }

    #[test]
    fn events_of_nodes_belong_to_every_namespace() {
        let events = Events::default();
        told(&events, 1, Reason::NobodyReady, "shop/n1");
        let node = About::Node("n1".parse().unwrap());
        events.lock().add(WallTime(2), Revision(2), Reason::NodeNotReady, node, "silent".to_owned());
        let check = |kind: i32, namespace: &str, name: &str, expected: &[&str]| {
            let wire = v1::EventsRequest { kind, namespace: namespace.to_owned(), name: name.to_owned() };
            let (list, _) = events.list(WallTime(2), |event| event.about.is_wanted(&wire));
            let seen: Vec<&str> = list.iter().map(|event| event.reason.as_str()).collect();
            assert_eq!(seen, expected, "{wire:?}");
        };
        check(0, "", "", &["NobodyReady", "NodeNotReady"]);
        check(0, "shop", "", &["NobodyReady", "NodeNotReady"]);
        check(0, "default", "", &["NodeNotReady"]);
        check(0, "", "n2", &[]);
        check(v1::Kind::Service.into(), "shop", "n1", &["NobodyReady"]);
        check(v1::Kind::Node.into(), "", "n1", &["NodeNotReady"]);
    }

    #[test]
    fn events_are_forgotten_after_an_hour_and_beyond_their_number() {
        let events = Events::default();
        told(&events, 1, Reason::BackendsReady, "shop/old");
        told(&events, 3_000_000, Reason::BackendsReady, "shop/new");
        assert_eq!(listed(&events, 3_600_002).len(), 1);
        for n in 0..=EVENTS_KEPT {
            told(&events, 3_000_001, Reason::AddressGiven, &format!("shop/s{n}"));
        }
        let all = listed(&events, 3_000_001);
        assert_eq!((all.len(), all[0].0.as_str()), (EVENTS_KEPT, "s1"));
    }
}
