//! The constant part of the policy tables (`ip weft_policy`, `ip6 weft_policy`): sets, maps and chains of one family.
//!
//! Tables of their own: guard and services can be put in place anew without a packet that goes unjudged, and the other way round.
//! Every packet of a pod is judged, not only the first of a connection, so a new deny bites what lives already; and it is judged as its
//! connection began: a reply by who asked whom. What a chain has judged bears its bit (`MARK_LEFT`, `MARK_ENTERED`), and `inet weft`
//! drops what lacks it: a table that somebody removed closes, not opens.
//!
//! A judgement is a fixed number of lookups, whatever policies and pods there are; module `interpret` of weft-policy makes the same
//! ones in user space. In between, numbers stand in the packet's priority (profiles, classes of ports) and in its mark (all others), since
//! the `nft` program can't list keys that are results of maps. So packets of isolated pods leave with priority 0 and a mark that says
//! nothing but *routable* and *judged*; it is done before others' mangle chains, whose marks stay. Packets of other pods keep both.

use weft_model::{
    Direction, Family, NodeEgress,
    ownership::{BRIDGE, LOG_GROUP, MARK_ENTERED, MARK_LEFT, MARK_ROUTABLE, NFT_POLICY_TABLE},
};
use weft_nft::{
    Base, Chain, ChainKind, CtDirection, CtState, DataType, Field, Hook, MapData, Mark, Op, Policy, Rule,
    Set, Statement, Table, TableFamily, TableRef, Term, Value, Verdict,
};

use crate::limits::{BLOCKS, PORT_CLASSES};

/// Before `NF_IP_PRI_MANGLE`.
const LEAVING: i32 = -160;
/// After `LEAVING`, and still before.
const ENTERING: i32 = -155;

/// Of what a pod is denied in a direction so many packets a second are told, and so many at once (`denied_in`, `denied_out`).
const TOLD_OF_POD: Statement = Statement::Limit { per_second: 25, burst: 50 };
/// Of what all pods are denied by one rule.
const TOLD: Statement = Statement::Limit { per_second: 250, burst: 500 };
/// What is done with each denied packet of a pod: it is counted, whether it is told or not.
const DENIED: &[Statement] = &[Statement::Counter, TOLD_OF_POD];

/// The number of a set of ports that holds everything; no other has it.
pub(super) const EVERYTHING: u32 = u32::MAX;

/// The chain that asks whom a pod may reach, and the beginning of the names of those behind it and of those for replies.
pub(crate) const EGRESS: &str = "egress";
/// Why the last rule of a judgement is there.
pub(crate) const DENIES: &str = "no rule allows it";
/// The same, where the pod has no profile.
pub(crate) const UNKNOWN: &str = "a pod that nobody has looked at yet";

/// All sets, for names that live as long as the program.
const SETS: [&str; 17] = [
    "identities",
    "blocks",
    "itself",
    "denied_in",
    "denied_out",
    "open_in",
    "open_out",
    "profiles_in",
    "profiles_out",
    "peers",
    "pod_defaults",
    "block_peers",
    "defaults",
    "ports",
    "protocols",
    "port_classes",
    "range_ports",
];

/// A number in the packet's mark.
const MARK: &[DataType] = &[DataType::Mark];
/// A number in the packet's priority.
const PRIORITY: &[DataType] = &[DataType::ClassId];
/// ICMP messages about other packets: unreachable, time exceeded, parameter problem (RFC 792).
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
/// ICMPv6 messages about other packets (RFC 4443 section 2.1): unreachable, too big, time exceeded, parameter problem.
const ICMP6_ERRORS: [u8; 4] = [1, 2, 3, 4];
/// What a pod and its gateway need to find each other: reports of multicast listeners (RFC 3810), solicitation of routers and of
/// neighbours, advertisement (RFC 4861).
const DISCOVERY: [u8; 4] = [133, 135, 136, 143];

/// Whose rules are asked, and what of the packet is what.
#[derive(Clone, Copy)]
struct Judge {
    /// Which of the pod's directions.
    direction: Direction,
    /// Whether the packet goes against the way of its connection.
    reply: bool,
}

impl Judge {
    const SENT: Self = Self { direction: Direction::Egress, reply: false };
    const ANSWERED: Self = Self { direction: Direction::Egress, reply: true };
    const GOT: Self = Self { direction: Direction::Ingress, reply: false };
    const ANSWERS: Self = Self { direction: Direction::Ingress, reply: true };
    const ALL: [Self; 4] = [Self::SENT, Self::ANSWERED, Self::GOT, Self::ANSWERS];

