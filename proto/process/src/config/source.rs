//! Where a value came from, and problems with it.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Serialize;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 when the whole file is meant.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, by its key path.
    Flag(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(path) => write!(f, "flag --{}", path.replace(['.', '_'], "-")),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Sources by key path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub(super) BTreeMap<String, Source>);

impl Sources {
    /// Where the value of a key came from.
    pub fn of(&self, path: &str) -> Source {
        self.0.get(path).cloned().unwrap_or(Source::Default)
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// Path of the key; empty when the whole file is meant.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// The place for an error's field: `agent.toml:7` or the key path.
    pub fn place(&self) -> String {
        match (&self.source, self.path.as_str()) {
            (Source::Default, path) => path.to_owned(),
            (source, _) => source.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The effective configuration, a line `path = value  # source` each (`--print-config`).
///
/// `effective` is the checked configuration in the shape of the file; absent values are left out.
pub fn print_config(effective: &impl Serialize, sources: &Sources) -> String {
    let mut lines = String::new();
    match toml::Value::try_from(effective) {
        Ok(value) => print_value("", &value, sources, &mut lines),
        Err(error) => lines = format!("# the configuration can't be shown: {error}\n"),
    }
    lines
}

fn print_value(path: &str, value: &toml::Value, sources: &Sources, lines: &mut String) {
    // A table that somebody set as a whole (labels) is one value.
    let whole = sources.0.contains_key(path);
    let Some(table) = value.as_table().filter(|_| !whole) else {
        lines.push_str(&format!("{path} = {value}  # {}\n", sources.of(path)));
        return;
    };
    for (key, inner) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        print_value(&path, inner, sources, lines);
    }
}
