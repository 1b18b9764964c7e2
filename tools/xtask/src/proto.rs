//! `cargo xtask proto`: the contract is commented, and nothing that was released changes its number or type.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::run::{root, say};

/// What to do with new names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Refuse a difference to the lock.
    Check,
    /// Add what is new to the lock; changed or vanished names stay refused.
    Write,
}

const LOCK: &str = "proto/contract.lock";

/// Checks all `.proto` files.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = root();
    let mut names = BTreeMap::new();
    let mut problems = Vec::new();
    for folder in ["proto/weft/v1", "proto/weft/internal/v1"] {
        for entry in fs::read_dir(root.join(folder)).with_context(|| folder.to_owned())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "proto") {
                scan(&path, &mut names, &mut problems)?;
            }
        }
    }
    let lock = fs::read_to_string(root.join(LOCK)).unwrap_or_default();
    for line in lock.lines() {
        let Some((name, meaning)) = line.split_once(" = ") else { continue };
        match names.get(name) {
            None => problems.push(format!(
                "{name} is gone; keep it, or mark its number reserved and explain in CHANGELOG.md"
            )),
            Some(now) if now != meaning => problems.push(format!("{name} was {meaning} and is {now} now")),
            Some(_) => {}
        }
    }
    if !problems.is_empty() {
        bail!("{} problems in the contract:\n  {}", problems.len(), problems.join("\n  "));
    }
    let text: String = names.iter().map(|(name, meaning)| format!("{name} = {meaning}\n")).collect();
    if text == lock {
        return Ok(());
    }
    if mode == Mode::Check {
        bail!("{LOCK} lacks names that are new; run cargo xtask proto --write");
    }
    fs::write(root.join(LOCK), text).context(LOCK)?;
    say(&format!("{LOCK}: {} names", names.len()));
    Ok(())
}

/// Reads one file line by line: our files hold one declaration a line, each after its comment.
fn scan(path: &Path, names: &mut BTreeMap<String, String>, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let file = path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_owned();
    let mut scope: Vec<String> = Vec::new();
    let mut package = String::new();
    let mut commented = false;
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with("//") {
            commented = true;
            continue;
        }
        let mut need = |what: &str| {
            if !commented {
                problems.push(format!("{file}:{}: {what} has no comment", at + 1));
            }
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["package", name] => package = name.trim_end_matches(';').to_owned(),
            [kind @ ("message" | "service" | "enum" | "oneof"), name, rest @ ..] => {
                need(&format!("{kind} {name}"));
                let name = if *kind == "oneof" { String::new() } else { (*name).to_owned() };
                if rest.last() != Some(&"{}") && !line.ends_with("{}") {
                    scope.push(name);
                }
            }
            ["}"] => drop(scope.pop()),
            ["rpc", call, ..] => {
                need(&format!("rpc {call}"));
                let meaning = line.split_once('(').map_or("", |(_, rest)| rest);
                let call = call.split('(').next().unwrap_or("");
                names.insert(full(&package, &scope, call), format!("({}", meaning.trim_end_matches(';')));
            }
            [.., name, "=", number] if number.ends_with(';') && !scope.is_empty() => {
                need(name);
                let kind = words.get(..words.len() - 3).unwrap_or(&[]).join(" ");
                names.insert(
                    full(&package, &scope, name),
                    format!("{} {kind}", number.trim_end_matches(';')).trim_end().to_owned(),
                );
            }
            _ => {}
        }
        commented = false;
    }
    Ok(())
}

fn full(package: &str, scope: &[String], name: &str) -> String {
    let mut parts = vec![package];
    parts.extend(scope.iter().map(String::as_str).filter(|s| !s.is_empty()));
    parts.push(name);
    parts.join(".")
}
