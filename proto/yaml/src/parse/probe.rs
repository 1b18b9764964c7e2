//! Probes of containers (Kubernetes, core/v1 Probe).

use weft_model::{NamedPort, Probe, ProbeHandler};

use super::service::text_or_empty;
use crate::{
    read::{Fields, Reader},
    tree::{Placed, Tree},
};

/// Reads a probe; `None` when it has a problem, or when it is of a kind that nobody can run from outside (`exec`).
pub(super) fn read(reader: &mut Reader<'_>, value: Placed, path: &str, ports: &[NamedPort]) -> Option<Probe> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let mut seconds = |reader: &mut Reader<'_>, key: &'static str, least: i128, otherwise: u32| {
        let value = fields.take(key);
        value.map_or(Some(otherwise), |value| reader.number(&value, &format!("{path}.{key}"), least, 86_400))
    };
    let delay = seconds(reader, "initialDelaySeconds", 0, 0);
    let timeout = seconds(reader, "timeoutSeconds", 1, 1);
    let period = seconds(reader, "periodSeconds", 1, 10);
    let success = seconds(reader, "successThreshold", 1, 1);
    let failure = seconds(reader, "failureThreshold", 1, 3);
    reader.ignore(&mut fields, &["exec", "terminationGracePeriodSeconds"]);
    let kinds = ["httpGet", "tcpSocket", "grpc"];
    let mut given: Vec<(&str, Placed)> = Vec::new();
    for kind in kinds {
        given.extend(fields.take(kind).map(|value| (kind, value)));
    }
    reader.done(fields);
    if given.len() > 1 {
        reader.invalid(at, path, "asks in one way: httpGet, tcpSocket or grpc");
        return None;
    }
    let (kind, value) = given.pop()?;
    let path = format!("{path}.{kind}");
    let handler = match kind {
        "httpGet" => http(reader, value, &path, ports),
        "tcpSocket" => tcp(reader, value, &path, ports),
        _ => grpc(reader, value, &path),
    };
    Some(Probe {
        handler: handler?,
        initial_delay_ms: delay?.saturating_mul(1_000),
        period_ms: period?.saturating_mul(1_000),
        timeout_ms: timeout?.saturating_mul(1_000),
        success_threshold: success?,
        failure_threshold: failure?,
    })
}

fn tcp(reader: &mut Reader<'_>, value: Placed, path: &str, ports: &[NamedPort]) -> Option<ProbeHandler> {
    let mut fields = reader.fields(value, path)?;
    let port = port(reader, &mut fields, path, ports);
    // Its agent asks the pod, nobody else.
    reader.ignore(&mut fields, &["host"]);
    reader.done(fields);
    Some(ProbeHandler::Tcp { port: port? })
}

fn http(reader: &mut Reader<'_>, value: Placed, path: &str, ports: &[NamedPort]) -> Option<ProbeHandler> {
    let mut fields = reader.fields(value, path)?;
    let port = port(reader, &mut fields, path, ports);
    let target = text_or_empty(reader, fields.take("path"), &format!("{path}.path"));
    let scheme = fields.take("scheme").map_or(Some(false), |value| {
        let at = value.referenced;
        let path = format!("{path}.scheme");
        match reader.text(value, &path)?.as_str() {
            "HTTP" => Some(false),
            "HTTPS" => Some(true),
            other => {
                reader.invalid(at, &path, format!("unknown scheme {other:?}: use HTTP, HTTPS"));
                None
            }
        }
    });
    let headers = reader.each(fields.take("httpHeaders"), &format!("{path}.httpHeaders"), header);
    reader.ignore(&mut fields, &["host"]);
    reader.done(fields);
    let mut headers = headers?;
    // `Host` is the one header that says something of the request itself (Kubernetes does the same).
    let host = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|index| headers.remove(index).1).unwrap_or_default();
    let target = target?;
    Some(ProbeHandler::Http {
        port: port?,
        path: if target.starts_with('/') { target } else { format!("/{target}") },
        tls: scheme?,
        host,
        headers,
    })
}

fn header(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<(String, String)> {
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let value = text_or_empty(reader, fields.take("value"), &format!("{path}.value"));
    reader.done(fields);
    Some((name?, value?))
}

fn grpc(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<ProbeHandler> {
    let mut fields = reader.fields(value, path)?;
    // Named ports aren't allowed here in Kubernetes either.
    let port = port(reader, &mut fields, path, &[]);
    let service = text_or_empty(reader, fields.take("service"), &format!("{path}.service"));
    reader.done(fields);
    Some(ProbeHandler::Grpc { port: port?, service: service? })
}

/// A number, or the name of a port of the same container.
fn port(reader: &mut Reader<'_>, fields: &mut Fields, path: &str, ports: &[NamedPort]) -> Option<u16> {
    let whole = format!("{path}.port");
    let Some(value) = fields.take("port") else {
        let place = fields.place().clone();
        reader.problem(crate::Error::Invalid { place, path: whole, what: "must be given".to_owned() });
        return None;
    };
    let Tree::Text(name) = &value.value else { return reader.port(&value, &whole) };
    let found = ports.iter().find(|port| port.name == *name).map(|port| port.port);
    if found.is_none() {
        reader.invalid(value.referenced, &whole, format!("the container has no port named {name:?}"));
    }
    found
}
