//! `bridge weft`: port security. What a pod sends must bear its own port, MAC and address, in ARP and neighbour discovery too.
//!
//! Only what passes here bears *checked*, and only what bears it becomes *routable* in `inet weft`.

use std::net::Ipv6Addr;

use weft_model::ownership::MARK_CHECKED;
use weft_nft::{
    Chain, ChainKind, DataType, Field, Hook, Mark, Rule, Set, Statement, Table, TableFamily, Value,
};

use super::rule::{
    accept, base, chain, closed, drop, from_port, icmp6, icmp6_type as icmp, rule, table_ref, to_port, told,
};

/// Most IPv4 and IPv6 addresses of pods on one node.
const PORT_ADDRESSES: u32 = 8192;
/// Before everything else that looks at frames (`NF_BR_PRI_NAT_DST_BRIDGED`), so also before br_netfilter.
const FIRST: i32 = -300;
/// `NF_BR_PRI_FILTER_BRIDGED`.
const FILTER: i32 = -200;

const ARP: Value = Value::U16(0x0806);
const ICMP6: Value = Value::U8(58);
const IP6: Value = Value::U16(0x86dd);
/// Option "source link-layer address" of 8 bytes (RFC 4861 section 4.6.1).
const SOURCE_MAC_OPTION: Value = Value::U16(0x0101);
/// Option "target link-layer address" of 8 bytes.
const TARGET_MAC_OPTION: Value = Value::U16(0x0201);
/// Payload of a solicitation or advertisement without options, in bytes.
const BARE: Value = Value::U16(24);

/// The table without elements.
pub(super) fn table() -> Table {
    let key = |address| [DataType::Ifname, DataType::EtherAddr, address];
    Table {
        id: table_ref(TableFamily::Bridge),
        sets: vec![
            Set::exact("ports4", &key(DataType::Ipv4Addr), PORT_ADDRESSES),
            Set::exact("ports6", &key(DataType::Ipv6Addr), PORT_ADDRESSES),
            // Addresses that a port may speak for in neighbour discovery: the leased ones and the link-local one of its MAC.
            Set::exact("ports_nd", &key(DataType::Ipv6Addr), 2 * PORT_ADDRESSES),
        ],
        chains: chains(),
    }
}

fn chains() -> Vec<Chain> {
    let clear = Statement::Mark { mark: Mark::Packet, clear: MARK_CHECKED, set: 0 };
    let ingress = vec![
        rule("only port security says checked", vec![clear]),
        rule("", vec![from_port(), Statement::goto("pod")]),
    ];
    let bridged = vec![
        closed("pods are routed, never bridged", vec![from_port()]),
        closed("pods are routed, never bridged", vec![to_port()]),
    ];
    vec![
        base("ingress", ChainKind::Filter, Hook::Prerouting, FIRST, ingress),
        base("bridged", ChainKind::Filter, Hook::Forward, FILTER, bridged),
        chain("pod", pod()),
        chain("pod_arp", pod_arp()),
        chain("pod_ip6", pod_ip6()),
        chain("pod_solicits", pod_solicits()),
        chain("pod_advertises", pod_advertises()),
    ]
}

/// The port and a MAC and an address that stand together in the lease.
fn leased(mac: Field, address: Field, set: &'static str) -> Statement {
    Statement::within(&[Field::InName, mac, address], set)
}

fn mark_checked() -> Statement {
    Statement::Mark { mark: Mark::Packet, clear: 0, set: MARK_CHECKED }
}

fn pod() -> Vec<Rule> {
    let source = leased(Field::EtherSource, Field::Ip4Source, "ports4");
    vec![
        rule("", vec![source, mark_checked(), accept()]),
        rule("", vec![Statement::is(Field::EtherType, IP6), Statement::goto("pod_ip6")]),
        rule("", vec![Statement::is(Field::EtherType, ARP), Statement::goto("pod_arp")]),
        told("spoofed"),
        closed("unknown port, foreign source, VLAN or other EtherType", vec![]),
    ]
}

fn pod_arp() -> Vec<Rule> {
    let honest = vec![
        Statement::ArpOfIpv4,
        leased(Field::ArpSenderMac, Field::ArpSenderAddress, "ports4"),
        leased(Field::EtherSource, Field::ArpSenderAddress, "ports4"),
        accept(),
    ];
    vec![rule("", honest), told("spoofed"), closed("ARP for an address that isn't the pod's", vec![])]
}

fn pod_ip6() -> Vec<Rule> {
    let source = leased(Field::EtherSource, Field::Ip6Source, "ports6");
    let quiet = |kind| rule("no router and no multicast here", vec![icmp6(kind), drop()]);
    vec![
        rule("", vec![icmp6(icmp::NEIGHBOUR_SOLICITATION), Statement::goto("pod_solicits")]),
        rule("", vec![icmp6(icmp::NEIGHBOUR_ADVERTISEMENT), Statement::goto("pod_advertises")]),
        closed("router advertisement", vec![icmp6(icmp::ROUTER_ADVERTISEMENT)]),
        closed("redirect", vec![icmp6(icmp::REDIRECT)]),
        quiet(icmp::ROUTER_SOLICITATION),
        quiet(icmp::LISTENER_QUERY),
        quiet(icmp::LISTENER_REPORT),
        quiet(icmp::LISTENER_DONE),
        quiet(icmp::LISTENER_REPORT_2),
        rule("", vec![source, mark_checked(), accept()]),
        told("spoofed"),
        closed("unknown port or foreign source", vec![]),
    ]
}

fn speaks_for(mac: Field, address: Field) -> Statement {
    leased(mac, address, "ports_nd")
}

/// Said although the type was matched before: without it the `nft` program shows the fields of neighbour discovery elsewhere.
fn discovery() -> Statement {
    Statement::is(Field::L4Proto, ICMP6)
}

fn pod_solicits() -> Vec<Rule> {
    let source = || speaks_for(Field::EtherSource, Field::Ip6Source);
    let unspecified = Statement::is(Field::Ip6Source, Value::V6(Ipv6Addr::UNSPECIFIED));
    vec![
        rule(
            "",
            vec![
                discovery(),
                source(),
                Statement::is(Field::NdOption, SOURCE_MAC_OPTION),
                speaks_for(Field::NdOptionMac, Field::Ip6Source),
                accept(),
            ],
        ),
        rule("", vec![source(), Statement::is(Field::Ip6Length, BARE), accept()]),
        rule(
            "duplicate address detection",
            vec![discovery(), unspecified, speaks_for(Field::EtherSource, Field::NdTarget), accept()],
        ),
        closed("neighbour solicitation that lies", vec![]),
    ]
}

fn pod_advertises() -> Vec<Rule> {
    let honest = || {
        let source = speaks_for(Field::EtherSource, Field::Ip6Source);
        vec![discovery(), source, speaks_for(Field::EtherSource, Field::NdTarget)]
    };
    let bare = vec![Statement::is(Field::Ip6Length, BARE), accept()];
    let with_mac = vec![
        Statement::is(Field::NdOption, TARGET_MAC_OPTION),
        speaks_for(Field::NdOptionMac, Field::NdTarget),
        accept(),
    ];
    vec![
        rule("", [honest(), bare].concat()),
        rule("", [honest(), with_mac].concat()),
        closed("neighbour advertisement that lies", vec![]),
    ]
}
