//! Modules of a kernel: which files a virtual machine loads, each after those that it needs.
//!
//! What a module needs stands in the module itself (its `depends`), so `depmod` needn't have run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{Refusal, Result};

/// Without these a virtual machine can't be a node: files, orders, link, and what a fabric needs of a node.
const NEEDED: [&str; 12] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "virtio_console",
    "virtio_net",
    "wireguard",
    "veth",
    "bridge",
    "tun",
    "nf_tables",
    "nf_conntrack",
    "nft_ct",
];
/// Loaded where the kernel has them, besides everything of nf_tables (`nft_*`). `crc32c_generic` comes first: others look for its
/// algorithm when they start.
const USEFUL: [&str; 8] = [
    "crc32c_generic",
    "virtio_rng",
    "8021q",
    "dummy",
    "nf_nat",
    "nfnetlink_log",
    "nf_conntrack_netlink",
    "inet_diag",
];
const RULES: &str = "nft_";

/// All modules of one kernel.
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    /// What is part of the kernel itself.
    built_in: BTreeSet<String>,
}

impl Modules {
    /// Finds the modules in `lib/modules/VERSION`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let built_in = std::fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let built_in = built_in.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { files, built_in })
    }

    /// The files to load, in order. Fails with [`Refusal::Usage`] when a needed one is missing.
    pub(super) fn in_order(&self) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        let rules = self.files.keys().map(String::as_str).filter(|name| name.starts_with(RULES));
        for name in USEFUL.into_iter().chain(NEEDED).chain(rules) {
            if self.files.contains_key(name) {
                self.add(name, &mut order)?;
            } else if NEEDED.contains(&name) && !self.built_in.contains(name) {
                bail!(Refusal::Usage(format!(
                    "the kernel for virtual machines has no module {name}: take linux-image-amd64 (cargo lab kernel)"
                )));
            }
        }
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<PathBuf>) -> Result {
        let Some(file) = self.files.get(name) else { return Ok(()) };
        if order.contains(file) {
            return Ok(());
        }
        let content = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        for needed in depends(&content) {
            self.add(&needed, order)?;
        }
        order.push(file.clone());
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Name of the module in a file; none for compressed ones, which nobody here unpacks.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

/// The `depends=a,b` of a module: one of its NUL-terminated facts.
fn depends(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = content.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let text = content[at + KEY.len()..].split(|b| *b == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("kernel/net")).unwrap();
        for (name, depends) in modules {
            let path = folder.path().join("kernel/net").join(format!("{name}.ko"));
            std::fs::write(path, format!("ELF\0license=GPL\0depends={depends}\0name={name}\0")).unwrap();
        }
        folder
    }

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let mut modules: Vec<(&str, &str)> = NEEDED.into_iter().map(|name| (name, "")).collect();
        modules.retain(|(name, _)| !["wireguard", "bridge"].contains(name));
        modules.extend([
            ("wireguard", "lib-curve,udp_tunnel"),
            ("bridge", "stp"),
            ("stp", "llc"),
            ("llc", ""),
        ]);
        modules.extend([
            ("lib-curve", "udp_tunnel"),
            ("udp_tunnel", ""),
            ("nft_log", "nf_tables"),
            ("xfs", ""),
        ]);
        let folder = kernel(&modules);
        let order = Modules::of(folder.path()).unwrap().in_order().unwrap();
        let names: Vec<String> = order.iter().filter_map(|path| name_of(path)).collect();
        let at = |name: &str| names.iter().position(|n| n == name);
        for (first, then) in [
            ("udp_tunnel", "lib_curve"),
            ("lib_curve", "wireguard"),
            ("llc", "stp"),
            ("stp", "bridge"),
            ("nf_tables", "nft_log"),
        ] {
            assert!(at(first).is_some() && at(first) < at(then), "{first} before {then}: {names:?}");
        }
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        assert_eq!(at("xfs"), None, "nobody asked for it");
    }

    #[test]
    fn a_missing_module_is_named_unless_it_is_part_of_the_kernel() {
        let all: Vec<(&str, &str)> =
            NEEDED.into_iter().filter(|name| *name != "9p").map(|name| (name, "")).collect();
        let folder = kernel(&all);
        let error = Modules::of(folder.path()).unwrap().in_order().unwrap_err();
        assert!(error.to_string().contains("no module 9p"), "{error}");
        std::fs::write(folder.path().join("modules.builtin"), "kernel/fs/9p/9p.ko\n").unwrap();
        assert!(Modules::of(folder.path()).unwrap().in_order().is_ok());
    }
}
