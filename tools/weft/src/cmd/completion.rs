//! `weft completion SHELL`.

use clap::CommandFactory;

use crate::args::Cli;

/// Prints the script.
pub(crate) fn run(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "weft", &mut std::io::stdout());
}
