//! Objects as text, in the form in which `nft list ruleset` shows them.
//!
//! For people, for golden tests, and for the test that compares it with what the `nft` program reads out of the kernel.

use std::fmt::{self, Write as _};

use crate::{
    AddressKind, Base, Chain, CtDirection, CtState, CtStatus, DataType, Element, Field, Hook, MapData, Mark,
    Op, Policy, Recall, Reject, Rule, Set, Statement, Table, TableFamily, Term, Translate,
    object::Milliseconds,
};

/// Writes a table with the elements of its sets; `elements` gives those of a set by its name.
pub fn table<'a, I: IntoIterator<Item = &'a Element>>(table: &Table, elements: impl Fn(&str) -> I) -> String {
    let mut out = format!("table {} {{\n", table.id);
    for set in &table.sets {
        write_set(&mut out, set, elements(&set.name));
    }
    for (i, chain) in table.chains.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        write_chain(&mut out, chain, table.id.family);
    }
    out.push_str("}\n");
    out
}

fn write_set<'a>(out: &mut String, set: &Set, elements: impl IntoIterator<Item = &'a Element>) {
    let kind = if set.data.is_some() { "map" } else { "set" };
    let data = match set.data {
        None => String::new(),
        Some(MapData::Verdict) => " : verdict".to_owned(),
        Some(MapData::Value(of)) => format!(" : {of}"),
        Some(MapData::Values(parts)) => format!(" : {}", type_text(parts)),
    };
    let _ = writeln!(out, "\t{kind} {} {{\n\t\ttype {}{data}", set.name, type_text(&set.key));
    if set.size != 0 {
        let _ = writeln!(out, "\t\tsize {}", set.size);
    }
    let flags = [(set.interval, "interval"), (set.dynamic, "dynamic"), (set.timeouts, "timeout")];
    let flags: Vec<&str> = flags.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    if !flags.is_empty() {
        let _ = writeln!(out, "\t\tflags {}", flags.join(","));
    }
    let each: String = set.each.iter().map(|statement| format!(" {statement}")).collect();
    if !each.is_empty() {
        let _ = writeln!(out, "\t\t{}", each.trim_start());
    }
    let elements: Vec<String> = elements.into_iter().map(|element| format!("{element}{each}")).collect();
    if !elements.is_empty() {
        let _ = writeln!(out, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "));
    }
    out.push_str("\t}\n\n");
}

fn type_text(types: &[DataType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ")
}

fn write_chain(out: &mut String, chain: &Chain, family: TableFamily) {
    let _ = writeln!(out, "\tchain {} {{", chain.name);
    if let Some(base) = &chain.base {
        let _ = writeln!(out, "\t\t{}", base_text(base, family));
    }
    for rule in &chain.rules {
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n");
}

fn base_text(base: &Base, family: TableFamily) -> String {
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    let priority = priority_text(base.priority, base.hook, family);
    format!("type {} hook {} priority {priority}; policy {policy};", base.kind.name(), base.hook.name())
}

/// Priorities near a standard one are shown by its name, as far as that name is used at the hook.
fn priority_text(priority: i32, hook: Hook, family: TableFamily) -> String {
    let named: &[(i32, &str)] = match (family, hook) {
        (TableFamily::Bridge, Hook::Prerouting) => &[(-300, "dstnat"), (-200, "filter")],
        (TableFamily::Bridge, Hook::Output) => &[(-200, "filter"), (100, "out")],
        (TableFamily::Bridge, Hook::Postrouting) => &[(-200, "filter"), (300, "srcnat")],
        (TableFamily::Bridge, Hook::Input | Hook::Forward) => &[(-200, "filter")],
        (TableFamily::Arp, _) => &[(0, "filter")],
        (TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6, Hook::Prerouting) => {
            &[(-300, "raw"), (-150, "mangle"), (-100, "dstnat"), (0, "filter"), (50, "security")]
        }
        (TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6, Hook::Postrouting) => {
            &[(-300, "raw"), (-150, "mangle"), (0, "filter"), (50, "security"), (100, "srcnat")]
        }
        (
            TableFamily::Inet | TableFamily::Ip | TableFamily::Ip6,
            Hook::Input | Hook::Forward | Hook::Output,
        ) => &[(-300, "raw"), (-150, "mangle"), (0, "filter"), (50, "security")],
    };
    match named.iter().find(|(at, _)| (priority - at).abs() <= 10) {
        None => priority.to_string(),
        Some((at, name)) if *at == priority => (*name).to_owned(),
        Some((at, name)) if priority > *at => format!("{name} + {}", priority - at),
        Some((at, name)) => format!("{name} - {}", at - priority),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, statement) in self.statements.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{statement}")?;
        }
        if !self.comment.is_empty() {
            write!(f, " comment {:?}", self.comment)?;
        }
        Ok(())
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match { field, op, value } => {
                write!(f, "{} {}{}", field.text(), op_text(*op), field.value_text(value))
            }
            Self::Bits { mark, mask, value } => {
                write!(f, "{} & {mask:#010x} == {value:#010x}", mark_text(*mark))
            }
            Self::State(states) => {
                let names: Vec<&str> = states.iter().map(|s| state_text(*s)).collect();
                write!(f, "ct state {}", names.join(","))
            }
            Self::Direction(CtDirection::Original) => f.write_str("ct direction original"),
            Self::Direction(CtDirection::Reply) => f.write_str("ct direction reply"),
            Self::Status(CtStatus::SourceTranslated) => f.write_str("ct status snat"),
            Self::Status(CtStatus::DestinationTranslated) => f.write_str("ct status dnat"),
            Self::TcpFlags { mask, value } => {
                write!(f, "tcp flags {} / {}", tcp_flags_text(*value), tcp_flags_text(*mask))
            }
            Self::ArpOfIpv4 => f.write_str("arp htype 1 arp ptype ip arp hlen 6 arp plen 4"),
            Self::Lookup { key, set, absent } => {
                let absent = if *absent { "!= " } else { "" };
                write!(f, "{} {absent}@{set}", key_text(key))
            }
            Self::Equals(term @ Term::Masked(..), value) => write!(f, "{term} == {value:#010x}"),
            Self::Equals(term, value) => write!(f, "{term} {value:#010x}"),
            Self::Found { key, set, absent } => {
                let absent = if *absent { "!= " } else { "" };
                write!(f, "{key} {absent}@{set}")
            }
            Self::Dispatch { key, map } => write!(f, "{key} vmap @{map}"),
            Self::MarkBecomes(term) => write!(f, "meta mark set {term}"),
            Self::MarkIs(mark) => write!(f, "meta mark set {mark:#010x}"),
            Self::PriorityBecomes(term) => write!(f, "meta priority set {term}"),
            Self::PriorityIs(0) => f.write_str("meta priority set none"),
            Self::PriorityIs(number) => {
                write!(f, "meta priority set {:x}:{:x}", number >> 16, number & 0xffff)
            }
            Self::Translate { what, v4, to, random, mark } => {
                if let Some(mark) = mark {
                    write!(f, "meta mark set {mark:#010x} ")?;
                }
                let verb = match what {
                    Translate::Source => "snat",
                    Translate::Destination => "dnat",
                };
                let random = if *random { " fully-random" } else { "" };
                // With a port behind the address the family must be said.
                let family = if to.words() > if *v4 { 1 } else { 4 } { family_text(*v4) } else { "" };
                let space = if family.is_empty() { "" } else { " " };
                write!(f, "{verb} {family}{space}to {to}{random}")
            }
            Self::Remember { what: Recall::Refresh { seconds }, map, key, data } => {
                let time = Milliseconds(u64::from(*seconds) * 1000);
                write!(f, "update @{map} {{ {key} timeout {time} : {data} }}")
            }
            Self::Remember { what: Recall::Forget, map, key, data } => {
                write!(f, "delete @{map} {{ {key} : {data} }}")
            }
            Self::Renew { set, key, timeout_ms } => {
                write!(f, "update @{set} {{ {} timeout {} }}", key.text(), Milliseconds(*timeout_ms))
            }
            Self::MasqueradeRandomly => f.write_str("masquerade fully-random"),
            Self::VerdictMap { key, map } => write!(f, "{} vmap @{map}", key_text(key)),
            Self::DestinationKind(op, kind) => {
                let kind = match kind {
                    AddressKind::Local => "local",
                    AddressKind::Unicast => "unicast",
                };
                write!(f, "fib daddr type {}{kind}", op_text(*op))
            }
            Self::Mark { mark, clear, set } => f.write_str(&change_text(*mark, *clear, *set)),
            Self::MssOfRoute => f.write_str("tcp option maxseg size set rt mtu"),
            Self::Counter => f.write_str("counter"),
            Self::Limit { per_second, burst: 5 } => write!(f, "limit rate {per_second}/second"), // 5 is nft's default
            Self::Limit { per_second, burst } => {
                write!(f, "limit rate {per_second}/second burst {burst} packets")
            }
            Self::Log { group, prefix } => write!(f, "log prefix {prefix:?} group {group}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Snat(to) => write!(f, "snat {} to {to}", family_text(to.is_ipv4())),
            Self::Dnat(to, None) => write!(f, "dnat {} to {to}", family_text(to.is_ipv4())),
            Self::Dnat(to, Some(port)) => {
                write!(f, "dnat {} to {}", family_text(to.is_ipv4()), std::net::SocketAddr::new(*to, *port))
            }
            Self::NoTrack => f.write_str("notrack"),
            Self::Reject(Reject::TcpReset) => f.write_str("reject with tcp reset"),
            Self::Reject(Reject::PortUnreachable) => f.write_str("reject"),
            Self::Reject(Reject::AdminProhibited) => f.write_str("reject with icmpx admin-prohibited"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

fn op_text(op: Op) -> &'static str {
    match op {
        Op::Eq => "",
        Op::Ne => "!= ",
        Op::Gt => "> ",
    }
}

fn key_text(key: &[Field]) -> String {
    key.iter().map(|f| f.text()).collect::<Vec<_>>().join(" . ")
}

fn mark_text(mark: Mark) -> &'static str {
    match mark {
        Mark::Packet => "meta mark",
        Mark::Connection => "ct mark",
    }
}

fn change_text(mark: Mark, clear: u32, set: u32) -> String {
    let name = mark_text(mark);
    let (kept, cleared) = (!clear | set, clear & !set);
    match (cleared, set) {
        (0, _) => format!("{name} set {name} | {set:#010x}"),
        (_, 0) => format!("{name} set {name} & {kept:#010x}"),
        (_, _) => format!("{name} set {name} & {kept:#010x} | {set:#010x}"),
    }
}

fn state_text(state: CtState) -> &'static str {
    match state {
        CtState::Invalid => "invalid",
        CtState::Established => "established",
        CtState::Related => "related",
        CtState::New => "new",
    }
}

fn tcp_flags_text(flags: u8) -> String {
    let names = [(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg")];
    names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect::<Vec<_>>().join(",")
}

fn family_text(is_v4: bool) -> &'static str {
    if is_v4 { "ip" } else { "ip6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Data, Value, Verdict, fixture};

    #[test]
    fn a_table_reads_as_nft_lists_it() {
        let elements = [Element::of(vec![
            Value::Name("wv00000001".into()),
            Value::Mac([2, 0, 0, 0, 0, 9]),
            Value::V4("10.1.1.2".parse().unwrap()),
        ])];
        let text =
            table(&fixture::table(), |name| elements.iter().filter(|_| name == "ports4").collect::<Vec<_>>());
        let expected = concat!(
            "table bridge weft {\n",
            "\tset ports4 {\n\t\ttype ifname . ether_addr . ipv4_addr\n\t\tsize 64\n",
            "\t\telements = { \"wv00000001\" . 02:00:00:00:00:09 . 10.1.1.2 }\n\t}\n\n",
            "\tchain ingress {\n\t\ttype filter hook prerouting priority dstnat; policy accept;\n",
            "\t\tiifname \"wv*\" goto ports comment \"pods\"\n\t}\n\n",
            "\tchain ports {\n",
            "\t\ticmpv6 type nd-redirect counter drop\n",
            "\t\tiifname . ether saddr . ip saddr @ports4 meta mark set meta mark | 0x01000000 accept\n",
            "\t\tcounter drop\n\t}\n}\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn marks_are_changed_under_a_mask() {
        assert_eq!(change_text(Mark::Packet, 0x300, 0), "meta mark set meta mark & 0xfffffcff");
        assert_eq!(change_text(Mark::Connection, 0, 1), "ct mark set ct mark | 0x00000001");
        let both = "meta mark set meta mark & 0xfffffeff | 0x00000200";
        assert_eq!(change_text(Mark::Packet, 0x300, 0x200), both);
    }

    #[test]
    fn a_map_shows_what_it_gives() {
        let map = Set::map("verdicts", &[DataType::Ipv4Addr], MapData::Verdict, 8);
        let element = Element {
            key: vec![Value::V4("10.0.0.1".parse().unwrap())],
            data: Some(Data::Verdict(Verdict::Goto("x".into()))),
            timeout_ms: None,
        };
        let mut out = String::new();
        write_set(&mut out, &map, [&element]);
        assert!(out.contains("map verdicts {\n\t\ttype ipv4_addr : verdict"), "{out}");
        assert!(out.contains("elements = { 10.0.0.1 : goto x }"), "{out}");
    }
}
