//! `inet weft`: who may enter our routing tables, and the drops that hold even where routing errs.
//!
//! *Routable* is set (1) for what port security checked, (2) for what comes out of the mesh, or in mode `routed` from a block's owner,
//! with an inner source of the fabric, (3) for replies of our own connections from anywhere else. All else loses both bits first.

use weft_model::{
    Overlay,
    ownership::{CT_MARK, CT_MARK_SOURCE, DNS_PORT, MARK_CHECKED, MARK_ENTERED, MARK_LEFT, MARK_ROUTABLE},
};
use weft_nft::{
    ChainKind, CtDirection, CtState, CtStatus, DataType, Field, Hook, Mark, Op, Reject, Rule, Set, Statement,
    Table, TableFamily, Value, Verdict,
};

use crate::limits::{DEVICES, RANGES};

use super::rule::{
    OURS, accept, base, chain, closed, from_bridge, from_port, has, icmp6, icmp6_type, lacks, make_routable,
    of_our_connection, rule, table_ref, to_bridge, told,
};

/// Numbers of protocols.
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// Most nodes.
const PEERS: u32 = 32_768;
/// Most replicas of the control plane.
const REPLICAS: u32 = 64;
/// Most ranges that pods are kept from: a range counts as two elements.
const METADATA: u32 = 64;
/// Most blocks and mesh addresses of other nodes in mode `routed`.
const OWNERS: u32 = 65_536;

/// Most addresses of the resolver.
const RESOLVER: u32 = 64;
/// Most pods that ask it over TCP, of one family: more than a node has.
const ASKERS: u32 = 16_384;
/// New connections to the resolver that a pod may make each second, and at once; it answers them in turn, eight at a time. What a pod
/// tries beyond that would cost the node, and so its other pods, more than many questions.
const CONNECTIONS: &[Statement] = &[Statement::Limit { per_second: 500, burst: 500 }];
/// Milliseconds for which it is remembered that a pod made one: longer than its allowance needs to be whole again.
const ASKER_REMEMBERED: u64 = 10_000;
/// Longest question, bytes with the header of UDP: more than any name with all that clients add, and as long as the longest answer
/// over UDP (DNS flag day 2020). A longer one can't be meant, and to take it up costs as much as to answer others.
const QUESTION: u16 = 1232 + 8;

/// `NF_IP_PRI_RAW`: before connection tracking.
const BEFORE_TRACKING: i32 = -300;
/// Before fragments are put together (`NF_IP_PRI_CONNTRACK_DEFRAG` is -400).
const BEFORE_REASSEMBLY: i32 = -450;
/// `NF_IP_PRI_MANGLE`: after connection tracking, before translation.
const MANGLE: i32 = -150;
/// Just after `NF_IP_PRI_NAT_DST`: addresses are the translated ones.
const AFTER_TRANSLATION: i32 = -90;
const FILTER: i32 = 0;
/// `NF_IP_PRI_NAT_SRC`.
const SOURCE_TRANSLATION: i32 = 100;

/// The fields and sets of one family.
struct Side {
    source: Field,
    destination: Field,
    sources: &'static str,
    fabric: &'static str,
    peers: &'static str,
    direct: &'static str,
    owners: &'static str,
    replicas: &'static str,
    metadata: &'static str,
    resolver: &'static str,
    askers: &'static str,
}

const SIDES: [Side; 2] = [
    Side {
        source: Field::Ip4Source,
        destination: Field::Ip4Destination,
        sources: "sources4",
        fabric: "fabric4",
        peers: "peers4",
        direct: "direct4",
        owners: "owners4",
        replicas: "replicas4",
        metadata: "metadata4",
        resolver: "resolver4",
        askers: "askers4",
    },
    Side {
        source: Field::Ip6Source,
        destination: Field::Ip6Destination,
        sources: "sources6",
        fabric: "fabric6",
        peers: "peers6",
        direct: "direct6",
        owners: "owners6",
        replicas: "replicas6",
        metadata: "metadata6",
        resolver: "resolver6",
        askers: "askers6",
    },
];

