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
        let flag = match client.layout().name() {
            "default" => String::new(),
            name => format!(" --name {name}"),
        };
        match fault.lasts() {
            true => print(format_args!(
                "{fault}: in force; undo it with: cargo lab heal{flag} {}",
                pasted(&fault)
            )),
            false => print(format_args!("{fault}: done")),
        }
    }
}

/// The fault's words as a shell takes them: a partition has a bar in it.
fn pasted(fault: &Fault) -> String {
    let quoted = |word: &str| if word.contains('|') { format!("'{word}'") } else { word.to_owned() };
    fault.to_string().split(' ').map(quoted).collect::<Vec<_>>().join(" ")
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
        let client = Client::open(self.which.layout()?)?;
        let before = client.describe()?.faults;
        client.call(&Request::Heal(fault))?;
        let left = client.describe()?.faults;
        if before.is_empty() {
            return print(format_args!("no fault is in force"));
        }
        before
            .iter()
            .filter(|fault| !left.contains(fault))
            .try_for_each(|f| print(format_args!("{f}: healed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_pasted_into_a_shell() {
        let set = |name: &str| [name.to_owned()].into();
        let fault = Fault::Partition { from: set("n1"), to: set("n2"), one_way: true };
        assert_eq!(pasted(&fault), "partition 'n1|n2' --one-way");
        assert_eq!(pasted(&Fault::Pause("n1".to_owned())), "pause n1");
    }
}
