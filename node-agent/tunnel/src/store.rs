//! The last configuration of the device in a file of its owner alone, so that the tunnel starts without the agent.
//!
//! The text is that of a UAPI set; what can't be understood is said once, and the agent sets it anew.

use std::path::Path;

use zeroize::Zeroizing;

use crate::{Error, limits, table::Table, uapi::parse_set};

/// Reads the stored configuration; an empty table when there is none or it can't be understood.
pub(crate) fn load(path: &Path) -> Result<Table, Error> {
    let mut table = Table::default();
    let bytes = match weft_process::read_private(path, limits::REQUEST_BYTES as u64) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.is_missing_file() => return Ok(table),
        Err(e) => return Err(e.into()),
    };
    match std::str::from_utf8(&bytes).ok().map(parse_set) {
        Some(Ok(set)) => table.apply(&set),
        Some(Err(error)) => {
            tracing::warn!(path = %path.display(), %error, "stored configuration is unreadable, waiting for the agent");
        }
        None => {
            tracing::warn!(path = %path.display(), "stored configuration is not text, waiting for the agent")
        }
    }
    Ok(table)
}

/// Stores the configuration durably; after a crash the file is the old or the new one, never half of one.
pub(crate) fn save(path: &Path, table: &Table) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        weft_process::private_dir(directory)?;
    }
    Ok(weft_process::durable_replace(path, table.to_set_text().as_bytes(), weft_process::MODE_PRIVATE)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_saved_is_loaded_by_its_owner_alone_and_garbage_is_survived() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tunnel/weft0.conf");
        assert_eq!(load(&path).unwrap(), Table::default());
        let text =
            "private_key=0707070707070707070707070707070707070707070707070707070707070707\nlisten_port=5\n";
        let mut table = Table::default();
        table.apply(&parse_set(text).unwrap());
        save(&path, &table).unwrap();
        assert_eq!(load(&path).unwrap(), table);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        weft_process::durable_replace(&path, b"listen_port=x\n", 0o600).unwrap();
        assert_eq!(load(&path).unwrap(), Table::default());
    }
}
