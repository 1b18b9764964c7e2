//! Endpoints: where the packets of a service go (Kubernetes, discovery/v1 EndpointSlice), and what people say of pods.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{Labels, Name, NamedPort, NodeName, ObjectName, ObjectUid, PodDns, Protocol, Revision, WallTime};

/// Kind of the addresses of a slice; fixed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
    /// Names: for DNS alone, no packet goes there.
    Fqdn,
}

/// A port that all endpoints of a slice have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlicePort {
    /// Name of the service's port; empty for a service with one port without a name.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Number; `None`: whatever the service's port is.
    pub port: Option<u16>,
    /// Hint for those who speak the protocol above; may be empty.
    pub app_protocol: String,
}

/// State of an endpoint. "Nobody said" means what the specification says it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conditions {
    /// Takes new connections; nobody said: yes.
    pub ready: Option<bool>,
    /// Passes its readiness check, also while it ends; nobody said: as `ready`.
    pub serving: Option<bool>,
    /// Is about to end; nobody said: no.
    pub terminating: Option<bool>,
}

impl Conditions {
    /// Takes new connections.
    pub fn is_ready(self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Can serve, also while it ends.
    pub fn is_serving(self) -> bool {
        self.serving.unwrap_or_else(|| self.is_ready())
    }

    /// Is about to end.
    pub fn is_terminating(self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

/// For whom an endpoint is meant (topology).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    /// Zones.
    pub zones: Vec<String>,
    /// Nodes.
    pub nodes: Vec<NodeName>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses, all alike: 1 to 100; the first counts. Of type `Fqdn`: empty, see `fqdn`.
    pub addresses: Vec<IpAddr>,
    /// Its names, for slices of type `Fqdn`.
    pub fqdn: Vec<String>,
    /// Its state.
    pub conditions: Conditions,
    /// Name within the service, for DNS; may be empty.
    pub hostname: String,
    /// Node it is on, if it is on one.
    pub node: Option<NodeName>,
    /// Zone it is in; may be empty.
    pub zone: String,
    /// For whom it is meant.
    pub hints: Hints,
    /// The pod behind it, in the slice's namespace.
    pub pod: Option<Name>,
}

/// Endpoints that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: ObjectName,
    /// Identity of this life; all zero only while it is admitted.
    pub uid: ObjectUid,
    /// Labels; `kubernetes.io/service-name` says whose endpoints these are.
    pub labels: Labels,
    /// Kind of the addresses.
    pub address_type: AddressType,
    /// At most 100.
    pub ports: Vec<SlicePort>,
    /// At most 1000.
    pub endpoints: Vec<SliceEndpoint>,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// When it was made.
    pub created: WallTime,
    /// Revision of the last change.
    pub revision: Revision,
}

/// Label of a slice that names its service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Label of a node that names its zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

impl EndpointSlice {
    /// The service whose endpoints these are.
    pub fn service(&self) -> Option<ObjectName> {
        let name = Name::new(self.labels.get(SERVICE_NAME_LABEL)?.as_str()).ok()?;
        Some(ObjectName { namespace: self.name.namespace.clone(), name })
    }
}

/// How a pod is asked whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeHandler {
    /// A TCP connection can be made.
    Tcp {
        /// Port of the pod.
        port: u16,
    },
    /// `GET` is answered with 200 to 399.
    Http {
        /// Port of the pod.
        port: u16,
        /// Path with query.
        path: String,
        /// Over TLS, whose certificate isn't checked (as Kubernetes).
        tls: bool,
        /// `Host` header; empty: the pod's address.
        host: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        /// Port of the pod.
        port: u16,
        /// Service asked for; may be empty.
        service: String,
    },
}

/// A repeated question to a pod (Kubernetes, core/v1 Probe).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// How it is asked.
    pub handler: ProbeHandler,
    /// Wait before the first question, milliseconds.
    pub initial_delay_ms: u32,
    /// Time between questions, milliseconds: 100 to 3 600 000; 10 000 unless told otherwise.
    pub period_ms: u32,
    /// Time for an answer, milliseconds; 1000 unless told otherwise.
    pub timeout_ms: u32,
    /// Good answers in a row before it counts as ready, from 1.
    pub success_threshold: u32,
    /// Bad answers in a row before it counts as not ready, from 1; 3 unless told otherwise.
    pub failure_threshold: u32,
}

/// All that a pod is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// Readiness probe.
    pub readiness: Option<Probe>,
    /// Until it has succeeded once, the pod isn't ready and not asked otherwise.
    pub startup: Option<Probe>,
}

impl Probes {
    /// Nobody asks the pod.
    pub const fn is_empty(&self) -> bool {
        self.readiness.is_none() && self.startup.is_none()
    }
}

/// What people say of a pod (v1 Pod: metadata, ports, readiness). Its life and addresses are its node's to tell; both are
/// joined by the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// Namespace and name of the pod, whether it lives or not.
    pub name: ObjectName,
    /// Labels, beside those the pod was made with; these win.
    pub labels: Labels,
    /// Ports with names; in place of those the pod was made with, unless empty.
    pub ports: Vec<NamedPort>,
    /// Whether an orchestrator says it is ready (condition `Ready`); nobody said: as the node says.
    pub ready: Option<bool>,
    /// Whether it is about to end (`metadata.deletionTimestamp`).
    pub terminating: bool,
    /// Readiness probe for its node's agent.
    pub readiness: Option<Probe>,
    /// Until this one has succeeded once, the pod isn't ready and not asked otherwise.
    pub startup: Option<Probe>,
    /// Name within `subdomain`, for DNS; may be empty.
    pub hostname: String,
    /// Name of a headless service; may be empty.
    pub subdomain: String,
    /// How it asks for names; counts when its node makes it.
    pub dns: PodDns,
    /// Whether it gets the services of its namespace as environment variables; counts when its node makes it.
    pub service_links: bool,
    /// Annotations, as they were written.
    pub annotations: BTreeMap<String, String>,
    /// Rises with each change of what people wrote.
    pub generation: u64,
    /// Revision of the last change.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_means_what_the_specification_says() {
        let check = |ready, serving, terminating, expected| {
            let c = Conditions { ready, serving, terminating };
            assert_eq!((c.is_ready(), c.is_serving(), c.is_terminating()), expected, "{c:?}");
        };
        check(None, None, None, (true, true, false));
        check(Some(false), None, None, (false, false, false));
        check(Some(false), Some(true), Some(true), (false, true, true));
    }
}
