//! What a change opens and closes, and which live connections it ends: the difference between two worlds, and the nodes asked for
//! what their connection tracking holds.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use prost::Message;
use weft_errors::{Error, INTERNAL};
use weft_model::{Family, NodeEgress, NodeName};
use weft_policy::{Closing, Cuts, Difference, Ends, PROTOCOLS, PortSet, Transport, World};
use weft_proto::{
    convert::{address_from_wire, address_to_wire, addresses_to_wire},
    v1::{self, answer_request, ask},
};

use super::{node::answer_of, policy::Sight};
use crate::{
    context::Context,
    limits::{
        CUT_ADDRESSES, CUT_ASKS, CUT_BYTES, CUT_WAIT, CUTS_TOLD, POLICY_GROUPS, POLICY_SHIFTS,
        POLICY_WARNING_PODS,
    },
};

/// What a change does; `None`: nothing. Nodes are asked only for what closes, and for at most a moment.
pub(super) async fn tell(context: &Context, sight: Sight, deadline: Instant) -> Option<v1::PolicyChange> {
    let untold = |why: String| Some(v1::PolicyChange { untold: why, ..v1::PolicyChange::default() });
    let worlds = match sight {
        Sight::Worlds(worlds) => worlds,
        Sight::TooManyPods => return untold(format!("more than {POLICY_WARNING_PODS} pods live")),
    };
    let compared =
        tokio::task::spawn_blocking(move || compare(&worlds.0, &worlds.1).map(|found| (worlds, found)));
    let (worlds, Found { mut change, cuts, nodes }) = match compared.await {
        Ok(Ok(found)) => found,
        Ok(Err(groups)) => {
            return untold(format!(
                "policies tell {groups} different kinds of ends apart, and more than {POLICY_GROUPS} aren't compared"
            ));
        }
        Err(error) => return untold(format!("comparing broke off: {error}")),
    };
    if change.shifts.is_empty() {
        return None;
    }
    if cuts.size() > CUT_ADDRESSES {
        let untold = format!("more than {CUT_ADDRESSES} addresses take part");
        change.live = Some(v1::LiveCuts { untold, ..v1::LiveCuts::default() });
    } else if !cuts.is_empty() {
        let node_open = worlds.1.settings().node_egress == NodeEgress::Allow;
        let request = to_wire(&cuts, node_open);
        change.live = Some(if request.encoded_len() > CUT_BYTES {
            let untold = "more kinds of flows close than nodes are asked about".to_owned();
            v1::LiveCuts { untold, ..v1::LiveCuts::default() }
        } else {
            live(context, request, nodes, &worlds.0, deadline).await
        });
    }
    Some(change)
}

/// What comparing two worlds gives.
struct Found {
    change: v1::PolicyChange,
    cuts: Cuts,
    /// Nodes whose connections count.
    nodes: BTreeSet<NodeName>,
}

fn compare(before: &World, after: &World) -> Result<Found, usize> {
    let difference = Difference::bounded(before, after, POLICY_GROUPS)?;
    let folds = difference.folds();
    let words = |ports: &PortSet| if ports.is_empty() { String::new() } else { ports.words() };
    let pods = |groups: &[usize]| difference.pods(groups) as u64;
    let shifts = folds.iter().take(POLICY_SHIFTS).map(|fold| v1::PolicyShift {
        from: difference.words(&fold.from, &fold.to),
        to: difference.words(&fold.to, &fold.from),
        opens: words(&fold.opens),
        closes: words(&fold.closes),
        family: fold.family.map(|family| family.to_string()).unwrap_or_default(),
        from_pods: pods(&fold.from),
        to_pods: pods(&fold.to),
    });
    let change = v1::PolicyChange {
        shifts: shifts.collect(),
        shifts_total: folds.len() as u64,
        ..v1::PolicyChange::default()
    };
    let cuts = difference.cuts(after);
    let mut nodes = BTreeSet::new();
    for fold in folds.iter().filter(|fold| !fold.closes.is_empty()) {
        // A connection counts where it began; one that no pod began, where its pod is.
        let outside = fold.from.iter().any(|group| difference.groups[*group].pods().is_empty());
        let ends = fold.from.iter().chain(fold.to.iter().filter(|_| outside));
        let pods = ends.flat_map(|group| difference.groups[*group].pods());
        nodes.extend(pods.filter_map(|name| after.pod(name)?.node.clone()));
    }
    Ok(Found { change, cuts, nodes })
}