    const fn name(self) -> &'static str {
        match (self.direction, self.reply) {
            (Direction::Egress, false) => EGRESS,
            (Direction::Egress, true) => "egress_reply",
            (Direction::Ingress, false) => "ingress",
            (Direction::Ingress, true) => "ingress_reply",
        }
    }

    fn chain(self, part: &str) -> String {
        format!("{}_{part}", self.name())
    }

    /// Whether the pod whose rules are asked has sent the packet.
    const fn pod_sends(self) -> bool {
        matches!(self.direction, Direction::Egress) != self.reply
    }

    /// The port of the one who was asked.
    const fn port(self) -> Field {
        if self.reply { Field::TransportSource } else { Field::TransportDestination }
    }

    /// What comes with copies of packets that no rule allows.
    const fn denied_prefix(self) -> &'static str {
        match (self.direction, self.reply) {
            (Direction::Egress, false) => "policy-egress",
            (Direction::Egress, true) => "policy-egress reply",
            (Direction::Ingress, false) => "policy-ingress",
            (Direction::Ingress, true) => "policy-ingress reply",
        }
    }

    /// What comes with copies of packets of pods that nobody has looked at yet.
    const fn unknown_prefix(self) -> &'static str {
        match (self.direction, self.reply) {
            (Direction::Egress, false) => "unknown-pod egress",
            (Direction::Egress, true) => "unknown-pod egress reply",
            (Direction::Ingress, false) => "unknown-pod ingress",
            (Direction::Ingress, true) => "unknown-pod ingress reply",
        }
    }

    /// Where what is allowed goes.
    const fn pass(self) -> &'static str {
        if self.pod_sends() { "may_leave" } else { "may_enter" }
    }
}

/// Local pods that no policy isolates in a direction.
pub(super) const fn open(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "open_in",
        Direction::Egress => "open_out",
    }
}

/// Profiles of the local pods that are isolated.
pub(super) const fn profiles(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "profiles_in",
        Direction::Egress => "profiles_out",
    }
}

/// Local pods, whether a policy isolates them or not: what rules denied each of them in a direction is counted in its element.
pub(crate) const fn denied(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "denied_in",
        Direction::Egress => "denied_out",
    }
}

/// The table's identity in a family.
pub(crate) fn table_ref(family: Family) -> TableRef {
    let family = match family {
        Family::V4 => TableFamily::Ip,
        Family::V6 => TableFamily::Ip6,
    };
    TableRef { family, name: NFT_POLICY_TABLE.to_owned() }
}

/// The table of a family, without elements; whether pods may always ask their own node (`spec.policy.nodeEgress` of the fabric).
pub(crate) fn table(family: Family, node: NodeEgress) -> Table {
    let side = Side(family);
    let mut chains = vec![
        base("leaving", Hook::Forward, LEAVING, side.leaving()),
        base("entering", Hook::Forward, ENTERING, side.entering()),
        base("to_node", Hook::Input, LEAVING, side.to_node(node)),
    ];
    for judge in Judge::ALL {
        chains.push(chain(judge.name(), side.judgement(judge)));
        chains.push(chain(&judge.chain("isolated"), side.isolated(judge)));
        chains.push(chain(&judge.chain("pod"), side.of_pod(judge)));
        chains.push(chain(&judge.chain("block"), Side::of_block(judge)));
        chains.push(chain(&judge.chain("ports"), at_port(judge)));
    }
    chains.push(pass("may_leave", MARK_ROUTABLE | MARK_LEFT));
    chains.push(pass("may_enter", MARK_ROUTABLE | MARK_LEFT | MARK_ENTERED));
    Table { id: table_ref(family), sets: side.sets(), chains }
}

/// The name of a set as a constant.
pub(super) fn name_of(name: &str) -> Option<&'static str> {
    SETS.into_iter().find(|known| *known == name)
}

const fn rule(comment: &'static str, statements: Vec<Statement>) -> Rule {
    Rule { statements, comment }
}

fn base(name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    let base = Base { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept };
    Chain { name: name.to_owned(), base: Some(base), rules }
}

fn chain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), base: None, rules }
}

const fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// What doesn't concern a pod.
fn not_of_pods(device: Field) -> Rule {
    let other = Statement::Match { field: device, op: Op::Ne, value: Value::Name(BRIDGE.to_owned()) };
    rule("", vec![other, accept()])
}

/// What the chain sees is judged by it: it ends in a verdict, whatever comes. What isn't routable is the guard's to drop.
fn judged(bit: u32) -> [Rule; 2] {
    let strange = Statement::Bits { mark: Mark::Packet, mask: MARK_ROUTABLE, value: 0 };
    [
        rule("", vec![Statement::Mark { mark: Mark::Packet, clear: 0, set: bit }]),
        rule("the guard closes it", vec![strange, accept()]),
    ]
}

