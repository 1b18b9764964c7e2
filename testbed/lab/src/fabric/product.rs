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
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["build", "--message-format=json-render-diagnostics"]);
    for package in ["weftd", "weft-agent", "weft-cni", "weft", "weft-lab"] {
        command.args(["-p", package]);
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    if !output.status.success() {
        bail!(Refusal::Ended(1));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let artifacts: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    find(|name| {
        let made =
            artifacts.iter().rev().find(|a| a["target"]["name"] == name && a["executable"].is_string())?;
        made["executable"].as_str().map(PathBuf::from)
    })
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
