//! Words in which the two tables are written: short forms of rules and sets, and the bits of the marks.

use weft_model::ownership::{
    BRIDGE, CT_MARK, LOG_GROUP, MARK_CHECKED, MARK_ENTERED, MARK_LEFT, MARK_ROUTABLE, NFT_TABLE, VETH_PREFIX,
};
use weft_nft::{
    Base, Chain, ChainKind, Field, Hook, Mark, Policy, Rule, Statement, TableFamily, TableRef, Value, Verdict,
};

/// All packet bits that are ours.
pub(super) const OURS: u32 = MARK_CHECKED | MARK_ROUTABLE | MARK_LEFT | MARK_ENTERED;

/// A rule that says why it is there.
pub(super) const fn rule(comment: &'static str, statements: Vec<Statement>) -> Rule {
    Rule { statements, comment }
}

/// A chain that packets enter by a hook; whatever reaches its end goes on.
pub(super) fn base(name: &str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    let base = Base { kind, hook, priority, policy: Policy::Accept };
    Chain { name: name.to_owned(), base: Some(base), rules }
}

/// A chain that others lead to.
pub(super) fn chain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), base: None, rules }
}

/// One of our tables.
pub(super) fn table_ref(family: TableFamily) -> TableRef {
    TableRef { family, name: NFT_TABLE.to_owned() }
}

/// The packet goes on.
pub(super) const fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// The packet ends here.
pub(super) const fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

/// Matches, then counts and drops.
pub(super) fn closed(comment: &'static str, mut matches: Vec<Statement>) -> Rule {
    matches.extend([Statement::Counter, drop()]);
    rule(comment, matches)
}

/// Sends copies of some of what the next rule drops to whoever listens; the prefix is a reason.
pub(super) fn told(reason: &'static str) -> Rule {
    const SOME: Statement = Statement::Limit { per_second: 50, burst: 100 };
    rule("", vec![SOME, Statement::Log { group: LOG_GROUP, prefix: reason }])
}

/// Came in by a port of a pod: in `bridge` the rule, in `inet` never right.
pub(super) fn from_port() -> Statement {
    Statement::is(Field::InName, Value::NamePrefix(VETH_PREFIX.to_owned()))
}

/// Leaves by a port of a pod (in `bridge`).
pub(super) fn to_port() -> Statement {
    Statement::is(Field::OutName, Value::NamePrefix(VETH_PREFIX.to_owned()))
}

/// Came in by the pod bridge.
pub(super) fn from_bridge() -> Statement {
    Statement::is(Field::InName, Value::Name(BRIDGE.to_owned()))
}

/// Leaves by the pod bridge.
pub(super) fn to_bridge() -> Statement {
    Statement::is(Field::OutName, Value::Name(BRIDGE.to_owned()))
}

/// Bears a bit.
pub(super) const fn has(bit: u32) -> Statement {
    Statement::Bits { mark: Mark::Packet, mask: bit, value: bit }
}

/// Lacks a bit.
pub(super) const fn lacks(bit: u32) -> Statement {
    Statement::Bits { mark: Mark::Packet, mask: bit, value: 0 }
}

/// Its connection is one of ours.
pub(super) const fn of_our_connection() -> Statement {
    Statement::Bits { mark: Mark::Connection, mask: CT_MARK, value: CT_MARK }
}

/// From here on it may enter our routing tables.
pub(super) const fn make_routable() -> Statement {
    Statement::Mark { mark: Mark::Packet, clear: OURS, set: MARK_ROUTABLE }
}

/// Of an ICMPv6 type.
pub(super) const fn icmp6(kind: u8) -> Statement {
    Statement::is(Field::Icmp6Type, Value::U8(kind))
}

/// ICMPv6 types (RFC 4861, RFC 2710, RFC 3810).
pub(super) mod icmp6_type {
    pub(crate) const LISTENER_QUERY: u8 = 130;
    pub(crate) const LISTENER_REPORT: u8 = 131;
    pub(crate) const LISTENER_DONE: u8 = 132;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub(crate) const REDIRECT: u8 = 137;
    pub(crate) const LISTENER_REPORT_2: u8 = 143;
}
