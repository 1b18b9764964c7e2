//! The layer rule: who may depend on whom (ARCHITECTURE.md, "Layers").

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::metadata::Metadata;

/// Crates from registries that nouns may use.
const NOUN: &[&str] = &["ipnet", "serde", "thiserror"];
/// What pure crates may use beside nouns: data and algorithms, nothing that reads a clock, a file or a socket.
const PURE: &[&str] = &[
    "ipnet",
    "serde",
    "serde_json",
    "thiserror",
    "raft",
    "protobuf",
    "slog",
    "bytes",
    "blake3",
    "sha2",
    "crc32c",
    "serde-saphyr",
    "strsim",
    "arc-swap",
];
/// What the wire crate may use.
const WIRE: &[&str] = &["prost", "prost-types", "tonic", "tonic-prost", "bytes", "thiserror", "ipnet"];
/// Crates that only one crate may name: (dependency, owners).
const ONLY: &[(&str, &[&str])] = &[
    ("tonic", &["weft-proto", "weft-rpc", "weft-server", "weft-agent", "weft"]),
    ("wireguard-control", &["weft-mesh"]),
    ("gotatun", &["weft-tunnel"]),
    ("raft-engine", &["weft-store"]),
    ("sled", &["weft-store"]),
    ("netlink-packet-route", &["weft-kernel"]),
    ("serde-saphyr", &["weft-yaml"]),
];
/// The control plane and the node never import each other.
const CONTROL: &[&str] = &["weft-core", "weft-raft", "weft-store", "weft-server", "weftd"];
const NODE: &[&str] = &[
    "weft-view",
    "weft-plan",
    "weft-nft",
    "weft-ipam",
    "weft-names",
    "weft-kernel",
    "weft-mesh",
    "weft-tunnel",
    "weft-dns",
    "weft-agent",
    "weft-cni",
];

fn rank(layer: &str) -> Option<u8> {
    Some(match layer {
        "noun" => 0,
        "pure" => 1,
        "wire" => 2,
        "effect" => 3,
        "binary" => 4,
        "test" => 5,
        _ => return None,
    })
}

/// Refuses wrong edges and crates without a layer, in words.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let layers: BTreeMap<&str, &str> =
        metadata.members().filter_map(|p| Some((p.name.as_str(), p.layer()?))).collect();
    let mut problems = Vec::new();
    for package in metadata.members() {
        let name = package.name.as_str();
        let Some(layer) = layers.get(name).copied().filter(|l| rank(l).is_some()) else {
            problems.push(format!(
                "{name} states no layer: add [package.metadata.weft] layer = \"…\" to its Cargo.toml"
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            let to = dependency.name.as_str();
            problems.extend(edge(name, layer, to, layers.get(to).copied()));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} wrong edges between layers:\n  {}", problems.len(), problems.join("\n  "))
}

/// What is wrong with one dependency, if anything.
fn edge(from: &str, layer: &str, to: &str, to_layer: Option<&str>) -> Option<String> {
    if let Some((_, owners)) = ONLY.iter().find(|(dependency, _)| *dependency == to)
        && !owners.contains(&from)
    {
        return Some(format!("{from} names {to}, which only {} may", owners.join(", ")));
    }
    let crossing =
        (CONTROL.contains(&from) && NODE.contains(&to)) || (NODE.contains(&from) && CONTROL.contains(&to));
    if crossing {
        return Some(format!("{from} -> {to}: control plane and node never import each other"));
    }
    match to_layer {
        Some(below) => {
            let (from_rank, to_rank) = (rank(layer)?, rank(below)?);
            // Pure crates may not see the wire; binaries and tests see all below; equal layers may see each other.
            let allowed = match layer {
                "noun" => to_rank == 0,
                "pure" => to_rank <= 1,
                "wire" => to_rank == 0,
                _ => to_rank <= from_rank && (below != "binary" || to == "weft-lab"),
            };
            (!allowed).then(|| format!("{from} ({layer}) depends on {to} ({below})"))
        }
        None => {
            let list = match layer {
                "noun" => NOUN,
                "pure" => PURE,
                "wire" => WIRE,
                _ => return None,
            };
            (!list.contains(&to)).then(|| {
                format!("{from} is {layer} and depends on {to}; such crates may only use {}", list.join(", "))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_edges_are_named_and_right_ones_pass() {
        for (from, layer, to, to_layer, wrong) in [
            ("weft-core", "pure", "tokio", None, true),
            ("weft-core", "pure", "blake3", None, false),
            ("weft-core", "pure", "weft-model", Some("noun"), false),
            ("weft-core", "pure", "weft-proto", Some("wire"), true),
            ("weft-model", "noun", "weft-core", Some("pure"), true),
            ("weft-server", "effect", "weft-core", Some("pure"), false),
            ("weft-server", "effect", "weft-plan", Some("pure"), true),
            ("weft-plan", "pure", "weft-core", Some("pure"), true),
            ("weft-agent", "binary", "gotatun", None, true),
            ("weft-tunnel", "effect", "gotatun", None, false),
            ("weft", "binary", "weft-agent", Some("binary"), true),
            ("weft-e2e", "test", "weft-lab", Some("binary"), false),
        ] {
            assert_eq!(edge(from, layer, to, to_layer).is_some(), wrong, "{from} -> {to}");
        }
    }
}
