//! `cargo xtask lint`: all that can be said about the tree without running it.

use anyhow::Result;

use crate::{
    layers, licences, metadata, proto,
    run::{command, exec, has_cargo, root, stage},
    tidy,
};

/// Runs every lint.
pub(crate) fn run() -> Result<()> {
    let metadata = metadata::load()?;
    stage("tidy", tidy::run)?;
    stage("layers", || layers::check(&metadata))?;
    stage("licences, versions, size of the lock file", licences::check)?;
    stage("contract", || proto::run(proto::Mode::Check))?;
    stage("format", || exec(command(&["cargo", "fmt", "--all", "--check"])))?;
    stage("clippy", || {
        exec(command(&["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
    })?;
    stage("clippy of pure crates", || pure_clippy(&metadata))?;
    if has_cargo("deny") {
        stage("cargo-deny", || exec(command(&["cargo", "deny", "check", "bans", "licenses", "sources"])))?;
    }
    Ok(())
}

/// The pure crates once more, with a configuration that forbids clocks, files, threads and the environment.
fn pure_clippy(metadata: &metadata::Metadata) -> Result<()> {
    let pure: Vec<String> = metadata
        .members()
        .filter(|package| matches!(package.layer(), Some("noun" | "pure")))
        .flat_map(|package| ["-p".to_owned(), package.name.clone()])
        .collect();
    let mut words = vec!["cargo", "clippy", "--quiet", "--lib"];
    words.extend(pure.iter().map(String::as_str));
    words.extend(["--", "-D", "warnings"]);
    let mut clippy = command(&words);
    clippy.env("CLIPPY_CONF_DIR", root().join("tools/xtask/pure"));
    exec(clippy)
}
