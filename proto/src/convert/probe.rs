//! Probes, and what people say of pods.

use weft_model::{PodSpec, Probe, ProbeHandler, ProbeItem, Revision};

use super::{
    address::port_from_wire,
    dns::{pod_dns_from_wire, pod_dns_to_wire},
    shape::{ShapeError, Within, list, missing, optional, required},
};
use crate::v1::{self, probe::Handler as Wire};

fn handler_from_wire(wire: Wire) -> Result<ProbeHandler, ShapeError> {
    match wire {
        Wire::Tcp(tcp) => Ok(ProbeHandler::Tcp { port: port_from_wire("tcp.port", tcp.port)? }),
        Wire::Http(http) => Ok(ProbeHandler::Http {
            port: port_from_wire("http.port", http.port)?,
            path: http.path,
            tls: http.tls,
            host: http.host,
            headers: http.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        }),
        Wire::Grpc(grpc) => {
            Ok(ProbeHandler::Grpc { port: port_from_wire("grpc.port", grpc.port)?, service: grpc.service })
        }
    }
}

fn handler_to_wire(handler: &ProbeHandler) -> Wire {
    match handler {
        ProbeHandler::Tcp { port } => Wire::Tcp(v1::TcpProbe { port: u32::from(*port) }),
        ProbeHandler::Http { port, path, tls, host, headers } => Wire::Http(v1::HttpProbe {
            port: u32::from(*port),
            path: path.clone(),
            tls: *tls,
            host: host.clone(),
            headers: headers
                .iter()
                .map(|(name, value)| v1::Header { name: name.clone(), value: value.clone() })
                .collect(),
        }),
        ProbeHandler::Grpc { port, service } => {
            Wire::Grpc(v1::GrpcProbe { port: u32::from(*port), service: service.clone() })
        }
    }
}

impl TryFrom<v1::Probe> for Probe {
    type Error = ShapeError;

    fn try_from(wire: v1::Probe) -> Result<Self, ShapeError> {
        Ok(Self {
            handler: handler_from_wire(wire.handler.ok_or_else(missing).within("handler")?)?,
            initial_delay_ms: wire.initial_delay_ms,
            period_ms: wire.period_ms,
            timeout_ms: wire.timeout_ms,
            success_threshold: wire.success_threshold,
            failure_threshold: wire.failure_threshold,
        })
    }
}

impl From<&Probe> for v1::Probe {
    fn from(probe: &Probe) -> Self {
        Self {
            handler: Some(handler_to_wire(&probe.handler)),
            initial_delay_ms: probe.initial_delay_ms,
            period_ms: probe.period_ms,
            timeout_ms: probe.timeout_ms,
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        }
    }
}

impl TryFrom<v1::PodSpec> for PodSpec {
    type Error = ShapeError;

    fn try_from(wire: v1::PodSpec) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            labels: wire.labels,
            ports: list("ports", wire.ports)?,
            ready: wire.ready,
            terminating: wire.terminating,
            readiness: optional("readiness", wire.readiness)?,
            startup: optional("startup", wire.startup)?,
            hostname: wire.hostname,
            subdomain: wire.subdomain,
            dns: pod_dns_from_wire("dns", wire.dns)?,
            service_links: !wire.no_service_links,
            annotations: wire.annotations,
            generation: wire.generation,
            revision: Revision(wire.revision),
        })
    }
}

impl From<&PodSpec> for v1::PodSpec {
    fn from(spec: &PodSpec) -> Self {
        Self {
            name: Some((&spec.name).into()),
            labels: spec.labels.clone(),
            ports: spec.ports.iter().map(Into::into).collect(),
            ready: spec.ready,
            terminating: spec.terminating,
            readiness: spec.readiness.as_ref().map(Into::into),
            startup: spec.startup.as_ref().map(Into::into),
            hostname: spec.hostname.clone(),
            subdomain: spec.subdomain.clone(),
            dns: pod_dns_to_wire(&spec.dns),
            no_service_links: !spec.service_links,
            annotations: spec.annotations.clone(),
            generation: spec.generation,
            revision: spec.revision.0,
        }
    }
}

impl TryFrom<v1::ProbeItem> for ProbeItem {
    type Error = ShapeError;

    fn try_from(wire: v1::ProbeItem) -> Result<Self, ShapeError> {
        Ok(Self {
            pod: required("pod", wire.pod)?,
            readiness: optional("readiness", wire.readiness)?,
            startup: optional("startup", wire.startup)?,
        })
    }
}

impl From<&ProbeItem> for v1::ProbeItem {
    fn from(item: &ProbeItem) -> Self {
        Self {
            pod: Some((&item.pod).into()),
            readiness: item.readiness.as_ref().map(Into::into),
            startup: item.startup.as_ref().map(Into::into),
        }
    }
}