/// The table of a mode, without elements.
pub(super) fn table(overlay: Overlay) -> Table {
    let mut chains = vec![
        base("names_arriving", ChainKind::Filter, Hook::Prerouting, BEFORE_REASSEMBLY, arriving()),
        base("names_sent", ChainKind::Filter, Hook::Output, BEFORE_TRACKING, untracked()),
        base("marks", ChainKind::Filter, Hook::Prerouting, MANGLE, marks(overlay)),
        base("replies", ChainKind::Filter, Hook::Prerouting, AFTER_TRANSLATION, replies()),
        base("mss", ChainKind::Filter, Hook::Forward, MANGLE, mss()),
        base("forward", ChainKind::Filter, Hook::Forward, FILTER, forward(overlay)),
        base("input", ChainKind::Filter, Hook::Input, FILTER, input()),
        base("output", ChainKind::Filter, Hook::Output, FILTER, output(overlay)),
        base("sources", ChainKind::Nat, Hook::Postrouting, SOURCE_TRANSLATION, sources()),
        chain("from_pods", from_pods()),
        chain("to_metadata", to_metadata()),
        chain("to_resolver", to_resolver()),
        chain("questions", questions()),
        chain("to_control_plane", ending("control-plane", "a pod never speaks to the control plane")),
        chain("unjudged", ending("unjudged", "not judged by policy")),
    ];
    if overlay == Overlay::Wireguard {
        chains.push(base("translated", ChainKind::Filter, Hook::Postrouting, FILTER, translated()));
    }
    chains.push(match overlay {
        Overlay::Wireguard => chain("from_mesh", from_mesh()),
        Overlay::Routed => chain("from_uplink", from_uplink()),
    });
    Table { id: table_ref(TableFamily::Inet), sets: sets(overlay), chains }
}

fn sets(overlay: Overlay) -> Vec<Set> {
    let devices = |name| Set::exact(name, &[DataType::Ifname], DEVICES);
    let mut sets = vec![devices("inner"), devices("near")];
    sets.push(match overlay {
        Overlay::Wireguard => Set::exact("mesh", &[DataType::Ifname], DEVICES),
        Overlay::Routed => Set::exact("uplinks", &[DataType::Ifname], DEVICES),
    });
    for (side, address) in SIDES.iter().zip([DataType::Ipv4Addr, DataType::Ipv6Addr]) {
        sets.push(Set::ranges(side.sources, &[address], RANGES));
        sets.push(Set::ranges(side.fabric, &[address], RANGES));
        sets.push(Set::ranges(side.direct, &[address], RANGES));
        sets.push(Set::exact(side.replicas, &[address, DataType::InetService], REPLICAS));
        sets.push(Set::ranges(side.metadata, &[address], METADATA));
        sets.push(Set::exact(side.resolver, &[address], RESOLVER));
        sets.push(Set {
            timeouts: true,
            dynamic: true,
            each: CONNECTIONS,
            ..Set::exact(side.askers, &[address], ASKERS)
        });
        sets.push(match overlay {
            Overlay::Wireguard => Set::exact(side.peers, &[address], PEERS),
            Overlay::Routed => Set::ranges(side.owners, &[address, DataType::EtherAddr], OWNERS),
        });
    }
    sets
}

/// Not by a device of ours.
fn from_outside() -> Statement {
    Statement::outside(&[Field::InName], "inner")
}

/// Not by a device of ours.
fn to_outside() -> Statement {
    Statement::outside(&[Field::OutName], "inner")
}

/// A rule for each family.
fn each(make: impl Fn(&Side) -> Rule) -> impl Iterator<Item = Rule> {
    SIDES.iter().map(make).collect::<Vec<_>>().into_iter()
}

