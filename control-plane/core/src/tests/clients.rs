//! Exactly once, and what an entry leaves behind even when it does nothing.

use weft_errors as codes;
use weft_errors::Coded;
use weft_model::{
    Action, ClientId, Command, Families, NodeFacts, RecordKey, Revision, Role, Sequence, Stamp, Term,
    WallTime,
};

use super::{World, facts, found, index, join, small_fabric};
use crate::{Change, State, apply, apply_empty, limits};

#[test]
fn a_repeated_command_gets_its_first_answer_and_does_nothing() {
    let mut world = World::small(Families::V4);
    let token = world.token(Role::Node);
    let command = world.command(join(token, "n1", 1, NodeFacts::default()));
    let first = world.apply(&command);
    let before = world.objects();
    let again = world.apply(&command);
    assert!(!first.repeated && again.repeated && first.answer == again.answer && first.answer.is_ok());
    assert_eq!(again.changes.len(), 1, "the counters: {:?}", again.changes);
    assert!(again.items.is_empty() && world.objects() == before);
    assert_eq!(again.revision, first.revision);
    assert_eq!(world.state.meta().applied, index(&world));

    // A refusal is remembered too: the token that came meanwhile doesn't matter.
    let refused = world.command(Action::RevokeToken { id: "later".to_owned() });
    let first = world.apply(&refused).answer.unwrap_err();
    let again = world.apply(&refused).answer.unwrap_err();
    assert_eq!((again.code(), again.envelope()), (first.code(), first.envelope()));
}

#[test]
fn an_older_sequence_is_refused_and_forgets_nothing() {
    let mut world = World::small(Families::V4);
    let old = world.command(Action::RevokeToken { id: "a".to_owned() });
    let new = world.command(Action::RevokeToken { id: "b".to_owned() });
    let first = world.apply(&new);
    let stale = world.apply(&old);
    assert_eq!(stale.answer.unwrap_err().code(), &codes::STALE_SEQUENCE);
    assert_eq!(stale.changes.len(), 1);
    let again = world.apply(&new);
    assert!(again.repeated);
    assert_eq!(again.answer.unwrap_err().envelope(), first.answer.unwrap_err().envelope());
}

/// A command of client `n` at `time` that is refused.
fn probe(n: u32, time: u64) -> Command {
    let mut client = [0xcc; 16];
    client[..4].copy_from_slice(&n.to_be_bytes());
    let stamp = Stamp { time: WallTime(time), random: [0; 16] };
    let action = Action::RevokeToken { id: "none".to_owned() };
    Command { client: ClientId(client), sequence: Sequence(1), stamp, action }
}

#[test]
fn a_client_is_forgotten_after_a_day_of_silence() {
    let mut world = World::small(Families::V4);
    let day = limits::CLIENT_TTL_MILLIS;
    world.apply(&probe(1, 1_000));
    world.apply(&probe(2, 2_000));
    world.apply(&probe(3, 1_000 + day));
    let known = |world: &World, n| world.state.clients().contains_key(&probe(n, 0).client);
    assert_eq!([1, 2, 3].map(|n| known(&world, n)), [false, true, true]);
    let outcome = world.apply(&probe(4, 2_000 + day));
    assert!(outcome.changes.contains(&Change::Delete(RecordKey::Client(probe(2, 0).client))));
    assert_eq!([2, 3, 4].map(|n| known(&world, n)), [false, true, true]);
}

#[test]
fn beyond_the_limit_the_client_that_was_silent_longest_is_forgotten() {
    let mut state = State::new();
    let many = u32::try_from(limits::MAX_CLIENTS).unwrap();
    for n in 0..many + 3 {
        let index = state.meta().applied.next();
        apply(&mut state, index, Term(1), &probe(n, 1_000));
    }
    assert_eq!(state.clients().len(), limits::MAX_CLIENTS);
    let known = |n| state.clients().contains_key(&probe(n, 0).client);
    assert_eq!([0, 2, 3, many + 2].map(known), [false, false, true, true]);
}

