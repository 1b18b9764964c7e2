//! The fabric's settings as nodes need them.

use weft_model::{FabricItem, MemberRole};

use crate::State;

/// The settings; `None` until the cluster is founded.
pub(crate) fn derive(state: &State) -> Option<FabricItem> {
    let fabric = state.fabric()?;
    let voters = state.members().values().filter(|member| member.role == MemberRole::Voter);
    Some(FabricItem {
        cluster: state.meta().cluster,
        families: fabric.families,
        ranges: fabric.ranges.clone(),
        overlay: fabric.overlay,
        domain: fabric.domain.clone(),
        dns: fabric.dns.clone(),
        masquerade_exceptions: fabric.masquerade_exceptions.clone(),
        node_port_addresses: fabric.node_port_addresses.clone(),
        node_port_range: fabric.node_port_range,
        policy: fabric.policy,
        replicas: voters.map(|member| member.address).collect(),
    })
}
