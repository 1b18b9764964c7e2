//! `arp weft_link` and `ip6 weft_link`: a node answers for a load-balancer address only while its agent is awake.
//!
//! The kernel answers ARP and neighbour solicitations by itself, also when the agent is frozen and its address has long moved to
//! another node. So what would say where a held address is leaves the node only by a device in the set `uplinks`, and only while
//! the set `awake` has an element. Its elements live shortly; frames that the agent sends to itself by the loopback device renew
//! them on their way in, and end there: a sign of life is no transaction, so it disturbs nobody who reads the ruleset. A frame is one
//! of ours by the hardware address of its sender: the kernel writes none on that device, so only who may send raw frames in this
//! network namespace (CAP_NET_RAW) can make one, and might say anything on the link itself. The set's key is what frame and answer
//! have in common whatever they say: ARP's protocol, IPv6's next header. Questions that bear a held address as their sender count
//! too: they teach neighbours as well. Not here: the frames (weft-kernel), announcements, which go around these hooks (weft-kernel).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use weft_model::{
    Family,
    ownership::{NFT_LINK_TABLE, VOUCHER_MAC},
};
use weft_nft::{
    Base, Batch, Chain, ChainKind, DataType, Difference, Element, Elements, Field, Hook, Observed, Policy,
    Rule, Set, SetRef, Statement, Table, TableFamily, TableRef, Value, Verdict,
};

/// An agent that says nothing for so long doesn't answer any more: four times as long as it takes to say it.
pub const AWAKE: Duration = Duration::from_millis(200);
/// The same for an agent that is about to start anew.
pub const AWAKE_RESTART: Duration = Duration::from_secs(10);

/// `NF_IP_PRI_FILTER`, and the only one that ARP has a name for.
const FILTER: i32 = 0;
/// Before everybody else's chains, and before fragments and connections (`NF_IP_PRI_CONNTRACK_DEFRAG` is -400).
const FIRST: i32 = -500;
/// Neighbour advertisement (RFC 4861 section 4.4).
const ADVERTISEMENT: u8 = 136;
/// EtherType of IPv4: the protocol of ARP messages about it.
const IPV4: u16 = 0x0800;
const ICMPV6: u8 = 58;
const HELD: &str = "held";
const UPLINKS_SET: &str = "uplinks";
const AWAKE_SET: &str = "awake";
/// Most uplinks of a node.
const UPLINKS: u32 = 16;
/// Elements of `awake`: one lives; those whose time is over are swept by the kernel once a second.
const AWAKES: u32 = 64;

/// Both tables, without elements.
pub fn answer_tables() -> [Table; 2] {
    [Family::V4, Family::V6].map(table)
}

fn table(family: Family) -> Table {
    let (address, key) = match family {
        Family::V4 => (DataType::Ipv4Addr, DataType::EtherType),
        Family::V6 => (DataType::Ipv6Addr, DataType::InetProto),
    };
    let awake = Set { timeouts: true, dynamic: true, ..Set::exact(AWAKE_SET, &[key], AWAKES) };
    let chain = |name: &str, hook, priority, rules| {
        let base = Base { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept };
        Chain { name: name.to_owned(), base: Some(base), rules }
    };
    // ARP has no hook before this one.
    let way_in = match family {
        Family::V4 => Hook::Input,
        Family::V6 => Hook::Prerouting,
    };
    Table {
        id: table_ref(family),
        sets: vec![
            Set::exact(HELD, &[address], 0),
            Set::exact(UPLINKS_SET, &[DataType::Ifname], UPLINKS),
            awake,
        ],
        chains: vec![
            chain("answers", Hook::Output, FILTER, answers(family)),
            chain("vouchers", way_in, FIRST, vec![voucher(family)]),
        ],
    }
}

fn answers(family: Family) -> Vec<Rule> {
    let about = match family {
        Family::V4 => vec![Statement::within(&[Field::ArpSenderAddress], HELD)],
        Family::V6 => vec![
            Statement::is(Field::Icmp6Type, Value::U8(ADVERTISEMENT)),
            Statement::within(&[Field::NdTarget], HELD),
        ],
    };
    let dropped = |unless: Statement, comment| {
        let mut statements = about.clone();
        statements.extend([unless, Statement::Counter, Statement::Verdict(Verdict::Drop)]);
        Rule { statements, comment }
    };
    vec![
        dropped(Statement::outside(&[Field::OutName], UPLINKS_SET), "not held there"),
        dropped(Statement::outside(&[alike(family).0], AWAKE_SET), "nobody vouches for it"),
    ]
}

fn voucher(family: Family) -> Rule {
    let timeout_ms = milliseconds(AWAKE);
    let statements = vec![
        Statement::is(Field::InName, Value::Name("lo".to_owned())),
        Statement::is(Field::LinkSource, Value::Mac(VOUCHER_MAC)),
        Statement::Renew { set: AWAKE_SET, key: alike(family).0, timeout_ms },
        Statement::Verdict(Verdict::Drop),
    ];
    Rule { statements, comment: "the agent is awake" }
}

/// The field that is the key of `awake`, and what stands there in every answer and every frame that vouches.
const fn alike(family: Family) -> (Field, Value) {
    match family {
        Family::V4 => (Field::ArpProtocol, Value::EtherType(IPV4)),
        Family::V6 => (Field::L4Proto, Value::Protocol(ICMPV6)),
    }
}

