//! `cargo xtask ci`: every check and every test, a line per stage with its seconds.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::{
    docs, lint, metadata,
    run::{command, exec, has_cargo, say, stage},
};

/// Runs all stages; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    lint::run()?;
    stage("build", || exec(command(&["cargo", "build", "--workspace", "--bins"])))?;
    stage("reference pages", || docs::run(docs::Mode::Check))?;
    // The lab takes the programs that were just built instead of building them once more by themselves.
    let programs = metadata::load()?.target_directory.join("debug");
    stage("unit, property, kernel and simulation tests", || {
        tests(&["--workspace", "--exclude", "weft-e2e"], &programs)
    })?;
    // One process for the whole suite: its tests share fabrics, which nextest's process per test could not.
    stage("end-to-end tests in the lab", || {
        run_tests([&END_TO_END[..], &["--", "--skip", VIRTUAL]].concat(), &programs)
    })?;
    // Emulated machines need the processors for themselves. Without qemu each test says that it isn't run.
    stage("end-to-end tests on virtual machines", || {
        run_tests([&END_TO_END[..], &[VIRTUAL, "--", "--test-threads", "1"]].concat(), &programs)
    })?;
    say(&format!("ci: all stages passed in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

const END_TO_END: [&str; 7] = ["cargo", "test", "--no-fail-fast", "-p", "weft-e2e", "--test", "e2e"];
/// The module of the tests on virtual machines.
const VIRTUAL: &str = "vm::";

/// nextest where it is installed (its profile groups the lab tests), `cargo test` otherwise.
fn tests(selection: &[&str], programs: &Path) -> Result<()> {
    let nextest = has_cargo("nextest");
    let mut words = if nextest {
        vec!["cargo", "nextest", "run", "--profile", "ci", "--no-tests", "fail"]
    } else {
        vec!["cargo", "test", "--no-fail-fast"]
    };
    words.extend_from_slice(selection);
    run_tests(words, programs)
}

/// Runs a test command with the programs that labs are to take.
fn run_tests(mut words: Vec<&str>, programs: &Path) -> Result<()> {
    if !is_root()? {
        // Tests make network namespaces: an ordinary user may, as root of a user namespace of its own.
        words.splice(0..0, ["unshare", "--user", "--map-root-user", "--mount", "--"]);
    }
    let mut run = command(&words);
    run.env("WEFT_LAB_BIN", programs);
    exec(run)
}

/// Whether this process is root here (`proc_pid_status(5)`, `Uid`: real, effective, …).
fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let ids =
        status.lines().find_map(|line| line.strip_prefix("Uid:")).context("/proc/self/status has no Uid")?;
    Ok(ids.split_whitespace().nth(1) == Some("0"))
}
