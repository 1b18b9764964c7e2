//! What a node says of itself to the control plane, out of what its host is.

use std::{collections::BTreeSet, net::IpAddr};

use weft_model::{AddressRange, FabricItem, Family, NodeFacts, WireguardKey, ownership::MESH_PORTS};

use crate::Facts;

/// The facts of a node whose mesh device has the public key `key`.
///
/// Routes inside the fabric's own ranges are the node's own work and reserve nothing; before the fabric is known (`None`)
/// every route of the host counts. Of underlay addresses, those beside the first of each family that lie in no network the host is
/// connected to are left out: such are addresses that a provider routes to the machine, and nobody would be believed to have them.
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
    let said = |address: &IpAddr| {
        let first = underlay.and_then(|u| u.address(Family::of(*address)));
        first == Some(*address) || reserved.iter().any(|range| range.prefix() > 1 && range.contains(*address))
    };
    let addresses = underlay.map(|u| u.addresses.iter().copied().filter(said).collect());
    NodeFacts {
        wireguard_key: Some(key),
        endpoint: underlay.and_then(|u| u.addresses.first()).map(|address| (*address, port).into()),
        underlay: addresses.unwrap_or_default(),
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
    fn an_address_in_no_network_of_the_host_is_kept_to_itself() {
        let mut facts = world::facts();
        let known = node_facts(&facts, None, KEY).underlay;
        let extra: IpAddr = "198.51.100.9".parse().unwrap();
        facts.underlay.as_mut().unwrap().addresses.push(extra);
        assert_eq!(node_facts(&facts, None, KEY).underlay, known);
        let network = "198.51.100.0/24".parse().unwrap();
        facts.host.routes.push(HostRoute { destination: network, link: None, gateway: None, metric: 0 });
        assert_eq!(node_facts(&facts, None, KEY).underlay, [known, vec![extra]].concat());
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
