//! `/etc/weft/weftd.toml`: what may be set, and what holds when nothing is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use weft_errors::{Coded, Error};
use weft_process::{ConfigRequest, Loaded, LogFormat, Problem, print_config};
use weft_rpc::Limits;
use weft_server::{Pace, ServerOptions};

use crate::args::Run;

/// Where a replica keeps everything when nothing else is said.
pub(crate) const DATA_DIR: &str = "/var/lib/weft";
const FILE: &str = "/etc/weft/weftd.toml";

/// The file: everything may be absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
struct ConfigFile {
    data_dir: Option<PathBuf>,
    raft: RaftSection,
    log: LogSection,
    limits: LimitsSection,
}

/// Raft's clock, milliseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
struct RaftSection {
    heartbeat_ms: Option<u64>,
    election_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
struct LogSection {
    format: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case")]
struct LimitsSection {
    connections: Option<usize>,
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: ServerOptions,
    pub(crate) log_format: LogFormat,
    printed: String,
}

impl Config {
    /// Reads flags, environment and files. Fails with every problem at once.
    pub(crate) fn load(args: &Run) -> Result<Self, Error> {
        let environment: Vec<_> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let flags: Vec<_> = [
            ("data-dir", args.data_dir.as_ref().map(|dir| dir.display().to_string())),
            ("raft.heartbeat-ms", args.raft_heartbeat_ms.map(|ms| ms.to_string())),
            ("raft.election-ms", args.raft_election_ms.map(|ms| ms.to_string())),
            ("log.format", args.log_format.map(|format| format.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
        let request = ConfigRequest {
            file: args.config.as_deref().unwrap_or_else(|| Path::new(FILE)),
            required: args.config.is_some(),
            prefix: "WEFTD",
            environment: &environment,
            flags: &flags,
        };
        Self::resolve(&weft_process::load(&request).map_err(|e| e.envelope())?)
    }

    /// Each value with its source.
    pub(crate) fn print(&self) -> &str {
        &self.printed
    }

    fn resolve(loaded: &Loaded<ConfigFile>) -> Result<Self, Error> {
        let ConfigFile { data_dir, raft, log, limits } = &loaded.value;
        let mut problems: Vec<Problem> = Vec::new();
        let default = Pace::default();
        let milliseconds = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
        let heartbeat = milliseconds(raft.heartbeat_ms, default.heartbeat);
        let election = milliseconds(raft.election_ms, default.election);
        let pace = Pace::new(heartbeat, election).unwrap_or_else(|why| {
            problems.push(loaded.problem("raft.election-ms", why));
            default
        });
        let log_format =
            log.format.as_deref().map_or(Ok(LogFormat::Text), str::parse).unwrap_or_else(|why| {
                problems.push(loaded.problem("log.format", why));
                LogFormat::Text
            });
        let connections = limits.connections.unwrap_or(Limits::default().connections);
        if !(64..=65_536).contains(&connections) {
            problems.push(loaded.problem("limits.connections", "it must be 64 to 65536"));
        }
        if !problems.is_empty() {
            return Err(weft_process::Error::Config { problems }.envelope());
        }
        let data_dir = data_dir.clone().unwrap_or_else(|| DATA_DIR.into());
        let effective = ConfigFile {
            data_dir: Some(data_dir.clone()),
            raft: RaftSection {
                heartbeat_ms: u64::try_from(heartbeat.as_millis()).ok(),
                election_ms: u64::try_from(election.as_millis()).ok(),
            },
            log: LogSection { format: Some(log_format.to_string()) },
            limits: LimitsSection { connections: Some(connections) },
        };
        let limits = Limits { connections, ..Limits::default() };
        let printed = print_config(&effective, &loaded.sources);
        Ok(Self { server: ServerOptions { data_dir, pace, limits }, log_format, printed })
    }
}
