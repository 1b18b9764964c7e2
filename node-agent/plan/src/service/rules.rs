//! The constant part of the tables: sets, maps and chains of one family (`ip weft`, `ip6 weft`).
//!
//! Tables of their own, not `inet weft`: the guard can be put in place anew without a service missing for a moment, and the other
//! way round; each family's rules need no match of the family, and a fabric of one family has one table.
//! Only chains of client affinity depend on anything: one per time-out in use.
//!
//! In a chain of kind `nat` a packet is the first of its connection. Whether it came by a pod, a process of this node or from
//! outside decides which maps are asked. What they give (`class.rs`) stands in the packet's mark until its destination is translated;
//! then the mark says *routable* and nothing else. The `nft` program lists the new mark before the translation, which was computed
//! from the old one; of other packets no bit of the mark changes.

use std::collections::BTreeSet;

use weft_model::{
    Family,
    ownership::{BRIDGE, CT_MARK, CT_MARK_SOURCE, MARK_ROUTABLE, NFT_TABLE},
};
use weft_nft::{
    AddressKind, Base, Chain, ChainKind, CtState, CtStatus, DataType, Field, Hook, MapData, Mark, Op, Policy,
    Recall, Reject, Rule, Set, Statement, Table, TableFamily, TableRef, Term, Translate, Value, Verdict,
};

use crate::limits::{DEVICES, RANGES};

use super::class::{CLASS_BITS, Class, FROM_NODE, FROM_OUTSIDE, GROUP_BITS, HASHED, PORT_BITS};

/// Just before the guard's translation of sources: what a service translates isn't masqueraded again.
const SOURCES: i32 = 90;
/// `NF_IP_PRI_NAT_DST`.
const DESTINATIONS: i32 = -100;
/// Before policy and the guard: who can't be served is told so, and no pod is behind such an address.
const REFUSALS: i32 = -170;
/// The same for what the node itself sends: behind the translation.
const OWN_REFUSALS: i32 = -10;
/// Most clients that affinity remembers; whoever comes then goes where the hash says, and that is where it went first.
const CLIENTS: u32 = 262_144;
/// Most (front, range) pairs of `loadBalancerSourceRanges`.
const SOURCE_RANGES: u32 = 65_536;
/// Seeds of the two hashes: alike on all nodes.
const FLOW_SEED: u32 = 0x5765_6674;
const CLIENT_SEED: u32 = 0x6c62_7966;

/// A time-out of affinity together with the size of the table of the first pick (index into `HASHED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stick {
    /// Seconds.
    pub(super) timeout: u32,
    /// Index into `HASHED`.
    pub(super) size: usize,
}

impl Stick {
    fn slots(self) -> u32 {
        HASHED.get(self.size).copied().unwrap_or(1)
    }

    /// Name of its chain.
    pub(super) fn chain(self) -> String {
        format!("affinity_{}s_{}", self.timeout, self.slots())
    }

    /// From the name of its chain.
    pub(super) fn from_chain(name: &str) -> Option<Self> {
        let (timeout, slots) = name.strip_prefix("affinity_")?.split_once("s_")?;
        let slots: u32 = slots.parse().ok()?;
        Some(Self { timeout: timeout.parse().ok()?, size: HASHED.iter().position(|size| *size == slots)? })
    }
}

/// Where services are found: kinds of addresses, and who may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Front {
    /// Any address of a service, for pods and for this node's processes.
    Services,
    /// Node ports, for pods and for this node's processes.
    NodePorts,
    /// Load-balancer and external addresses, from outside.
    Outside,
    /// Node ports, from outside.
    OutsidePorts,
}

impl Front {
    pub(super) const ALL: [Self; 4] = [Self::Services, Self::NodePorts, Self::Outside, Self::OutsidePorts];

    /// Its map of targets.
    pub(super) const fn map(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::NodePorts => "node_ports",
            Self::Outside => "outside",
            Self::OutsidePorts => "outside_ports",
        }
    }

    const fn has_address(self) -> bool {
        matches!(self, Self::Services | Self::Outside)
    }
}