/// The end of those that are allowed.
fn pass(name: &str, mark: u32) -> Chain {
    chain(name, vec![rule("", vec![Statement::PriorityIs(0), Statement::MarkIs(mark), accept()])])
}

/// A packet without a connection is judged like the first of one: nobody forges a reply.
fn by_direction(reply: Judge, original: Judge) -> [Rule; 2] {
    [
        rule("", vec![Statement::Direction(CtDirection::Reply), Statement::goto(reply.name())]),
        rule("", vec![Statement::goto(original.name())]),
    ]
}

const fn told(prefix: &'static str) -> Statement {
    Statement::Log { group: LOG_GROUP, prefix }
}

fn closed(comment: &'static str) -> Rule {
    rule(comment, vec![Statement::Counter, Statement::Verdict(Verdict::Drop)])
}

/// Whether the set of ports whose number stands in the mark holds this one.
fn at_port(judge: Judge) -> Vec<Rule> {
    let protocol = || Term::Field(Field::L4Proto);
    let port = || Term::Field(judge.port());
    let class = Term::Joined(vec![protocol(), port()]).mapped("port_classes", PRIORITY);
    let found = |parts: Vec<Term>, set| {
        let key = Term::Joined(std::iter::once(Term::Mark).chain(parts).collect());
        vec![Statement::found(key, set), Statement::goto(judge.pass())]
    };
    let of_class = [vec![Statement::PriorityBecomes(class)], found(vec![Term::Priority], "range_ports")];
    vec![
        rule("", vec![Statement::Equals(Term::Mark, EVERYTHING), Statement::goto(judge.pass())]),
        rule("", found(vec![protocol(), port()], "ports")),
        rule("", found(vec![protocol()], "protocols")),
        rule("", of_class.concat()),
    ]
}

/// What differs between the families.
#[derive(Clone, Copy)]
struct Side(Family);

impl Side {
    const fn is_v4(self) -> bool {
        matches!(self.0, Family::V4)
    }

    const fn source(self) -> Field {
        if self.is_v4() { Field::Ip4Source } else { Field::Ip6Source }
    }

    const fn destination(self) -> Field {
        if self.is_v4() { Field::Ip4Destination } else { Field::Ip6Destination }
    }

    fn sets(self) -> Vec<Set> {
        let address = if self.is_v4() { DataType::Ipv4Addr } else { DataType::Ipv6Addr };
        let port = [DataType::Mark, DataType::InetProto, DataType::InetService];
        let pair = [DataType::ClassId, DataType::Mark];
        let (in_mark, in_priority) = (MapData::Value(DataType::Mark), MapData::Value(DataType::ClassId));
        let mut sets = vec![
            Set::map("identities", &[address], in_mark, 0),
            Set { interval: true, ..Set::map("blocks", &[address], in_mark, BLOCKS) },
            Set::exact("itself", &[address, address], 0),
        ];
        for direction in [Direction::Ingress, Direction::Egress] {
            sets.push(Set::exact(open(direction), &[address], 0));
            sets.push(Set::map(profiles(direction), &[address], in_priority, 0));
            sets.push(Set { each: DENIED, ..Set::exact(denied(direction), &[address], 0) });
        }
        sets.extend([
            Set::map("peers", &pair, in_mark, 0),
            Set::map("pod_defaults", PRIORITY, in_mark, 0),
            Set::map("block_peers", &pair, in_mark, 0),
            Set::map("defaults", PRIORITY, in_mark, 0),
            Set::exact("ports", &port, 0),
            Set::exact("protocols", &port[..2], 0),
            Set { interval: true, ..Set::map("port_classes", &port[1..], in_priority, PORT_CLASSES) },
            Set::exact("range_ports", &[DataType::Mark, DataType::ClassId], 0),
        ]);
        sets
    }

    /// What comes from a pod of this node. Errors about connections that are known pass: without them paths with a small MTU and closed
    /// ports would hang.
    fn leaving(self) -> Vec<Rule> {
        let mut rules = vec![not_of_pods(Field::InName)];
        rules.extend(judged(MARK_LEFT));
        rules.extend(self.errors());
        rules.extend(by_direction(Judge::ANSWERS, Judge::SENT));
        rules
    }

