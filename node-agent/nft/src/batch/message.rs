//! One message of a transaction and the object behind it.

use std::fmt;

use crate::{
    Chain, DataType, Element, MapData, Rule, Set, SetRef, TableRef,
    attr::Writer,
    limits, lower,
    wire::{self, msg},
};

/// Attributes of tables, chains, rules and sets (`linux/netfilter/nf_tables.h`).
pub(crate) mod attrs {
    pub(crate) const TABLE_NAME: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const CHAIN_TABLE: u16 = 1;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const CHAIN_FLAGS: u16 = 10;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const RULE_TABLE: u16 = 1;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_USERDATA: u16 = 7;
    pub(crate) const SET_TABLE: u16 = 1;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LEN: u16 = 5;
    pub(crate) const SET_DATA_TYPE: u16 = 6;
    pub(crate) const SET_DATA_LEN: u16 = 7;
    pub(crate) const SET_DESC: u16 = 9;
    pub(crate) const SET_ID: u16 = 10;
    pub(crate) const SET_USERDATA: u16 = 13;
    /// `NFTA_SET_EXPR`: where elements have one expression the kernel says so.
    pub(crate) const SET_EXPRESSION: u16 = 17;
    pub(crate) const SET_EXPRESSIONS: u16 = 18;
    pub(crate) const DESC_SIZE: u16 = 1;
    pub(crate) const DESC_CONCAT: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;
    pub(crate) const LIST_ELEM: u16 = 1;
    /// `NFTNL_UDATA_RULE_COMMENT`.
    pub(crate) const COMMENT: u8 = 0;
}

/// What a message of a transaction is about: an error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table(TableRef),
    /// A chain of a table.
    Chain(TableRef, String),
    /// A rule: table, chain, position from 1, comment.
    Rule(TableRef, String, usize, &'static str),
    /// A set or map.
    Set(SetRef),
    /// One element of a set.
    Element(SetRef, Element),
    /// Elements of a set, where the kernel didn't say which: their number and the first.
    Elements(SetRef, usize, Element),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Chain(table, chain) => write!(f, "chain {table} {chain}"),
            Self::Rule(table, chain, position, "") => write!(f, "rule {position} of chain {table} {chain}"),
            Self::Rule(table, chain, position, comment) => {
                write!(f, "rule {position} of chain {table} {chain} ({comment})")
            }
            Self::Set(set) => write!(f, "set {set}"),
            Self::Element(set, element) => write!(f, "element {{ {element} }} of set {set}"),
            Self::Elements(set, count, first) => {
                write!(f, "one of {count} elements from {{ {first} }} on of set {set}")
            }
        }
    }
}

/// What is kept to name the object.
#[derive(Clone, Debug)]
enum Subject {
    One(Object),
    /// Elements, each with the offset of its attribute in the message.
    Elements(SetRef, Vec<(u32, Element)>),
}

/// A message without sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    kind: u8,
    flags: u16,
    family: u8,
    attributes: Vec<u8>,
    subject: Subject,
}

impl Message {
    /// A message about a table, or about all of its rules.
    pub(super) fn table(kind: u8, table: &TableRef) -> Self {
        let mut w = Writer::default();
        w.string(attrs::TABLE_NAME, &table.name);
        if kind == msg::NEWTABLE {
            w.u32(attrs::TABLE_FLAGS, 0);
        }
        Self::new(kind, table, w, Object::Table(table.clone()))
    }

    /// A new chain.
    pub(super) fn chain(table: &TableRef, chain: &Chain) -> Self {
        let mut w = Writer::default();
        w.string(attrs::CHAIN_TABLE, &table.name).string(attrs::CHAIN_NAME, &chain.name);
        if let Some(base) = &chain.base {
            w.nested(attrs::CHAIN_HOOK, |w| {
                w.u32(attrs::HOOK_NUMBER, base.hook.number(table.family));
                w.u32(attrs::HOOK_PRIORITY, base.priority.cast_unsigned());
            });
            w.u32(attrs::CHAIN_POLICY, base.policy.number()).string(attrs::CHAIN_TYPE, base.kind.name());
        }
        Self::new(msg::NEWCHAIN, table, w, Object::Chain(table.clone(), chain.name.clone()))
    }

    /// All rules of a chain go, or the chain itself, which must be empty and led to by nothing.
    pub(super) fn chain_gone(kind: u8, table: &TableRef, chain: &str) -> Self {
        let name = if kind == msg::DELRULE { attrs::RULE_CHAIN } else { attrs::CHAIN_NAME };
        let mut w = Writer::default();
        w.string(attrs::CHAIN_TABLE, &table.name).string(name, chain);
        Self::new(kind, table, w, Object::Chain(table.clone(), chain.to_owned()))
    }

