//! The admin's context: an entry of the contexts file, with certificate and key beside it, all of mode 0600.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::{Table, Value};
use weft_errors::{ALREADY_EXISTS, CONFIG_INVALID, Coded, Error};
use weft_model::AuthorityHash;
use weft_process::{MODE_PRIVATE, durable_replace, private_dir, read_private};
use weft_rpc::{FileNames, Identity};

/// Longest contexts file.
const FILE_LIMIT: u64 = 1 << 20;

/// A contexts file that is about to get one more entry.
#[derive(Debug)]
pub(crate) struct ContextFile {
    path: PathBuf,
    table: Table,
    name: String,
    listen: SocketAddr,
}

impl ContextFile {
    /// Reads the file, if it is there.
    ///
    /// Fails when it can be read by others, isn't TOML, or has a context of that name for other replicas.
    pub(crate) fn open(path: &Path, name: &str, listen: SocketAddr) -> Result<Self, Error> {
        let invalid = |why: &dyn std::fmt::Display| {
            Error::new(&CONFIG_INVALID, format!("{} isn't a valid contexts file", path.display()))
                .object("file", "", path.display())
                .because(why)
        };
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() || !plain {
            return Err(Error::new(&weft_errors::USAGE, format!("{name:?} can't be a context's name"))
                .try_this("use letters, digits, - and _", ""));
        }
        let table = match read_private(path, FILE_LIMIT) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|e| invalid(&e))?;
                text.parse::<Table>().map_err(|e| invalid(&e.message()))?
            }
            Err(error) if error.is_missing_file() => Table::new(),
            Err(error) => return Err(error.envelope()),
        };
        let endpoints = vec![Value::from(listen.to_string())];
        let known = table.get("context").and_then(|contexts| contexts.get(name));
        // What serves at this very address is being made anew: its old context is of no use to anybody.
        if let Some(known) = known
            && known.get("endpoints") != Some(&Value::Array(endpoints))
        {
            return Err(Error::new(
                &ALREADY_EXISTS,
                format!("{} has a context {name:?} already", path.display()),
            )
            .object("context", "", name)
            .try_this("choose another name for the new one", "weftd init … --context-name NAME"));
        }
        Ok(Self { path: path.to_owned(), table, name: name.to_owned(), listen })
    }

    /// Writes certificate and key, then the entry, and makes it the current one.
    pub(crate) fn write(mut self, authority: AuthorityHash, identity: &Identity) -> Result<(), Error> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.exists() {
            private_dir(folder).map_err(|e| e.envelope())?;
        }
        let (certificate, key) = (format!("{}-admin.pem", self.name), format!("{}-admin.key", self.name));
        let files = FileNames::pair(folder.join(&certificate), folder.join(&key));
        identity.save(&files).map_err(|e| e.envelope())?;
        let mut context = Table::new();
        context.insert("endpoints".to_owned(), Value::Array(vec![Value::from(self.listen.to_string())]));
        context.insert("ca".to_owned(), Value::from(authority.to_string()));
        context.insert("cert-file".to_owned(), Value::from(certificate));
        context.insert("key-file".to_owned(), Value::from(key));
        let contexts = self.table.entry("context").or_insert_with(|| Value::Table(Table::new()));
        let Some(contexts) = contexts.as_table_mut() else {
            return Err(Error::new(&CONFIG_INVALID, "the key `context` of the contexts file is no table")
                .object("file", "", self.path.display()));
        };
        contexts.insert(self.name.clone(), Value::Table(context));
        self.table.insert("current".to_owned(), Value::from(self.name));
        durable_replace(&self.path, self.table.to_string().as_bytes(), MODE_PRIVATE).map_err(|e| e.envelope())
    }
}
