//! How a pod's node asks it whether it is ready.

use weft_model::{PodName, ProbeItem};

use crate::State;

/// The probes of a pod, whether it lives or not: its node knows them before it makes the pod. `None` without any.
pub(crate) fn derive(state: &State, pod: &PodName) -> Option<ProbeItem> {
    let spec = state.pod_specs().get(pod)?;
    let (readiness, startup) = (spec.readiness.clone(), spec.startup.clone());
    (readiness.is_some() || startup.is_some()).then(|| ProbeItem { pod: pod.clone(), readiness, startup })
}