    /// What goes to a pod of this node.
    fn entering(self) -> Vec<Rule> {
        let mut rules = vec![not_of_pods(Field::OutName)];
        rules.extend(judged(MARK_ENTERED));
        rules.extend(self.errors());
        rules.extend(by_direction(Judge::ANSWERED, Judge::GOT));
        rules
    }

    /// What a pod sends to its node. The node's own processes always reach their pods, so what a pod replies to them passes.
    fn to_node(self, node: NodeEgress) -> Vec<Rule> {
        let mut rules = vec![not_of_pods(Field::InName)];
        rules.extend(judged(MARK_LEFT));
        rules.extend(self.errors());
        if !self.is_v4() {
            let discovery = |kind| Statement::is(Field::Icmp6Type, Value::U8(kind));
            rules
                .extend(DISCOVERY.map(|kind| rule("a pod and its gateway", vec![discovery(kind), accept()])));
        }
        rules.push(rule("", vec![Statement::Direction(CtDirection::Reply), accept()]));
        rules.push(match node {
            NodeEgress::Policy => rule("", vec![Statement::goto(Judge::SENT.name())]),
            NodeEgress::Allow => rule("a pod may ask its node", vec![accept()]),
        });
        rules
    }

    fn errors(self) -> Vec<Rule> {
        let (field, kinds) = if self.is_v4() {
            (Field::IcmpType, &ICMP_ERRORS[..])
        } else {
            (Field::Icmp6Type, &ICMP6_ERRORS[..])
        };
        let related = || Statement::State(&[CtState::Related]);
        let error = |kind: &u8| rule("", vec![Statement::is(field, Value::U8(*kind)), related(), accept()]);
        kinds.iter().map(error).collect()
    }

    /// The pod, and the other side.
    const fn ends(self, judge: Judge) -> (Field, Field) {
        if judge.pod_sends() {
            (self.source(), self.destination())
        } else {
            (self.destination(), self.source())
        }
    }

    fn judgement(self, judge: Judge) -> Vec<Rule> {
        let (pod, other) = self.ends(judge);
        let open = Statement::within(&[pod], open(judge.direction));
        vec![
            rule("no policy isolates it", vec![open, accept()]),
            rule("a pod to itself", vec![Statement::within(&[pod, other], "itself"), accept()]),
            rule("", vec![self.profile(judge), Statement::goto(&judge.chain("isolated"))]),
            rule("", vec![TOLD, told(judge.unknown_prefix())]),
            closed(UNKNOWN),
        ]
    }

    /// The pod's profile goes into the priority; the rule ends where it has none.
    fn profile(self, judge: Judge) -> Statement {
        let profile = Term::Field(self.ends(judge).0).mapped(profiles(judge.direction), PRIORITY);
        Statement::PriorityBecomes(profile)
    }

    /// From the most special to the most general; what allows ends it. Looking for a port may take the profile's place.
    fn isolated(self, judge: Judge) -> Vec<Rule> {
        let by = |map| Statement::MarkBecomes(Term::Field(self.ends(judge).1).mapped(map, MARK));
        let ask = Statement::MarkBecomes(Term::Priority.mapped("defaults", MARK));
        let (pod, block) = (judge.chain("pod"), judge.chain("block"));
        vec![
            rule("", vec![by("identities"), Statement::jump(&pod)]),
            rule("", vec![self.profile(judge), by("blocks"), Statement::jump(&block)]),
            rule("", vec![self.profile(judge), ask, Statement::jump(&judge.chain("ports"))]),
            rule("", vec![self.counted(judge), TOLD, told(judge.denied_prefix())]),
            closed(DENIES),
        ]
    }

    /// Counts what a pod is denied; the rule ends where enough of it was told.
    fn counted(self, judge: Judge) -> Statement {
        Statement::within(&[self.ends(judge).0], denied(judge.direction))
    }

    /// The other side is a pod; its identity stands in the mark.
    fn of_pod(self, judge: Judge) -> Vec<Rule> {
        let ask = Statement::MarkBecomes(Term::Priority.mapped("pod_defaults", MARK));
        vec![
            ask_both(judge, "peers"),
            rule("", vec![self.profile(judge), ask, Statement::jump(&judge.chain("ports"))]),
        ]
    }

    /// The other side's address lies in a block, whose class stands in the mark.
    fn of_block(judge: Judge) -> Vec<Rule> {
        vec![ask_both(judge, "block_peers")]
    }
}

/// What the profile and the number in the mark give.
fn ask_both(judge: Judge, map: &'static str) -> Rule {
    let key = Term::Joined(vec![Term::Priority, Term::Mark]);
    rule("", vec![Statement::MarkBecomes(key.mapped(map, MARK)), Statement::jump(&judge.chain("ports"))])
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
