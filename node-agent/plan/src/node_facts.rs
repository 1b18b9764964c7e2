//! What a node says of itself to the control plane, out of what its host is.

use std::collections::BTreeSet;

use weft_model::{AddressRange, FabricItem, NodeFacts, WireguardKey, ownership::MESH_PORTS};

use crate::Facts;

/// The facts of a node whose mesh device has the public key `key`.
///
/// Routes inside the fabric's own ranges are the node's own work and reserve nothing; before the fabric is known (`None`)
/// every route of the host counts.
pub fn node_facts(facts: &Facts, fabric: Option<&FabricItem>, key: WireguardKey) -> NodeFacts {
    let own = |range: &AddressRange| {
        fabric.map(|fabric| &fabric.ranges).is_some_and(|ranges| {
            let all = [&ranges.pods, &ranges.services, &ranges.nodes, &ranges.load_balancers];
            all.into_iter().flatten().any(|of_fabric| of_fabric.covers(*range))
        })
    };
    let underlay = facts.underlay.as_ref();
    let [port, _] = MESH_PORTS;
    let reserved: BTreeSet<_> = facts.host.reserved().into_iter().filter(|range| !own(range)).collect();
    NodeFacts {
        wireguard_key: Some(key),
        endpoint: underlay.and_then(|u| u.addresses.first()).map(|address| (*address, port).into()),
        underlay: underlay.map(|u| u.addresses.clone()).unwrap_or_default(),
        uplink_mac: underlay.and_then(|u| u.mac),
        host_routes: reserved.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{Families, Overlay};

    use super::*;
    use crate::{HostRoute, world};

    const KEY: WireguardKey = WireguardKey([7; 32]);

    fn routes(said: &NodeFacts) -> Vec<String> {
        said.host_routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routes_of_the_fabric_itself_reserve_nothing() {
        let (mut facts, fabric) = (world::facts(), world::fabric(Families::Dual, Overlay::Wireguard));
        let inside = fabric.ranges.pods[0];
        for destination in ["172.20.0.0/16".parse().unwrap(), inside] {
            facts.host.routes.push(HostRoute { destination, link: None, gateway: None, metric: 0 });
        }
        let before = routes(&node_facts(&facts, None, KEY));
        assert!(before.contains(&"172.20.0.0/16".to_owned()) && before.contains(&inside.to_string()));
        let after = routes(&node_facts(&facts, Some(&fabric), KEY));
        assert!(after.contains(&"172.20.0.0/16".to_owned()) && !after.contains(&inside.to_string()));
    }

    #[test]
    fn the_mesh_is_reached_at_the_first_underlay_address() {
        let facts = world::facts();
        let said = node_facts(&facts, None, KEY);
        let underlay = facts.underlay.as_ref().expect("the world has an underlay");
        assert_eq!(said.endpoint, Some((underlay.addresses[0], 51820).into()));
        assert_eq!((said.underlay, said.uplink_mac), (underlay.addresses.clone(), underlay.mac));
        assert_eq!(said.wireguard_key, Some(KEY));
        let nowhere = Facts { underlay: None, ..facts };
        let said = node_facts(&nowhere, None, KEY);
        assert_eq!((said.endpoint, said.underlay), (None, Vec::new()), "nobody is told a guess");
    }
}
