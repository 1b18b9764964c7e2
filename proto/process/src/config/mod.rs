//! Configuration: files in name order, then environment, then flags; every value keeps its source, every problem is
//! found in one pass.
//!
//! In: the file type of a program (all fields optional, `#[serde(default)]`). Out: its value and where each key came
//! from. Not here: what values mean; programs check that and report with [`Loaded::problem`].

mod layers;
mod schema;
mod source;

use std::{fmt, path::Path};

use serde::de::DeserializeOwned;

pub use schema::key_paths;
pub use source::{Problem, Source, Sources, print_config};

use crate::Error;
use layers::Layers;

/// Where a program's configuration comes from.
#[derive(Clone, Debug)]
pub struct ConfigRequest<'a> {
    /// The main file; `NAME.d/*.toml` beside it are merged over it in name order (`agent.toml` has `agent.d/`).
    pub file: &'a Path,
    /// Whether the main file must exist (true when a person named it).
    pub required: bool,
    /// Prefix of environment variables, for example `WEFTD`: key `raft.election-ms` is `WEFTD_RAFT_ELECTION_MS`.
    pub prefix: &'a str,
    /// The environment.
    pub environment: &'a [(String, String)],
    /// Flags that were given: key path and text.
    pub flags: &'a [(String, String)],
}

/// A configuration as it was found.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The merged value.
    pub value: T,
    /// Where each key that was set came from.
    pub sources: Sources,
}

impl<T> Loaded<T> {
    /// A problem with the value of a key, at the place where it was set.
    pub fn problem(&self, path: &str, message: impl fmt::Display) -> Problem {
        Problem { source: self.sources.of(path), path: path.to_owned(), message: message.to_string() }
    }
}

/// Reads and merges all layers.
///
/// Fails with [`Error::Config`] naming every unknown key (with line and suggestion), every value of a wrong type and
/// every unreadable file at once.
pub fn load<T: DeserializeOwned>(request: &ConfigRequest<'_>) -> Result<Loaded<T>, Error> {
    let mut layers = Layers::new(schema::keys::<T>());
    layers.add_files(request.file, request.required);
    layers.add_environment(request.prefix, request.environment);
    layers.add_flags(request.flags);
    layers.finish()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::HumanDuration;

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Sample {
        listen: Option<std::net::SocketAddr>,
        endpoints: Vec<String>,
        labels: BTreeMap<String, String>,
        raft: Raft,
        underlay: Option<Underlay>,
    }

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Raft {
        election: Option<HumanDuration>,
        heartbeat_ms: Option<u32>,
        pre_vote: Option<bool>,
    }

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default)]
    struct Underlay {
        interface: Option<String>,
    }

    struct Case {
        main: Option<&'static str>,
        parts: &'static [(&'static str, &'static str)],
        environment: &'static [(&'static str, &'static str)],
        flags: &'static [(&'static str, &'static str)],
    }

    const EMPTY: Case = Case { main: None, parts: &[], environment: &[], flags: &[] };

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// Loads a case; paths in the result are relative to its directory.
    fn check(case: &Case) -> Result<(Sample, String), Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.toml");
        if let Some(text) = case.main {
            fs::write(&file, text).unwrap();
        }
        fs::create_dir(dir.path().join("app.d")).unwrap();
        for (name, text) in case.parts {
            fs::write(dir.path().join("app.d").join(name), text).unwrap();
        }
        let loaded = load::<Sample>(&ConfigRequest {
            file: &file,
            required: case.main.is_some(),
            prefix: "APP",
            environment: &owned(case.environment),
            flags: &owned(case.flags),
        });
        let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
        match loaded {
            Ok(loaded) => {
                let printed = short(print_config(&loaded.value, &loaded.sources));
                Ok((loaded.value, printed))
            }
            Err(Error::Config { problems }) => {
                Err(problems.iter().map(|problem| short(problem.to_string())).collect())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn flags_win_over_environment_over_files_in_name_order() {
        let (value, printed) = check(&Case {
            main: Some(
                "listen = '127.0.0.1:1'\nendpoints = ['a:1']\n[raft]\nelection = '1s'\nheartbeat-ms = 1\n",
            ),
            parts: &[
                ("20.toml", "raft.heartbeat-ms = 20"),
                ("10.toml", "raft.heartbeat-ms = 10"),
                ("x.bak", "?"),
            ],
            environment: &[
                ("APP_RAFT_ELECTION", "2s"),
                ("APP_ENDPOINTS", "b:2, c:3"),
                ("APP_RAFT_PRE_VOTE", "true"),
            ],
            flags: &[("raft.election", "3s"), ("labels", "zone=a,rack=7"), ("underlay.interface", "eth0")],
        })
        .unwrap();
        assert_eq!(value.raft.election.unwrap().to_string(), "3s");
        assert_eq!(value.raft.heartbeat_ms, Some(20));
        assert_eq!(value.raft.pre_vote, Some(true));
        assert_eq!(value.endpoints, ["b:2", "c:3"]);
        assert_eq!(value.labels["rack"], "7");
        assert_eq!(value.underlay.unwrap().interface.unwrap(), "eth0");
        for line in [
            "listen = \"127.0.0.1:1\"  # app.toml:1",
            "raft.heartbeat-ms = 20  # app.d/20.toml:1",
            "raft.pre-vote = true  # environment APP_RAFT_PRE_VOTE",
            "raft.election = \"3s\"  # flag --raft-election",
        ] {
            assert!(printed.lines().any(|have| have == line), "{line} in\n{printed}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_places() {
        let problems = check(&Case {
            main: Some(
                "lisen = '127.0.0.1:1'\n\n[raft]\nelection = 5\nheartbeat-ms = 'x'\n[nothing]\nlike-it = 1\n",
            ),
            parts: &[("10.toml", "a = = 1")],
            environment: &[("APP_RAFT_PRE_VOTE", "maybe")],
            flags: &[("raft.electoin", "1s")],
        })
        .unwrap_err();
        for part in [
            "app.toml:1: unknown key lisen; did you mean listen?",
            "app.toml:6: unknown key nothing",
            "app.d/10.toml:1: ",
            "environment APP_RAFT_PRE_VOTE: raft.pre-vote: \"maybe\" is neither true nor false",
            "flag --raft-electoin: unknown key raft.electoin; did you mean raft.election?",
            "app.toml:4: raft.election: ",
            "app.toml:5: raft.heartbeat-ms: ",
        ] {
            assert!(problems.iter().any(|have| have.starts_with(part)), "{part} in {problems:#?}");
        }
        assert_eq!(problems.len(), 7, "{problems:#?}");
    }

    #[test]
    fn a_missing_file_matters_only_when_it_was_named() {
        assert!(check(&EMPTY).is_ok());
        let request = ConfigRequest {
            file: Path::new("/nonexistent/app.toml"),
            required: true,
            prefix: "APP",
            environment: &[],
            flags: &[],
        };
        assert!(load::<Sample>(&request).is_err());
        assert!(load::<Sample>(&ConfigRequest { required: false, ..request }).is_ok());
    }

    #[test]
    fn the_keys_of_a_type_are_known_without_a_list() {
        let keys = key_paths::<Sample>();
        let all = ["listen", "endpoints", "labels", "raft.election", "raft.heartbeat-ms", "raft.pre-vote"];
        assert_eq!(keys[..6], all);
        assert_eq!(keys[6], "underlay.interface");
    }
}
