//! Policies that nodes can't hold: the pods concerned are closed there, whatever the rules say.

use std::collections::{BTreeMap, BTreeSet};

use weft_errors::Coded;
use weft_policy::{Flow, World};

use crate::{client::Session, fail::Outcome};

/// What nodes last said that they can't hold, by node.
pub(super) async fn nodes(session: &Session) -> Outcome<BTreeMap<String, String>> {
    let reports = session.status().await?.nodes;
    let told = reports.into_iter().filter_map(|report| {
        let subsystems = report.status?.subsystems;
        let error = subsystems.into_iter().find(|one| one.name == "policy")?.error?;
        Some((report.node, format!("{} ({})", error.message, error.code)))
    });
    Ok(told.collect())
}

/// Why flows that the rules allow don't pass all the same: what no node holds of the policies of either end. One line each.
pub(super) fn closed<'a>(world: &World, flows: impl Iterator<Item = &'a Flow>) -> Vec<String> {
    let ends: BTreeSet<_> = flows.flat_map(|flow| [flow.source, flow.destination]).collect();
    let pods: BTreeMap<_, _> = ends.into_iter().filter_map(|end| world.pod_at(end)).collect();
    let of = |(name, pod)| world.oversized_for(name, pod);
    let told =
        pods.into_iter().flat_map(of).map(|one| format!("closed all the same: {one} ({})", one.code()));
    told.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the nodes of either end say that they can't hold: whether that closes these flows isn't known here.
pub(super) fn doubts<'a>(
    world: &World,
    nodes: &BTreeMap<String, String>,
    flows: impl Iterator<Item = &'a Flow>,
) -> Vec<String> {
    let ends = flows.flat_map(|flow| [flow.source, flow.destination]);
    let places: BTreeSet<String> =
        ends.filter_map(|end| world.pod_at(end)?.1.node.as_ref().map(ToString::to_string)).collect();
    let told = places
        .iter()
        .filter_map(|node| Some(format!("node {node} doesn't hold all policies: {}", nodes.get(node)?)));
    told.collect()
}