#[test]
fn nothing_goes_before_the_founding_and_that_goes_once() {
    let mut world = World::empty();
    world.refused(Action::RevokeToken { id: "a".to_owned() }, &codes::NOT_INITIALIZED);
    let next = index(&world).next();
    let outcome = apply_empty(&mut world.state, next, Term(2));
    world.fold(&outcome);
    assert_eq!((world.state.meta().term, outcome.changes.len()), (Term(2), 1));
    world.good(found(small_fabric(Families::V4)));
    assert_eq!(world.state.meta().revision, Revision(3));
    world.refused(found(small_fabric(Families::V4)), &codes::ALREADY_INITIALIZED);
}

#[test]
fn an_entry_that_was_applied_already_changes_nothing() {
    let mut world = World::small(Families::V4);
    let before = world.state.clone();
    let command = world.command(Action::RevokeToken { id: "a".to_owned() });
    let applied = index(&world);
    let outcome = apply(&mut world.state, applied, Term(1), &command);
    assert_eq!(outcome.answer.unwrap_err().code(), &codes::INTERNAL);
    assert!(outcome.changes.is_empty());
    assert!(apply_empty(&mut world.state, applied, Term(1)).changes.is_empty());
    assert_eq!(world.state, before);
}

#[test]
fn a_different_outcome_gives_a_different_hash() {
    let base = World::small(Families::V4);
    let run = |id: &str, entries: usize| {
        let mut state = base.state.clone();
        let stamp = Stamp { time: WallTime(1), random: [0; 16] };
        for n in 0..entries {
            let action = Action::RemoveNode { name: id.parse().unwrap() };
            let sequence = Sequence(n as u64 + 1);
            let command = Command { client: ClientId([5; 16]), sequence, stamp, action };
            let index = state.meta().applied.next();
            apply(&mut state, index, Term(1), &command);
        }
        (state.meta().hash, state.digest())
    };
    assert_eq!(run("a", 1), run("a", 1));
    assert_ne!(run("a", 1), run("a", 2));
    let mut other = base.state.clone();
    let index = other.meta().applied.next();
    apply_empty(&mut other, index, Term(1));
    assert_ne!(run("a", 1).0, other.meta().hash);
}

#[test]
fn equal_answers_with_different_changes_give_different_hashes() {
    let mut world = World::small(Families::V4);
    let (node, _) = world.join("n1");
    let after = |underlay: &str| {
        let mut state = world.state.clone();
        let action =
            Action::PublishNode { node: node.name.clone(), uid: node.uid, facts: facts(underlay, "") };
        let stamp = Stamp { time: WallTime(1), random: [0; 16] };
        let command = Command { client: ClientId([5; 16]), sequence: Sequence(1), stamp, action };
        let index = state.meta().applied.next();
        assert!(apply(&mut state, index, Term(1), &command).answer.is_ok());
        (state.meta().hash, state.digest())
    };
    assert_eq!(after("192.168.1.1"), after("192.168.1.1"));
    let (one, other) = (after("192.168.1.1"), after("192.168.1.2"));
    assert!(one.0 != other.0 && one.1 != other.1);
}

#[test]
fn rows_that_contradict_each_other_are_not_restored() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    let rows: Vec<_> = world.state.records().collect();
    assert!(State::restore(rows.clone()).is_ok());
    assert_eq!(State::restore([]), Ok(State::new()));
    let refused = |rows: Vec<weft_model::Record>| State::restore(rows).unwrap_err();
    let mut twice = rows.clone();
    twice.push(rows[2].clone());
    let without =
        |kind: fn(&RecordKey) -> bool| rows.iter().filter(|row| !kind(&row.key())).cloned().collect();
    use weft_model::{Key::Fabric, Key::Node};
    let cases: [(Vec<_>, &str); 4] = [
        (twice, "comes twice"),
        (without(|key| *key == RecordKey::Meta), "meta"),
        (without(|key| *key == RecordKey::Object(Fabric)), "fabric"),
        (without(|key| matches!(key, RecordKey::Object(Node(_)))), "holder"),
    ];
    for (rows, words) in cases {
        let error = refused(rows);
        assert_eq!(error.code(), &codes::STORE_CORRUPT);
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
}
