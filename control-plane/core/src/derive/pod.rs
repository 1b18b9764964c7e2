//! Living pods as other nodes need them, and what a pod's own node heeds when it makes the pod.

use weft_model::{PodDns, PodItem, PodName, SetupItem};

use crate::State;

/// The pod that owns the name; `None` when nobody does.
pub(crate) fn derive(state: &State, name: &PodName) -> Option<PodItem> {
    let pod = state.effective_pod(name)?;
    Some(PodItem {
        name: name.clone(),
        addresses: pod.pod.addresses.clone(),
        hostname: pod.hostname().to_owned(),
        subdomain: pod.subdomain().to_owned(),
        identity: state.identity_of(name).unwrap_or_default(),
    })
}

/// What people said of a pod, whether it lives or not: its node knows it before it makes the pod. `None` when they said
/// nothing else than the default.
pub(crate) fn setup(state: &State, name: &PodName) -> Option<SetupItem> {
    let spec = state.pod_specs().get(name)?;
    let setup = || SetupItem { pod: name.clone(), dns: spec.dns.clone(), service_links: spec.service_links };
    (spec.dns != PodDns::default() || !spec.service_links).then(setup)
}
