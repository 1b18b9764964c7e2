//! Tables, chains, rules and sets as values.
//!
//! They are what Weft wants; what the kernel has comes back in the same types (`observed.rs`), so that the two can be compared.

use std::fmt;

use crate::{DataType, Statement, Value};

/// Family of a table (`NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 and IPv6 together.
    Inet,
    /// IPv4 alone: tables of others.
    Ip,
    /// IPv6 alone: tables of others.
    Ip6,
    /// ARP.
    Arp,
    /// Frames that pass a bridge.
    Bridge,
}

impl TableFamily {
    /// Number on the wire.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
            Self::Arp => 3,
            Self::Bridge => 7,
        }
    }

    /// From the number on the wire; `None` for families that Weft never looks at.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inet),
            2 => Some(Self::Ip),
            10 => Some(Self::Ip6),
            3 => Some(Self::Arp),
            7 => Some(Self::Bridge),
            _ => None,
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
        })
    }
}

/// Which table: `inet weft`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableRef {
    /// Its family.
    pub family: TableFamily,
    /// Its name.
    pub name: String,
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Which set or map: `inet weft fabric4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetRef {
    /// The table it is in.
    pub table: TableRef,
    /// Its name.
    pub name: String,
}

impl fmt::Display for SetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// A table with its constant part: sets without elements, chains with their rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Family and name.
    pub id: TableRef,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// The set of a name.
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.sets.iter().find(|s| s.name == name)
    }
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Decides about packets.
    Filter,
    /// Translates addresses; sees only the first packet of a connection.
    Nat,
    /// As `Filter`, and routes a local packet anew when its mark changed.
    Route,
}

impl ChainKind {
    /// Name on the wire and in text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// Where a base chain stands. The numbers are those of `NF_INET_*`, `NF_BR_*` and, for ARP, `NF_ARP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Everything that comes in.
    Prerouting,
    /// What is for this machine.
    Input,
    /// What goes through.
    Forward,
    /// What this machine sends.
    Output,
    /// Everything that goes out.
    Postrouting,
}

impl Hook {
    /// Number on the wire in a family; ARP has hooks of its own (`NF_ARP_IN` 0, `NF_ARP_OUT` 1).
    pub(crate) const fn number(self, family: TableFamily) -> u32 {
        match (family, self) {
            (TableFamily::Arp, Self::Input) => 0,
            (TableFamily::Arp, Self::Output) => 1,
            (_, Self::Prerouting) => 0,
            (_, Self::Input) => 1,
            (_, Self::Forward) => 2,
            (_, Self::Output) => 3,
            (_, Self::Postrouting) => 4,
        }
    }

    /// Name in text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

/// What happens to a packet that reaches the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It ends here.
    Drop,
}

impl Policy {
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its kind.
    pub kind: ChainKind,
    /// Its hook.
    pub hook: Hook,
    /// Its place among the chains of the hook, lower first.
    pub priority: i32,
    /// What happens at its end.
    pub policy: Policy,
}

/// A chain: a base chain, or one that others jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; `None`: only by jump or goto.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule: statements in order, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Matches, then what to do.
    pub statements: Vec<Statement>,
    /// Shown by `nft list ruleset`; at most `limits::COMMENT_BYTES` bytes are kept. Empty: none.
    pub comment: &'static str,
}

/// What a map gives for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapData {
    /// A verdict: accept, drop, jump, goto.
    Verdict,
    /// A value of a type.
    Value(DataType),
    /// Values of these types side by side.
    Values(&'static [DataType]),
}

/// A set or map, without its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Types of the key's fields; more than one is a concatenation.
    pub key: Vec<DataType>,
    /// What a map gives; `None` for a set.
    pub data: Option<MapData>,
    /// Keys are ranges. In a concatenation only for what seldom changes: the kernel copies such a set per transaction.
    pub interval: bool,
    /// Most elements; lets the kernel choose a table of fixed size. A range of an interval set counts as two. 0: no limit, the
    /// kernel's table grows with what it holds.
    pub size: u32,
    /// Elements vanish after their time.
    pub timeouts: bool,
    /// Rules may add elements.
    pub dynamic: bool,
    /// What each element does when a packet is looked up and it is the one: [`Statement::Counter`], [`Statement::Limit`]. Where a limit
    /// says no, the rule that looked ends. Each has numbers of its own, which stay as long as it does.
    pub each: &'static [Statement],
}

