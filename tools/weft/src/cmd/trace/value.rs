//! What was told, as a value, and what it comes to.

use serde_json::{Value, json};
use weft_proto::v1;

use super::super::endpoints;
use crate::{
    args::{Destination, Trace},
    client::address,
};

/// What policies and the way leave of a packet to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets to whoever it may be for.
    Allowed,
    /// To some of those that a service may pick.
    Partly,
    /// Policies or port security drop it.
    Denied,
    /// There is no way to go.
    Lost,
    /// A service refuses it.
    Refused,
    /// A service drops it.
    Dropped,
}

impl Verdict {
    /// Its word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::Partly => "Partly",
            Self::Denied => "Denied",
            Self::Lost => "Lost",
            Self::Refused => "Refused",
            Self::Dropped => "Dropped",
        }
    }
}

/// What becomes of a packet to one address.
pub(super) fn verdict(path: &v1::TracePath) -> Verdict {
    match path.fate() {
        v1::TraceFate::Refused => return Verdict::Refused,
        v1::TraceFate::Dropped => return Verdict::Dropped,
        v1::TraceFate::Straight | v1::TraceFate::Served | v1::TraceFate::Unspecified => {}
    }
    let picked = || path.backends.iter().filter(|backend| backend.out.is_empty());
    let ways = picked().filter(|backend| way_of(backend).kind != "nowhere").count();
    let open = picked().filter(|backend| passes(backend) && way_of(backend).kind != "nowhere").count();
    match picked().count() {
        _ if path.sender.as_ref().is_some_and(|sender| !sender.allows) => Verdict::Denied,
        _ if ways == 0 => Verdict::Lost,
        _ if open == 0 => Verdict::Denied,
        all if open < all => Verdict::Partly,
        _ => Verdict::Allowed,
    }
}

/// Whether policies of both ends let it pass.
pub(super) fn passes(backend: &v1::TraceBackend) -> bool {
    [&backend.egress, &backend.ingress].into_iter().flatten().all(|end| end.allows)
}

fn way_of(backend: &v1::TraceBackend) -> v1::TraceWay {
    backend.way.clone().unwrap_or_default()
}

fn text_of(bytes: &[u8]) -> Option<String> {
    address(bytes).map(|address| address.to_string())
}

/// All of it.
pub(super) fn value(args: &Trace, node: &str, answer: &v1::TraceResult) -> Value {
    let Destination { to, port, protocol } = &args.to;
    json!({
        "kind": "Trace",
        "from": args.from,
        "node": node,
        "to": to,
        "port": port,
        "protocol": endpoints::protocol(*protocol),
        "revision": answer.revision,
        "alias": (!answer.alias.is_empty()).then_some(&answer.alias),
        "paths": answer.paths.iter().map(path_value).collect::<Vec<_>>(),
    })
}

fn path_value(path: &v1::TracePath) -> Value {
    let fate = match path.fate() {
        v1::TraceFate::Straight => "Straight",
        v1::TraceFate::Served => "Served",
        v1::TraceFate::Refused => "Refused",
        v1::TraceFate::Dropped => "Dropped",
        v1::TraceFate::Unspecified => "Unknown",
    };
    let service = path.service.as_ref().map(|service| {
        json!({
            "name": service.name,
            "front": service.front,
            "map": service.map,
            "chain": service.chain,
            "slots": service.slots,
            "affinitySeconds": service.affinity_s,
            "trafficPolicy": service.policy,
        })
    });
    json!({
        "source": text_of(&path.from),
        "destination": text_of(&path.to),
        "service": service,
        "fate": fate,
        "reason": path.reason,
        "sender": path.sender.as_ref().map(|sender| json!({"device": sender.device, "allows": sender.allows})),
        "verdict": verdict(path).as_str(),
        "backends": path.backends.iter().map(backend_value).collect::<Vec<_>>(),
        "probe": path.probe.as_ref().map(probe_value),
    })
}

fn backend_value(backend: &v1::TraceBackend) -> Value {
    let way = way_of(backend);
    json!({
        "address": text_of(&backend.address),
        "port": backend.port,
        "pod": backend.pod,
        "node": backend.node,
        "slots": backend.slots,
        "state": if backend.out.is_empty() { "in" } else { backend.out.as_str() },
        "in": backend.out.is_empty(),
        "sees": text_of(&backend.source),
        "translation": backend.translation,
        "way": {
            "kind": way.kind,
            "device": way.device,
            "peer": way.peer,
            "gateway": text_of(&way.gateway),
            "route": way.route,
            "mtu": way.mtu,
            "handshakeAgeS": way.handshake_age_s,
        },
        "egress": backend.egress.as_ref().map(end_value),
        "ingress": backend.ingress.as_ref().map(end_value),
    })
}

fn probe_value(probe: &v1::TraceProbe) -> Value {
    json!({
        "outcome": probe.outcome,
        "tookUs": probe.took_us,
        "backend": text_of(&probe.backend),
        "backendPort": probe.backend_port,
        "backendSees": text_of(&probe.source),
        "agrees": probe.agrees,
        "meaning": probe.meaning,
    })
}

fn end_value(end: &v1::TraceEnd) -> Value {
    json!({
        "allows": end.allows,
        "reason": end.reason,
        "closest": end.closest,
        "policies": end.policies,
        "kernel": end.kernel,
        "node": end.node,
        "revision": end.revision,
    })
}
