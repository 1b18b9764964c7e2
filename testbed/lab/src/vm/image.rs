//! The first root of a virtual machine: this program, the libraries it runs with, and the kernel's modules.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::cpio::Archive;
use super::kernel::Kernel;
use super::module::Modules;
use crate::Result;
use crate::launch::own_program;

/// Where the loader of programs is expected, whatever folder the host has it in. The other libraries lie beside it.
pub(super) const LIBRARIES: &str = "lib64";
/// Where the modules lie, named so that the order of names is the order of loading.
pub(super) const MODULES: &str = "modules";

/// Writes the archive.
pub(crate) fn write_initramfs(kernel: &Kernel, to: &Path) -> Result {
    let out = File::create(to).with_context(|| format!("make {}", to.display()))?;
    let mut archive = Archive::new(BufWriter::new(out));
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    for folder in ["proc", "sys", "dev", "host", LIBRARIES, MODULES] {
        archive.folder(folder)?;
    }
    archive.file("init", &read(&own_program()?)?)?;
    for library in libraries()? {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.file(&format!("{LIBRARIES}/{name}"), &read(&library)?)?;
    }
    for (number, module) in Modules::of(&kernel.modules)?.in_order()?.into_iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.file(&format!("{MODULES}/{number:03}-{name}"), &read(&module)?)?;
    }
    archive.end().map(drop).with_context(|| format!("write {}", to.display()))
}

/// The libraries of this program, its loader included: what this very process has mapped.
fn libraries() -> Result<BTreeSet<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps").context("read /proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let own = own_program()?;
    let found: BTreeSet<PathBuf> =
        paths.filter(|path| *path != own && path.to_string_lossy().contains(".so")).collect();
    ensure!(
        found.iter().any(|path| path.to_string_lossy().contains("/ld-linux")),
        "the program that fills virtual machines has no loader among {found:?}"
    );
    Ok(found)
}
