//! A small table for the tests of this crate.

use crate::{
    Base, Batch, Chain, ChainKind, DataType, Element, Field, Hook, Mark, Observed, Policy, Rule, Set,
    Statement, Table, TableFamily, TableRef, Value, Verdict, messages, wire::MESSAGE_HEADER,
};

/// Port security in miniature.
pub(crate) fn table() -> Table {
    let base =
        Base { kind: ChainKind::Filter, hook: Hook::Prerouting, priority: -300, policy: Policy::Accept };
    let rule = |statements: Vec<Statement>, comment| Rule { statements, comment };
    let name = Statement::is(Field::InName, Value::NamePrefix("wv".into()));
    let ingress = vec![rule(vec![name, Statement::goto("ports")], "pods")];
    let redirect = Statement::is(Field::Icmp6Type, Value::U8(137));
    let key = [Field::InName, Field::EtherSource, Field::Ip4Source];
    let mark = Statement::Mark { mark: Mark::Packet, clear: 0, set: 0x0100_0000 };
    let drop = || Statement::Verdict(Verdict::Drop);
    let ports = vec![
        rule(vec![redirect, Statement::Counter, drop()], ""),
        rule(vec![Statement::within(&key, "ports4"), mark, Statement::Verdict(Verdict::Accept)], ""),
        rule(vec![Statement::Counter, drop()], ""),
    ];
    Table {
        id: TableRef { family: TableFamily::Bridge, name: "weft".into() },
        sets: vec![Set::exact("ports4", &[DataType::Ifname, DataType::EtherAddr, DataType::Ipv4Addr], 64)],
        chains: vec![
            Chain { name: "ingress".into(), base: Some(base), rules: ingress },
            Chain { name: "ports".into(), base: None, rules: ports },
        ],
    }
}

/// So many elements of its set.
pub(crate) fn elements(count: u32) -> Vec<Element> {
    let element = |i: u32| {
        let [.., b, c] = i.to_be_bytes();
        Element::of(vec![
            Value::Name(format!("wv{i:08x}")),
            Value::Mac([2, 0, 0, 0, b, c]),
            Value::V4((0x0a01_0000 + i).into()),
        ])
    };
    (1..=count).map(element).collect()
}

/// A dump of the kernel has the form of the messages that made the objects.
pub(crate) fn dump(batch: &Batch) -> Observed {
    let mut observed = Observed::default();
    let mut bytes = batch.encode(1, None).unwrap();
    // The kernel numbers its rules; the handle is attribute 3. Ours lack it, so give every rule one.
    let mut at = 0;
    while at < bytes.len() {
        let len = u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap());
        let end = at + usize::try_from(len).unwrap();
        if bytes[at + 4] == 6 && bytes[at + 5] == 10 {
            let handle = [12, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9];
            bytes.splice(end..end, handle);
            bytes[at..at + 4].copy_from_slice(&(len + 12).to_ne_bytes());
            at = end + 12;
        } else {
            at = end;
        }
    }
    assert!(bytes.len() > MESSAGE_HEADER);
    messages(&bytes).for_each(|m| observed.add(m.unwrap().reply));
    observed
}
