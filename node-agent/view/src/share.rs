//! What many endpoints have alike is kept once: there may be a hundred thousand of them.

use std::{collections::BTreeMap, sync::Arc};

use weft_model::{NodeName, PeerItem, ServiceItem};

/// The same service: endpoints share with the one before what they have like it, and names of nodes with the peers.
pub(crate) fn service(mut service: ServiceItem, peers: &BTreeMap<NodeName, PeerItem>) -> ServiceItem {
    service.endpoints.shrink_to_fit();
    for place in 0..service.endpoints.len() {
        let (before, rest) = service.endpoints.split_at_mut(place);
        let Some(endpoint) = rest.first_mut() else { break };
        if let Some((known, _)) = endpoint.node.as_ref().and_then(|node| peers.get_key_value(node)) {
            endpoint.node = Some(known.clone());
        }
        if let Some(before) = before.last() {
            alike(&mut endpoint.ports, &before.ports);
            alike(&mut endpoint.zone, &before.zone);
            alike(&mut endpoint.hints, &before.hints);
            alike(&mut endpoint.hostname, &before.hostname);
        }
    }
    service
}

fn alike<T: ?Sized + PartialEq>(own: &mut Arc<T>, other: &Arc<T>) {
    if *own == *other {
        *own = Arc::clone(other);
    }
}