fn table_ref(family: Family) -> TableRef {
    let family = match family {
        Family::V4 => TableFamily::Arp,
        Family::V6 => TableFamily::Ip6,
    };
    TableRef { family, name: NFT_LINK_TABLE.to_owned() }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What the tables hold but signs of life.
fn elements(held: &BTreeSet<IpAddr>, uplink: &str) -> Elements {
    let mut all = Elements::default();
    let set = |family, name: &str| SetRef { table: table_ref(family), name: name.to_owned() };
    for family in [Family::V4, Family::V6] {
        all.insert(set(family, UPLINKS_SET), Element::of(vec![Value::Name(uplink.to_owned())]));
    }
    for address in held {
        all.insert(set(Family::of(*address), HELD), Element::of(vec![value(*address)]));
    }
    all
}

/// Makes both tables anew for these addresses, awake for so long from now on.
pub fn guard_answers(held: &BTreeSet<IpAddr>, uplink: &str, lasts: Duration) -> Batch {
    let mut batch = made_anew(held, uplink);
    batch.append(stay_awake(lasts));
    batch
}

/// Makes both tables anew without an address: nothing is held back, and whether frames vouch can be seen.
pub fn try_vouchers(uplink: &str) -> Batch {
    made_anew(&BTreeSet::new(), uplink)
}

fn made_anew(held: &BTreeSet<IpAddr>, uplink: &str) -> Batch {
    let (mut batch, tables) = (Batch::new(), answer_tables());
    tables.iter().for_each(|table| batch.replace_table(table));
    batch.change_elements(&tables, &elements(held, uplink).changes_from(&Elements::default()));
    batch
}

/// The node is awake for so long from now on, whoever vouches.
pub fn stay_awake(lasts: Duration) -> Batch {
    let mut batch = fall_asleep();
    for (family, table) in [Family::V4, Family::V6].into_iter().zip(answer_tables()) {
        if let Some(set) = table.set(AWAKE_SET) {
            let timeout_ms = Some(milliseconds(lasts));
            batch.add_elements(
                &table.id,
                set,
                [&Element { timeout_ms, ..Element::of(vec![alike(family).1]) }],
            );
        }
    }
    batch
}

/// From now on nothing is answered until somebody vouches.
pub fn fall_asleep() -> Batch {
    let mut batch = Batch::new();
    for table in answer_tables() {
        if let Some(set) = table.set(AWAKE_SET) {
            batch.flush_set(&table.id, set);
        }
    }
    batch
}

/// Removes both tables if they are there.
pub fn remove_answer_tables() -> Batch {
    let mut batch = Batch::new();
    answer_tables().iter().for_each(|table| batch.remove_table(&table.id));
    batch
}

/// Families for which somebody vouches, in what was seen of the tables.
pub fn vouched_for(observed: &Observed) -> BTreeSet<Family> {
    let awake = |family: &Family| {
        let table = table(*family);
        let id = SetRef { table: table.id.clone(), name: AWAKE_SET.to_owned() };
        table.set(AWAKE_SET).is_some_and(|set| observed.elements_of(&id, set).next().is_some())
    };
    [Family::V4, Family::V6].into_iter().filter(awake).collect()
}

/// Whether answers pass by an uplink: an agent before this one said so, and its time isn't over.
pub fn is_awake(observed: &Observed, uplink: &str) -> bool {
    let name = Value::Name(uplink.to_owned());
    let is_uplink = observed.elements(&answer_tables()).iter().any(|(set, elements)| {
        set.name == UPLINKS_SET && elements.iter().any(|element| element.key.first() == Some(&name))
    });
    is_uplink && !vouched_for(observed).is_empty()
}

/// The first of what isn't as it was made for these addresses. Signs of life don't count.
pub fn changed_answers(observed: &Observed, held: &BTreeSet<IpAddr>, uplink: &str) -> Option<Difference> {
    let all = observed.differences(&answer_tables(), &elements(held, uplink));
    all.into_iter().next()
}

const fn value(address: IpAddr) -> Value {
    match address {
        IpAddr::V4(a) => Value::V4(a),
        IpAddr::V6(a) => Value::V6(a),
    }
}

#[cfg(test)]
mod tests {
    use weft_nft::table_text;

    use super::*;

    #[test]
    fn the_tables_read_as_the_design_says() {
        let text: String = answer_tables().iter().map(|table| table_text(table, |_| [])).collect();
        assert!(text.starts_with("table arp weft_link {\n"), "{text}");
        for (about, key) in [
            ("arp saddr ip @held", "arp ptype"),
            ("icmpv6 type nd-neighbor-advert @th,64,128 @held", "meta l4proto"),
        ] {
            for rule in [
                format!("{about} oifname != @uplinks counter drop comment \"not held there\""),
                format!("{about} {key} != @awake counter drop comment \"nobody vouches for it\""),
                format!(
                    "iifname \"lo\" @ll,48,48 0x27765667400 update @awake {{ {key} timeout 200ms }} drop comment \"the agent is awake\""
                ),
            ] {
                assert!(text.contains(&format!("\t\t{rule}\n")), "{rule} in {text}");
            }
        }
    }

    #[test]
    fn a_change_of_signs_of_life_costs_the_same_for_any_number_of_addresses() {
        let held: BTreeSet<IpAddr> = (0..200).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let size = stay_awake(AWAKE).size();
        assert!(size < 600, "{size}");
        assert!(guard_answers(&held, "eth0", AWAKE).size() > 200 * 8);
        assert!(try_vouchers("eth0").size() < 4_000);
    }
}