impl Set {
    /// A plain set of exact keys.
    pub fn exact(name: &str, key: &[DataType], size: u32) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_vec(),
            data: None,
            interval: false,
            size,
            timeouts: false,
            dynamic: false,
            each: &[],
        }
    }

    /// A set of ranges.
    pub fn ranges(name: &str, key: &[DataType], size: u32) -> Self {
        Self { interval: true, ..Self::exact(name, key, size) }
    }

    /// A map of exact keys.
    pub fn map(name: &str, key: &[DataType], data: MapData, size: u32) -> Self {
        Self { data: Some(data), ..Self::exact(name, key, size) }
    }

    /// Length of the key in bytes: each field of a concatenation is padded to 4.
    pub(crate) fn key_bytes(&self) -> usize {
        match self.key.as_slice() {
            [one] => one.bytes(),
            fields => fields.iter().map(|t| t.bytes().next_multiple_of(4)).sum(),
        }
    }

    /// Whether the key has more than one field.
    pub(crate) fn is_concatenation(&self) -> bool {
        self.key.len() > 1
    }
}

/// What an element of a map gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// A verdict.
    Verdict(Verdict),
    /// A value.
    Value(Value),
    /// Values side by side.
    Values(Vec<Value>),
}

/// One element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// A value per field of the key.
    pub key: Vec<Value>,
    /// What a map gives; `None` in a set.
    pub data: Option<Data>,
    /// Life in milliseconds, in sets with time-outs.
    pub timeout_ms: Option<u64>,
}

impl Element {
    /// An element of a set.
    pub const fn of(key: Vec<Value>) -> Self {
        Self { key, data: None, timeout_ms: None }
    }

    /// An element of a map.
    pub const fn to(key: Vec<Value>, data: Data) -> Self {
        Self { key, data: Some(data), timeout_ms: None }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.key)?;
        if let Some(ms) = self.timeout_ms {
            write!(f, " timeout {}", Milliseconds(ms))?;
        }
        match &self.data {
            None => Ok(()),
            Some(Data::Verdict(verdict)) => write!(f, " : {verdict}"),
            Some(Data::Value(value)) => write!(f, " : {value}"),
            Some(Data::Values(values)) => {
                f.write_str(" : ")?;
                write_joined(f, values)
            }
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, values: &[Value]) -> fmt::Result {
    for (i, value) in values.iter().enumerate() {
        let separator = if i == 0 { "" } else { " . " };
        write!(f, "{separator}{value}")?;
    }
    Ok(())
}

/// A duration as the `nft` program writes it: `1h30m`, `5s`, `250ms`.
pub(crate) struct Milliseconds(pub(crate) u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let parts = [(ms / 86_400_000, "d"), (ms / 3_600_000 % 24, "h"), (ms / 60_000 % 60, "m")];
        let parts = parts.into_iter().chain([(ms / 1000 % 60, "s"), (ms % 1000, "ms")]);
        parts.filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

/// What a rule or a map says about a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Done with this base chain.
    Accept,
    /// Gone.
    Drop,
    /// On with the named chain, then back.
    Jump(String),
    /// On with the named chain, without return.
    Goto(String),
    /// Back to the caller.
    Return,
}

impl Verdict {
    /// Number on the wire (`enum nft_verdicts`, `NF_DROP`, `NF_ACCEPT`).
    pub(crate) const fn number(&self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => (-3_i32).cast_unsigned(),
            Self::Goto(_) => (-4_i32).cast_unsigned(),
            Self::Return => (-5_i32).cast_unsigned(),
        }
    }

    /// From the wire; `None` for verdicts that Weft never uses.
    pub(crate) fn from_number(number: u32, chain: String) -> Option<Self> {
        Some(match number.cast_signed() {
            0 => Self::Drop,
            1 => Self::Accept,
            -3 => Self::Jump(chain),
            -4 => Self::Goto(chain),
            -5 => Self::Return,
            _ => return None,
        })
    }

    /// The chain it leads to.
    pub(crate) fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Return => f.write_str("return"),
        }
    }
}
