//! `weft`: the administrator's command line.

mod args;
mod client;
mod cmd;
mod context;
mod fail;
mod output;
mod table;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;

use crate::{
    args::{Cli, Color},
    cmd::Run,
    output::Printer,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = match cli.global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    let printer =
        Printer { format: cli.global.output, no_headers: cli.global.no_headers, quiet: cli.global.quiet };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: can't start: {error}");
            return ExitCode::from(weft_errors::ExitCode::Bug as u8);
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = cmd::run(cli.command, Run { global: cli.global, printer }) => outcome,
            _ = tokio::signal::ctrl_c() => Err(fail::Failure::Answer(weft_errors::ExitCode::Interrupted)),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(printer.json(), color);
            ExitCode::from(failure.exit() as u8)
        }
    }
}
