//! What is known of a running lab from outside: `lab.json` in its folder.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::topology::Topology;
use crate::{Refusal, Result};

/// The record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What the lab consists of.
    pub topology: Topology,
    /// The product's programs; none when the lab has only machines.
    pub product: Option<Product>,
    /// First process, numbered outside; 0 until it has started.
    pub pid: u32,
    /// Its process namespace, for finding what may remain.
    pub namespace: String,
    /// Seconds since 1970.
    pub started: u64,
}

/// Files of the product's programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Product {
    /// `weftd`.
    pub weftd: PathBuf,
    /// `weft-agent`.
    pub agent: PathBuf,
    /// `weft-cni`.
    pub cni: PathBuf,
    /// `weft`.
    pub weft: PathBuf,
}

impl Record {
    /// A record of a lab that is about to start.
    pub fn new(topology: Topology, product: Option<Product>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { topology, product, pid: 0, namespace: String::new(), started: now.as_secs() }
    }

    /// Reads the record. Fails with [`Refusal::NotFound`] if there is none.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.record();
        let text = std::fs::read_to_string(&path).map_err(|_| {
            Refusal::NotFound(format!("there is no lab {:?} (no {})", layout.name(), path.display()))
        })?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Writes it.
    pub fn write(&self, layout: &Layout) -> Result {
        let path = layout.record();
        std::fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))
    }
}
