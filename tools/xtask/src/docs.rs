//! `cargo xtask docs`: reference pages come from running the built binaries, so they can't drift.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{
    metadata,
    run::{command, exec, output, root, say},
};

/// Compare or write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Refuse a page that differs.
    Check,
    /// Write the pages.
    Write,
}

/// Page and the command that prints it.
const PAGES: &[(&str, &[&str])] = &[
    ("docs/reference/errors.md", &["weft", "reference", "errors"]),
    ("docs/reference/cli.md", &["weft", "reference", "cli"]),
];

/// Compares or writes all pages.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = root();
    // As `ci` builds them: a build of one package alone has other features and would compile much anew.
    exec(command(&["cargo", "build", "--workspace", "--bins", "--quiet"]))?;
    let programs = metadata::load()?.target_directory.join("debug");
    let mut stale = Vec::new();
    for (page, words) in PAGES {
        let program = programs.join(words[0]);
        let line: Vec<&str> = std::iter::once(program.to_str().context("the target directory's name")?)
            .chain(words[1..].iter().copied())
            .collect();
        let text = output(command(&line))?;
        let path = root.join(page);
        if fs::read_to_string(&path).ok().as_deref() == Some(&text) {
            continue;
        }
        if mode == Mode::Check {
            stale.push(*page);
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(&path, text).with_context(|| (*page).to_owned())?;
        say(&format!("{page}: written"));
    }
    if !stale.is_empty() {
        bail!("{} don't agree with the binaries; run cargo xtask fix", stale.join(", "));
    }
    Ok(())
}