    /// A new rule at the end of its chain.
    pub(super) fn rule(table: &TableRef, chain: &Chain, index: usize, rule: &Rule) -> Self {
        let mut w = Writer::default();
        w.string(attrs::RULE_TABLE, &table.name).string(attrs::RULE_CHAIN, &chain.name);
        w.nested(attrs::RULE_EXPRESSIONS, |w| {
            lower::rule(rule, table.family).iter().for_each(|e| e.encode(w));
        });
        if !rule.comment.is_empty() {
            w.bytes(attrs::RULE_USERDATA, &comment(rule.comment));
        }
        let object = Object::Rule(table.clone(), chain.name.clone(), index + 1, rule.comment);
        let mut message = Self::new(msg::NEWRULE, table, w, object);
        message.flags |= wire::F_APPEND;
        message
    }

    /// A new set; `id` is unique in the transaction.
    pub(super) fn set(table: &TableRef, set: &Set, id: u32) -> Self {
        let mut w = Writer::default();
        w.string(attrs::SET_TABLE, &table.name).string(attrs::SET_NAME, &set.name);
        w.u32(attrs::SET_FLAGS, set_flags(set)).u32(attrs::SET_KEY_TYPE, joined_type(&set.key));
        w.u32(attrs::SET_KEY_LEN, small(set.key_bytes()));
        match set.data {
            None => {}
            Some(MapData::Verdict) => {
                w.u32(attrs::SET_DATA_TYPE, wire::set::DATA_VERDICT).u32(attrs::SET_DATA_LEN, 0);
            }
            Some(MapData::Value(of)) => {
                w.u32(attrs::SET_DATA_TYPE, of.number()).u32(attrs::SET_DATA_LEN, small(of.bytes()));
            }
            Some(MapData::Values(parts)) => {
                let bytes = parts.iter().map(|part| part.bytes().next_multiple_of(4)).sum();
                w.u32(attrs::SET_DATA_TYPE, joined_type(parts)).u32(attrs::SET_DATA_LEN, small(bytes));
            }
        }
        w.nested(attrs::SET_DESC, |w| {
            if set.size != 0 {
                w.u32(attrs::DESC_SIZE, set.size);
            }
            if set.interval && set.is_concatenation() {
                w.nested(attrs::DESC_CONCAT, |w| {
                    for field in &set.key {
                        w.nested(attrs::LIST_ELEM, |w| {
                            w.u32(attrs::FIELD_LEN, small(field.bytes()));
                        });
                    }
                });
            }
        });
        w.u32(attrs::SET_ID, id).bytes(attrs::SET_USERDATA, &set_userdata(set));
        if !set.each.is_empty() {
            w.nested(attrs::SET_EXPRESSIONS, |w| lower::each(set).iter().for_each(|e| e.encode(w)));
        }
        let name = SetRef { table: table.clone(), name: set.name.clone() };
        Self::new(msg::NEWSET, table, w, Object::Set(name))
    }

    /// A set goes with its elements.
    pub(super) fn set_gone(table: &TableRef, set: &str) -> Self {
        let mut w = Writer::default();
        w.string(attrs::SET_TABLE, &table.name).string(attrs::SET_NAME, set);
        Self::new(msg::DELSET, table, w, Object::Set(SetRef { table: table.clone(), name: set.to_owned() }))
    }

    /// Elements; `offsets` says where each begins within the attributes.
    pub(super) fn elements(kind: u8, set: SetRef, w: Writer, offsets: Vec<(u32, Element)>) -> Self {
        let (flags, family) = (flags_of(kind), set.table.family.number());
        Self { kind, flags, family, attributes: w.into_bytes(), subject: Subject::Elements(set, offsets) }
    }

    /// All elements of a set, whatever they are.
    pub(super) fn whole_set(kind: u8, set: SetRef, w: Writer) -> Self {
        let table = set.table.clone();
        Self::new(kind, &table, w, Object::Set(set))
    }

    fn new(kind: u8, table: &TableRef, w: Writer, object: Object) -> Self {
        let (flags, family) = (flags_of(kind), table.family.number());
        Self { kind, flags, family, attributes: w.into_bytes(), subject: Subject::One(object) }
    }

    /// Length with headers.
    pub(super) fn size(&self) -> usize {
        wire::MESSAGE_HEADER + wire::GENERIC_HEADER + self.attributes.len()
    }

    /// Appends the message.
    pub(super) fn encode(&self, out: &mut Vec<u8>, sequence: u32, acknowledge: bool) {
        let flags = self.flags | if acknowledge { wire::F_ACK } else { 0 };
        let kind = (wire::SUBSYSTEM << 8) | u16::from(self.kind);
        frame(out, Frame { kind, flags, sequence, family: self.family, resource: 0 }, &self.attributes);
    }

