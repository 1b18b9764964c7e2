//! Pods of silent nodes take no new connections, as in Kubernetes when a node isn't ready.
//!
//! Unlike there, silence alone leaves nobody without a backend: where all that could take connections to a port are on silent nodes, they
//! stay as they are. One of them may still live, and a refusal is certain otherwise. What people wrote as endpoints is believed, whatever
//! node it names.

use std::collections::BTreeSet;

use weft_model::{EndpointItem, Family, Service};

use super::service::Endpoints;
use crate::State;

/// Takes the pods of silent nodes out of their service, unless nobody else is there. `written` are the endpoints of slices.
pub(crate) fn heed(state: &State, service: &Service, endpoints: &mut Endpoints, written: &Endpoints) {
    let silent = state.silent_nodes();
    let is_silent =
        |endpoint: &EndpointItem| endpoint.node.as_ref().is_some_and(|node| silent.contains(node));
    if silent.is_empty() || !endpoints.values().any(is_silent) {
        return;
    }
    for family in service.spec.families.iter().copied() {
        let heard = endpoints.values().filter(|endpoint| !is_silent(endpoint)).chain(written.values());
        let heard = heard.filter(|endpoint| Family::of(endpoint.address) == family && takes(endpoint));
        let (mut anybody, mut covered) = (false, BTreeSet::new());
        for endpoint in heard {
            anybody = true;
            covered.extend(ports(endpoint));
        }
        let of_family = endpoints.values_mut().filter(|endpoint| Family::of(endpoint.address) == family);
        for endpoint in of_family.filter(|endpoint| is_silent(endpoint)) {
            if anybody && ports(endpoint).all(|port| covered.contains(&port)) {
                endpoint.conditions.ready = Some(service.spec.publish_not_ready);
                endpoint.conditions.serving = Some(false);
            }
        }
    }
}

/// Whether an endpoint gets connections, if only because no other does.
fn takes(endpoint: &EndpointItem) -> bool {
    let conditions = &endpoint.conditions;
    conditions.is_ready() || (conditions.is_serving() && conditions.is_terminating())
}

/// Places of the ports that it has.
fn ports(endpoint: &EndpointItem) -> impl Iterator<Item = usize> {
    endpoint.ports.iter().enumerate().filter(|(_, number)| **number != 0).map(|(place, _)| place)
}
