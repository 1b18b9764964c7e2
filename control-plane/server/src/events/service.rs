//! How a service is, and what is worth telling when that changes.

use std::collections::BTreeSet;

use weft_model::{EndpointItem, ServiceItem, ServiceType};

use super::Reason;

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Whether packets can go to it: an alias has none.
    is_alias: bool,
    /// Without an address: its name leads to the backends.
    is_headless: bool,
    /// Backends, each pod once.
    pub(super) backends: u32,
    /// Those that take new connections.
    ready: u32,
    /// Those that end and still serve.
    pub(super) ending: u32,
    /// Why it waits for a load-balancer address.
    waits: Option<String>,
    /// Load-balancer addresses.
    given: Vec<String>,
}

impl Health {
    pub(super) fn of(item: &ServiceItem, waits: Option<String>) -> Self {
        let ready = |e: &EndpointItem| e.conditions.is_ready();
        let ending = |e: &EndpointItem| {
            !e.conditions.is_ready() && e.conditions.is_serving() && e.conditions.is_terminating()
        };
        Self {
            is_alias: item.kind == ServiceType::ExternalName,
            is_headless: item.addresses.is_empty(),
            backends: distinct(item, |_| true),
            ready: distinct(item, ready),
            ending: distinct(item, ending),
            waits,
            given: item.load_balancer.iter().map(|given| given.address.to_string()).collect(),
        }
    }

    /// Whether somebody takes connections, or nobody has to.
    pub(super) const fn serves(&self) -> bool {
        self.is_alias || self.ready > 0 || self.ending > 0
    }

    /// Backends are there and none takes connections. One without any backend may be made before its pods.
    pub(super) const fn is_trouble(&self) -> bool {
        self.backends > 0 && self.ready == 0
    }

    /// What has happened since; of a service that is new only what is wrong with it.
    pub(super) fn told(&self, before: Option<&Self>) -> Vec<(Reason, String)> {
        let mut told = Vec::new();
        let was_ready = before.map(|before| before.ready);
        match (was_ready, self.ready) {
            (Some(was), 0) if was > 0 && self.backends == 0 => {
                told.push((Reason::EndpointsVanished, format!("its last backend is gone: {}", self.loss())));
            }
            (Some(was), 0) if was > 0 => told.push((Reason::NobodyReady, self.nobody())),
            (None, 0) if self.backends > 0 => told.push((Reason::NobodyReady, self.nobody())),
            (Some(0), ready) if ready > 0 => {
                told.push((Reason::BackendsReady, format!("{ready} of {} ready", self.count())));
            }
            _ => {}
        }
        let waited = before.and_then(|before| before.waits.as_ref());
        match (&self.waits, waited) {
            (Some(why), was) if Some(why) != was => {
                told.push((Reason::AddressPending, format!("no load-balancer address: {why}")));
            }
            // One that isn't a load balancer any more waits for nothing, and has nothing.
            (None, Some(_)) if !self.given.is_empty() => {
                let given = self.given.join(" and ");
                told.push((Reason::AddressGiven, format!("it has {given} as a load balancer")));
            }
            _ => {}
        }
        told
    }

    fn count(&self) -> String {
        if self.backends == 1 { "1 backend".to_owned() } else { format!("{} backends", self.backends) }
    }

    fn nobody(&self) -> String {
        match self.ending {
            0 => format!("0 of {} ready: {}", self.count(), self.loss()),
            ending => format!("0 of {} ready: {ending} that end still serve", self.count()),
        }
    }

    const fn loss(&self) -> &'static str {
        if self.is_headless { "its name leads nowhere" } else { "connections are refused" }
    }
}

/// A pod with an address of each family is one backend.
fn distinct(item: &ServiceItem, counts: impl Fn(&EndpointItem) -> bool) -> u32 {
    let counted = item.endpoints.iter().filter(|endpoint| counts(endpoint));
    let names: BTreeSet<_> =
        counted.map(|e| (e.pod.as_ref(), e.pod.is_none().then_some(e.address))).collect();
    u32::try_from(names.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backends, ready ones, ending ones.
    fn health(backends: u32, ready: u32, ending: u32) -> Health {
        Health { backends, ready, ending, ..Health::default() }
    }

    fn check(before: Option<Health>, now: &Health, expected: &[(Reason, &str)]) {
        let told = now.told(before.as_ref());
        let told: Vec<_> = told.iter().map(|(reason, text)| (*reason, text.as_str())).collect();
        assert_eq!(told, expected, "{before:?} -> {now:?}");
    }

    #[test]
    fn what_people_should_know_is_told_once_and_the_rest_is_not() {
        use Reason::{AddressGiven, AddressPending, BackendsReady, EndpointsVanished, NobodyReady};
        check(None, &health(0, 0, 0), &[]);
        check(None, &health(2, 2, 0), &[]);
        check(None, &health(2, 0, 0), &[(NobodyReady, "0 of 2 backends ready: connections are refused")]);
        check(Some(health(0, 0, 0)), &health(2, 1, 0), &[(BackendsReady, "1 of 2 backends ready")]);
        check(Some(health(2, 1, 0)), &health(2, 2, 0), &[]);
        check(Some(health(2, 2, 0)), &health(2, 1, 0), &[]);
        check(
            Some(health(1, 1, 0)),
            &health(1, 0, 0),
            &[(NobodyReady, "0 of 1 backend ready: connections are refused")],
        );
        check(
            Some(health(2, 1, 0)),
            &health(2, 0, 1),
            &[(NobodyReady, "0 of 2 backends ready: 1 that end still serve")],
        );
        check(Some(health(2, 0, 0)), &health(1, 0, 0), &[]);
        check(
            Some(health(1, 1, 0)),
            &health(0, 0, 0),
            &[(EndpointsVanished, "its last backend is gone: connections are refused")],
        );
        let waiting = |why: &str| Health { waits: Some(why.to_owned()), ..Health::default() };
        check(None, &waiting("x"), &[(AddressPending, "no load-balancer address: x")]);
        check(Some(waiting("x")), &waiting("x"), &[]);
        check(Some(waiting("x")), &waiting("y"), &[(AddressPending, "no load-balancer address: y")]);
        let given = Health { given: vec!["10.0.0.1".to_owned()], ..Health::default() };
        check(Some(waiting("x")), &given, &[(AddressGiven, "it has 10.0.0.1 as a load balancer")]);
        check(Some(waiting("x")), &health(0, 0, 0), &[]);
    }

    #[test]
    fn a_service_before_its_pods_is_no_trouble_and_one_whose_pods_are_out_is() {
        assert!(!health(0, 0, 0).is_trouble() && !health(0, 0, 0).serves());
        assert!(health(3, 0, 0).is_trouble() && !health(3, 0, 0).serves());
        assert!(!health(3, 1, 0).is_trouble() && health(3, 0, 1).serves());
        let alias = Health { is_alias: true, ..Health::default() };
        assert!(alias.serves() && !alias.is_trouble());
    }
}
