//! Entries of connection tracking that must go: flows without an endpoint, and everything of addresses that have rested.
//!
//! Decided by weft-plan and the ledger; here are the questions to the kernel, few for much.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use weft_errors::{Coded, Error};
use weft_ipam::Uptime;
use weft_kernel::{ConnFilter, Connection, Conntrack, number_of};
use weft_model::{Family, Protocol, ownership::CT_MARK};
use weft_plan::{Cleanup, Flow};

use crate::{clock, inbox::Work, limits, node::Node};

/// From so many targets on, the table is read once instead of once per target.
const FEW: usize = 4;

/// Removes every flow that a clean-up condemns; how many.
pub(crate) fn remove(conntrack: &mut Conntrack, cleanup: &Cleanup) -> Result<usize, weft_kernel::Error> {
    let mut removed = 0;
    for filter in filters(cleanup) {
        let condemned =
            |connection: &Connection| flow_of(connection).is_some_and(|flow| cleanup.condemns(&flow));
        removed += conntrack.remove_where(&filter, condemned)?;
    }
    Ok(removed)
}

/// What to ask for: single destinations, or all of a protocol.
fn filters(cleanup: &Cleanup) -> Vec<ConnFilter> {
    let targets: Vec<_> = cleanup.targets().collect();
    let exact = !cleanup.is_whole()
        && targets.len() <= FEW
        && targets.iter().all(|(_, address, _)| address.is_some());
    if exact {
        let one = |(protocol, address, port): &(Protocol, Option<IpAddr>, u16)| {
            let address = (*address)?;
            let all = ConnFilter::of_protocol(Family::of(address), *protocol);
            Some(ConnFilter { original_destination: Some(address), original_port: Some(*port), ..all })
        };
        return targets.iter().filter_map(one).collect();
    }
    let mut protocols: BTreeSet<Protocol> = targets.iter().map(|(protocol, ..)| *protocol).collect();
    if cleanup.is_whole() {
        protocols.extend([Protocol::Udp, Protocol::Sctp]);
    }
    let both = [Family::V4, Family::V6];
    protocols
        .into_iter()
        .flat_map(|protocol| both.map(|family| ConnFilter::of_protocol(family, protocol)))
        .collect()
}

fn flow_of(connection: &Connection) -> Option<Flow> {
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = known.into_iter().find(|protocol| number_of(*protocol) == connection.protocol)?;
    let Connection { original, reply, mark, .. } = connection;
    Some(Flow {
        protocol,
        destination: SocketAddr::new(original.destination, original.destination_port),
        reply_source: SocketAddr::new(reply.source, reply.source_port),
        is_ours: mark & CT_MARK != 0,
    })
}

/// Removes what is left of pods that are gone before their addresses are given out again, until the process stops.
pub(crate) fn forget_addresses(node: &Node) -> Result<(), Error> {
    let mut forgotten: BTreeSet<(IpAddr, Uptime)> = BTreeSet::new();
    let mut conntrack = None;
    loop {
        if matches!(node.inboxes.flows.take(Instant::now() + limits::FORGET_EVERY), Work::Stop) {
            return Ok(());
        }
        let (rested, all) = rested(node, clock::uptime());
        forgotten.retain(|known| all.contains(known));
        let due: BTreeSet<_> = rested.difference(&forgotten).copied().collect();
        if due.is_empty() {
            continue;
        }
        match forget(&mut conntrack, due.iter().map(|(address, _)| *address).collect()) {
            Ok(removed) => {
                tracing::debug!(addresses = due.len(), removed, "flows of pods that are gone were removed");
                forgotten.extend(due);
            }
            Err(error) => {
                tracing::warn!(error = %error.envelope(), "flows of pods that are gone can't be removed yet");
                conntrack = None;
            }
        }
    }
}

type Resting = BTreeSet<(IpAddr, Uptime)>;

/// Addresses that have rested long enough to be cleaned, and all that rest. An address isn't given out before it has rested
/// for longer than that, not even when nothing else is left.
fn rested(node: &Node, now: Uptime) -> (Resting, Resting) {
    let all: Resting = node.addresses.read(|ledger| ledger.resting().collect());
    let long = |(_, since): &&(IpAddr, Uptime)| now.since(*since) >= limits::FORGET_AFTER_MS;
    (all.iter().filter(long).copied().collect(), all)
}

fn forget(
    conntrack: &mut Option<Conntrack>,
    addresses: BTreeSet<IpAddr>,
) -> Result<usize, weft_kernel::Error> {
    let table = match conntrack {
        Some(table) => table,
        None => conntrack.insert(Conntrack::open()?),
    };
    table.forget_addresses(&addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cleaned_once_per_rest_and_before_they_can_be_given_out() {
        let settings = weft_ipam::Settings::default();
        let tick = u64::try_from(limits::FORGET_EVERY.as_millis()).unwrap();
        assert!(limits::FORGET_AFTER_MS + tick < settings.least_rest_ms, "in time");
    }
}
