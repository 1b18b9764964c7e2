//! The commands, a file each: what was typed → a call → what is printed.

mod apply;
mod check;
mod completion;
mod context;
mod delete;
mod describe;
mod explain;
mod get;
mod init;
mod ipam;
mod node;
mod ping;
mod pod;
mod reference;
mod status;
mod token;
mod wait;

use crate::{
    args::{Command, Global},
    client::Session,
    fail::Outcome,
    output::Printer,
};

/// What every command gets.
pub(crate) struct Run {
    /// Options of every command.
    pub(crate) global: Global,
    /// Where results go.
    pub(crate) printer: Printer,
}

impl Run {
    /// Calls to the control plane, by the chosen context.
    pub(crate) fn session(&self) -> Outcome<Session> {
        Session::open(&self.global)
    }
}

/// Runs one command.
pub(crate) async fn run(command: Command, run: Run) -> Outcome {
    match command {
        Command::Init(args) => init::run(&args, &run).await,
        Command::Token(args) => token::run(args, &run).await,
        Command::Get(args) => get::run(&args, &run).await,
        Command::Apply(args) => apply::run(&args, &run).await,
        Command::Delete(args) => delete::run(&args, &run).await,
        Command::Describe(args) => describe::run(&args, &run).await,
        Command::Status => status::run(&run).await,
        Command::Check(args) => check::run(&args, &run).await,
        Command::Wait(args) => wait::run(&args, &run).await,
        Command::Node(args) => node::run(args, &run).await,
        Command::Pod(args) => pod::run(args, &run).await,
        Command::Ipam(args) => ipam::run(args, &run).await,
        Command::Ping(args) => ping::run(&args, &run).await,
        Command::Context(args) => context::run(args, &run).await,
        Command::Explain(args) => explain::run(&args, &run),
        Command::Completion { shell } => {
            completion::run(shell);
            Ok(())
        }
        Command::Version => {
            crate::output::out(concat!("weft ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Reference { page } => reference::run(&page),
    }
}

/// Asks on a terminal before something is destroyed; off one, `--yes` must have been given.
pub(crate) fn confirm(what: &str, yes: bool) -> Outcome {
    use std::io::{BufRead, IsTerminal, Write};
    if yes {
        return Ok(());
    }
    let refused = || {
        weft_errors::Error::new(&weft_errors::CONFIRMATION_MISSING, format!("{what}: not confirmed"))
            .try_this("confirm on the command line", "--yes")
            .into()
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    let _ = write!(std::io::stderr().lock(), "{what}? Type yes: ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == "yes" { Ok(()) } else { Err(refused()) }
}
