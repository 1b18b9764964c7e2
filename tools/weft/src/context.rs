//! Contexts: which cluster, by which certificate. `$WEFT_CONFIG`, else `$XDG_CONFIG_HOME/weft/contexts.toml`, else
//! `~/.config/weft/contexts.toml`; mode 0600 or refused.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use weft_errors::{CONFIG_INVALID, Error, FILE_UNREADABLE, KEY_EXPOSED, NOT_FOUND, USAGE};

use crate::fail::{Failure, Outcome};

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// Name of the context in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All contexts by name.
    #[serde(default)]
    pub(crate) context: BTreeMap<String, Context>,
}

/// One context.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Context {
    /// `HOST:PORT` of replicas; any of them answers.
    pub(crate) endpoints: Vec<String>,
    /// Hash of the authority, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// File with the authority's certificate, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate, relative to this file.
    pub(crate) cert_file: PathBuf,
    /// Its key, mode 0600.
    pub(crate) key_file: PathBuf,
    /// Namespace when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Destructive commands ask for the context's name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) protect: bool,
}

/// Where the file is.
pub(crate) fn path() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("WEFT_CONFIG")
        .or_else(|| var("XDG_CONFIG_HOME").map(|dir| dir.join("weft/contexts.toml")))
        .or_else(|| var("HOME").map(|home| home.join(".config/weft/contexts.toml")))
        .unwrap_or_else(|| PathBuf::from("contexts.toml"))
}

/// Reads the file; an absent one holds no contexts.
pub(crate) fn load(path: &Path) -> Outcome<Contexts> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    private(path)?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map(|line| format!("{}:{line}", path.display())).unwrap_or_default();
        Error::new(&CONFIG_INVALID, format!("{} isn't a valid contexts file", path.display()))
            .object("file", "", path.display())
            .field(place)
            .because(error.message().replace('\n', " "))
            .try_this("mend the named line", "")
            .into()
    })
}

/// Writes the file, whole, 0600.
pub(crate) fn save(path: &Path, contexts: &Contexts) -> Outcome {
    let text = toml::to_string(contexts).map_err(|e| Failure::new(&CONFIG_INVALID, e.to_string()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| unreadable(folder, &e))?;
    }
    weft_process::durable_replace(path, text.as_bytes(), 0o600).map_err(|e| unreadable(path, &e))
}

/// Refuses a file that others can read.
pub(crate) fn private(path: &Path) -> Outcome {
    let mode = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(&KEY_EXPOSED, format!("{} has mode {mode:04o}; others can read it", path.display()))
        .object("file", "", path.display())
        .try_this("make it private", format!("chmod 600 {}", path.display()))
        .into())
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Error::new(&FILE_UNREADABLE, format!("{}: {error}", path.display()))
        .object("file", "", path.display())
        .into()
}

impl Contexts {
    /// There is no context of this name: which are there, and which is spelt alike.
    pub(crate) fn missing(&self, name: &str, file: &Path) -> Failure {
        let known: Vec<&str> = self.context.keys().map(String::as_str).collect();
        let error = Error::new(&NOT_FOUND, format!("context {name:?} doesn't exist"))
            .object("context", "", name)
            .try_this("list the contexts", "weft context list");
        let error = match known.as_slice() {
            [] => error.because(format!("{} holds none", file.display())),
            known => error.because(format!("{} holds {}", file.display(), known.join(", "))),
        };
        crate::cmd::did_you_mean(error, name, known).into()
    }

    /// The context of a name, or the current one.
    pub(crate) fn pick(&self, name: Option<&str>, file: &Path) -> Outcome<(String, Context)> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Err(Error::new(
                &USAGE,
                format!("no context is chosen, and {} names none", file.display()),
            )
            .try_this(
                "make a cluster, or add a context",
                "weft init; weft context add NAME --endpoint HOST:7443 --token TOKEN --ca sha256:HASH",
            )
            .into());
        };
        match self.context.get(name) {
            Some(context) => Ok((name.to_owned(), context.clone())),
            None => Err(self.missing(name, file)),
        }
    }
}
