//! `weft.io/v1 Fabric`.

use weft_model::{FabricDraft, PolicyDraft};

use crate::{
    read::{Fields, Reader},
    tree::Placed,
};

use super::{
    dns,
    meta::{Metadata, metadata},
};

pub(super) fn read(reader: &mut Reader<'_>, mut fields: Fields) -> FabricDraft {
    let mut draft = FabricDraft::default();
    let Metadata { name, labels, .. } = metadata(reader, &mut fields);
    if let Some(name) = name {
        let at = name.referenced;
        if reader.text(name, "metadata.name").is_some_and(|name| name != "main") {
            reader.invalid(at, "metadata.name", "there is one fabric, its name is main");
        }
    }
    if !labels.is_empty() {
        reader.note_ignored("metadata.labels");
    }
    fields.take("status");
    if let Some(spec) = fields.take("spec").and_then(|spec| reader.fields(spec, "spec")) {
        read_spec(reader, spec, &mut draft);
    }
    reader.done(fields);
    draft
}

fn read_spec(reader: &mut Reader<'_>, mut spec: Fields, draft: &mut FabricDraft) {
    draft.families = spec.take("families").and_then(|v| reader.parsed(v, "spec.families"));
    draft.overlay = spec.take("overlay").and_then(|v| reader.parsed(v, "spec.overlay"));
    if let Some(dns) = spec.take("dns") {
        draft.dns = dns::settings(reader, dns);
    }
    draft.domain = spec.take("domain").and_then(|v| reader.text(v, "spec.domain"));
    draft.block_prefix_v4 =
        spec.take("blockPrefixV4").and_then(|v| reader.number(&v, "spec.blockPrefixV4", 20, 28));
    let mut ranges = |reader: &mut Reader<'_>, key: &'static str| {
        spec.take(key).and_then(|v| reader.ranges(v, &format!("spec.{key}")))
    };
    draft.masquerade_exceptions = ranges(reader, "masqueradeExceptions");
    draft.node_port_addresses = ranges(reader, "nodePortAddresses");
    draft.external_ip_ranges = ranges(reader, "externalIPRanges");
    draft.node_grace =
        spec.take("nodeGraceSeconds").and_then(|v| reader.number(&v, "spec.nodeGraceSeconds", 5, 600));
    if let Some(policy) = spec.take("policy") {
        draft.policy = policy_settings(reader, policy);
    }
    draft.node_port_range = spec.take("nodePortRange").and_then(|v| port_range(reader, v));
    if let Some(mut ranges) = spec.take("ranges").and_then(|v| reader.fields(v, "spec.ranges")) {
        draft.pods = ranges.take("pods").and_then(|v| reader.ranges(v, "spec.ranges.pods"));
        draft.services = ranges.take("services").and_then(|v| reader.ranges(v, "spec.ranges.services"));
        draft.nodes = ranges.take("nodes").and_then(|v| reader.ranges(v, "spec.ranges.nodes"));
        draft.load_balancers =
            ranges.take("loadBalancers").and_then(|v| reader.ranges(v, "spec.ranges.loadBalancers"));
        reader.done(ranges);
    }
    reader.done(spec);
}

/// `spec.policy`; what has a problem counts as absent.
fn policy_settings(reader: &mut Reader<'_>, value: Placed) -> PolicyDraft {
    let mut draft = PolicyDraft::default();
    let Some(mut policy) = reader.fields(value, "spec.policy") else { return draft };
    draft.default = policy.take("default").and_then(|v| reader.parsed(v, "spec.policy.default"));
    draft.node_egress = policy.take("nodeEgress").and_then(|v| reader.parsed(v, "spec.policy.nodeEgress"));
    reader.done(policy);
    draft
}

/// `30000-32767`: both ends belong to it.
fn port_range(reader: &mut Reader<'_>, value: Placed) -> Option<(u16, u16)> {
    let at = value.referenced;
    let text = reader.text(value, "spec.nodePortRange")?;
    let ends = text.split_once('-').and_then(|(first, last)| {
        Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
    });
    let range = ends.filter(|(first, last)| *first != 0 && first <= last);
    if range.is_none() {
        reader.invalid(at, "spec.nodePortRange", format!("{text:?} is not a range such as 30000-32767"));
    }
    range
}
