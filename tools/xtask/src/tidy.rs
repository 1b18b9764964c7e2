//! Text checks: headers, sizes, banned words, dead files, links, and that ARCHITECTURE.md names tests and files that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{run::root, walk};

/// Longest Rust file: beyond it two names say more than one.
const MOST_LINES: usize = 500;

/// Words that may not stand in Rust code, what to do instead, and the files that may use them.
/// They are written in two pieces so that this file doesn't find itself.
const BANNED: &[(&str, &str, &[&str])] = &[
    (concat!("to", "do!("), "finish it or leave it out", &[]),
    (concat!("unimple", "mented!("), "finish it or leave it out", &[]),
    (concat!("#[ig", "nore"), "a test that can't run fails", &[]),
    (concat!("FIX", "ME"), "mend it, or write it into an issue", &[]),
    (concat!("unbounded", "_channel"), "every queue has a bound", &[]),
    (
        concat!("fs::re", "name("),
        "use weft_process::durable_replace",
        &["proto/process/src/files.rs", "control-plane/store/src/sled_state.rs"],
    ),
    (concat!("allow(dead", "_code"), "delete dead code the day it dies", &[]),
];

/// Words that may stand nowhere: hosts of package registries.
const HOSTS: &[&str] = &[
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("pypi.", "org"),
    concat!("registry.", "npmjs.org"),
    concat!("deb.", "debian.org"),
];

/// Runs all text checks.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let files = walk::files()?;
    let mut problems = Vec::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        let name = file.to_string_lossy();
        for host in HOSTS.iter().filter(|host| text.contains(**host)) {
            problems.push(format!("{name}: names the host {host}"));
        }
        match file.extension().and_then(|e| e.to_str()) {
            Some("rs") => rust(&name, &text, &mut problems),
            Some("md") => links(&root, file, &text, &mut problems),
            _ => {}
        }
    }
    dead_files(&root, &files, &mut problems)?;
    named_tests(&root, &files, &mut problems)?;
    named_paths(&root, &mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} problems:\n  {}", problems.len(), problems.join("\n  "))
}

fn rust(name: &str, text: &str, problems: &mut Vec<String>) {
    if !text.starts_with("//!") {
        problems.push(format!("{name}: doesn't begin with //!, saying what it is"));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        problems.push(format!(
            "{name}: {lines} lines, more than {MOST_LINES}; would two names say more than one?"
        ));
    }
    for (word, instead, except) in BANNED {
        if !except.contains(&name)
            && let Some(at) = text.lines().position(|line| line.contains(word))
        {
            problems.push(format!("{name}:{}: {word} … {instead}", at + 1));
        }
    }
}

/// Relative links of a page must lead to a file.
fn links(root: &Path, file: &Path, text: &str, problems: &mut Vec<String>) {
    for piece in text.split("](").skip(1) {
        let target = piece.split([')', ' ']).next().unwrap_or("");
        let path = target.split('#').next().unwrap_or("");
        if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        if !root.join(folder).join(path).exists() {
            problems.push(format!("{}: link to {path}, which isn't there", file.display()));
        }
    }
}

/// Every module file must be named by a `mod` in its parent.
fn dead_files(root: &Path, files: &[PathBuf], problems: &mut Vec<String>) -> Result<()> {
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rs")) {
        let Some(stem) = file.file_stem().and_then(|s| s.to_str()) else { continue };
        let folder = file.parent().unwrap_or(Path::new(""));
        let in_src = file.components().any(|c| matches!(c.as_os_str().to_str(), Some("src" | "tests")));
        if !in_src || matches!(stem, "lib" | "main") || folder.ends_with("tests") || folder.ends_with("bin") {
            continue;
        }
        let (module, folder) = if stem == "mod" {
            (
                folder.file_name().and_then(|n| n.to_str()).unwrap_or(""),
                folder.parent().unwrap_or(Path::new("")),
            )
        } else {
            (stem, folder)
        };
        let parents = [
            folder.join("lib.rs"),
            folder.join("main.rs"),
            folder.join("mod.rs"),
            folder.with_extension("rs"),
        ];
        let named = parents.iter().filter_map(|p| fs::read_to_string(root.join(p)).ok()).any(|text| {
            text.lines().any(|line| {
                let words = line
                    .trim_start()
                    .trim_start_matches("pub")
                    .trim_start_matches("(crate)")
                    .trim_start_matches("(super)")
                    .trim_start();
                words
                    .strip_prefix("mod ")
                    .is_some_and(|rest| rest.trim_end_matches([';', '{', ' ']) == module)
            })
        });
        // Long tests stand beside their file: `#[path = "x_tests.rs"] mod tests;` in a file of the same folder.
        let by_path = || {
            let attribute = format!("#[path = \"{module}.rs\"]");
            let siblings = files.iter().filter(|f| f.parent() == Some(folder));
            siblings
                .filter_map(|f| fs::read_to_string(root.join(f)).ok())
                .any(|text| text.contains(&attribute))
        };
        if !named && !by_path() {
            problems.push(format!("{}: no parent has `mod {module};`", file.display()));
        }
    }
    Ok(())
}

/// ARCHITECTURE.md names the test that holds each invariant as (test `name`): it must exist.
fn named_tests(root: &Path, files: &[PathBuf], problems: &mut Vec<String>) -> Result<()> {
    let mut functions = BTreeSet::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rs")) {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.display().to_string())?;
        for piece in text.split("fn ").skip(1) {
            functions.insert(piece.split(['(', '<']).next().unwrap_or("").to_owned());
        }
    }
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for piece in text.split("(test `").skip(1) {
        let name = piece.split('`').next().unwrap_or("");
        if !functions.contains(name) {
            problems.push(format!("ARCHITECTURE.md: test `{name}` doesn't exist"));
        }
    }
    Ok(())
}

/// ARCHITECTURE.md names files and folders as `folder/file`, from the root: they must exist.
fn named_paths(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for word in text.split('`').skip(1).step_by(2) {
        let folder = word.split_once('/').map(|(folder, _)| folder);
        let is_path = folder.is_some_and(|folder| root.join(folder).is_dir()) && !word.contains(' ');
        if is_path && !root.join(word).exists() {
            problems.push(format!("ARCHITECTURE.md: {word} isn't there"));
        }
    }
    Ok(())
}
