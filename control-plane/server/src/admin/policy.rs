//! What people are told of policies that they wrote: nothing here is refused.
//!
//! The replica's thread only copies what the question depends on; the answer is made here.

use std::sync::Arc;

use weft_core::State;
use weft_errors::{Coded, Error};
use weft_model::{Item, ItemKey, NetworkPolicy, Object, PodPhase, Written};
use weft_policy::{World, WorldPod};

use crate::{context::Context, limits::POLICY_WARNING_PODS};

/// Warnings about the policies among written objects, with their codes.
pub(super) async fn warnings(context: &Context, written: &[(Object, Written)]) -> Result<Vec<String>, Error> {
    let policies: Vec<NetworkPolicy> = written
        .iter()
        .filter(|(_, written)| *written != Written::Unchanged)
        .filter_map(
            |(object, _)| if let Object::NetworkPolicy(policy) = object { Some(policy) } else { None },
        )
        .cloned()
        .collect();
    if policies.is_empty() {
        return Ok(Vec::new());
    }
    let Some(mut world) = context.handle.query(world).await? else {
        let many = format!("more than {POLICY_WARNING_PODS} pods live");
        return Ok(vec![format!(
            "policies weren't held against pods, because {many}: weft policy lint does"
        )]);
    };
    // After a dry run the state doesn't have them.
    for policy in &policies {
        world.put_policy(policy.name.clone(), Arc::new(policy.spec.clone()));
    }
    let told = policies.iter().flat_map(|policy| {
        let name = policy.name.clone();
        let said = world.lint_policy(&policy.name).into_iter();
        said.map(move |warning| {
            format!("networkpolicy {name}: {}: {warning} ({})", warning.field(), warning.code())
        })
    });
    Ok(told.collect())
}

/// What warnings depend on; `None` where that is too much to copy on the replica's thread.
fn world(state: &State) -> Option<World> {
    if state.pods().len() > POLICY_WARNING_PODS {
        return None;
    }
    let mut world = World::new(state.fabric().map(|fabric| fabric.policy).unwrap_or_default());
    for name in state.existing_namespaces() {
        if let Some(Item::Namespace(item)) = state.item(&ItemKey::Namespace(name)) {
            world.put_namespace(item.name, item.labels);
        }
    }
    for pod in state.pods().values().filter(|pod| pod.phase == PodPhase::Active) {
        let Some(known) = state.effective_pod(&pod.name) else { continue };
        let (labels, ports) = (known.labels(), known.ports().to_vec());
        let (addresses, node) = (pod.addresses.clone(), Some(pod.node.clone()));
        world.put_pod(pod.name.clone(), WorldPod { labels, addresses, ports, node });
    }
    Some(world)
}
