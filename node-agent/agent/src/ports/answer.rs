//! What a health port answers (`pkg/proxy/healthcheck/service_health.go` of Kubernetes). Pure.

use serde_json::json;
use weft_model::{Family, NodeName, ServiceName};
use weft_view::View;

use super::Purpose;

/// What an answer is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    /// The View now.
    pub(crate) view: &'a View,
    /// This node.
    pub(crate) node: &'a NodeName,
    /// Whether services are in the kernel and kept there.
    pub(crate) healthy: bool,
    /// Family of the address that was asked.
    pub(crate) family: Family,
}

/// Endpoints of a service on this node that take new connections. Those that end don't count: the balancer leaves while they
/// still serve.
pub(crate) fn local_ready(world: World<'_>, service: &ServiceName) -> usize {
    let endpoints = world.view.service(service).map_or(&[][..], |service| &service.endpoints);
    let counts = |e: &&weft_model::EndpointItem| {
        e.node.as_ref() == Some(world.node)
            && Family::of(e.address) == world.family
            && e.conditions.is_ready()
            && !e.conditions.is_terminating()
    };
    endpoints.iter().filter(counts).count()
}

/// The whole answer to a request whose first line is `line`.
pub(crate) fn answer(world: World<'_>, purpose: &Purpose, line: &str) -> String {
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    if words.next().is_none_or(|version| !version.starts_with("HTTP/1.")) {
        return text("400 Bad Request", &[], "this is no HTTP/1 request\n", true);
    }
    if !matches!(method, "GET" | "HEAD") {
        return text("405 Method Not Allowed", &["Allow: GET, HEAD"], "ask with GET\n", true);
    }
    let body_too = method == "GET";
    match purpose {
        Purpose::Service(name) => {
            let count = local_ready(world, name);
            let body = json!({
                "service": {"namespace": name.namespace.as_str(), "name": name.name.as_str()},
                "localEndpoints": count,
                "serviceProxyHealthy": world.healthy,
            });
            let weight = format!("X-Load-Balancing-Endpoint-Weight: {count}");
            text(status(count > 0 && world.healthy), &[JSON, NO_SNIFF, &weight], &body.to_string(), body_too)
        }
        Purpose::Proxy if matches!(path, "/healthz" | "/livez") => {
            // A balancer shall leave a node that was removed; the process itself is alive.
            let eligible = path == "/livez" || world.view.peer(world.node).is_some();
            let body = json!({"nodeEligible": eligible, "serviceProxyHealthy": world.healthy});
            text(status(eligible && world.healthy), &[JSON, NO_SNIFF], &body.to_string(), body_too)
        }
        Purpose::Proxy => text("404 Not Found", &[], "use /healthz or /livez\n", body_too),
    }
}

const JSON: &str = "Content-Type: application/json";
const NO_SNIFF: &str = "X-Content-Type-Options: nosniff";

const fn status(well: bool) -> &'static str {
    if well { "200 OK" } else { "503 Service Unavailable" }
}

fn text(status: &str, headers: &[&str], body: &str, body_too: bool) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    if body_too {
        text.push_str(body);
    }
    text
}
