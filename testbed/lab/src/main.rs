//! `cargo lab`: the commands of the testbed.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use weft_lab::{Refusal, commands};

fn main() -> ExitCode {
    let Err(error) = commands::run(commands::Cli::parse()) else { return ExitCode::SUCCESS };
    let refusal = error.downcast_ref::<Refusal>();
    // A reader that has gone wants nothing more; a command that ran inside has said itself what was wrong.
    let gone =
        error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
    if !gone && !matches!(refusal, Some(Refusal::Ended(_))) {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
    }
    ExitCode::from(refusal.map_or(1, Refusal::exit))
}
