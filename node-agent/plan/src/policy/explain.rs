//! What policies say of one flow at both ends, as far as this node knows them.

use std::net::IpAddr;

use weft_policy::{Explanation, Flow};
use weft_view::View;

use super::feed;
use crate::Facts;

/// Explains a flow by the View. Only pods of this node have an own node here; where the other end is another node's, that one knows better.
/// It looks at every pod once for its addresses, and at the policies of both ends' namespaces.
pub fn explain(view: &View, facts: &Facts, flow: &Flow) -> Explanation {
    feed::about(view, facts, &[flow.source, flow.destination]).explain(flow, &own_addresses(view, facts))
}

/// Addresses of this node itself, in the mesh and on its underlay.
pub fn own_addresses(view: &View, facts: &Facts) -> Vec<IpAddr> {
    let peer = view.peer(&facts.node).into_iter();
    let mesh = peer.flat_map(|own| own.mesh.iter().map(|(_, address)| *address));
    let underlay = facts.underlay.iter().flat_map(|underlay| underlay.addresses.iter().copied());
    mesh.chain(underlay).collect()
}
