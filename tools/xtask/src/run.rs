//! Running commands and telling what ran, with its seconds.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// Prints a line of result on standard output.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is the reader's choice, not an error of ours.
    let _ = writeln!(out, "{line}");
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A command in the root of the workspace.
pub(crate) fn command(words: &[&str]) -> Command {
    let (program, args) = words.split_first().map_or(("true", words), |(p, a)| (*p, a));
    let program = if program == "cargo" {
        std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
    } else {
        program.to_owned()
    };
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end; its output goes through.
pub(crate) fn exec(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("can't start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let out =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("can't start {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?} failed: {}", out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("{command:?} printed something that isn't UTF-8"))
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    command(&["cargo", subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs one stage and prints a line with its seconds.
pub(crate) fn stage(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    eprintln!("-- {name}");
    let outcome = work().with_context(|| format!("stage {name}"));
    let word = if outcome.is_ok() { "ok" } else { "FAILED" };
    eprintln!("-- {name}: {word} in {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
