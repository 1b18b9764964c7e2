//! The commands of `cargo lab`: what can be typed, and one file per group of commands.

mod bench;
mod capture;
mod demo;
mod down;
mod fail;
mod kernel;
mod logs;
mod ls;
mod run;
mod soak;
mod up;

use std::fmt::Display;
use std::io::Write;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::layout::Layout;
use crate::{Fabric, Result, inside, probe};

/// Fabrics out of namespaces: real programs, real packets, nothing left behind.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a lab; returns when all is ready
    Up(up::Up),
    /// A pod; prints its addresses
    Run(run::Run),
    /// Detach a pod that `run` attached
    Rm(run::Remove),
    /// Run a program in a pod or on a machine; passes the exit status on
    Exec(run::Exec),
    /// The `weft` command line against this lab
    Ctl(run::Ctl),
    /// Packets of a node or a link as lines
    Capture(capture::Capture),
    /// Bring a fault about
    Fail(fail::Fail),
    /// Undo faults
    Heal(fail::Heal),
    /// Logs of all services, merged by time
    Logs(logs::Logs),
    /// A shell in a pod or on a machine
    Shell(run::Shell),
    /// Labs, or what is in one
    Ls(ls::Ls),
    /// Fetch the kernel for virtual machines
    Kernel,
    /// Measurements
    Bench(bench::Bench),
    /// Services that change for minutes while many clients connect
    Soak(soak::Soak),
    /// End a lab; exit status 1 with a list if anything remains
    Down(down::Down),
    /// Show and prove the product
    Demo(demo::Demo),
    /// Programs that run in pods and on machines and say what they see
    #[command(subcommand)]
    Probe(probe::Probe),
    #[command(hide = true, subcommand)]
    Inside(inside::Role),
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// Name of the lab
    #[arg(long, env = "WEFT_LAB", default_value = "default")]
    name: String,
}

impl Which {
    fn layout(&self) -> Result<Layout> {
        Layout::of(&self.name)
    }
    fn fabric(&self) -> Result<Fabric> {
        Fabric::open(&self.layout()?)
    }
}

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One document.
    Json,
}

/// Runs the command.
pub fn run(cli: Cli) -> Result {
    match cli.command {
        Command::Up(up) => up.run(),
        Command::Run(run) => run.run(),
        Command::Rm(remove) => remove.run(),
        Command::Exec(exec) => exec.run(),
        Command::Ctl(ctl) => ctl.run(),
        Command::Capture(capture) => capture.run(),
        Command::Fail(fail) => fail.run(),
        Command::Heal(heal) => heal.run(),
        Command::Logs(logs) => logs.run(),
        Command::Shell(shell) => shell.run(),
        Command::Ls(ls) => ls.run(),
        Command::Kernel => kernel::run(),
        Command::Bench(bench) => bench.run(),
        Command::Soak(soak) => soak.run(),
        Command::Down(down) => down.run(),
        Command::Demo(demo) => demo.run(),
        Command::Probe(probe) => probe::run(&probe),
        Command::Inside(role) => inside::play(&role),
    }
}

/// A line of the result, on standard output.
pub(crate) fn print(line: impl Display) -> Result {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A document as the result.
pub(crate) fn print_json(document: &Value) -> Result {
    print(serde_json::to_string_pretty(document)?)
}

/// A line about how it goes, on standard error.
pub(crate) fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
