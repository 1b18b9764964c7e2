//! The way that a node's routes give a pod's packets, by the very routes that `route` wants.
//!
//! In: View, Facts, a destination. Out: [`Way`]. Not here: what a service makes of the destination (service/forecast).

use std::net::IpAddr;

use weft_model::{
    AddressRange, NodeName, Overlay,
    ownership::{BRIDGE, TABLE_FABRIC, TABLE_UNDERLAY},
    resolver_addresses,
};
use weft_view::View;

use crate::{Facts, Path, Route, RouteKey, RouteValue, Scope, Subject};

/// Where a packet of a pod goes when its destination is this address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a pod of this node.
    Pod {
        /// The node's end of its veth.
        link: String,
    },
    /// To another node.
    Node {
        /// Which.
        node: NodeName,
        /// The device that it leaves by.
        device: String,
        /// The next hop on that device's link (mode `routed`); in a tunnel there is none.
        gateway: Option<IpAddr>,
        /// What most specific route says so.
        route: AddressRange,
        /// Largest packet, bytes.
        mtu: u32,
    },
    /// Out of the fabric, by the node's own routes.
    Outside {
        /// The underlay's device; `None`: this node has none.
        device: Option<String>,
        /// The source that the destination sees, where it isn't the pod's own.
        source: Option<IpAddr>,
    },
    /// To this node itself.
    Here,
    /// Nowhere: no lease covers it, or there is no tunnel device yet.
    Nowhere,
}

/// The way to an address.
pub fn way(view: &View, facts: &Facts, to: IpAddr) -> Way {
    let Some(fabric) = view.fabric() else { return Way::Nowhere };
    if let Some(pod) = facts.pods.values().find(|pod| pod.addresses.contains(&to)) {
        return Way::Pod { link: pod.link.clone() };
    }
    let own = view.peer(&facts.node);
    let is_mesh = own.is_some_and(|peer| peer.mesh.iter().any(|(_, address)| *address == to));
    let is_resolver = resolver_addresses(fabric).any(|address| address == to);
    if is_resolver
        || is_mesh
        || facts.underlay.as_ref().is_some_and(|underlay| underlay.addresses.contains(&to))
    {
        return Way::Here;
    }
    let wanted = Route::desired(view, facts, Scope::All);
    let routes = || wanted.iter().flat_map(|(_, entries)| entries);
    let best = |table: u32| {
        let of_table = routes().filter_map(|(key, value)| match (key, value) {
            (RouteKey::Route { table: of, destination }, RouteValue::Route { path, mtu, .. }) => {
                (*of == table && destination.contains(to)).then_some((*destination, path, *mtu))
            }
            _ => None,
        });
        of_table.max_by_key(|(destination, ..)| destination.prefix())
    };
    let underlay = || best(TABLE_UNDERLAY).filter(|_| fabric.overlay == Overlay::Wireguard);
    let Some((route, path, mtu)) = best(TABLE_FABRIC).or_else(underlay) else {
        let ranges = &fabric.ranges;
        let mut closed = ranges.pods.iter().chain(&ranges.nodes).chain(&ranges.services);
        return if closed.any(|range| range.contains(to)) { Way::Nowhere } else { outside(view, facts, to) };
    };
    let (device, gateway) = match path {
        Path::Unreachable => return Way::Nowhere,
        Path::Device(device) => (device.clone(), None),
        Path::Gateway { device, address } => (device.clone(), Some(*address)),
    };
    let mtu = mtu.unwrap_or_else(|| facts.pod_mtu(fabric));
    match holder(view, to) {
        Some(node) if device != BRIDGE => Way::Node { node, device, gateway, route, mtu },
        Some(_) | None => Way::Nowhere,
    }
}

/// The node that an address of the fabric or of its underlay belongs to.
fn holder(view: &View, to: IpAddr) -> Option<NodeName> {
    let of_block = view.routes().values().find(|route| route.block.contains(to)).map(|route| &route.node);
    let has = |peer: &&weft_model::PeerItem| {
        peer.mesh.iter().any(|(_, address)| *address == to) || peer.underlay.contains(&to)
    };
    of_block.or_else(|| view.peers().values().find(has).map(|peer| &peer.node)).cloned()
}

fn outside(view: &View, facts: &Facts, to: IpAddr) -> Way {
    let underlay = facts.underlay.as_ref();
    let is_direct = view
        .fabric()
        .is_some_and(|fabric| fabric.masquerade_exceptions.iter().any(|range| range.contains(to)));
    let own = underlay.and_then(|u| u.addresses.iter().copied().find(|a| a.is_ipv4() == to.is_ipv4()));
    Way::Outside { device: underlay.map(|u| u.interface.clone()), source: own.filter(|_| !is_direct) }
}

#[cfg(test)]
mod tests {
    use weft_model::Families;

    use super::*;
    use crate::world::{facts, node, pod, view};

    #[test]
    fn ways_are_those_of_the_routes() {
        let view = view(Families::Dual, Overlay::Wireguard);
        let mut facts = facts();
        let own = pod(Families::Dual, 5);
        facts.pods.insert(own.uid, own.clone());
        let check =
            |to: &str, expected: Way| assert_eq!(way(&view, &facts, to.parse().unwrap()), expected, "{to}");
        check("10.1.1.5", Way::Pod { link: own.link.clone() });
        check("fd00:0:0:1::5", Way::Pod { link: own.link.clone() });
        let to_n2 = |route: &str| Way::Node {
            node: node(2),
            device: "weft0".to_owned(),
            gateway: None,
            route: route.parse().unwrap(),
            mtu: 1440,
        };
        check("10.1.2.9", to_n2("10.1.2.0/24"));
        check("10.111.0.2", to_n2("10.111.0.2/32"));
        check("192.168.1.12", to_n2("192.168.1.12/32"));
        check("10.111.0.1", Way::Here);
        check("169.254.1.53", Way::Here);
        check("10.112.0.10", Way::Here);
        // A lease that nobody holds, and a lease of this node without a pod.
        check("10.1.77.1", Way::Nowhere);
        check("10.1.1.77", Way::Nowhere);
        let source = |text: &str| Some(text.parse().unwrap());
        let eth0 = Some("eth0".to_owned());
        check("203.0.113.9", Way::Outside { device: eth0.clone(), source: source("192.168.1.11") });
        check("2001:db8::1", Way::Outside { device: eth0, source: source("fd99::11") });
    }

    #[test]
    fn without_a_tunnel_there_is_no_way_and_in_mode_routed_there_is_a_next_hop() {
        let to = "10.1.2.9".parse().unwrap();
        let mut bare = facts();
        bare.mesh.clear();
        assert_eq!(way(&view(Families::Dual, Overlay::Wireguard), &bare, to), Way::Nowhere);
        let routed = way(&view(Families::Dual, Overlay::Routed), &facts(), to);
        let Way::Node { gateway, device, .. } = routed else { panic!("{routed:?}") };
        assert_eq!((device.as_str(), gateway), ("eth0", Some("192.168.1.12".parse().unwrap())));
    }
}
