//! The runtime's network configuration: written when pods can be attached, taken back by purge.

use std::path::{Path, PathBuf};

use weft_errors::{Coded, Error};

use crate::limits;

/// Our configuration. `disableGC`: two runtimes on a host don't know each other's attachments.
const CONFLIST: &str = r#"{"cniVersion":"1.1.0","cniVersions":["0.3.1","0.4.0","1.0.0","1.1.0"],"name":"weft","disableGC":true,"plugins":[{"type":"weft-cni"}]}
"#;

/// Writes it, unless it is there already. Another file of that name is kept beside it.
pub(crate) fn write(path: &Path) -> Result<(), Error> {
    let before = match weft_process::read_limited(path, limits::IDENTITY_MAX) {
        Ok(bytes) if bytes == CONFLIST.as_bytes() => return Ok(()),
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_missing_file() => None,
        Err(error) => return Err(error.envelope()),
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            Error::new(&weft_errors::FILE_UNREADABLE, "the directory of network configurations can't be made")
                .object("file", "", directory.display())
                .because(error)
        })?;
    }
    if let Some(bytes) = before.filter(|_| !backup(path).exists()) {
        weft_process::durable_replace(&backup(path), &bytes, weft_process::MODE_PUBLIC)
            .map_err(|e| e.envelope())?;
    }
    weft_process::durable_replace(path, CONFLIST.as_bytes(), weft_process::MODE_PUBLIC)
        .map_err(|e| e.envelope())
}

/// Takes ours away and puts back what was there before.
pub(crate) fn remove(path: &Path, done: &mut Vec<String>, errors: &mut Vec<Error>) {
    let ours = weft_process::read_limited(path, limits::IDENTITY_MAX)
        .is_ok_and(|bytes| bytes == CONFLIST.as_bytes());
    if !ours {
        return;
    }
    let outcome = match weft_process::read_limited(&backup(path), limits::IDENTITY_MAX) {
        Ok(bytes) => weft_process::durable_replace(path, &bytes, weft_process::MODE_PUBLIC)
            .and_then(|()| weft_process::durable_remove(&backup(path)))
            .map(|()| format!("restore file {}", path.display())),
        Err(_) => weft_process::durable_remove(path).map(|()| format!("remove file {}", path.display())),
    };
    match outcome {
        Ok(line) => done.push(line),
        Err(error) => errors.push(error.envelope()),
    }
}

fn backup(path: &Path) -> PathBuf {
    path.with_extension("conflist.bak")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_there_before_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("net.d/10-weft.conflist");
        for before in [None, Some("other")] {
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            write(&path).unwrap();
            write(&path).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            assert_eq!(parsed["plugins"][0]["type"], "weft-cni");
            let (mut done, mut errors) = (Vec::new(), Vec::new());
            remove(&path, &mut done, &mut errors);
            assert_eq!((done.len(), errors.len()), (1, 0));
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
            remove(&path, &mut done, &mut errors);
            assert_eq!(done.len(), 1, "what isn't ours stays");
        }
    }
}
