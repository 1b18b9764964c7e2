//! `v1 Pod`: what people or an orchestrator say of a pod. Its life and addresses are its node's to tell.

use serde_saphyr::Location;
use weft_model::{NamedPort, Object, PodDns, PodSpec, Probe, Revision};

use super::{
    dns,
    meta::{metadata, object_name},
    probe,
    service::{protocol, text_or_empty},
};
use crate::{
    read::{Fields, Reader},
    tree::Placed,
};

/// Fields of a pod's spec that Kubernetes knows and that mean nothing here.
const SPEC: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

/// Fields of a container that Kubernetes knows and that mean nothing here.
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

/// What the containers of a pod say together.
#[derive(Default)]
struct Containers {
    ports: Vec<NamedPort>,
    readiness: Option<Probe>,
    startup: Option<Probe>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    at: Location,
    namespace: &str,
) -> Option<Object> {
    let mut meta = metadata(reader, &mut fields);
    let name = object_name(reader, &mut meta, at, namespace);
    let ready = fields.take("status").map_or(Some(None), |status| ready(reader, status));
    let spec = fields.take("spec").and_then(|value| reader.fields(value, "spec"));
    reader.done(fields);
    let (mut hostname, mut subdomain, mut containers) =
        (Some(String::new()), Some(String::new()), Containers::default());
    let (mut asks, mut service_links) = (Some(PodDns::default()), Some(true));
    if let Some(mut spec) = spec {
        hostname = text_or_empty(reader, spec.take("hostname"), "spec.hostname");
        subdomain = text_or_empty(reader, spec.take("subdomain"), "spec.subdomain");
        asks = dns::pod(reader, &mut spec);
        if let Some(links) = spec.take("enableServiceLinks") {
            service_links = reader.flag(&links, "spec.enableServiceLinks");
        }
        for (key, path) in [("initContainers", "spec.initContainers"), ("containers", "spec.containers")] {
            reader.each(spec.take(key), path, |reader, value, path| {
                container(reader, value, path, &mut containers)
            })?;
        }
        reader.ignore(&mut spec, SPEC);
        reader.done(spec);
    }
    Some(Object::PodSpec(PodSpec {
        name: name?,
        labels: meta.labels,
        ports: containers.ports,
        ready: ready?,
        terminating: meta.deleted,
        readiness: containers.readiness,
        startup: containers.startup,
        hostname: hostname?,
        subdomain: subdomain?,
        dns: asks?,
        service_links: service_links?,
        annotations: meta.annotations,
        generation: 0,
        revision: Revision(0),
    }))
}

fn container(reader: &mut Reader<'_>, value: Placed, path: &str, into: &mut Containers) -> Option<()> {
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let ports = reader.each(fields.take("ports"), &format!("{path}.ports"), port);
    let own: Vec<NamedPort> = ports.iter().flatten().flatten().cloned().collect();
    for (key, place) in [("readinessProbe", &mut into.readiness), ("startupProbe", &mut into.startup)] {
        let Some(value) = fields.take(key) else { continue };
        let path = format!("{path}.{key}");
        let read = probe::read(reader, value, &path, &own);
        match place {
            // A pod is asked in one way: its first container that can be asked speaks for it.
            Some(_) => reader.note_ignored(&format!("{path} (another container has one already)")),
            None => *place = read,
        }
    }
    reader.ignore(&mut fields, CONTAINER);
    reader.done(fields);
    let (_, _) = (name?, ports?);
    into.ports.extend(own);
    Some(())
}

/// A port that has a name; others say nothing that anybody needs.
fn port(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Option<NamedPort>> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let protocol = protocol(reader, fields.take("protocol"), &format!("{path}.protocol"));
    let number = match fields.take("containerPort") {
        Some(value) => reader.port(&value, &format!("{path}.containerPort")),
        None => {
            reader.invalid(at, &format!("{path}.containerPort"), "must be given");
            None
        }
    };
    reader.ignore(&mut fields, &["hostPort", "hostIP"]);
    reader.done(fields);
    let (name, protocol, port) = (name?, protocol?, number?);
    Some((!name.is_empty()).then_some(NamedPort { name, protocol, port }))
}

/// Condition `Ready`; everything else of a status is somebody's report that nobody here reads.
fn ready(reader: &mut Reader<'_>, status: Placed) -> Option<Option<bool>> {
    let mut status = reader.fields(status, "status")?;
    let Some(conditions) = status.take("conditions") else { return Some(None) };
    let mut found = None;
    for (index, condition) in reader.list(conditions, "status.conditions")?.into_iter().enumerate() {
        let path = format!("status.conditions[{index}]");
        let mut condition = reader.fields(condition, &path)?;
        let kind = condition.take("type").and_then(|value| reader.text(value, &format!("{path}.type")));
        let status = condition.take("status").and_then(|value| reader.text(value, &format!("{path}.status")));
        if kind.as_deref() == Some("Ready") {
            found = Some(status.as_deref() == Some("True"));
        }
    }
    Some(found)
}
