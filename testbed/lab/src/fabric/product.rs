//! Building the product's programs; their paths come from cargo's own output.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::layout::workspace;
use crate::record::Product;
use crate::{Refusal, Result};

/// How the product is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// As `cargo build`.
    #[default]
    Debug,
    /// As `cargo build --release`.
    Release,
}

/// Builds `weftd`, `weft-agent`, `weft-cni`, `weft` and this lab, and says where they are. Cargo's progress goes to standard error.
/// With `$WEFT_LAB_BIN` the programs of that folder are taken instead.
pub fn build(profile: Profile) -> Result<(Product, PathBuf)> {
    if let Some(folder) = std::env::var_os("WEFT_LAB_BIN").map(PathBuf::from) {
        return find(|name| Some(folder.join(name)).filter(|path| path.is_file()));
    }
    let packages = ["weftd", "weft-agent", "weft-cni", "weft", "weft-lab"].map(|package| ["-p", package]);
    let mut arguments = vec!["build"];
    arguments.extend(packages.iter().flatten());
    if profile == Profile::Release {
        arguments.push("--release");
    }
    let artifacts = cargo(&arguments)?;
    find(|name| program_in(&artifacts, name))
}

/// Builds the integration test `it` of a package and says where its program lies.
pub fn test_program(package: &str) -> Result<String> {
    let artifacts = cargo(&["test", "--no-run", "-p", package, "--test", "it"])?;
    let program = program_in(&artifacts, "it").with_context(|| format!("{package} has no test it"))?;
    Ok(program.to_string_lossy().into_owned())
}

/// Runs cargo and returns what it made.
fn cargo(arguments: &[&str]) -> Result<Vec<Value>> {
    let (verb, rest) = arguments.split_first().context("no command for cargo")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args([verb, "--message-format=json-render-diagnostics"]).args(rest);
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    if !output.status.success() {
        bail!(Refusal::Ended(1));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn program_in(artifacts: &[Value], name: &str) -> Option<PathBuf> {
    let made = artifacts.iter().rev().find(|a| a["target"]["name"] == name && a["executable"].is_string())?;
    made["executable"].as_str().map(PathBuf::from)
}

fn find(path: impl Fn(&str) -> Option<PathBuf>) -> Result<(Product, PathBuf)> {
    let get = |name: &str| path(name).with_context(|| format!("the program {name} was not built"));
    let product = Product {
        weftd: get("weftd")?,
        agent: get("weft-agent")?,
        cni: get("weft-cni")?,
        weft: get("weft")?,
    };
    Ok((product, get("weft-lab")?))
}