    /// The object, as exactly as the offset of an error allows.
    pub(super) fn object(&self, offset: Option<u32>) -> Object {
        match &self.subject {
            Subject::One(object) => object.clone(),
            Subject::Elements(set, elements) => {
                let (_, first) = elements.first().expect("a message has at least one element");
                match elements.iter().find(|(at, _)| Some(*at) == offset) {
                    Some((_, element)) => Object::Element(set.clone(), element.clone()),
                    None if elements.len() == 1 => Object::Element(set.clone(), first.clone()),
                    None => Object::Elements(set.clone(), elements.len(), first.clone()),
                }
            }
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = matches!(self.subject, Subject::One(_));
        let verb = match self.kind {
            msg::DELSETELEM if whole => "flush",
            msg::DELTABLE | msg::DELCHAIN | msg::DELSET | msg::DELSETELEM => "delete",
            msg::DELRULE => "flush",
            _ => "add",
        };
        write!(f, "{verb} {}", self.object(None))
    }
}

fn flags_of(kind: u8) -> u16 {
    match kind {
        msg::DELTABLE | msg::DELCHAIN | msg::DELRULE | msg::DELSET | msg::DELSETELEM => wire::F_REQUEST,
        _ => wire::F_REQUEST | wire::F_CREATE,
    }
}

/// Header fields of a message.
pub(crate) struct Frame {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) family: u8,
    pub(crate) resource: u16,
}

/// Appends a message with `struct nlmsghdr` and `struct nfgenmsg`.
pub(crate) fn frame(out: &mut Vec<u8>, frame: Frame, attributes: &[u8]) {
    let len = wire::MESSAGE_HEADER + wire::GENERIC_HEADER + attributes.len();
    out.extend_from_slice(&small(len).to_ne_bytes());
    out.extend_from_slice(&frame.kind.to_ne_bytes());
    out.extend_from_slice(&frame.flags.to_ne_bytes());
    out.extend_from_slice(&frame.sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]); // port: the kernel knows who we are
    out.extend_from_slice(&[frame.family, 0]);
    out.extend_from_slice(&frame.resource.to_be_bytes());
    out.extend_from_slice(attributes);
}

/// Appends the message that opens a transaction.
pub(super) fn begin(out: &mut Vec<u8>, sequence: u32, generation: Option<u32>) {
    let mut w = Writer::default();
    if let Some(generation) = generation {
        w.u32(1, generation); // NFNL_BATCH_GENID
    }
    let kind = wire::BATCH_BEGIN;
    let header = Frame { kind, flags: wire::F_REQUEST, sequence, family: 0, resource: wire::SUBSYSTEM };
    frame(out, header, &w.into_bytes());
}

/// Appends the message that closes a transaction.
pub(super) fn end(out: &mut Vec<u8>, sequence: u32) {
    let kind = wire::BATCH_END;
    let header = Frame { kind, flags: wire::F_REQUEST, sequence, family: 0, resource: wire::SUBSYSTEM };
    frame(out, header, &[]);
}

fn small(len: usize) -> u32 {
    u32::try_from(len).expect("lengths are bounded by limits.rs")
}

pub(crate) fn set_flags(set: &Set) -> u32 {
    let concatenated_ranges = set.interval && set.is_concatenation();
    [
        (set.interval, wire::set::INTERVAL),
        (concatenated_ranges, wire::set::CONCAT),
        (set.data.is_some(), wire::set::MAP),
        (set.timeouts, wire::set::TIMEOUT),
        (set.dynamic, wire::set::DYNAMIC),
        (!set.each.is_empty(), wire::set::EXPRESSIONS),
    ]
    .iter()
    .filter(|(has, _)| *has)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Six bits per field, the first field highest (`concat_subtype_add` of the `nft` program).
pub(crate) fn joined_type(parts: &[DataType]) -> u32 {
    parts.iter().fold(0, |number, field| (number << 6) | field.number())
}

/// A comment as the `nft` program keeps it: type, length, text with its zero.
fn comment(text: &str) -> Vec<u8> {
    let end = (0..=text.len().min(limits::COMMENT_BYTES)).rev().find(|i| text.is_char_boundary(*i));
    let text = &text[..end.unwrap_or(0)];
    let len = u8::try_from(text.len() + 1).expect("bounded by COMMENT_BYTES");
    let mut bytes = vec![attrs::COMMENT, len];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// Byte orders of key and data, by which the `nft` program prints them: 0 for concatenations, 1 host, 2 network.
fn set_userdata(set: &Set) -> Vec<u8> {
    let order = |is_host: bool| if is_host { 1_u32 } else { 2 };
    let key = match set.key.as_slice() {
        [one] => order(one.is_host_order()),
        _ => 0,
    };
    let mut bytes = vec![0, 4]; // NFTNL_UDATA_SET_KEYBYTEORDER
    bytes.extend_from_slice(&key.to_ne_bytes());
    if let Some(data) = set.data {
        let data = match data {
            MapData::Verdict | MapData::Values(_) => 0,
            MapData::Value(of) => order(of.is_host_order()),
        };
        bytes.extend_from_slice(&[1, 4]); // NFTNL_UDATA_SET_DATABYTEORDER
        bytes.extend_from_slice(&data.to_ne_bytes());
    }
    bytes
}
