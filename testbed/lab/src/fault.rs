//! The faults that a lab can bring about, and how they are written on a command line. Pure.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::{Refusal, Result};

/// The two ends of a path across the switch; one end alone is that machine's own link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// A machine.
    pub a: String,
    /// The other machine, if it is a path.
    pub b: Option<String>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A node or replica is killed and held down; its disk stays.
    KillMachine(String),
    /// A service is killed; the init starts it again: machine, service.
    KillProcess(String, String),
    /// A service is killed and held down: machine, service.
    StopProcess(String, String),
    /// Every process of a machine is stopped (SIGSTOP).
    Pause(String),
    /// No packet between two sets, or only none from the first to the second.
    Partition {
        /// One side.
        from: BTreeSet<String>,
        /// The other.
        to: BTreeSet<String>,
        /// Packets from `to` still reach `from`.
        one_way: bool,
    },
    /// A link is down, or a path lets nothing through.
    Cut(Link),
    /// A share of the packets of a link or path is lost, in percent.
    Drop(Link, u8),
    /// The MTU of a link, in bytes.
    Mtu(Link, u32),
    /// Every nf_tables table of a node is deleted.
    FlushNft(String),
    /// A link of a node is deleted: node, interface.
    DeleteLink(String, String),
}

impl Fault {
    /// Reads `KIND ARGUMENT…` as on the command line.
    pub fn parse(words: &[String], one_way: bool) -> Result<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let fault = match words.as_slice() {
            ["kill-node" | "kill-replica", name] => Self::KillMachine((*name).to_owned()),
            ["kill-process", name, process] => Self::KillProcess((*name).to_owned(), (*process).to_owned()),
            ["stop-process", name, process] => Self::StopProcess((*name).to_owned(), (*process).to_owned()),
            ["pause", name] => Self::Pause((*name).to_owned()),
            ["partition", sides] => partition(sides, one_way)?,
            ["cut", link] => Self::Cut(Link::parse(link)?),
            ["drop", link, percent] => {
                Self::Drop(Link::parse(link)?, u8::try_from(number(percent, 1, 100)?)?)
            }
            ["mtu", link, bytes] => Self::Mtu(Link::parse(link)?, number(bytes, 576, 65535)?),
            ["flush-nft", name] => Self::FlushNft((*name).to_owned()),
            ["delete-link", name, link] => Self::DeleteLink((*name).to_owned(), (*link).to_owned()),
            _ => bail!(Refusal::Usage(format!("no fault {:?}; {USAGE}", words.join(" ")))),
        };
        if one_way && !matches!(fault, Self::Partition { .. }) {
            bail!(Refusal::Usage("--one-way belongs to partition".to_owned()));
        }
        Ok(fault)
    }

    /// Whether it stays until healed; the others happen once.
    pub fn lasts(&self) -> bool {
        !matches!(self, Self::KillProcess(..) | Self::FlushNft(_) | Self::DeleteLink(..))
    }
}

/// All forms, for error messages and help.
pub const USAGE: &str = "one of: kill-node N, kill-replica R, kill-process N agent|tunnel|weftd, stop-process N agent|tunnel|weftd, \
pause N, partition 'n1,n2|n3' [--one-way], cut LINK, drop LINK PCT, mtu LINK BYTES, flush-nft N, delete-link N NAME; \
LINK is a machine (its own link) or two, as n1-n2";

impl Link {
    /// `n1`, or `n1-n2`. A replica's name holds a `-` itself: `cp-1-n2` is the path between cp-1 and n2.
    pub fn parse(text: &str) -> Result<Self> {
        let (a, rest) = split_machine(text);
        let b = match rest {
            "" => None,
            rest => {
                let (b, more) = split_machine(rest);
                if !more.is_empty() || b.is_empty() {
                    bail!(Refusal::Usage(format!("link {text:?}: a machine, or two as n1-n2")));
                }
                Some(b.to_owned())
            }
        };
        Ok(Self { a: a.to_owned(), b })
    }

    /// The machines at its ends.
    pub fn ends(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.a.as_str()).chain(self.b.as_deref())
    }
}

/// Cuts the first machine's name off `text`: `cp-N` counts as one.
fn split_machine(text: &str) -> (&str, &str) {
    let from = if text.starts_with("cp-") { 3 } else { 0 };
    match text[from..].find('-') {
        Some(at) => (&text[..from + at], &text[from + at + 1..]),
        None => (text, ""),
    }
}

fn partition(sides: &str, one_way: bool) -> Result<Fault> {
    let side = |text: &str| -> BTreeSet<String> {
        text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
    };
    let Some((from, to)) = sides.split_once('|') else {
        bail!(Refusal::Usage(format!("partition {sides:?}: two sets as 'n1,n2|n3'")));
    };
    let (from, to) = (side(from), side(to));
    if from.is_empty() || to.is_empty() || !from.is_disjoint(&to) {
        bail!(Refusal::Usage(format!("partition {sides:?}: two disjoint sets, neither empty")));
    }
    Ok(Fault::Partition { from, to, one_way })
}

fn number(text: &str, least: u32, most: u32) -> Result<u32> {
    match text.trim_end_matches('%').parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => bail!(Refusal::Usage(format!("{text:?} is no number from {least} to {most}"))),
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.b {
            Some(b) => write!(f, "{}-{b}", self.a),
            None => f.write_str(&self.a),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillMachine(name) if name.starts_with("cp-") => write!(f, "kill-replica {name}"),
            Self::KillMachine(name) => write!(f, "kill-node {name}"),
            Self::KillProcess(name, process) => write!(f, "kill-process {name} {process}"),
            Self::StopProcess(name, process) => write!(f, "stop-process {name} {process}"),
            Self::Pause(name) => write!(f, "pause {name}"),
            Self::Partition { from, to, one_way } => {
                let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
                write!(f, "partition {}|{}{}", list(from), list(to), if *one_way { " --one-way" } else { "" })
            }
            Self::Cut(link) => write!(f, "cut {link}"),
            Self::Drop(link, percent) => write!(f, "drop {link} {percent}"),
            Self::Mtu(link, bytes) => write!(f, "mtu {link} {bytes}"),
            Self::FlushNft(name) => write!(f, "flush-nft {name}"),
            Self::DeleteLink(name, link) => write!(f, "delete-link {name} {link}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Fault> {
        let words: Vec<String> = line.split(' ').filter(|w| *w != "--one-way").map(str::to_owned).collect();
        Fault::parse(&words, line.contains("--one-way"))
    }

    #[test]
    fn a_fault_reads_back_as_it_was_written() {
        for line in [
            "kill-node n1",
            "kill-replica cp-2",
            "kill-process n1 agent",
            "stop-process n1 tunnel",
            "pause n2",
            "partition n1,n2|n3",
            "partition n1|n3 --one-way",
            "cut n1-n2",
            "cut n1",
            "drop cp-1-n2 30",
            "mtu n2 1300",
            "flush-nft n1",
            "delete-link n1 weftbr0",
        ] {
            assert_eq!(parse(line).unwrap().to_string(), line);
        }
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused() {
        for line in [
            "",
            "cut",
            "cut n1-n2-n3",
            "drop n1 0",
            "drop n1 x",
            "mtu n1 9",
            "partition n1",
            "partition n1|n1",
            "cut n1 --one-way",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