/// Chain of packets that are dropped in silence.
pub(super) const SILENT: &str = "silent";
/// Chain of connections that are refused.
pub(super) const REFUSED: &str = "refused";
/// Verdict map from classes to chains.
pub(super) const CLASSES: &str = "classes";

/// The table's identity in a family.
pub(super) fn table_ref(family: Family) -> TableRef {
    let family = match family {
        Family::V4 => TableFamily::Ip,
        Family::V6 => TableFamily::Ip6,
    };
    TableRef { family, name: NFT_TABLE.to_owned() }
}

/// The table of a family, without elements, with the chains of these time-outs.
pub(super) fn table(family: Family, sticks: &BTreeSet<Stick>) -> Table {
    let side = Side(family);
    let nat = |name, hook, priority, rules| base(name, ChainKind::Nat, hook, priority, rules);
    let filter = |name, hook, priority, rules| base(name, ChainKind::Filter, hook, priority, rules);
    let unknown = vec![Statement::Counter, Statement::goto(REFUSED)];
    let mut chains = vec![
        nat("arriving", Hook::Prerouting, DESTINATIONS, arriving()),
        nat("sent_here", Hook::Output, DESTINATIONS, side.of_node()),
        nat("leaving", Hook::Postrouting, SOURCES, side.leaving()),
        filter("unserved_through", Hook::Forward, REFUSALS, unserved_of_others()),
        filter("unserved_in", Hook::Input, REFUSALS, side.unserved_in()),
        filter(
            "unserved_here",
            Hook::Output,
            OWN_REFUSALS,
            vec![rule("", vec![new(), Statement::goto("unserved")])],
        ),
        chain("from_pods", side.of_pods()),
        chain("from_outside", side.of_outside()),
        chain("served", served(None)),
        chain("served_node", served(Some(FROM_NODE))),
        chain("served_outside", served(Some(FROM_OUTSIDE))),
        chain("unserved", side.unserved(&[Front::Services, Front::NodePorts])),
        chain("unserved_outside", side.unserved(&[Front::Outside, Front::OutsidePorts, Front::Services])),
        chain("unserved_balanced", side.unserved_balanced()),
        chain("unknown", vec![rule("no service has this address and port", unknown)]),
        chain(REFUSED, refused()),
        chain(SILENT, vec![rule("", vec![Statement::Counter, drop()])]),
    ];
    chains.extend(Class::serving().map(|class| chain(&chain_of(class), side.pick(class))));
    chains.extend(sticks.iter().map(|stick| side.stick_chain(*stick)));
    Table { id: table_ref(family), sets: side.sets(), chains }
}

/// The chain of one time-out.
pub(super) fn stick_chain(family: Family, stick: Stick) -> Chain {
    Side(family).stick_chain(stick)
}

/// The chain of a class.
pub(super) fn chain_of(class: Class) -> String {
    format!("to_{}", class.name())
}

const fn rule(comment: &'static str, statements: Vec<Statement>) -> Rule {
    Rule { statements, comment }
}

fn base(name: &str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    let base = Base { kind, hook, priority, policy: Policy::Accept };
    Chain { name: name.to_owned(), base: Some(base), rules }
}

fn chain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), base: None, rules }
}

const fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

const fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

const fn new() -> Statement {
    Statement::State(&[CtState::New])
}

fn from_bridge() -> Statement {
    Statement::is(Field::InName, Value::Name(BRIDGE.to_owned()))
}

const fn mark_connection(bits: u32) -> Statement {
    Statement::Mark { mark: Mark::Connection, clear: 0, set: bits }
}

const fn translated_source() -> Statement {
    Statement::Bits { mark: Mark::Connection, mask: CT_MARK_SOURCE, value: CT_MARK_SOURCE }
}

fn arriving() -> Vec<Rule> {
    let routable = Statement::Bits { mark: Mark::Packet, mask: MARK_ROUTABLE, value: MARK_ROUTABLE };
    vec![
        rule("", vec![from_bridge(), Statement::goto("from_pods")]),
        rule("translated where it was sent", vec![Statement::within(&[Field::InName], "inner"), accept()]),
        rule("translated where it was sent", vec![routable, accept()]),
        rule("", vec![Statement::goto("from_outside")]),
    ]
}

