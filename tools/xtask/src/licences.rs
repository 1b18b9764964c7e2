//! Licences, duplicate versions and the size of the dependency tree, against deny.toml.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{metadata, run::root};

/// More packages than this in the lock file need a decision (CONTRIBUTING.md).
const MOST_PACKAGES: usize = 410;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    allow: BTreeSet<String>,
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
    deny: Vec<Denied>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Denied {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// Checks what deny.toml says without needing cargo-deny.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let built = metadata::built()?;
    let mut problems = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &built {
        versions.entry(&package.name).or_default().insert(&package.version);
        let exception = deny.licenses.exceptions.iter().find(|e| e.name == package.name).map(|e| &e.allow);
        let known = |id: &str| deny.licenses.allow.contains(id) || exception.is_some_and(|e| e.contains(id));
        if !allowed(&package.licence, &known) {
            problems.push(format!(
                "{} {}: licence {:?} isn't allowed",
                package.name, package.version, package.licence
            ));
        }
        if package.from_git {
            problems.push(format!("{} comes from git; take a released version", package.name));
        }
    }
    for denied in deny.bans.deny.iter().filter(|denied| versions.contains_key(denied.name.as_str())) {
        problems.push(format!("{} must not be in the tree: {}", denied.name, denied.reason));
    }
    for (name, versions) in versions.iter().filter(|(_, v)| v.len() > 1) {
        if !deny.bans.skip.iter().any(|s| s.name == *name && !s.reason.is_empty()) {
            let list = versions.iter().copied().collect::<Vec<_>>().join(", ");
            problems.push(format!(
                "{name} is there in versions {list}; unify it, or add it to [bans] skip with a reason"
            ));
        }
    }
    for skip in &deny.bans.skip {
        if versions.get(skip.name.as_str()).is_none_or(|v| v.len() < 2) {
            problems.push(format!("deny.toml skips {}, which is there once or not at all", skip.name));
        }
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock")?;
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    eprintln!("   {packages} packages in Cargo.lock (at most {MOST_PACKAGES})");
    if packages > MOST_PACKAGES {
        problems.push(format!("{packages} packages in Cargo.lock: more than {MOST_PACKAGES}"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n  "))
}

/// Evaluates an SPDX expression: OR of ANDs, with parentheses; `WITH` belongs to its licence; `/` is an old OR.
fn allowed(expression: &str, known: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (value, rest) = any(&tokens, known);
    value && rest.is_empty()
}

fn any<'a>(tokens: &'a [&'a str], known: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = all(tokens, known);
    while let Some(("OR", tail)) = rest.split_first().map(|(t, tail)| (*t, tail)) {
        let (other, after) = all(tail, known);
        value |= other;
        rest = after;
    }
    (value, rest)
}

fn all<'a>(tokens: &'a [&'a str], known: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = one(tokens, known);
    while let Some(("AND", tail)) = rest.split_first().map(|(t, tail)| (*t, tail)) {
        let (other, after) = one(tail, known);
        value &= other;
        rest = after;
    }
    (value, rest)
}

fn one<'a>(tokens: &'a [&'a str], known: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    match tokens {
        ["(", rest @ ..] => {
            let (value, rest) = any(rest, known);
            match rest {
                [")", rest @ ..] => (value, rest),
                _ => (false, rest),
            }
        }
        [id, "WITH", exception, rest @ ..] => (known(&format!("{id} WITH {exception}")) || known(id), rest),
        [id, rest @ ..] => (known(id), rest),
        [] => (false, tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_evaluated() {
        let known = |id: &str| matches!(id, "MIT" | "Apache-2.0" | "ISC");
        for (expression, good) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-or-later", false),
            ("MIT AND GPL-3.0", false),
            ("ISC AND (Apache-2.0 OR GPL-2.0)", true),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("", false),
            ("(MIT", false),
        ] {
            assert_eq!(allowed(expression, &known), good, "{expression}");
        }
    }
}
