//! What people say of pods: labels, ports, probes (`ValidatePod` of Kubernetes, as far as networks care).

use std::collections::BTreeSet;

use weft_model::{PodSpec, Probe, ProbeHandler};

use super::{Problems, check_metadata, dns};
use crate::{Error, State, limits};

/// The whole object that `wanted` makes of the stored one.
pub(crate) fn complete(state: &State, wanted: PodSpec) -> Result<PodSpec, Error> {
    let mut new = wanted;
    (new.generation, new.revision) =
        state.pod_specs().get(&new.name).map_or((0, new.revision), |old| (old.generation, old.revision));
    let mut problems = Problems::new("podspec", &new.name);
    check_metadata(&new.labels, &new.annotations, &mut problems);
    check_ports(&new, &mut problems);
    for (name, text) in [("hostname", &new.hostname), ("subdomain", &new.subdomain)] {
        if !text.is_empty() {
            problems.label_name(format!("spec.{name}"), text);
        }
    }
    dns::check_pod(&new.dns, &mut problems);
    if let Some(probe) = &new.readiness {
        check_probe("spec.readinessProbe", probe, &mut problems);
    }
    if let Some(probe) = &new.startup {
        check_probe("spec.startupProbe", probe, &mut problems);
        if probe.success_threshold != 1 {
            problems.invalid("spec.startupProbe.successThreshold", probe.success_threshold, "must be 1");
        }
    }
    problems.finish()?;
    Ok(new)
}

fn check_ports(spec: &PodSpec, problems: &mut Problems) {
    if spec.ports.len() > limits::MAX_PORTS {
        return problems.too_many("spec.ports", spec.ports.len(), limits::MAX_PORTS);
    }
    let mut names = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        problems.port_name(field("name"), &port.name);
        problems.port_number(field("containerPort"), port.port);
        if !names.insert(&port.name) {
            problems.duplicate(field("name"), &port.name);
        }
    }
}

fn check_probe(at: &str, probe: &Probe, problems: &mut Problems) {
    let field = |name: &str| format!("{at}.{name}");
    let mut bounded = |name: &str, value: u32, least: u32, most: u32| {
        if !(least..=most).contains(&value) {
            problems.invalid(field(name), value, &format!("must be between {least} and {most}, inclusive"));
        }
    };
    bounded("initialDelayMillis", probe.initial_delay_ms, 0, HOUR_MS);
    bounded("periodMillis", probe.period_ms, 100, HOUR_MS);
    bounded("timeoutMillis", probe.timeout_ms, 10, HOUR_MS);
    bounded("successThreshold", probe.success_threshold, 1, 1_000);
    bounded("failureThreshold", probe.failure_threshold, 1, 1_000);
    match &probe.handler {
        ProbeHandler::Tcp { port } => problems.port_number(field("tcpSocket.port"), *port),
        ProbeHandler::Grpc { port, service } => {
            problems.port_number(field("grpc.port"), *port);
            plain(field("grpc.service"), service, problems);
        }
        ProbeHandler::Http { port, path, host, headers, tls: _ } => {
            problems.port_number(field("httpGet.port"), *port);
            if !path.starts_with('/') {
                problems.invalid(field("httpGet.path"), path, "must begin with '/'");
            }
            plain(field("httpGet.path"), path, problems);
            plain(field("httpGet.host"), host, problems);
            if headers.len() > limits::MAX_PROBE_HEADERS {
                problems.too_many(field("httpGet.httpHeaders"), headers.len(), limits::MAX_PROBE_HEADERS);
            }
            for (index, (name, value)) in headers.iter().enumerate() {
                let field = field(&format!("httpGet.httpHeaders[{index}]"));
                if name.is_empty() || !name.bytes().all(is_token) {
                    problems.invalid(format!("{field}.name"), name, "must be a header name (RFC 9110)");
                }
                if value.bytes().any(|b| b.is_ascii_control()) {
                    problems.invalid(format!("{field}.value"), value, "may not hold control characters");
                }
            }
        }
    }
}

/// Goes into a request as it is: what would break a line, or a request line, is refused.
fn plain(field: String, text: &str, problems: &mut Problems) {
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        problems.invalid(field, text, "must be at most 2048 printable ASCII characters without spaces");
    }
}

/// A character of a token (RFC 9110 section 5.6.2).
const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

const HOUR_MS: u32 = 3_600_000;
