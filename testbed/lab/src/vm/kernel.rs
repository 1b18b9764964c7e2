//! The kernel that virtual machines boot: a Debian package, unpacked into a folder and never installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::layout::workspace;
use crate::{Refusal, Result};

/// The package that names the present kernel. Its kernel has 9p; the smaller "cloud" kernel has not.
const PACKAGE: &str = "linux-image-amd64";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel itself.
    pub image: PathBuf,
    /// `lib/modules/VERSION`.
    pub modules: PathBuf,
}

impl Kernel {
    /// The kernel in `$WEFT_LAB_KERNEL`, else in `target/lab-kernel`: the newest `boot/vmlinuz-*` with its modules.
    pub fn find() -> Result<Self> {
        let folder = folder();
        Self::within(&folder).with_context(|| {
            Refusal::Usage(format!(
                "virtual machines need a kernel in {}: fetch it with: cargo lab kernel",
                folder.display()
            ))
        })
    }

    fn within(folder: &Path) -> Result<Self> {
        let boot = folder.join("boot");
        let entries = std::fs::read_dir(&boot).with_context(|| format!("read {}", boot.display()))?;
        let mut versions: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
            .collect();
        versions.sort();
        let version = versions.pop().context("there is no vmlinuz")?;
        // Systems with a merged /usr keep them one level deeper.
        let places = ["lib/modules", "usr/lib/modules"].map(|place| folder.join(place).join(&version));
        let modules = places.into_iter().find(|place| place.is_dir());
        let modules = modules.with_context(|| format!("there are no modules of {version}"))?;
        Ok(Self { image: boot.join(format!("vmlinuz-{version}")), modules })
    }

    /// Its version.
    pub fn version(&self) -> String {
        self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Fetches the present Debian kernel with apt and unpacks it where [`Kernel::find`] looks; nothing is installed.
pub fn fetch() -> Result<Kernel> {
    let folder = folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let listed = run(Command::new("apt-cache").args(["depends", "--important", PACKAGE]))?;
    let name = listed.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let name = name.with_context(|| format!("apt-cache knows no {PACKAGE}: run apt-get update"))?;
    run(Command::new("apt-get").args(["download", &format!("linux-image-{name}")]).current_dir(&folder))?;
    for entry in
        std::fs::read_dir(&folder)?.flatten().filter(|e| e.path().extension() == Some("deb".as_ref()))
    {
        run(Command::new("dpkg").arg("-x").arg(entry.path()).arg(&folder))?;
        std::fs::remove_file(entry.path()).context("remove the package")?;
    }
    Kernel::find()
}

fn folder() -> PathBuf {
    std::env::var_os("WEFT_LAB_KERNEL").map_or_else(|| workspace().join("target/lab-kernel"), PathBuf::from)
}

fn run(command: &mut Command) -> Result<String> {
    let words = format!("{command:?}").replace('"', "");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {words}"))?;
    if !output.status.success() {
        bail!("{words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_counts_and_it_needs_its_modules() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Kernel::within(folder.path()).is_err());
        for version in ["6.1.0-55-amd64", "6.1.0-56-amd64"] {
            std::fs::create_dir_all(folder.path().join("boot")).unwrap();
            std::fs::write(folder.path().join("boot").join(format!("vmlinuz-{version}")), "").unwrap();
        }
        assert!(
            Kernel::within(folder.path()).unwrap_err().to_string().contains("no modules of 6.1.0-56-amd64")
        );
        std::fs::create_dir_all(folder.path().join("lib/modules/6.1.0-56-amd64")).unwrap();
        assert_eq!(Kernel::within(folder.path()).unwrap().version(), "6.1.0-56-amd64");
    }
}