fn unserved_of_others() -> Vec<Rule> {
    vec![
        rule("", vec![new(), Statement::within(&[Field::InName], "inner"), Statement::goto("unserved")]),
        rule("", vec![new(), Statement::goto("unserved_outside")]),
    ]
}

fn refused() -> Vec<Rule> {
    let tcp = Statement::is(Field::L4Proto, Value::U8(6));
    vec![
        rule("", vec![tcp, Statement::Counter, Statement::Reject(Reject::TcpReset)]),
        rule("", vec![Statement::Counter, Statement::Reject(Reject::PortUnreachable)]),
    ]
}

const BACKEND4: &[DataType] = &[DataType::Ipv4Addr, DataType::InetService];
const BACKEND6: &[DataType] = &[DataType::Ipv6Addr, DataType::InetService];
const NUMBER: &[DataType] = &[DataType::Mark];

/// By class to the chain that translates; connections whose target has the flag get their source translated.
fn served(flag: Option<u32>) -> Vec<Rule> {
    let flagged = flag.map(|flag| {
        let matches = Statement::Bits { mark: Mark::Packet, mask: flag, value: flag };
        rule("", vec![matches, mark_connection(CT_MARK_SOURCE)])
    });
    let key = Term::Mark.masked(CLASS_BITS);
    let dispatch = rule("", vec![Statement::Dispatch { key, map: CLASSES.to_owned() }]);
    flagged.into_iter().chain([dispatch, unserved()]).collect()
}

/// The mark is no target any more: the packet goes to where services are routed, and is refused there.
fn unserved() -> Rule {
    rule("nobody serves: refused where that may be said", vec![Statement::MarkIs(MARK_ROUTABLE)])
}

/// The group that the mark names.
fn group() -> Term {
    Term::Mark.masked(GROUP_BITS)
}

/// What differs between the families.
#[derive(Clone, Copy)]
struct Side(Family);

impl Side {
    const fn is_v4(self) -> bool {
        matches!(self.0, Family::V4)
    }

    const fn address(self) -> DataType {
        if self.is_v4() { DataType::Ipv4Addr } else { DataType::Ipv6Addr }
    }

    const fn source(self) -> Field {
        if self.is_v4() { Field::Ip4Source } else { Field::Ip6Source }
    }

    const fn destination(self) -> Field {
        if self.is_v4() { Field::Ip4Destination } else { Field::Ip6Destination }
    }

