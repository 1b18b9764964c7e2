//! What `cargo metadata` says, as far as the lints need it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run::{command, output};

/// The resolved workspace.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// Every package, of the workspace and of registries.
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<ResolvedNode>,
}

#[derive(Deserialize)]
struct ResolvedNode {
    id: String,
}

/// One package.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence expression.
    pub(crate) license: Option<String>,
    /// Where it comes from; `None` for the workspace's own.
    pub(crate) source: Option<String>,
    /// What it depends on.
    pub(crate) dependencies: Vec<Dependency>,
    metadata: Option<serde_json::Value>,
}

/// One declared dependency.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// Name of the package.
    pub(crate) name: String,
    /// `None` for a normal one, `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Package {
    /// The layer it states in `[package.metadata.weft]`.
    pub(crate) fn layer(&self) -> Option<&str> {
        self.metadata.as_ref()?.get("weft")?.get("layer")?.as_str()
    }
}

impl Metadata {
    /// Packages of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Packages that are really in the resolved tree for this platform, by name.
    pub(crate) fn resolved(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let ids: BTreeSet<&str> = self.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in self.packages.iter().filter(|p| ids.contains(p.id.as_str())) {
            names.entry(&package.name).or_default().insert(&package.version);
        }
        names
    }
}

/// Asks cargo, without touching the lock file.
pub(crate) fn load() -> Result<Metadata> {
    let text = output(command(&[
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]))?;
    serde_json::from_str(&text).context("cargo metadata printed something unexpected")
}
