//! `cargo xtask VERB`: checks and chores of this repository. A file per verb.
//!
//! Links nothing of Weft and no runtime, so that it starts in seconds.

mod ci;
mod docs;
mod fix;
mod layers;
mod licences;
mod lint;
mod metadata;
mod proto;
mod run;
mod tidy;
mod walk;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask VERB

  ci      every check and every test; what CI runs
  lint    format, clippy (twice), layers, licences, duplicates, tidy, contract
  fix     regenerates: format, contract lock, reference pages
  proto   checks the contract: comments, numbers, compatibility with proto/contract.lock (--write adds what is new)
  docs    checks that docs/reference agrees with the built binaries (--write regenerates)
  tidy    only the text checks of lint: fast";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["ci"] => ci::run(),
        ["lint"] => lint::run(),
        ["fix"] => fix::run(),
        ["tidy"] => tidy::run(),
        ["proto"] => proto::run(proto::Mode::Check),
        ["proto", "--write"] => proto::run(proto::Mode::Write),
        ["docs"] => docs::run(docs::Mode::Check),
        ["docs", "--write"] => docs::run(docs::Mode::Write),
        ["help" | "--help" | "-h"] => {
            run::say(USAGE);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
