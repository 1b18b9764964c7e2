//! Wire shapes as model values and as printed values: the one shape that tables and JSON share.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weft_errors::{Error, INTERNAL, REQUEST_INVALID};
use weft_model::{AddressRange, Object};
use weft_proto::{
    convert::{address_from_wire, address_to_wire},
    v1,
};

use crate::fail::{Failure, Outcome};

/// A wire object as a model object.
pub(crate) fn object(wire: Option<v1::Object>) -> Outcome<Object> {
    let wire =
        wire.ok_or_else(|| Failure::new(&INTERNAL, "the control plane sent an answer without its object"))?;
    Object::try_from(wire).map_err(|e| {
        Error::new(&REQUEST_INVALID, e.to_string())
            .because("the control plane may be of a newer version")
            .into()
    })
}

/// An address of the wire.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    address_from_wire(bytes).ok()
}

/// An address for the wire.
pub(crate) fn bytes_of(address: IpAddr) -> bytes::Bytes {
    address_to_wire(address)
}

/// A socket address of the wire.
pub(crate) fn socket(wire: &v1::SocketAddress) -> Option<SocketAddr> {
    SocketAddr::try_from(wire.clone()).ok()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A time of the wire (milliseconds since 1970) as RFC 3339 in UTC; 0 means that there is none.
pub(crate) fn time(ms: u64) -> Option<String> {
    (ms > 0).then(|| weft_yaml::format_time(ms))
}

/// A range of the wire as text.
fn range_text(range: Option<&v1::Range>) -> Option<String> {
    range.cloned().and_then(|range| AddressRange::try_from(range).ok()).map(|range| range.to_string())
}

/// Whether a node has a revision in its kernel, by its last report.
pub(crate) fn revision_reached(report: &v1::NodeReport, revision: u64) -> bool {
    report.status.as_ref().is_some_and(|status| status.applied_revision >= revision)
}

/// A node's report as a value.
pub(crate) fn node_status_value(report: &v1::NodeReport) -> Value {
    json!({
        "node": report.node,
        "connected": report.connected,
        "lastReport": time(report.last_report_ms),
        "silentSince": time(report.silent_since_ms),
        "status": report.status.as_ref().map(status_value),
    })
}

/// A node's account of itself as a value.
fn status_value(status: &v1::NodeStatus) -> Value {
    let subsystem = |s: &v1::Subsystem| {
        json!({
            "name": s.name,
            "ok": s.ok,
            "appliedRevision": s.applied_revision,
            "since": time(s.since_ms),
            "error": s.error.clone().map(Error::from),
        })
    };
    let peer = |p: &v1::PeerStatus| {
        json!({
            "node": p.node,
            "endpoint": p.endpoint.as_ref().and_then(socket).map(|a| a.to_string()),
            "handshakeAgeS": p.handshake_age_s,
            "rxBytes": p.rx_bytes,
            "txBytes": p.tx_bytes,
            "pathMtu": p.path_mtu,
            "rttUs": p.rtt_us,
        })
    };
    let block = |b: &v1::BlockUse| json!({"block": range_text(b.block.as_ref()), "used": b.used, "quarantine": b.quarantine});
    json!({
        "appliedRevision": status.applied_revision,
        "agentVersion": status.agent_version,
        "kernel": status.kernel,
        "kernelWireguard": status.kernel_wireguard,
        "pods": status.pods,
        "underlayInterface": status.underlay_interface,
        "underlayMtu": status.underlay_mtu,
        "started": time(status.started_ms),
        "subsystems": status.subsystems.iter().map(subsystem).collect::<Vec<_>>(),
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
        "blocks": status.blocks.iter().map(block).collect::<Vec<_>>(),
        "findings": status.findings.iter().map(finding_value).collect::<Vec<_>>(),
        "names": status.names.as_ref().map(super::names::names_value),
        "drops": status.drops.as_ref().map(super::drops::drops_value),
    })
}

/// One result of a check as a value.
pub(crate) fn finding_value(finding: &v1::Finding) -> Value {
    let error = finding.error.clone().map(Error::from);
    json!({"check": finding.name, "ok": finding.ok, "detail": finding.detail, "error": error})
}
