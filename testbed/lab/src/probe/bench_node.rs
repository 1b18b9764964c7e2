//! What measurements of tables share that pretend a node in one process: its fabric, itself, and the program that loads others' tables.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use weft_model::{ClusterId, Dual, FabricItem, FabricRanges, Families, NodeName, Overlay, PeerItem};

use crate::Result;

/// The settings of its fabric.
pub(super) fn fabric() -> Result<FabricItem> {
    let range = |text: &str| text.parse().map(|range| vec![range]);
    Ok(FabricItem {
        cluster: ClusterId([1; 16]),
        families: Families::V4,
        ranges: FabricRanges {
            pods: range("10.128.0.0/14")?,
            services: range("10.112.0.0/15")?,
            nodes: range("10.111.0.0/20")?,
            load_balancers: Vec::new(),
        },
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: weft_model::DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        policy: weft_model::PolicySettings::default(),
        replicas: Vec::new(),
    })
}

/// The node itself.
pub(super) fn peer(node: NodeName) -> Result<PeerItem> {
    Ok(PeerItem {
        node,
        wireguard_key: None,
        endpoint: None,
        mesh: Dual::new(Some("10.111.0.1".parse()?), None).context("a mesh address")?,
        underlay: Vec::new(),
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    })
}

/// Loads a text by the `nft` program, as other systems do.
pub(super) fn nft(text: &str) -> Result {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft")?;
    child.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