fn marks(overlay: Overlay) -> Vec<Rule> {
    let mut rules = vec![
        // A bridge hands frames to some link-local group MACs to the port itself, past its own hooks
        // (net/bridge/br_input.c, br_handle_frame); and a port may not be in the bridge yet.
        closed("a pod's packet that went around the bridge", vec![from_port()]),
        rule("", vec![from_bridge(), has(MARK_CHECKED), Statement::goto("from_pods")]),
        rule("our bits are nobody else's", vec![Statement::Mark { mark: Mark::Packet, clear: OURS, set: 0 }]),
    ];
    rules.push(match overlay {
        Overlay::Wireguard => {
            rule("", vec![Statement::within(&[Field::InName], "mesh"), Statement::goto("from_mesh")])
        }
        Overlay::Routed => {
            rule("", vec![Statement::within(&[Field::InName], "uplinks"), Statement::jump("from_uplink")])
        }
    });
    let forged = |side: &Side| {
        let source = Statement::within(&[side.source], side.fabric);
        closed("a source of the fabric that comes from outside", vec![from_outside(), source])
    };
    rules.extend(each(forged));
    rules
}

fn from_pods() -> Vec<Rule> {
    let ours = Statement::Mark { mark: Mark::Connection, clear: 0, set: CT_MARK };
    vec![rule("", vec![make_routable(), ours, accept()])]
}

fn from_mesh() -> Vec<Rule> {
    let pass =
        |side: &Side, set| rule("", vec![Statement::within(&[side.source], set), make_routable(), accept()]);
    let mut rules: Vec<Rule> = each(|side| pass(side, side.sources)).collect();
    rules.extend(each(|side| pass(side, side.peers)));
    let error = vec![Statement::State(&[CtState::Related]), of_our_connection(), make_routable(), accept()];
    rules.push(rule("ICMP errors of our connections", error));
    rules.push(closed("a source that no peer has", vec![]));
    rules
}

fn from_uplink() -> Vec<Rule> {
    let owned = |side: &Side| {
        let owner = Statement::within(&[side.source, Field::EtherSource], side.owners);
        rule("", vec![owner, make_routable(), accept()])
    };
    each(owned).collect()
}

/// Replies to our own connections, and ICMP errors about them, after their destination is the pod's again; and what services have
/// just led to a backend: only their rules mark a connection that comes from outside as ours.
fn replies() -> Vec<Rule> {
    let reply = Statement::Direction(CtDirection::Reply);
    let sent = Statement::Direction(CtDirection::Original);
    let translated = Statement::Status(CtStatus::DestinationTranslated);
    vec![
        rule("", vec![from_outside(), reply, of_our_connection(), make_routable()]),
        rule("to a service", vec![from_outside(), sent, translated, of_our_connection(), make_routable()]),
    ]
}

/// Both ways: what comes from a device of ours, and what goes to one.
fn mss() -> Vec<Rule> {
    const SYN: u8 = 2;
    const RST: u8 = 4;
    let clamp = |by| {
        let syn = Statement::TcpFlags { mask: SYN | RST, value: SYN };
        rule("", vec![Statement::within(&[by], "inner"), syn, Statement::MssOfRoute, accept()])
    };
    vec![clamp(Field::InName), clamp(Field::OutName)]
}

/// Pods have no business with the control plane, and a replica's places are for machines.
fn to_replica(side: &Side) -> Rule {
    let replica = Statement::within(&[side.destination, Field::TcpDestination], side.replicas);
    rule("", vec![from_bridge(), replica, Statement::goto("to_control_plane")])
}

/// What ends here and is told as well.
fn ending(reason: &'static str, comment: &'static str) -> Vec<Rule> {
    vec![told(reason), closed(comment, vec![])]
}

/// Clouds hand out their machines' credentials there, and often serve names too: of that alone pods may ask.
fn to_metadata() -> Vec<Rule> {
    const DNS: Value = Value::U16(DNS_PORT);
    let names = |port| rule("", vec![Statement::is(port, DNS), Statement::Verdict(Verdict::Return)]);
    vec![
        names(Field::UdpDestination),
        names(Field::TcpDestination),
        told("metadata"),
        closed("link-local and cloud metadata are the machine's own", vec![]),
    ]
}