    const fn backend(self) -> &'static [DataType] {
        if self.is_v4() { BACKEND4 } else { BACKEND6 }
    }

    fn sets(self) -> Vec<Set> {
        let address = self.address();
        let front = [address, DataType::InetProto, DataType::InetService];
        let number = MapData::Value(DataType::Mark);
        let mut sets = vec![
            Set::exact("inner", &[DataType::Ifname], DEVICES),
            Set::ranges("ranges", &[address], RANGES),
            Set::ranges("sources", &[address], RANGES),
            Set::map("own", &[DataType::InetProto], MapData::Value(address), DEVICES),
            Set::exact("node_addresses", &[address], 0),
            Set::exact("itself", &[address, address], 0),
            Set::exact("pingable", &[address], 0),
            Set::exact("balanced", &[address], 0),
            Set::exact("restricted", &front, 0),
            Set::ranges(
                "allowed",
                &[address, DataType::InetProto, DataType::InetService, address],
                SOURCE_RANGES,
            ),
            Set::map("backends", &[DataType::Mark, DataType::Mark], MapData::Values(self.backend()), 0),
            Set::map("sticky", NUMBER, MapData::Verdict, 0),
            Set::map("picks", &[DataType::Mark, DataType::Mark], number, 0),
            Set::map("live", &[DataType::Mark, DataType::Mark], MapData::Values(self.backend()), 0),
            Set {
                timeouts: true,
                dynamic: true,
                ..Set::map("affinity", &[address, DataType::Mark], number, CLIENTS)
            },
            Set::map(CLASSES, NUMBER, MapData::Verdict, CLASS_BITS + 1),
        ];
        for kind in Front::ALL {
            let key = if kind.has_address() { &front[..] } else { &front[1..] };
            sets.push(Set::map(kind.map(), key, number, 0));
        }
        sets
    }

    fn front_key(self) -> [Field; 3] {
        [self.destination(), Field::L4Proto, Field::TransportDestination]
    }

    /// The target that a front has for this packet.
    fn target(self, front: Front) -> Term {
        let key = self.front_key();
        let key = if front.has_address() { &key[..] } else { &key[1..] };
        Term::fields(key).mapped(front.map(), NUMBER)
    }

    /// Matches where node ports are asked for.
    fn at_node(self, front: Front) -> Vec<Statement> {
        let at_node = Statement::within(&[self.destination()], "node_addresses");
        match front {
            Front::Services | Front::Outside => Vec::new(),
            Front::NodePorts => vec![at_node],
            Front::OutsidePorts => vec![at_node, Statement::DestinationKind(Op::Eq, AddressKind::Local)],
        }
    }

    /// The target goes into the mark, and the packet on with the chain.
    fn find(self, front: Front, then: &str) -> Rule {
        let mut statements = self.at_node(front);
        statements.extend([Statement::MarkBecomes(self.target(front)), Statement::goto(then)]);
        rule("", statements)
    }

    /// `loadBalancerSourceRanges`.
    fn restrict(self) -> Rule {
        let key = self.front_key();
        let [address, protocol, port] = key;
        let restricted = Statement::within(&key, "restricted");
        let stranger = Statement::outside(&[address, protocol, port, self.source()], "allowed");
        rule("not in loadBalancerSourceRanges", vec![restricted, stranger, Statement::Counter, drop()])
    }

    /// A ping of a service is answered by this node.
    fn echo(self) -> Rule {
        let request = if self.is_v4() {
            Statement::is(Field::IcmpType, Value::U8(8))
        } else {
            Statement::is(Field::Icmp6Type, Value::U8(128))
        };
        let pingable = Statement::within(&[self.destination()], "pingable");
        rule("", vec![request, pingable, self.translate(Translate::Destination, self.own(), false)])
    }

    /// This node's own address inside the fabric.
    fn own(self) -> Term {
        let data: &[DataType] = if self.is_v4() { &[DataType::Ipv4Addr] } else { &[DataType::Ipv6Addr] };
        Term::Field(Field::L4Proto).mapped("own", data)
    }

    const fn translate(self, what: Translate, to: Term, random: bool) -> Statement {
        Statement::Translate { what, v4: self.is_v4(), to, random, mark: None }
    }

    fn of_pods(self) -> Vec<Rule> {
        let find = |front| self.find(front, "served");
        vec![self.restrict(), find(Front::Services), find(Front::NodePorts), self.echo()]
    }

    fn of_node(self) -> Vec<Rule> {
        let find = |front| self.find(front, "served_node");
        vec![self.restrict(), find(Front::Services), find(Front::NodePorts), self.echo()]
    }

    fn of_outside(self) -> Vec<Rule> {
        let fronts = [Front::Outside, Front::OutsidePorts, Front::Services];
        let found = fronts.map(|front| self.find(front, "served_outside"));
        [self.restrict()].into_iter().chain(found).collect()
    }

    fn leaving(self) -> Vec<Rule> {
        let own = || self.translate(Translate::Source, self.own(), true);
        let itself = Statement::within(&[self.source(), self.destination()], "itself");
        let in_fabric = Statement::within(&[self.destination()], "sources");
        let to_outside = Statement::outside(&[Field::OutName], "inner");
        let ours = Statement::Bits { mark: Mark::Connection, mask: CT_MARK, value: CT_MARK };
        let translated = Statement::Status(CtStatus::DestinationTranslated);
        vec![
            rule("may hold the number of an endpoint", vec![translated, ours, Statement::PriorityIs(0)]),
            rule("a pod that reaches itself by its service", vec![itself, own()]),
            rule("", vec![translated_source(), in_fabric, own()]),
            rule(
                "a backend that is no pod",
                vec![translated_source(), to_outside, Statement::MasqueradeRandomly],
            ),
        ]
    }

    fn unserved_in(self) -> Vec<Rule> {
        let unknown = Statement::State(&[CtState::Invalid, CtState::New]);
        let balanced = Statement::within(&[self.destination()], "balanced");
        let goto = Statement::goto("unserved_balanced");
        let first = rule("nothing of this node answers there", vec![unknown, balanced, goto]);
        [first].into_iter().chain(unserved_of_others()).collect()
    }

    /// What came for a load-balancer address and wasn't translated.
    fn unserved_balanced(self) -> Vec<Rule> {
        vec![self.find(Front::Services, REFUSED), rule("", vec![Statement::Counter, drop()])]
    }

    /// What a service has and wasn't translated has no endpoint: refused. What no service has, too.
    fn unserved(self, fronts: &[Front]) -> Vec<Rule> {
        let mut rules: Vec<Rule> = fronts.iter().map(|front| self.find(*front, REFUSED)).collect();
        let of_services = Statement::within(&[self.destination()], "ranges");
        rules.push(rule("", vec![of_services, Statement::goto("unknown")]));
        rules
    }

    /// What a connection is known by before its destination is translated. A sender's port that comes to the same front again meets the
    /// same backend, which knows that connection's predecessor and its clock. Picked at random it would leave the predecessor behind with
    /// a backend where connection tracking has forgotten it; who comes there next from the same port, by another front, has other
    /// time stamps (Linux: `secure_tcp_ts_off` takes both addresses), is no successor and must begin again.
    fn connection_key(self) -> Vec<Field> {
        vec![self.source(), Field::TransportSource, self.destination(), Field::TransportDestination]
    }

    /// What a class does: one translation.
    fn pick(self, class: Class) -> Vec<Rule> {
        let slot = match class {
            // A hash over one slot isn't taken by every kernel (`nft_jhash_init` before Linux 4.18).
            Class::Exact(1) => Term::Random(1),
            Class::Exact(_) | Class::Power(_) => {
                Term::Hash { of: self.connection_key(), modulus: class.slots(), seed: FLOW_SEED }
            }
            Class::Hashed(_) => Term::Hash {
                of: vec![self.source(), Field::TransportSource],
                modulus: class.slots(),
                seed: FLOW_SEED,
            },
            Class::Affinity => {
                let dispatch = Statement::Dispatch { key: group(), map: "sticky".to_owned() };
                return vec![rule("", vec![dispatch]), unserved()];
            }
            Class::Silent | Class::Refused => return Vec::new(),
        };
        vec![rule("", vec![mark_connection(CT_MARK), self.to_backend(slot, "backends")]), unserved()]
    }

    /// To what a map has for the group and this number; the packet is routable, and its mark no longer a target.
    fn to_backend(self, which: Term, map: &'static str) -> Statement {
        let to = Term::Joined(vec![group(), which]).mapped(map, self.backend());
        let mark = Some(MARK_ROUTABLE);
        Statement::Translate { what: Translate::Destination, v4: self.is_v4(), to, random: false, mark }
    }

    /// Affinity: the endpoint of before if it still serves, else one by a hash of the client's address. The packet's priority holds
    /// the endpoint's number meanwhile.
    fn stick_chain(self, stick: Stick) -> Chain {
        let client = || Term::Joined(vec![Term::Field(self.source()), Term::Mark.masked(PORT_BITS)]);
        let before = Statement::PriorityBecomes(client().mapped("affinity", NUMBER));
        let slot = Term::Hash { of: vec![self.source()], modulus: stick.slots(), seed: CLIENT_SEED };
        let first = Statement::PriorityBecomes(Term::Joined(vec![group(), slot]).mapped("picks", NUMBER));
        let remember =
            |what| Statement::Remember { what, map: "affinity", key: client(), data: Term::Priority };
        let refresh = remember(Recall::Refresh { seconds: stick.timeout });
        let to = || self.to_backend(Term::Priority, "live");
        let ours = || mark_connection(CT_MARK);
        let anew = vec![ours(), first.clone(), remember(Recall::Forget), refresh.clone(), to()];
        let rules = vec![
            rule("", vec![ours(), before, refresh, to()]),
            rule("", anew),
            rule("no room to remember", vec![ours(), first, to()]),
            unserved(),
        ];
        chain(&stick.chain(), rules)
    }
}
