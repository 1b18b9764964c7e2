//! `cargo lab`: the commands of the testbed.

use clap::{Parser, Subcommand};

/// Fabrics out of namespaces.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(hide = true, subcommand)]
    Inside(weft_lab::inside::Role),
}

fn main() -> weft_lab::Result {
    match Cli::parse().command {
        Command::Inside(role) => weft_lab::inside::play(&role),
    }
}
