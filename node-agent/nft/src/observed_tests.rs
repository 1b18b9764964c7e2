//! Tests of reading back: what a batch sends, taken as if the kernel had dumped it.

use crate::{
    Batch, DataType, Difference, Element, Elements, Set, SetRef, Value,
    fixture::{self, dump},
};

fn set_ref(name: &str) -> SetRef {
    SetRef { table: fixture::table().id, name: name.into() }
}

#[test]
fn what_was_sent_is_whole() {
    let (table, elements) = (fixture::table(), fixture::elements(30));
    let mut batch = Batch::new();
    batch.replace_table(&table);
    batch.add_elements(&table.id, &table.sets[0], &elements);
    let mut wanted = Elements::default();
    elements.iter().for_each(|e| wanted.insert(set_ref("ports4"), e.clone()));
    assert_eq!(dump(&batch).differences(&[table], &wanted), []);
}

#[test]
fn each_loss_is_named() {
    let whole = fixture::table();
    let check = |change: fn(&mut crate::Table), expected: &str| {
        let mut there = fixture::table();
        change(&mut there);
        let mut batch = Batch::new();
        batch.replace_table(&there);
        let found = dump(&batch).differences(std::slice::from_ref(&whole), &Elements::default());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected);
    };
    check(|_| {}, "");
    check(|t| t.id.name = "other".into(), "table bridge weft is missing");
    check(|t| drop(t.chains.pop()), "chain bridge weft ports is missing or changed");
    check(|t| t.chains[0].base = None, "chain bridge weft ingress is missing or changed");
    check(|t| drop(t.chains[1].rules.pop()), "rule 3 of chain bridge weft ports is missing or changed");
    check(|t| t.chains[1].rules.swap(0, 1), "rule 1 of chain bridge weft ports is missing or changed");
    check(
        |t| t.chains[1].rules.extend_from_within(..1),
        "rule 4 of chain bridge weft ports is missing or changed",
    );
    check(|t| t.sets[0].size = 9, "set bridge weft ports4 is missing or changed");
    check(
        |t| t.sets[0].name = "x".into(),
        "set bridge weft ports4 is missing or changed; set bridge weft x isn't ours",
    );
}

#[test]
fn elements_that_differ_are_named() {
    let (table, elements) = (fixture::table(), fixture::elements(2));
    let mut batch = Batch::new();
    batch.replace_table(&table);
    batch.add_elements(&table.id, &table.sets[0], &elements[..1]);
    let mut wanted = Elements::default();
    wanted.insert(set_ref("ports4"), elements[1].clone());
    let found = dump(&batch).differences(&[table], &wanted);
    let expected = [
        Difference::NoElement(set_ref("ports4"), elements[1].clone()),
        Difference::ForeignElement(set_ref("ports4"), elements[0].clone()),
    ];
    assert_eq!(found, expected);
    assert!(found.iter().all(Difference::is_of_elements));
}

#[test]
fn ranges_that_touch_or_reach_the_end_are_read_back() {
    let mut table = fixture::table();
    table.sets.push(Set::ranges("fabric4", &[DataType::Ipv4Addr], 64));
    table.sets.push(Set::ranges("owners4", &[DataType::Ipv4Addr, DataType::EtherAddr], 64));
    let range = |a: &str, b: &str| {
        Value::between(Value::V4(a.parse().unwrap()), Value::V4(b.parse().unwrap())).unwrap()
    };
    let ranges = [
        range("10.0.0.0", "10.0.255.255"),
        range("10.1.0.0", "10.1.255.255"),
        range("10.9.0.7", "10.9.0.7"),
        range("255.0.0.0", "255.255.255.255"),
        range("0.0.0.0", "0.0.0.255"),
    ];
    let mut wanted = Elements::default();
    for r in ranges {
        wanted.insert(set_ref("fabric4"), Element::of(vec![r.clone()]));
        wanted.insert(set_ref("owners4"), Element::of(vec![r, Value::Mac([2, 0, 0, 0, 0, 1])]));
    }
    let mut batch = Batch::new();
    batch.replace_table(&table);
    batch.change_elements(std::slice::from_ref(&table), &wanted.changes_from(&Elements::default()));
    let observed = dump(&batch);
    // A single address of a plain interval set comes back as that address.
    assert_eq!(observed.elements(std::slice::from_ref(&table)), wanted);
    assert_eq!(observed.differences(&[table], &wanted), []);
}
