//! Pods without an orchestrator: a namespace of ours, attached like any other (`weft pod add`).

use std::{path::Path, time::Instant};

use weft_errors::{Coded, Error, NOT_FOUND, OBJECT_INVALID};
use weft_ipam::{Holding, Origin};
use weft_model::{
    AttachmentId, Labels, MAX_LABELS, PodName, Probe, ProbeHandler, Probes, check_label,
    ownership::run::NETNS_DIR,
};
use weft_proto::{convert::ShapeError, v1};

use crate::{
    attach::{Engine, NewPod},
    ip_netns,
};

/// Makes a pod: all or nothing. Fails with `AlreadyExists` when this node has a pod of that name.
pub(crate) fn add(
    engine: &Engine,
    pod: PodName,
    labels: Labels,
    probes: Probes,
    deadline: Instant,
) -> Result<Holding, Error> {
    if !engine.node().is_ready() {
        return Err(Error::new(&weft_errors::BUSY, "the agent isn't ready to attach pods"));
    }
    check_labels(&pod, &labels)?;
    let attachment = attachment(&pod);
    let held = engine.lock(&attachment.container, deadline)?;
    let taken = engine.node().addresses.read(|ledger| ledger.holdings().any(|holding| holding.pod == pod));
    if taken {
        return Err(Error::new(
            &weft_errors::ALREADY_EXISTS,
            format!("pod {pod} exists on node {} already", engine.node().name),
        )
        .object("pod", pod.namespace.as_str(), &pod.name)
        .field("metadata.name")
        .try_this("choose another name, or remove that pod first", format!("weft pod remove {pod}")));
    }
    let (directory, name) = (Path::new(NETNS_DIR), namespace_name(&pod));
    // A namespace that no pod of ours has is left over from one that was never finished.
    weft_kernel::remove_namespace(directory, &name).map_err(|e| e.envelope())?;
    let namespace = weft_kernel::create_namespace(directory, &name).map_err(|e| e.envelope())?;
    let new = NewPod {
        attachment,
        pod,
        labels,
        netns: namespace.path().display().to_string(),
        origin: Origin::Weft,
        wanted: Vec::new(),
        forbidden_netns: None,
        unique: true,
        probes,
    };
    let made = engine.add(&held, new, deadline).inspect_err(|_| {
        if let Err(error) = weft_kernel::remove_namespace(directory, &name) {
            tracing::warn!(%error, "the namespace of a failed pod stays behind");
        }
    })?;
    let given = engine.setups().read(&made.attachment.container).unwrap_or_default();
    ip_netns::put(&name, &given.resolv_conf);
    Ok(made)
}

/// The control plane would refuse what breaks the rule, and the pod would never be known to anybody else.
fn check_labels(pod: &PodName, labels: &Labels) -> Result<(), Error> {
    let wrong = |field: &str, message: String| {
        Error::new(&OBJECT_INVALID, message)
            .object("pod", pod.namespace.as_str(), &pod.name)
            .field(field)
            .try_this("labels are as Kubernetes has them", "")
    };
    if labels.len() > MAX_LABELS {
        let message = format!("the pod has {} labels, at most {MAX_LABELS} are allowed", labels.len());
        return Err(wrong("metadata.labels", message));
    }
    let check = |(key, value): (&String, &String)| {
        check_label(key, value).map_err(|error| wrong(&format!("metadata.labels[{key}]"), error.to_string()))
    };
    labels.iter().try_for_each(check)
}

/// Probes as they came over the wire.
pub(crate) fn probes(readiness: Option<v1::Probe>, startup: Option<v1::Probe>) -> Result<Probes, Error> {
    let read = |field: &str, probe: Option<v1::Probe>| {
        let probe: Option<Probe> =
            probe.map(TryInto::try_into).transpose().map_err(|error: ShapeError| {
                Error::new(&OBJECT_INVALID, "a probe can't be read").field(field).because(error)
            })?;
        match probe {
            Some(probe) => check_probe(field, probe).map(Some),
            None => Ok(None),
        }
    };
    Ok(Probes { readiness: read("readiness", readiness)?, startup: read("startup", startup)? })
}

/// Numbers that Kubernetes would default or refuse.
fn check_probe(field: &str, probe: Probe) -> Result<Probe, Error> {
    let wrong = |what: &str, message: String| {
        Err(Error::new(&OBJECT_INVALID, message).field(format!("{field}.{what}")))
    };
    if !(100..=3_600_000).contains(&probe.period_ms) {
        return wrong("periodMs", format!("{} ms isn't between 100 ms and an hour", probe.period_ms));
    }
    if !(1..=3_600_000).contains(&probe.timeout_ms) {
        return wrong("timeoutMs", format!("{} ms isn't between 1 ms and an hour", probe.timeout_ms));
    }
    if probe.success_threshold == 0 || probe.failure_threshold == 0 {
        return wrong("threshold", "thresholds begin at 1".to_owned());
    }
    if let ProbeHandler::Http { path, host, headers, .. } = &probe.handler {
        let texts = headers.iter().flat_map(|(name, value)| [name, value]).chain([path, host]);
        if texts.into_iter().any(|text| text.chars().any(char::is_control)) || path.contains(' ') {
            return wrong("http", "an HTTP request can't carry control characters".to_owned());
        }
    }
    Ok(probe)
}

/// Removes a pod made by [`add`].
pub(crate) fn remove(engine: &Engine, pod: &PodName, deadline: Instant) -> Result<(), Error> {
    let attachment = attachment(pod);
    let held = engine.lock(&attachment.container, deadline)?;
    let found = engine.node().addresses.read(|ledger| {
        let all: Vec<_> = ledger.holdings().filter(|holding| holding.pod == *pod).cloned().collect();
        all
    });
    match found.iter().find(|holding| holding.origin == Origin::Weft) {
        Some(holding) => {
            let removed = engine.remove(&held, &holding.attachment, deadline);
            ip_netns::remove(&namespace_name(pod));
            weft_kernel::remove_namespace(Path::new(NETNS_DIR), &namespace_name(pod))
                .map_err(|e| e.envelope())?;
            removed.map(drop)
        }
        None if found.is_empty() => {
            let message = format!("there is no pod {pod} on node {}", engine.node().name);
            Err(Error::new(&NOT_FOUND, message).object("pod", pod.namespace.as_str(), &pod.name))
        }
        None => {
            let message = format!("pod {pod} belongs to a container runtime");
            Err(Error::new(&OBJECT_INVALID, message)
                .object("pod", pod.namespace.as_str(), &pod.name)
                .try_this("remove it where it was made", ""))
        }
    }
}

/// One container per pod name: its lock makes adding and removing serial.
fn attachment(pod: &PodName) -> AttachmentId {
    AttachmentId { container: format!("weft-{}", namespace_name(pod)), interface: "eth0".to_owned() }
}

/// Names have no underscore, so this is unambiguous.
fn namespace_name(pod: &PodName) -> String {
    format!("{}_{}", pod.namespace, pod.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_the_control_plane_would_refuse_are_refused_here() {
        let pod: PodName = "shop/web".parse().unwrap();
        let check = |labels: Labels| check_labels(&pod, &labels).map_err(|error| error.field);
        assert_eq!(check([("app".to_owned(), "web".to_owned())].into()), Ok(()));
        assert_eq!(
            check([("app".to_owned(), "a b".to_owned())].into()),
            Err("metadata.labels[app]".to_owned())
        );
        let many = (0..65).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!(check(many), Err("metadata.labels".to_owned()));
    }
}
