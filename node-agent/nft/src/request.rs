//! Questions to nf_tables: each one message.

use std::fmt;

use crate::{
    SetRef, TableFamily, TableRef,
    attr::Writer,
    batch::{Frame, frame},
    wire::{self, msg},
};

/// A question. All but `Generation` are answered by several messages and a last one, `Reply::Done`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The generation and who made it.
    Generation,
    /// All tables of a family.
    Tables(TableFamily),
    /// All chains of a family, of every table.
    Chains(TableFamily),
    /// All rules of a table.
    Rules(TableRef),
    /// All sets of a table.
    Sets(TableRef),
    /// All elements of a set.
    Elements(SetRef),
}

impl Request {
    /// The message, with a sequence number that its answers will bear.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut w = Writer::default();
        let (kind, family) = match self {
            Self::Generation => (msg::GETGEN, 0),
            Self::Tables(family) => (msg::GETTABLE, family.number()),
            Self::Chains(family) => (msg::GETCHAIN, family.number()),
            Self::Rules(table) => {
                w.string(1, &table.name);
                (msg::GETRULE, table.family.number())
            }
            Self::Sets(table) => {
                w.string(1, &table.name);
                (msg::GETSET, table.family.number())
            }
            Self::Elements(set) => {
                w.string(1, &set.table.name).string(2, &set.name);
                (msg::GETSETELEM, set.table.family.number())
            }
        };
        let dump = if matches!(self, Self::Generation) { 0 } else { wire::F_DUMP };
        let kind = (wire::SUBSYSTEM << 8) | u16::from(kind);
        let mut out = Vec::new();
        let header = Frame { kind, flags: wire::F_REQUEST | dump, sequence, family, resource: 0 };
        frame(&mut out, header, &w.into_bytes());
        out
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation => f.write_str("the generation"),
            Self::Tables(family) => write!(f, "the list of {family} tables"),
            Self::Chains(family) => write!(f, "the list of {family} chains"),
            Self::Rules(table) => write!(f, "the list of rules of table {table}"),
            Self::Sets(table) => write!(f, "the list of sets of table {table}"),
            Self::Elements(set) => write!(f, "the list of elements of set {set}"),
        }
    }
}
