//! DELs that found no agent: one file each, durable before the runtime hears of success.
//!
//! A file holds the request frame; its name begins with the wall time in milliseconds, so that the agent never lets an
//! old DEL hit a pod that was added later. A file whose frame isn't whole was never answered for.

use std::{
    env,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

/// Writes the frame, its file and the file's name to the disk.
pub(crate) fn keep(frame: &[u8]) -> Result<(), String> {
    let directory = directory();
    write(&directory, frame).map_err(|e| format!("{}: {e}", directory.display()))
}

/// The agent's spool, or another one for a test.
fn directory() -> PathBuf {
    env::var_os("WEFT_CNI_SPOOL").map_or_else(|| "/var/lib/weft/agent/cni/spool".into(), PathBuf::from)
}

fn write(directory: &Path, frame: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let path = directory.join(format!("{now}-{}.del", process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(frame)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_kept_del_is_one_file_with_the_whole_frame() {
        let directory = env::temp_dir().join(format!("weft-cni-spool-{}", process::id()));
        write(&directory.join("spool"), b"frame").unwrap();
        let files: Vec<_> =
            fs::read_dir(directory.join("spool")).unwrap().map(|f| f.unwrap().path()).collect();
        let content = fs::read(&files[0]).unwrap();
        let refused = write(&files[0], b"frame").is_err();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!((files.len(), content.as_slice(), refused), (1, &b"frame"[..], true));
        assert!(files[0].to_string_lossy().ends_with(".del"));
    }
}
