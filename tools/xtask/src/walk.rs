//! The files that belong to the repository.

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{command, output, root};

/// Tracked and new files (not ignored), relative to the root.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let list = output(command(&["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]))?;
    let root = root();
    let mut files: Vec<PathBuf> = list.split('\0').filter(|f| !f.is_empty()).map(PathBuf::from).collect();
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}
