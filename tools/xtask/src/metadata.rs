//! What `cargo metadata` says, as far as the lints need it.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run::{command, output};

/// The resolved workspace.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// Every package, of the workspace and of registries.
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
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
}

/// A package that is really built, normally or for tests.
pub(crate) struct Built {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence expression; empty when it states none.
    pub(crate) licence: String,
    /// Whether it comes from git.
    pub(crate) from_git: bool,
}

/// What is built on this platform, by `cargo tree`: `cargo metadata` also lists what weak features never switch on.
pub(crate) fn built() -> Result<Vec<Built>> {
    let text = output(command(&[
        "cargo",
        "tree",
        "--workspace",
        "--locked",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}\t{l}",
    ]))?;
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines
        .into_iter()
        .map(|line| {
            let (package, licence) = line.split_once('\t').unwrap_or((line, ""));
            let mut words = package.split_whitespace();
            let (name, version) =
                words.next().zip(words.next()).context("cargo tree printed something unexpected")?;
            Ok(Built {
                name: name.to_owned(),
                version: version.trim_start_matches('v').to_owned(),
                // A dev-dependency that leads back is marked as seen before.
                licence: licence.trim_end_matches(" (*)").to_owned(),
                from_git: words.any(|word| word.contains("git+") || word.contains(".git")),
            })
        })
        .collect()
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
