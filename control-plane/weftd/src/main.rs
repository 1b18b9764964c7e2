//! The control-plane daemon: `init`, `join`, `run`.
//!
//! In: the command line, `/etc/weft/weftd.toml`, the environment. Not here: what a replica does (weft-server).

mod args;
mod config;
mod context_file;
mod init;
mod join;
mod listen;
mod output;
mod run;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Init(args) => init::run(args),
        Command::Join(args) => join::run(args),
        Command::Run(args) => run::run(args),
    };
    output::end(outcome, cli.command.format())
}
