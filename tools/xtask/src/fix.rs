//! `cargo xtask fix`: the one command that regenerates what is generated.

use anyhow::Result;

use crate::{
    docs, proto,
    run::{command, exec},
};

/// Format, contract lock, reference pages.
pub(crate) fn run() -> Result<()> {
    exec(command(&["cargo", "fmt", "--all"]))?;
    proto::run(proto::Mode::Write)?;
    docs::run(docs::Mode::Write)
}
