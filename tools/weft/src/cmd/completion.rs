//! `weft completion SHELL`.

use crate::args::tree;

/// Prints the script.
pub(crate) fn run(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut tree(), "weft", &mut std::io::stdout());
}
