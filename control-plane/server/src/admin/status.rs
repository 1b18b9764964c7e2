//! Status: what this replica and the others know now.

use std::{collections::BTreeMap, time::Instant};

use futures_util::future::join_all;
use weft_errors::Error;
use weft_model::{Member, MemberRole, NodeState};
use weft_proto::v1;

use crate::{
    context::Context,
    limits::{PEER_CALL, PEER_CALL_LOST},
    sync::merge_reports,
};

/// Services in trouble that a status names.
const TROUBLES: usize = 20;

/// What only this replica knows: its own state and the agents it serves.
pub(crate) async fn local_status(context: &Context) -> Result<v1::LocalStatusResponse, Error> {
    let id = context.id;
    let (member, hash) =
        context.handle.query(move |state| (state.members().get(&id).cloned(), state.meta().hash)).await?;
    let view = context.handle.status();
    let replica = v1::ReplicaStatus {
        member: Some((&member.unwrap_or_else(|| own_member(context))).into()),
        reachable: true,
        leader: view.leads(),
        term: view.term.0,
        applied: view.applied.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_hash: hash.to_vec().into(),
    };
    let nodes = context.reports.all(Instant::now(), |node| context.fanout.follows(node));
    Ok(v1::LocalStatusResponse { replica: Some(replica), nodes })
}

/// A replica that was removed from the list still answers for itself.
fn own_member(context: &Context) -> Member {
    Member {
        id: context.id,
        name: context.name.clone(),
        address: context.listen,
        role: MemberRole::Learner,
        revision: weft_model::Revision(0),
    }
}

/// Status of everybody: one question to each other replica, all at once.
pub(super) async fn everybody(context: &Context) -> Result<Vec<v1::LocalStatusResponse>, Error> {
    let own = local_status(context).await?;
    let questions = context.peers.clients().into_iter().map(|(id, mut client)| {
        let time = if context.peers.is_connected(id) { PEER_CALL } else { PEER_CALL_LOST };
        async move {
            let request = weft_rpc::with_deadline(v1::LocalStatusRequest {}, time);
            // The limit of the request itself doesn't cover connecting.
            let answer = tokio::time::timeout(time, client.local_status(request)).await.ok()?;
            answer.ok().map(tonic::Response::into_inner)
        }
    });
    let mut all: Vec<_> = join_all(questions).await.into_iter().flatten().collect();
    all.push(own);
    Ok(all)
}

/// The whole picture.
pub(crate) async fn status(
    context: &Context,
    _: v1::StatusRequest,
    _: Instant,
) -> Result<v1::StatusResponse, Error> {
    let answers = everybody(context).await?;
    let (cluster, revision, fabric, members, nodes, pods, blocks) = context
        .handle
        .query(|state| {
            let active = state.nodes().values().filter(|node| node.state == NodeState::Active);
            (
                state.meta().cluster,
                state.meta().revision,
                state.fabric().cloned(),
                state.members().values().cloned().collect::<Vec<_>>(),
                active.map(|node| (node.name.to_string(), node.silent)).collect::<Vec<_>>(),
                state.pods().len(),
                state.leases().len(),
            )
        })
        .await?;
    let mut seen: BTreeMap<u64, v1::ReplicaStatus> = BTreeMap::new();
    let mut reports = Vec::new();
    for answer in answers {
        reports.extend(answer.nodes);
        if let Some(replica) = answer.replica {
            seen.insert(replica.member.as_ref().map_or(0, |member| member.id), replica);
        }
    }
    let replicas = members
        .iter()
        .map(|member| {
            let unreachable =
                v1::ReplicaStatus { member: Some(member.into()), ..v1::ReplicaStatus::default() };
            seen.remove(&member.id.0).unwrap_or(unreachable)
        })
        .collect();
    let mut merged = merge_reports(reports);
    let nodes = nodes
        .into_iter()
        .map(|(node, silent)| {
            let report = merged.remove(&node);
            let report = report.unwrap_or_else(|| v1::NodeReport { node, ..v1::NodeReport::default() });
            v1::NodeReport { silent_since_ms: silent.map_or(0, |since| since.0), ..report }
        })
        .collect();
    let blocks_total = fabric.as_ref().map_or(0, blocks_of);
    let (services, services_serving, mut service_troubles) = context.events.services();
    service_troubles.truncate(TROUBLES);
    Ok(v1::StatusResponse {
        cluster: cluster.0.to_vec().into(),
        revision: revision.0,
        replicas,
        nodes,
        fabric: fabric.as_ref().map(Into::into),
        pods: pods as u64,
        blocks: blocks as u64,
        blocks_total,
        services,
        services_serving,
        service_troubles,
    })
}

/// Blocks that the pod ranges of the primary family hold.
fn blocks_of(fabric: &weft_model::Fabric) -> u64 {
    let family = fabric.families.primary();
    let prefix = match family {
        weft_model::Family::V4 => fabric.block_prefix_v4,
        weft_model::Family::V6 => 64,
    };
    let blocks =
        |range: &weft_model::AddressRange| 1_u64.checked_shl(prefix.saturating_sub(range.prefix()).into());
    fabric.ranges.pods.iter().filter(|range| range.family() == family).filter_map(blocks).sum()
}