/// Asks nodes at once, a bounded number at a time.
async fn live(
    context: &Context,
    request: v1::Cuts,
    nodes: BTreeSet<NodeName>,
    world: &World,
    deadline: Instant,
) -> v1::LiveCuts {
    let until = deadline.min(Instant::now() + CUT_WAIT);
    let ask = |node: NodeName| {
        let request = request.clone();
        async move {
            let answer = one(context, &node, request, until).await;
            (node, answer)
        }
    };
    let mut answers: Vec<_> = stream::iter(nodes).map(ask).buffer_unordered(CUT_ASKS).collect().await;
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut live = v1::LiveCuts::default();
    for (node, answer) in answers {
        match answer {
            Ok(result) => {
                live.total += result.total;
                live.asked.push(node.to_string());
                live.cuts.extend(result.cuts.into_iter().map(|cut| named(cut, &node, world)));
            }
            Err(error) => {
                live.unasked.push(v1::UnaskedNode { node: node.to_string(), why: error.message });
            }
        }
    }
    live.cuts.sort_by_key(|cut| std::cmp::Reverse(cut.count));
    live.cuts.truncate(CUTS_TOLD);
    live
}

async fn one(
    context: &Context,
    node: &NodeName,
    request: v1::Cuts,
    until: Instant,
) -> Result<v1::CutsResult, Error> {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    let ask = v1::Ask { timeout_ms, what: Some(ask::What::Cuts(request)), ..v1::Ask::default() };
    let wire = v1::AskNodeRequest { node: node.to_string(), ask: Some(ask) };
    let answer = answer_of(context, node, &wire, until).await?.answer.unwrap_or_default();
    match (answer.error, answer.what) {
        (Some(error), _) => Err(error.into()),
        (None, Some(answer_request::What::Cuts(result))) => Ok(result),
        (None, _) => Err(Error::new(&INTERNAL, format!("node {node} answered something else"))),
    }
}

/// A row with the names of its ends.
fn named(cut: v1::LiveCut, node: &NodeName, world: &World) -> v1::LiveCut {
    let name = |address: &[u8]| {
        let address = address_from_wire(address).ok()?;
        let pod = world.pod_at(address).map(|(name, _)| name.to_string());
        pod.or_else(|| world.node_at(address).map(|name| format!("node/{name}")))
    };
    v1::LiveCut {
        node: node.to_string(),
        from: name(&cut.from_address).unwrap_or_default(),
        to: name(&cut.to_address).unwrap_or_default(),
        ..cut
    }
}

fn to_wire(cuts: &Cuts, node_open: bool) -> v1::Cuts {
    let range = |(first, last): &(_, _)| v1::CutRange {
        first: address_to_wire(*first),
        last: address_to_wire(*last),
    };
    let ends = |ends: &Ends| v1::CutEnds {
        addresses: addresses_to_wire(&ends.addresses),
        ranges: ends.ranges.iter().map(range).collect(),
    };
    let closing = |closing: &Closing| {
        let of = |protocol| {
            let ranges = closing.ports.of(protocol).iter();
            ranges.map(move |(first, last)| v1::CutPorts {
                protocol: v1::Protocol::from(protocol).into(),
                first: (*first).into(),
                last: (*last).into(),
            })
        };
        v1::CutClosing {
            from: closing.from.clone(),
            to: closing.to.clone(),
            family: closing.family.map_or(v1::Family::Unspecified, v1::Family::from).into(),
            ports: PROTOCOLS.into_iter().flat_map(of).collect(),
            others: closing.ports.has(Transport::echo(Family::V4)),
        }
    };
    v1::Cuts {
        ends: cuts.ends.iter().map(ends).collect(),
        closings: cuts.closings.iter().map(closing).collect(),
        most: u32::try_from(CUTS_TOLD).unwrap_or(u32::MAX),
        node_open,
    }
}
