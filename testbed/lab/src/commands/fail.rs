//! `fail` and `heal`.

use anyhow::bail;
use clap::Args;

use super::{Which, print};
use crate::client::Client;
use crate::fault::{Fault, USAGE};
use crate::protocol::Request;
use crate::{Refusal, Result};

/// `cargo lab fail`.
#[derive(Debug, Args)]
#[command(after_help = USAGE)]
pub(crate) struct Fail {
    /// Kind of fault and its arguments
    #[arg(required = true)]
    fault: Vec<String>,
    /// With partition: only packets from the first set to the second are lost
    #[arg(long)]
    one_way: bool,
    #[command(flatten)]
    which: Which,
}

impl Fail {
    pub(crate) fn run(self) -> Result {
        let fault = Fault::parse(&self.fault, self.one_way)?;
        let client = Client::open(self.which.layout()?)?;
        client.call(&Request::Fail(fault.clone()))?;
        match fault.lasts() {
            true => print(format_args!("{fault}: in force; undo it with: cargo lab heal {fault}")),
            false => print(format_args!("{fault}: done")),
        }
    }
}

/// `cargo lab heal`.
#[derive(Debug, Args)]
pub(crate) struct Heal {
    /// The fault, as it was brought about
    fault: Vec<String>,
    /// Every fault
    #[arg(long, conflicts_with = "fault")]
    all: bool,
    /// With partition
    #[arg(long)]
    one_way: bool,
    #[command(flatten)]
    which: Which,
}

impl Heal {
    pub(crate) fn run(self) -> Result {
        let fault = match (self.fault.is_empty(), self.all) {
            (false, _) => Some(Fault::parse(&self.fault, self.one_way)?),
            (true, true) => None,
            (true, false) => {
                bail!(Refusal::Usage("heal: which fault (cargo lab ls shows them), or --all".to_owned()))
            }
        };
        Client::open(self.which.layout()?)?.call(&Request::Heal(fault)).map(drop)
    }
}
