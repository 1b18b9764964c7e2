//! `arp weft_link` and `ip6 weft_link`: a node answers for a load-balancer address only while its agent is awake.
//!
//! The kernel answers ARP and neighbour solicitations by itself, also when the agent is frozen and its address has long moved to
//! another node. So what would say where a held address is leaves the node only by a device that stands in the set `awake`, where
//! elements live shortly and the agent puts its uplink again and again. One element for all addresses: keeping awake costs the
//! same for one and for a thousand. Questions that bear a held address as their sender count too: they teach neighbours as well.
//! Not here: announcements, which go around these hooks (weft-kernel).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use weft_model::{Family, ownership::NFT_LINK_TABLE};
use weft_nft::{
    Base, Batch, Chain, ChainKind, DataType, Element, Field, Hook, Policy, Rule, Set, Statement, Table,
    TableFamily, TableRef, Value, Verdict,
};

/// An agent that says nothing for so long doesn't answer any more: four times as long as it takes to say it.
pub const AWAKE: Duration = Duration::from_millis(200);
/// The same for an agent that is about to start anew.
pub const AWAKE_RESTART: Duration = Duration::from_secs(10);

/// `NF_IP_PRI_FILTER`, and the only one that ARP has a name for.
const FILTER: i32 = 0;
/// Neighbour advertisement (RFC 4861 section 4.4).
const ADVERTISEMENT: u8 = 136;
const HELD: &str = "held";
const AWAKE_SET: &str = "awake";
/// Most uplinks of a node.
const UPLINKS: u32 = 16;

/// Both tables, without elements.
pub fn answer_tables() -> [Table; 2] {
    [Family::V4, Family::V6].map(table)
}

fn table(family: Family) -> Table {
    let address = match family {
        Family::V4 => DataType::Ipv4Addr,
        Family::V6 => DataType::Ipv6Addr,
    };
    let awake = Set { timeouts: true, ..Set::exact(AWAKE_SET, &[DataType::Ifname], UPLINKS) };
    let base = Base { kind: ChainKind::Filter, hook: Hook::Output, priority: FILTER, policy: Policy::Accept };
    let rules = vec![rule(family)];
    Table {
        id: table_ref(family),
        sets: vec![Set::exact(HELD, &[address], 0), awake],
        chains: vec![Chain { name: "answers".to_owned(), base: Some(base), rules }],
    }
}

fn rule(family: Family) -> Rule {
    let asleep = Statement::outside(&[Field::OutName], AWAKE_SET);
    let mut statements = match family {
        Family::V4 => vec![Statement::within(&[Field::ArpSenderAddress], HELD)],
        Family::V6 => vec![
            Statement::is(Field::Icmp6Type, Value::U8(ADVERTISEMENT)),
            Statement::within(&[Field::NdTarget], HELD),
        ],
    };
    statements.extend([asleep, Statement::Counter, Statement::Verdict(Verdict::Drop)]);
    Rule { statements, comment: "nobody vouches for it" }
}

fn table_ref(family: Family) -> TableRef {
    let family = match family {
        Family::V4 => TableFamily::Arp,
        Family::V6 => TableFamily::Ip6,
    };
    TableRef { family, name: NFT_LINK_TABLE.to_owned() }
}

/// Makes both tables anew for these addresses, with the uplink awake for so long.
pub fn guard_answers(held: &BTreeSet<IpAddr>, uplink: &str, lasts: Duration) -> Batch {
    let mut batch = Batch::new();
    for (family, table) in [Family::V4, Family::V6].into_iter().zip(answer_tables()) {
        batch.replace_table(&table);
        let of_family = held.iter().filter(|address| Family::of(**address) == family);
        let elements: Vec<Element> = of_family.map(|address| Element::of(vec![value(*address)])).collect();
        if let Some(set) = table.set(HELD) {
            batch.add_elements(&table.id, set, &elements);
        }
    }
    batch.append(stay_awake(uplink, lasts));
    batch
}

/// The uplink is awake for so long from now on.
pub fn stay_awake(uplink: &str, lasts: Duration) -> Batch {
    let mut batch = Batch::new();
    let timeout_ms = Some(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
    let element = Element { timeout_ms, ..Element::of(vec![Value::Name(uplink.to_owned())]) };
    for table in answer_tables() {
        if let Some(set) = table.set(AWAKE_SET) {
            // Adding what is there leaves its time as it is (before Linux 6.12).
            batch.flush_set(&table.id, set);
            batch.add_elements(&table.id, set, [&element]);
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

/// Whether an uplink is awake in what was seen of the tables: an agent before this one said so, and its time isn't over.
pub fn is_awake(observed: &weft_nft::Observed, uplink: &str) -> bool {
    let name = Value::Name(uplink.to_owned());
    observed.elements(&answer_tables()).iter().any(|(set, elements)| {
        set.name == AWAKE_SET && elements.iter().any(|element| element.key.first() == Some(&name))
    })
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
        let rule = |matches: &str| {
            format!("\t\t{matches} oifname != @awake counter drop comment \"nobody vouches for it\"\n")
        };
        assert!(text.starts_with("table arp weft_link {\n"), "{text}");
        assert!(text.contains(&rule("arp saddr ip @held")), "{text}");
        assert!(text.contains(&rule("icmpv6 type nd-neighbor-advert @th,64,128 @held")), "{text}");
    }

    #[test]
    fn staying_awake_costs_the_same_for_any_number_of_addresses() {
        let held: BTreeSet<IpAddr> = (0..200).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let size = stay_awake("eth0", AWAKE).size();
        assert!(size < 600, "{size}");
        assert!(guard_answers(&held, "eth0", AWAKE).size() > 200 * 8);
    }
}
