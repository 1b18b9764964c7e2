//! Pods as their node publishes them.
//!
//! Invariants: an address is held by one pod, in a block that the pod's node leases · of the pods with one name
//! exactly the youngest (by creation, then uid) is Active; the others keep their addresses until their DEL.

use std::collections::BTreeSet;

use weft_model::{
    Answer, Fabric, Family, Key, Node, NodeName, Object, Pod, PodName, PodPhase, PodReport, PodUid,
};

use crate::{Error, State, admit, edit::Edit, limits, pool};

/// Takes over a report, whole or not at all.
pub(crate) fn publish(edit: &mut Edit<'_>, report: &PodReport) -> Result<Answer, Error> {
    let state = edit.state();
    state.active_node(&report.node, report.uid)?;
    let fabric = state.fabric().cloned().ok_or(Error::NotFounded)?;
    // What goes comes first: its addresses are free for what comes.
    for uid in gone(state, report)? {
        delete(edit, uid);
    }
    for pod in &report.upserts {
        check(edit.state(), &fabric, &report.node, pod)?;
        upsert(edit, pod);
    }
    if report.complete {
        heard(edit, &report.node);
    }
    Ok(Answer::Done)
}

/// Who gave an account of all its pods is silent no more: with the same entry those are gone that died with it.
fn heard(edit: &mut Edit<'_>, name: &NodeName) {
    let silent = edit.state().nodes().get(name).filter(|node| node.silent.is_some()).cloned();
    if let Some(node) = silent {
        edit.put_object(Object::Node(Node { silent: None, ..node }));
    }
}

/// Pods of the node that the report ends; one that isn't known is gone already.
fn gone(state: &State, report: &PodReport) -> Result<BTreeSet<PodUid>, Error> {
    let mut gone = BTreeSet::new();
    for uid in &report.deletes {
        match state.pods().get(uid) {
            Some(pod) if pod.node != report.node => {
                return Err(Error::NotOwn { node: report.node.clone(), pod: *uid });
            }
            Some(_) => {
                gone.insert(*uid);
            }
            None => {}
        }
    }
    if report.complete {
        let stay: BTreeSet<_> = report.upserts.iter().map(|pod| pod.uid).collect();
        gone.extend(state.node_pods(&report.node).map(|pod| pod.uid).filter(|uid| !stay.contains(uid)));
    }
    Ok(gone)
}

/// Checks one pod of a report against the state as the report has made it so far.
fn check(state: &State, fabric: &Fabric, node: &NodeName, pod: &Pod) -> Result<(), Error> {
    let known = state.pods().get(&pod.uid);
    if pod.node != *node || known.is_some_and(|known| known.node != *node) {
        return Err(Error::NotOwn { node: node.clone(), pod: pod.uid });
    }
    if let Some(known) = known
        && known.name != pod.name
    {
        let (was, wanted) = (known.name.to_string(), pod.name.to_string());
        return Err(Error::Immutable { kind: "pod", name: was.clone(), field: "metadata.name", was, wanted });
    }
    check_shape(fabric, pod)?;
    for address in &pod.addresses {
        let lease = pool::block_of(fabric, *address).and_then(|block| state.leases().get(&block));
        if lease.is_none_or(|lease| lease.node != *node) {
            let what = format!("the block of {address}, which pod {} holds", pod.name);
            return Err(Error::LeaseStale { node: node.clone(), what });
        }
        if let Some(holder) = state.pod_at(*address)
            && holder.uid != pod.uid
        {
            return Err(Error::AddressTaken {
                address: *address,
                claimant: format!("pod {}", pod.name),
                holder: format!("pod {} ({}) of node {}", holder.name, holder.uid, holder.node),
            });
        }
    }
    Ok(())
}

/// What can be said of a pod alone.
fn check_shape(fabric: &Fabric, pod: &Pod) -> Result<(), Error> {
    let name = pod.name.to_string();
    let families: Vec<_> = pod.addresses.iter().map(|address| Family::of(*address)).collect();
    if families != fabric.families.list() {
        let why = format!("it must have one address of each family of the fabric ({})", fabric.families);
        return Err(Error::invalid("pod", name, "status.addresses", why));
    }
    admit::check_labels("pod", &name, &pod.labels)?;
    admit::check_text("pod", &name, "status.attachment.container", &pod.attachment.container)?;
    admit::check_text("pod", &name, "status.attachment.interface", &pod.attachment.interface)?;
    if pod.ports.len() > limits::MAX_PORTS {
        return Err(Error::TooLarge { kind: "pod", name, what: "named ports", limit: limits::MAX_PORTS });
    }
    for (index, port) in pod.ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        admit::check_text("pod", &name, &field, &port.name)?;
        let twice = pod.ports.iter().take(index).any(|earlier| earlier.name == port.name);
        if port.port == 0 || twice {
            let why = if twice { "is named twice" } else { "has number 0" };
            return Err(Error::invalid("pod", name, field, format!("port {} {why}", port.name)));
        }
    }
    Ok(())
}

/// Puts a pod and settles who owns its name.
fn upsert(edit: &mut Edit<'_>, pod: &Pod) {
    let rival = rival(edit.state(), &pod.name, pod.uid);
    let owns = rival.as_ref().is_none_or(|rival| (rival.created, rival.uid) < (pod.created, pod.uid));
    let phase = |owns| if owns { PodPhase::Active } else { PodPhase::Superseded };
    edit.put_object(Object::Pod(Pod { phase: phase(owns), ..pod.clone() }));
    if let Some(rival) = rival {
        edit.put_object(Object::Pod(Pod { phase: phase(!owns), ..rival }));
    }
}

/// Deletes a pod; the next youngest of its name owns it again.
pub(crate) fn delete(edit: &mut Edit<'_>, uid: PodUid) {
    let Some(pod) = edit.state().pods().get(&uid) else { return };
    let name = pod.name.clone();
    edit.delete_object(Key::Pod(uid));
    if let Some(heir) = edit.state().pod_named(&name).cloned() {
        edit.put_object(Object::Pod(Pod { phase: PodPhase::Active, ..heir }));
    }
}

/// The youngest pod of a name beside one: the only other whose phase can change.
fn rival(state: &State, name: &PodName, beside: PodUid) -> Option<Pod> {
    let others = state.index.names.get(name)?.iter().rev().map(|(_, uid)| uid);
    others.into_iter().find(|uid| **uid != beside).and_then(|uid| state.pods().get(uid)).cloned()
}
