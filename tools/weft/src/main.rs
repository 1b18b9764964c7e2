//! `weft`: the administrator's command line.

mod args;
mod bug;
mod client;
mod cmd;
mod context;
mod fail;
mod output;
mod table;
mod usage;

use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

use clap::error::ErrorKind;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use weft_errors::{Error, ExitCode as ExitStatus, INTERNAL, INTERRUPTED};

use crate::{
    args::{Cli, Color, Command},
    cmd::Run,
    fail::{Failure, Outcome},
    output::Printer,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(found) => return misused(&found, &arguments),
    };
    let color = colored(cli.global.color);
    let printer = Printer {
        format: cli.global.output,
        no_headers: cli.global.no_headers,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose,
    };
    let outcome = bug::caught(|| run(cli, printer));
    end(outcome, printer.json(), color)
}

/// Help goes to stdout and is a success; anything else is wrong use, said in the form that was asked for.
fn misused(found: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if found.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !usage::wants_json(arguments) {
        // A newcomer who typed nothing gets what there is; a closed output is the reader's choice.
        let _ = found.print();
        return ExitCode::from(ExitStatus::Usage as u8);
    }
    match usage::error_of(found, arguments) {
        Some(error) => end(Err(error.into()), usage::wants_json(arguments), colored(Color::Auto)),
        None => {
            // A closed output is the reader's choice.
            let _ = found.print();
            ExitCode::SUCCESS
        }
    }
}

fn end(outcome: Outcome, json: bool, color: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(json, color);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Errors go to stderr, so its terminal decides.
fn colored(choice: Color) -> bool {
    let unwanted = || {
        std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb")
    };
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && !unwanted(),
    }
}

fn run(cli: Cli, printer: Printer) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::new(&INTERNAL, "the runtime can't start").because(error))?;
    runtime.block_on(async {
        let deadline = Instant::now() + cli.global.timeout;
        // Who only looks knows what Ctrl-C did.
        let looks = matches!(cli.command, Command::Get(_) | Command::Status | Command::Explain(_));
        tokio::select! {
            outcome = cmd::run(cli.command, Run { global: cli.global, printer, deadline }) => outcome,
            () = interrupted() => match looks {
                true => Err(Failure::Answer(ExitStatus::Interrupted)),
                false => Err(Failure::new(&INTERRUPTED, "the command was interrupted")),
            },
        }
    })
}

/// Returns on Ctrl-C or SIGTERM; never when the kernel doesn't tell about signals.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminate.recv() => {}
        else => std::future::pending().await,
    }
}