/// Questions about names and their answers never meet connection tracking: it would cost as much as the answer, its table is
/// bounded, and two questions from one socket race in it.
fn arriving() -> Vec<Rule> {
    let questions = |side: &Side| {
        let asked = Statement::within(&[side.destination], side.resolver);
        rule("", vec![asked, Statement::goto("questions")])
    };
    let answers = |side: &Side| {
        let answered = Statement::within(&[side.source], side.resolver);
        rule("", vec![answered, Statement::NoTrack])
    };
    each(questions).chain(each(answers)).collect()
}

/// What comes for the resolver, before anything is spent on it.
fn questions() -> Vec<Rule> {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const DONT_FRAGMENT: u16 = 0x4000;
    const FRAGMENT: u8 = 44;
    let too_long = Statement::Match { field: Field::UdpLength, op: Op::Gt, value: Value::U16(QUESTION) };
    let connects = || [from_bridge(), Statement::TcpFlags { mask: SYN | ACK, value: SYN }];
    let within_bounds = |side: &Side| {
        let noted = Statement::Renew { set: side.askers, key: side.source, timeout_ms: ASKER_REMEMBERED };
        rule("", [&connects()[..], &[noted, accept()]].concat())
    };
    let not = |value| Statement::Match { field: Field::Ip4Fragment, op: Op::Ne, value: Value::U16(value) };
    let mut rules = vec![
        rule("", vec![Statement::NoTrack]),
        closed("a part of what is longer than any question", vec![not(0), not(DONT_FRAGMENT)]),
        closed(
            "a part of what is longer than any question",
            vec![Statement::is(Field::Ip6Next, Value::U8(FRAGMENT))],
        ),
        closed("longer than any question", vec![too_long]),
    ];
    rules.extend(each(within_bounds));
    rules.push(closed("more connections than one pod may make", connects().to_vec()));
    rules
}

/// The same of what the node sends.
fn untracked() -> Vec<Rule> {
    let questions = |side: &Side| vec![Statement::within(&[side.destination], side.resolver)];
    let answers = |side: &Side| vec![Statement::within(&[side.source], side.resolver)];
    let rules = each(|side| rule("", [questions(side), vec![Statement::NoTrack]].concat()));
    rules.chain(each(|side| rule("", [answers(side), vec![Statement::NoTrack]].concat()))).collect()
}

/// What came for the resolver. It hears pods of this node and the node itself, and only about names.
fn to_resolver() -> Vec<Rule> {
    const DNS: Value = Value::U16(DNS_PORT);
    let stranger = Statement::outside(&[Field::InName], "near");
    let protocol = |number| Statement::is(Field::L4Proto, Value::U8(number));
    vec![
        closed("each node answers its own pods alone", vec![stranger]),
        // Answers too: who asks from the node itself has the resolver's address as its own.
        rule("", vec![Statement::is(Field::InName, Value::Name("lo".to_owned())), accept()]),
        closed("not checked by port security", vec![from_bridge(), lacks(MARK_ROUTABLE)]),
        rule("", vec![Statement::is(Field::UdpDestination, DNS), accept()]),
        rule("", vec![Statement::is(Field::TcpDestination, DNS), accept()]),
        rule("", vec![protocol(ICMP), accept()]),
        rule("", vec![protocol(ICMP6), accept()]),
        rule(
            "names and nothing else",
            vec![protocol(TCP), Statement::Counter, Statement::Reject(Reject::TcpReset)],
        ),
        rule("names and nothing else", vec![Statement::Counter, Statement::Reject(Reject::PortUnreachable)]),
    ]
}

