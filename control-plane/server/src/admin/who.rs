//! WhoHas: who holds an address, by every meaning it can have.

use std::{net::IpAddr, time::Instant};

use weft_core::State;
use weft_errors::{Coded, Error};
use weft_model::{NodeState, Purpose};
use weft_proto::{convert::address_from_wire, v1};

use super::read::fresh;
use crate::context::Context;

/// Who holds an address.
pub(crate) async fn who_has(
    context: &Context,
    wire: v1::WhoHasRequest,
    deadline: Instant,
) -> Result<v1::WhoHasResponse, Error> {
    let address = address_from_wire(&wire.address).map_err(|e| e.envelope().field("address"))?;
    fresh(context, false, deadline).await?;
    context.handle.query(move |state| owner(state, address)).await
}

fn owner(state: &State, address: IpAddr) -> v1::WhoHasResponse {
    let node = state.nodes().values().find(|node| {
        node.state == NodeState::Active
            && (node.underlay.contains(&address) || node.mesh.iter().any(|(_, mesh)| *mesh == address))
    });
    v1::WhoHasResponse {
        pod: state.pod_at(address).map(Into::into),
        lease: state.leases().values().find(|lease| lease.block.contains(address)).map(Into::into),
        node: node.map(|node| node.name.to_string()).unwrap_or_default(),
        purpose: purpose(state, address).map(|purpose| purpose.to_string()).unwrap_or_default(),
        revision: state.meta().revision.0,
        services: services(state, address),
        owner: state.owners().get(&address).map(|owner| owner.node.to_string()).unwrap_or_default(),
    }
}

/// Services that have an address, whichever way.
fn services(state: &State, address: IpAddr) -> Vec<String> {
    let inside = state.service_at(address).into_iter();
    inside.chain(state.balanced_by(address)).map(|service| service.name.to_string()).collect()
}

fn purpose(state: &State, address: IpAddr) -> Option<Purpose> {
    let ranges = &state.fabric()?.ranges;
    [
        (Purpose::Pods, &ranges.pods),
        (Purpose::Services, &ranges.services),
        (Purpose::Nodes, &ranges.nodes),
        (Purpose::LoadBalancers, &ranges.load_balancers),
    ]
    .into_iter()
    .find(|(_, list)| list.iter().any(|range| range.contains(address)))
    .map(|(purpose, _)| purpose)
    .or_else(|| {
        let mut pools = state.pools().values().flat_map(|pool| &pool.ranges);
        pools.any(|range| range.contains(address)).then_some(Purpose::LoadBalancers)
    })
}
