//! Where a lab keeps its things: `target/lab/NAME/`. Nothing of a lab lies elsewhere on the machine.

use std::fs::{DirEntry, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::Result;

/// File that is locked while the lab starts or ends.
const LOCK: &str = "lock";

/// Folder of one lab. Several labs lie side by side and share nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layout {
    name: String,
    root: PathBuf,
}

impl Layout {
    /// The lab `name` below `$WEFT_LAB_DIR`, else `target/lab` of this workspace.
    pub fn of(name: &str) -> Result<Self> {
        check_name("lab", name, 32)?;
        Ok(Self { name: name.to_owned(), root: parent()?.join(name) })
    }

    /// All labs that have a folder, by name.
    pub fn all() -> Result<Vec<Self>> {
        let parent = parent()?;
        let Ok(entries) = std::fs::read_dir(&parent) else { return Ok(Vec::new()) };
        let mut all: Vec<Self> = entries
            .flatten()
            .filter(|entry| entry.path().join("lab.json").is_file())
            .map(|entry| Self { name: entry.file_name().to_string_lossy().into_owned(), root: entry.path() })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Name of the lab.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The lab's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// What is known of the running lab; exists from `up` to `down`.
    pub fn record(&self) -> PathBuf {
        self.root.join("lab.json")
    }
    /// Contexts of the command line for this lab.
    pub fn contexts(&self) -> PathBuf {
        self.root.join("contexts.toml")
    }
    /// Name of the context in [`Layout::contexts`].
    pub fn context(&self) -> String {
        format!("lab-{}", self.name)
    }
    /// Logs, one file per service of a machine; kept until the next lab of this name.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
    /// Log of one service.
    pub fn log(&self, machine: &str, service: &str) -> PathBuf {
        self.logs().join(format!("{machine}.{service}.log"))
    }
    /// Output of the commands that ran inside.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }
    /// Captured packets.
    pub fn captures(&self) -> PathBuf {
        self.root.join("captures")
    }
    /// The disk of one machine: `var-lib-weft`, `etc-weft`, `etc-cni` are mounted at the fixed paths inside.
    pub fn disk(&self, machine: &str) -> PathBuf {
        self.root.join("machines").join(machine)
    }
    /// Abstract name of the control socket: it leaves no file, and two checkouts never meet.
    pub fn socket(&self) -> String {
        format!("weft-lab/{:016x}/{}", fnv(self.root.as_os_str().as_encoded_bytes()), self.name)
    }
    /// Held while the lab starts or ends: the two never meet, nor do two of either.
    pub fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.root).with_context(|| format!("make {}", self.root.display()))?;
        let path = self.root.join(LOCK);
        let lock = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        lock.lock().with_context(|| format!("wait for {}", path.display()))?;
        Ok(lock)
    }
    /// Makes the folders anew; what an earlier lab of this name left is removed. The caller holds the lock.
    pub fn clear(&self) -> Result {
        let remove = |entry: DirEntry| match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false if entry.file_name() == LOCK => Ok(()),
            false => std::fs::remove_file(entry.path()),
        };
        std::fs::read_dir(&self.root)
            .and_then(|mut entries| entries.try_for_each(|entry| remove(entry?)))
            .with_context(|| format!("remove the former lab in {}", self.root.display()))?;
        for folder in [self.logs(), self.jobs(), self.captures()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Names become interface names, file names and host names: lower-case letters, digits, `-`, at most `longest` bytes.
pub fn check_name(what: &str, name: &str, longest: usize) -> Result {
    let fine = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.is_empty() || name.len() > longest || !fine || name.starts_with('-') {
        bail!(crate::Refusal::Usage(format!(
            "{what} name {name:?}: 1 to {longest} lower-case letters, digits or '-', not beginning with '-'"
        )));
    }
    Ok(())
}

/// A hash that is stable between builds (FNV-1a, 64 bits).
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn parent() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEFT_LAB_DIR") {
        let dir = PathBuf::from(dir);
        return if dir.is_absolute() { Ok(dir) } else { Ok(std::env::current_dir()?.join(dir)) };
    }
    Ok(workspace().join("target/lab"))
}

/// The workspace this program was built from.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_not_be_an_interface_or_a_folder_are_refused() {
        for good in ["default", "n1", "cp-1"] {
            assert!(check_name("lab", good, 12).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a/b", "..", "N1", "a-name-that-is-too-long"] {
            assert!(check_name("lab", bad, 12).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_labs_have_two_sockets() {
        let (a, b) = (Layout::of("a").unwrap(), Layout::of("b").unwrap());
        assert_ne!(a.socket(), b.socket());
    }
}