fn forward(overlay: Overlay) -> Vec<Rule> {
    let unmarked = |by| {
        let device = Statement::within(&[by], "inner");
        closed("not routable", vec![device, lacks(MARK_ROUTABLE)])
    };
    let mut rules = vec![
        unmarked(Field::InName),
        unmarked(Field::OutName),
        rule("", vec![from_bridge(), lacks(MARK_LEFT), Statement::goto("unjudged")]),
        rule("", vec![to_bridge(), lacks(MARK_ENTERED), Statement::goto("unjudged")]),
    ];
    rules.extend(each(to_replica));
    rules.extend(each(|side| {
        let metadata = Statement::within(&[side.destination], side.metadata);
        rule("", vec![from_bridge(), to_outside(), metadata, Statement::jump("to_metadata")])
    }));
    let to_fabric = |side: &Side| vec![to_outside(), Statement::within(&[side.destination], side.fabric)];
    match overlay {
        Overlay::Wireguard => {
            rules.extend(each(|side| closed("never in clear", to_fabric(side))));
            rules.extend(each(|side| {
                let source = Statement::within(&[side.source], side.sources);
                let peer = Statement::within(&[side.destination], side.peers);
                closed("to another node never in clear", vec![to_outside(), source, peer])
            }));
        }
        Overlay::Routed => {
            rules.extend(each(|side| {
                let mut matches = to_fabric(side);
                matches.push(lacks(MARK_ROUTABLE));
                closed("not routable", matches)
            }));
        }
    }
    rules
}

fn input() -> Vec<Rule> {
    let discovery = |kind| rule("", vec![from_bridge(), icmp6(kind), accept()]);
    let mut rules = vec![rule("", vec![from_bridge(), lacks(MARK_LEFT), Statement::goto("unjudged")])];
    rules.extend(each(to_replica));
    rules.extend(each(|side| {
        rule("", vec![Statement::within(&[side.destination], side.resolver), Statement::goto("to_resolver")])
    }));
    rules.extend([
        rule("", vec![from_bridge(), has(MARK_ROUTABLE), accept()]),
        discovery(icmp6_type::NEIGHBOUR_SOLICITATION),
        discovery(icmp6_type::NEIGHBOUR_ADVERTISEMENT),
        closed("not checked by port security", vec![from_bridge()]),
    ]);
    rules.extend(each(|side| {
        let ours = Statement::within(&[side.destination], side.sources);
        let opened = Statement::Direction(CtDirection::Original);
        let matches = vec![from_outside(), lacks(MARK_ROUTABLE), ours, opened];
        closed("a mesh address is for the fabric alone", matches)
    }));
    rules
}

fn output(overlay: Overlay) -> Vec<Rule> {
    let redirect = vec![to_bridge(), icmp6(icmp6_type::REDIRECT)];
    let mut rules = vec![closed("a pod's way is always the gateway", redirect)];
    rules.extend(each(|side| {
        let answer = Statement::within(&[side.source], side.resolver);
        closed("answers stay on the node", vec![answer, Statement::outside(&[Field::OutName], "near")])
    }));
    if overlay == Overlay::Wireguard {
        rules.extend(each(|side| {
            let to_fabric = Statement::within(&[side.destination], side.sources);
            closed("never in clear", vec![to_outside(), translated_source(0), to_fabric])
        }));
    }
    rules
}

/// A process's packet to a service outside of the fabric's ranges is routed anew after its translation, but in the output hook the
/// device is still the one of before (net/netfilter/nf_nat_proto.c, nf_nat_ipv4_local_fn).
fn translated() -> Vec<Rule> {
    let closed_to = |side: &Side| {
        let to_fabric = Statement::within(&[side.destination], side.sources);
        closed("never in clear", vec![translated_source(CT_MARK_SOURCE), to_outside(), to_fabric])
    };
    each(closed_to).collect()
}

/// Whether its connection is one whose sender a service translates.
const fn translated_source(value: u32) -> Statement {
    Statement::Bits { mark: Mark::Connection, mask: CT_MARK_SOURCE, value }
}

fn sources() -> Vec<Rule> {
    let masquerade = |side: &Side| {
        let statements = vec![
            to_outside(),
            Statement::within(&[side.source], side.sources),
            Statement::outside(&[side.destination], side.fabric),
            Statement::outside(&[side.destination], side.direct),
            Statement::Masquerade,
        ];
        rule("", statements)
    };
    each(masquerade).collect()
}
