//! The commands, a file each: what was typed → a call → what is printed.

mod apply;
mod change;
mod check;
mod columns;
mod completion;
mod context;
mod create;
mod defaults;
mod delete;
mod describe;
mod diff;
mod dns;
mod endpoints;
mod env;
mod events;
mod explain;
mod flows;
mod get;
mod init;
mod ipam;
mod kinds;
mod local;
mod node;
mod ping;
mod pod;
mod pod_spec;
mod policy;
mod preflight;
mod reference;
mod schema;
mod service;
mod status;
mod token;
mod trace;
mod version;
mod wait;

use std::io::{BufRead, IsTerminal, Write};

use tokio::time::Instant;
use weft_errors::{CONFIRMATION_MISSING, Error, Remedy};

use crate::{
    args::{Command, ContextCommand, Global, Ipam, Node, Pod, Service, Token},
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
    /// When the command's time is up.
    pub(crate) deadline: Instant,
}

impl Run {
    /// Calls to the control plane, by the chosen context.
    pub(crate) fn session(&self) -> Outcome<Session> {
        Session::open(self)
    }
}

/// Runs one command. A noun without a verb lists.
pub(crate) async fn run(command: Command, run: Run) -> Outcome {
    match command {
        Command::Init(args) => init::run(&args, &run).await,
        Command::Token { command } => token::run(command.unwrap_or(Token::List), &run).await,
        Command::Get(args) => get::run(&args, &run).await,
        Command::Apply(args) => apply::run(&args, &run).await,
        Command::Diff(args) => diff::run(&args, &run).await,
        Command::Delete(args) => delete::run(&args, &run).await,
        Command::Create { command } => create::run(command, &run).await,
        Command::Service { command } => {
            let list = Service::List { selector: String::new(), all_namespaces: false };
            service::run(command.unwrap_or(list), &run).await
        }
        Command::Describe(args) => describe::run(&args, &run).await,
        Command::Status => status::run(&run).await,
        Command::Check(args) => check::run(&args, &run).await,
        Command::Wait(args) => wait::run(&args, &run).await,
        Command::Node { command } => node::run(command.unwrap_or(Node::List), &run).await,
        Command::Pod { command } => {
            let list = Pod::List { selector: String::new(), all_namespaces: false };
            pod::run(command.map_or(list, |command| *command), &run).await
        }
        Command::Policy { command } => policy::run(command, &run).await,
        Command::Ipam { command } => ipam::run(command.unwrap_or(Ipam::Show), &run).await,
        Command::Ping(args) => ping::run(&args, &run).await,
        Command::Trace(args) => trace::run(&args, &run).await,
        Command::Dns(args) => dns::run(&args, &run).await,
        Command::Env(args) => env::run(&args, &run).await,
        Command::Flows(args) => flows::run(&args, &run).await,
        Command::Context { command } => context::run(command.unwrap_or(ContextCommand::List), &run).await,
        Command::Explain(args) => explain::run(&args, &run),
        Command::Completion { shell } => {
            completion::run(shell);
            Ok(())
        }
        Command::Version => version::run(&run).await,
        Command::Reference { page } => reference::run(&page),
    }
}

/// Asks on a terminal before something is destroyed, where `word` must be typed; off one, `--yes` must have been given.
pub(crate) fn confirm(what: &str, word: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    let refused = || {
        Error::new(&CONFIRMATION_MISSING, format!("{what}: not confirmed"))
            .try_this("repeat the command with --yes", "")
            .into()
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    // A closed stderr is the reader's choice.
    let _ = write!(std::io::stderr().lock(), "{what}? Type {word}: ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == word { Ok(()) } else { Err(refused()) }
}

/// Puts the known name that is spelt alike (at most two edits) before what else can be tried.
pub(crate) fn did_you_mean<'a>(
    mut error: Error,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let word = word.to_lowercase();
    let near = known
        .into_iter()
        .map(|name| (strsim::levenshtein(&name.to_lowercase(), &word), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.chars().count())
        .min();
    if let Some((_, name)) = near {
        let remedy = Remedy { text: format!("did you mean {name}?"), command: String::new() };
        error.remedy.insert(0, remedy);
    }
    error
}

#[cfg(test)]
mod tests {
    use weft_errors::NOT_FOUND;

    use super::*;

    #[test]
    fn only_names_that_are_spelt_alike_are_suggested() {
        let first = |word: &str| {
            let error = did_you_mean(Error::new(&NOT_FOUND, "x"), word, ["web-0", "db", "n1"]);
            error.remedy.first().map(|r| r.text.clone()).unwrap_or_default()
        };
        assert_eq!(first("wbe-0"), "did you mean web-0?");
        assert_eq!(first("N2"), "did you mean n1?");
        assert_eq!(first("xy"), "list what there is with weft get", "nothing of db or n1 is left in it");
    }
}
