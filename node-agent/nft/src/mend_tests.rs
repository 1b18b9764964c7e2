//! What a mending does to each kind of damage, message by message, and what it leaves in the sets.

use super::*;
use crate::{
    Chain, DataType, Hook, Rule, Statement, Value, Verdict,
    fixture::{self, dump},
};

/// The small table with a map of verdicts, some elements in each set.
fn table() -> Table {
    let mut table = fixture::table();
    table.sets.push(Set::map("ways", &[DataType::Mark], MapData::Verdict, 0));
    table
}

fn way(to: &str) -> Element {
    Element::to(vec![Value::U32(7)], Data::Verdict(Verdict::Goto(to.into())))
}

fn strange(name: &str) -> Chain {
    let rules = vec![Rule { statements: vec![Statement::Counter], comment: "" }];
    Chain { name: name.into(), base: None, rules }
}

/// A kernel with the table as changed, and two elements in its first set.
fn seen(change: impl FnOnce(&mut Table, &mut Elements)) -> Observed {
    let (mut there, mut elements) = (table(), Elements::default());
    let first = SetRef { table: there.id.clone(), name: "ports4".into() };
    fixture::elements(2).into_iter().for_each(|element| elements.insert(first.clone(), element));
    change(&mut there, &mut elements);
    let mut batch = Batch::new();
    batch.replace_table(&there);
    batch.change_elements(std::slice::from_ref(&there), &elements.changes_from(&Elements::default()));
    dump(&batch)
}

/// Number of elements that stay in each set.
fn left(mend: &Mend, observed: &Observed) -> Vec<usize> {
    let of = |set: &Set| {
        let id = SetRef { table: table().id, name: set.name.clone() };
        mend.elements(observed, &id, set).count()
    };
    table().sets.iter().map(of).collect()
}

/// The messages between waking the table and its rules.
fn check(change: impl FnOnce(&mut Table, &mut Elements), stays: [usize; 2], expected: &[&str]) {
    let observed = seen(change);
    let mend = Mend::new(&table(), &observed);
    assert_eq!(left(&mend, &observed), stays);
    let mut batch = Batch::new();
    batch.mend_table(&table(), &mend);
    let text = batch.to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["add table bridge weft", "flush table bridge weft"]);
    let rules = lines.split_off(lines.len() - 4);
    assert!(rules.iter().all(|line| line.starts_with("add rule ")), "{text}");
    assert_eq!(&lines[2..], expected);
}

#[test]
fn what_is_right_stays_and_only_the_rest_is_made() {
    check(|_, _| {}, [2, 0], &[]);
    check(|t, _| drop(t.chains[1].rules.pop()), [2, 0], &[]);
    check(
        |t, _| {
            t.chains.pop();
            t.chains[0].rules.clear();
        },
        [2, 0],
        &["add chain bridge weft ports"],
    );
    check(|t, _| t.chains.push(strange("odd")), [2, 0], &["delete chain bridge weft odd"]);
    check(
        |t, _| t.chains[0].base.as_mut().unwrap().hook = Hook::Forward,
        [2, 0],
        &["delete chain bridge weft ingress", "add chain bridge weft ingress"],
    );
}

#[test]
fn a_set_with_another_declaration_comes_back_empty() {
    check(
        |t, _| t.sets[0].size = 9,
        [0, 0],
        &["delete set bridge weft ports4", "add set bridge weft ports4"],
    );
    let observed = seen(|t, _| t.sets[0].size = 9);
    assert!(Mend::new(&table(), &observed).replaces_sets());
    check(
        |t, _| t.sets.push(Set::exact("odd", &[DataType::Mark], 0)),
        [2, 0],
        &["delete set bridge weft odd"],
    );
}

#[test]
fn a_set_that_is_missing_can_be_made_and_filled_first() {
    let observed = seen(|t, _| drop(t.sets.pop()));
    let mut mend = Mend::new(&table(), &observed);
    assert!(!mend.replaces_sets() && !mend.has_set("ways"));
    let (mut sets, mut rules) = (Batch::new(), Batch::new());
    mend.make_sets(&table(), &mut sets);
    assert_eq!(sets.to_string(), "add set bridge weft ways\n");
    rules.mend_table(&table(), &mend);
    assert!(!rules.to_string().contains("set"), "{rules}");
}

#[test]
fn elements_that_lead_to_a_chain_that_goes_go_first() {
    let ways = SetRef { table: table().id, name: "ways".into() };
    let to = |to: &'static str| {
        let ways = ways.clone();
        move |t: &mut Table, elements: &mut Elements| {
            t.chains.push(strange("odd"));
            elements.insert(ways, way(to));
        }
    };
    let first = "delete element { 0x00000007 : goto odd } of set bridge weft ways";
    let observed = seen(to("odd"));
    let mend = Mend::new(&table(), &observed);
    let mut batch = Batch::new();
    batch.mend_table(&table(), &mend);
    let text = batch.to_string();
    assert!(text.contains(first) || text.contains("delete one of 1"), "{text}");
    assert_eq!(left(&mend, &observed), [2, 0]);
    check(to("ports"), [2, 1], &["delete chain bridge weft odd"]);
}

#[test]
fn a_set_may_be_emptied_on_the_way() {
    let observed = seen(|_, _| {});
    let mut mend = Mend::new(&table(), &observed);
    mend.empty("ports4");
    mend.empty("nobodys");
    let mut batch = Batch::new();
    batch.mend_table(&table(), &mend);
    assert_eq!(batch.to_string().lines().nth(2), Some("flush set bridge weft ports4"));
    assert_eq!(left(&mend, &observed), [0, 0]);
}
