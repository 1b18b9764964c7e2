//! `agent.toml`, the environment and flags: what was typed, then what is meant.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use weft_errors::{Coded, Error};
use weft_mesh::BackendChoice;
use weft_model::Family;
use weft_plan::UnderlayChoice;
use weft_process::{ConfigRequest, Loaded, Problem};

/// The file as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    /// Which of the host's interfaces and addresses carry the mesh.
    pub(crate) underlay: UnderlaySection,
    /// `v4` or `v6`: refuse to run in a fabric with another primary family.
    pub(crate) primary_family: Option<String>,
    /// Labels of the node, given at join.
    pub(crate) labels: BTreeMap<String, String>,
    /// The mesh device.
    pub(crate) wireguard: WireguardSection,
}

/// `[underlay]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct UnderlaySection {
    /// Name of the interface.
    pub(crate) interface: Option<String>,
    /// One of the host's addresses; decides over `interface`.
    pub(crate) address: Option<String>,
}

/// `[wireguard]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct WireguardSection {
    /// `auto` (the kernel's where it has one) or `userspace`.
    pub(crate) backend: Option<String>,
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Which underlay.
    pub(crate) underlay: UnderlayChoice,
    /// Which primary family was told, if one was.
    pub(crate) primary: Option<Family>,
    /// Labels for a join.
    pub(crate) labels: BTreeMap<String, String>,
    /// Which WireGuard.
    pub(crate) backend: BackendChoice,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The main file.
    pub(crate) file: PathBuf,
    /// Whether a person named it.
    pub(crate) named: bool,
    /// Keys given by flags.
    pub(crate) flags: Vec<(String, String)>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { file: "/etc/weft/agent.toml".into(), named: false, flags: Vec::new() }
    }
}

/// Reads all layers.
pub(crate) fn read(origin: &Origin) -> Result<Loaded<ConfigFile>, Error> {
    let environment: Vec<_> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let request = ConfigRequest {
        file: &origin.file,
        required: origin.named,
        prefix: "WEFT_AGENT",
        environment: &environment,
        flags: &origin.flags,
    };
    weft_process::load(&request).map_err(|e| e.envelope())
}

impl Config {
    /// Reads and checks: every problem at once.
    pub(crate) fn load(origin: &Origin) -> Result<Self, Error> {
        Self::resolve(&read(origin)?)
    }

    /// Checks what was read.
    pub(crate) fn resolve(loaded: &Loaded<ConfigFile>) -> Result<Self, Error> {
        let file = &loaded.value;
        let mut problems: Vec<Problem> = Vec::new();
        let address = file.underlay.address.as_deref().and_then(|text| {
            let parsed: Result<IpAddr, _> = text.parse();
            parsed
                .map_err(|_| {
                    problems
                        .push(loaded.problem("underlay.address", format!("{text:?} is not an IP address")))
                })
                .ok()
        });
        let primary = match file.primary_family.as_deref() {
            None => None,
            Some("v4") => Some(Family::V4),
            Some("v6") => Some(Family::V6),
            Some(text) => {
                problems.push(loaded.problem("primary-family", format!("{text:?} is neither v4 nor v6")));
                None
            }
        };
        let backend = match file.wireguard.backend.as_deref() {
            None | Some("auto") => BackendChoice::Best,
            Some("userspace") => BackendChoice::UserspaceOnly,
            Some(text) => {
                problems.push(
                    loaded.problem("wireguard.backend", format!("{text:?} is neither auto nor userspace")),
                );
                BackendChoice::Best
            }
        };
        if !problems.is_empty() {
            return Err(weft_process::Error::Config { problems }.envelope());
        }
        let underlay = UnderlayChoice { interface: file.underlay.interface.clone(), address };
        Ok(Self { underlay, primary, labels: file.labels.clone(), backend })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let origin = Origin {
            file: "/nonexistent/agent.toml".into(),
            named: false,
            flags: flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        Config::load(&origin).map_err(|error| [vec![error.message], error.cause].concat())
    }

    #[test]
    fn values_are_checked_all_at_once() {
        let good = resolve(&[
            ("underlay.interface", "eth1"),
            ("underlay.address", "fd00::1"),
            ("primary-family", "v6"),
        ])
        .unwrap();
        assert_eq!(good.underlay.interface.as_deref(), Some("eth1"));
        assert_eq!(good.underlay.address, Some("fd00::1".parse().unwrap()));
        assert_eq!((good.primary, good.backend), (Some(Family::V6), BackendChoice::Best));
        assert_eq!(
            resolve(&[("wireguard.backend", "userspace")]).unwrap().backend,
            BackendChoice::UserspaceOnly
        );
        let bad =
            resolve(&[("underlay.address", "eth0"), ("primary-family", "both"), ("wireguard.backend", "go")])
                .unwrap_err();
        assert_eq!(bad.len(), 4, "{bad:?}");
    }
}
