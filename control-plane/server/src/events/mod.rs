//! What happened to the fabric, for people: kept in this replica's memory, never in Raft.
//!
//! In: items as they change on the replica's thread. Out: events in order of time, and how services are now. Each replica sees the same
//! changes, so each tells the same since it started. Bounds: [`EVENTS_KEPT`] and [`EVENT_LIFE`]; repeats within [`EVENT_FOLD`] are one.

mod service;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use weft_core::{ItemChange, State, waits_for_address};
use weft_errors::Error;
use weft_model::{Item, ItemKey, ObjectName, Revision, ServiceName, WallTime};
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
        }
    }

    /// Whether somebody should look.
    pub(crate) const fn is_warning(self) -> bool {
        match self {
            Self::NobodyReady | Self::EndpointsVanished | Self::AddressPending => true,
            Self::BackendsReady | Self::AddressGiven => false,
        }
    }
}

/// One event, with its repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    first: WallTime,
    last: WallTime,
    count: u32,
    reason: Reason,
    service: ObjectName,
    message: String,
    revision: Revision,
}

#[derive(Debug, Default)]
struct Inner {
    /// In order of their last times.
    ring: VecDeque<Event>,
    services: BTreeMap<ServiceName, Health>,
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
        if inner.since.0 == 0 {
            inner.since = wall_time();
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
                        inner.add(now, revision, reason, &name, message);
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
    fn add(
        &mut self,
        now: WallTime,
        revision: Revision,
        reason: Reason,
        service: &ServiceName,
        message: String,
    ) {
        let fold = u64::try_from(EVENT_FOLD.as_millis()).unwrap_or(u64::MAX);
        let is_repeat = |event: &Event| {
            event.reason == reason && event.service == *service && event.last.0.saturating_add(fold) >= now.0
        };
        let repeated = self.ring.iter().rposition(is_repeat).and_then(|place| self.ring.remove(place));
        let (first, count) = repeated.map_or((now, 1), |old| (old.first, old.count.saturating_add(1)));
        self.ring.push_back(Event {
            first,
            last: now,
            count,
            reason,
            service: service.clone(),
            message,
            revision,
        });
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
        kind: v1::Kind::Service.into(),
        namespace: event.service.namespace.to_string(),
        name: event.service.name.to_string(),
        message: event.message.clone(),
        revision: event.revision.0,
    }
}

/// Answers `Admin.Events` from this replica's memory.
pub(crate) fn events(context: &Context, wire: &v1::EventsRequest) -> Result<v1::EventsResponse, Error> {
    let of_kind = wire.kind == 0 || wire.kind() == v1::Kind::Service;
    let wanted = |event: &Event| {
        of_kind
            && (wire.namespace.is_empty() || event.service.namespace.as_str() == wire.namespace)
            && (wire.name.is_empty() || event.service.name.as_str() == wire.name)
    };
    let (events, since) = context.events.list(wall_time(), wanted);
    Ok(v1::EventsResponse { events, since_ms: since.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &Events, at: u64, reason: Reason, name: &str) {
        let name: ServiceName = name.parse().unwrap();
        events.lock().add(WallTime(at), Revision(at), reason, &name, format!("at {at}"));
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
