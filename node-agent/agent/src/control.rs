//! The way to the control plane: one channel over all replicas, and mutations that are applied once.

use std::sync::atomic::{AtomicU64, Ordering};

use weft_errors::{Coded, Error};
use weft_model::{ClientId, NodeName};
use weft_proto::v1;
use weft_rpc::{Channel, ChannelOptions, SharedIdentity, Trust};

use crate::clock;

/// Opens the channel; connects with the first call.
pub(crate) fn open(endpoints: Vec<String>, identity: &SharedIdentity) -> Result<Channel, Error> {
    let authority = identity.current().authority().to_vec();
    let options = ChannelOptions {
        endpoints,
        trust: Trust::Authority(authority),
        identity: Some(identity.clone()),
        replica: None,
    };
    Channel::new(options).map_err(|e| e.envelope())
}

/// The endpoints in the order in which a node tries them: each node begins elsewhere, so that the replicas share the
/// streams and the loss of one is felt by few. By name (FNV-1a), so that a restart leads to the same replica.
pub(crate) fn spread(mut endpoints: Vec<String>, node: &NodeName) -> Vec<String> {
    let hash = node.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Replicas come in any order; all nodes must count from the same one.
    endpoints.sort_unstable();
    let first = usize::try_from(hash % endpoints.len().max(1) as u64).unwrap_or(0);
    endpoints.rotate_left(first);
    endpoints
}

/// Numbers the mutations of one task. Each task has its own: the control plane refuses an older number than the last,
/// and two tasks of one client could overtake each other.
#[derive(Debug)]
pub(crate) struct Mutations {
    client: ClientId,
    last: AtomicU64,
}

impl Mutations {
    /// A new client.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { client: ClientId(clock::random()?), last: AtomicU64::new(0) })
    }

    /// The id of a new mutation; a repetition of it carries the same one.
    pub(crate) fn next(&self) -> v1::MutationId {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        v1::MutationId { client: self.client.0.to_vec().into(), sequence }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn nodes_spread_over_the_replicas_and_keep_their_order() {
        let replicas: Vec<String> = (1..=3).map(|i| format!("10.0.0.{i}:7443")).collect();
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for number in 0..300 {
            let node = NodeName::new(format!("worker-{number}")).unwrap();
            let order = spread(replicas.clone(), &node);
            assert_eq!(
                order,
                spread(replicas.iter().rev().cloned().collect(), &node),
                "told in another order"
            );
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, replicas, "nobody is left out");
            *first.entry(order[0].clone()).or_default() += 1;
        }
        assert!(first.len() == 3 && first.values().all(|count| *count > 60), "{first:?}");
        assert_eq!(spread(Vec::new(), &NodeName::new("n1").unwrap()), Vec::<String>::new());
    }
}
