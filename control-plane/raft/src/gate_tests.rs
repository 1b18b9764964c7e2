//! The gate: each refusal beside what is admitted, and chance messages that must never make the library panic.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    Checkpoint, Conf, Input, Ticket,
    fixture::{CLUSTER, filler, replica, seed},
};

fn head(kind: MessageKind) -> Message {
    Message::head(CLUSTER, kind, ReplicaId(2), ReplicaId(1), Term(5))
}

fn entry(index: u64, term: u64) -> Entry {
    let (data, context) = (Bytes::new(), Bytes::new());
    Entry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data, context }
}

fn append(change: impl FnOnce(&mut Message)) -> Message {
    let entries = vec![entry(8, 4), entry(9, 5)];
    let mut message = Message { index: LogIndex(7), log_term: Term(4), entries, ..head(MessageKind::Append) };
    change(&mut message);
    message
}

fn taken(change: impl FnOnce(&mut Snapshot)) -> Message {
    let mut snapshot = seed().snapshot;
    snapshot.conf = Conf { voters: vec![ReplicaId(1), ReplicaId(2)], learners: vec![ReplicaId(3)] };
    change(&mut snapshot);
    Message { snapshot: Some(Arc::new(snapshot)), ..head(MessageKind::Snapshot) }
}

/// We are replica 1 in term 5 with entries up to 20; 2 takes part, 3 was removed, all others are unknown.
fn judge(message: &Message, leads: bool, durable: bool) -> Result<(), Refusal> {
    let known = |id: ReplicaId| match id.0 {
        2 => Known::Yes,
        3 => Known::Removed,
        _ => Known::No,
    };
    let (us, term, last) = (ReplicaId(1), Term(5), LogIndex(20));
    let standing = Standing { cluster: CLUSTER, us, term, leads, last, durable, known: &known };
    admit(&standing, ReplicaId(2), message).map(|_| ())
}

fn good(message: &Message) {
    assert_eq!(judge(message, false, true), Ok(()), "{message:?}");
}

fn bad(message: &Message) {
    assert!(matches!(judge(message, false, true), Err(Refusal::Malformed { .. })), "{message:?}");
}

#[test]
fn only_members_speak_and_only_for_themselves() {
    let refusal = |change: &dyn Fn(&mut Message)| {
        let mut message = head(MessageKind::Heartbeat);
        change(&mut message);
        judge(&message, false, true).err()
    };
    assert_eq!(refusal(&|_| ()), None);
    assert!(matches!(refusal(&|m| m.cluster = ClusterId([0; 16])), Some(Refusal::OtherCluster { .. })));
    assert!(matches!(refusal(&|m| m.to = ReplicaId(4)), Some(Refusal::NotForUs { .. })));
    assert!(matches!(refusal(&|m| m.from = ReplicaId(4)), Some(Refusal::Forged { .. })));
    assert!(matches!(refusal(&|m| m.from = ReplicaId(1)), Some(Refusal::Forged { .. })));
    let known = |id: ReplicaId| if id.0 == 3 { Known::Removed } else { Known::No };
    let (us, term, last) = (ReplicaId(1), Term(5), LogIndex(20));
    let standing = Standing { cluster: CLUSTER, us, term, leads: false, last, durable: true, known: &known };
    for (id, removed) in [(3, true), (9, false)] {
        let message = Message { from: ReplicaId(id), ..head(MessageKind::RequestVote) };
        match admit(&standing, ReplicaId(id), &message) {
            Err(Refusal::Removed { .. }) => assert!(removed),
            Err(Refusal::Stranger { .. }) => assert!(!removed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn appends_hold_contiguous_entries_of_rising_terms() {
    good(&append(|_| ()));
    good(&append(|m| m.entries.clear()));
    good(&append(|m| (m.index, m.log_term, m.entries) = (LogIndex(0), Term(0), vec![entry(1, 1)])));
    bad(&append(|m| m.log_term = Term(0)));
    bad(&append(|m| m.log_term = Term(6)));
    bad(&append(|m| m.index = LogIndex(6)));
    bad(&append(|m| m.entries[1].index = LogIndex(10)));
    bad(&append(|m| m.entries[0].term = Term(3)));
    bad(&append(|m| m.entries[1].term = Term(6)));
    bad(&append(|m| m.entries[1].data = Bytes::from(vec![0; MAX_ENTRY + 1])));
    bad(&append(|m| m.term = Term(0)));
    bad(&append(|m| m.commit = LogIndex(u64::MAX)));
    bad(&append(|m| m.kind = MessageKind::Heartbeat));
    let change = |data: &'static [u8], context: &'static [u8]| {
        append(|m| {
            let (data, context) = (Bytes::from_static(data), Bytes::from_static(context));
            m.entries[0] = Entry { kind: EntryKind::ConfChange, data, context, ..m.entries[0].clone() };
        })
    };
    good(&change(&[0x10, 2, 0x18, 4], b"member"));
    bad(&change(&[0x10, 2], b"member"));
    bad(&change(&[0x10, 2, 0x18, 4], b""));
    bad(&change(&[0x0b; 1000], b"member"));
}

#[test]
fn a_heartbeat_that_knows_more_of_us_than_we_have_shows_a_lost_log() {
    let beat =
        |term, commit| Message { term: Term(term), commit: LogIndex(commit), ..head(MessageKind::Heartbeat) };
    good(&beat(5, 20));
    assert_eq!(
        judge(&beat(5, 21), false, true),
        Err(Refusal::LogLost { commit: LogIndex(21), last: LogIndex(20) })
    );
    assert_eq!(judge(&beat(4, 21), false, true), Ok(()), "of an older term: the library passes it over");
}

#[test]
fn grants_and_hand_overs_wait_for_our_own_disk() {
    for (kind, waits) in [
        (MessageKind::RequestVoteResponse, true),
        (MessageKind::RequestPreVoteResponse, true),
        (MessageKind::TimeoutNow, true),
        (MessageKind::RequestVote, false),
        (MessageKind::Append, false),
    ] {
        good(&head(kind));
        let early = matches!(judge(&head(kind), false, false), Err(Refusal::TooEarly { .. }));
        assert_eq!(early, waits, "{kind:?}");
    }
    let refused = Message { reject: true, ..head(MessageKind::RequestVoteResponse) };
    assert_eq!(judge(&refused, false, false), Ok(()), "a refusal makes nobody lead");
}

#[test]
fn followers_take_nothing_beyond_the_leaders_log() {
    let taken =
        |index, reject| Message { index: LogIndex(index), reject, ..head(MessageKind::AppendResponse) };
    assert_eq!(judge(&taken(20, false), true, true), Ok(()));
    assert!(judge(&taken(21, false), true, true).is_err());
    assert_eq!(judge(&taken(21, true), true, true), Ok(()));
    assert_eq!(judge(&taken(21, false), false, true), Ok(()), "we don't lead: nobody looks at it");
}

#[test]
fn snapshots_name_each_replica_once_and_us_too() {
    good(&taken(|_| ()));
    bad(&taken(|s| s.conf.voters = vec![ReplicaId(1), ReplicaId(1)]));
    bad(&taken(|s| s.conf.learners = vec![ReplicaId(2)]));
    bad(&taken(|s| s.conf.learners = vec![ReplicaId(0)]));
    bad(&taken(|s| (s.conf.voters, s.conf.learners) = (Vec::new(), vec![ReplicaId(1)])));
    bad(&taken(|s| s.conf.voters = vec![ReplicaId(2)]));
    bad(&taken(|s| s.conf.learners = (3..100).map(ReplicaId).collect()));
    bad(&taken(|s| s.index = LogIndex(0)));
    bad(&taken(|s| s.term = Term(6)));
    bad(&Message { snapshot: None, ..head(MessageKind::Snapshot) });
    bad(&Message { kind: MessageKind::Append, ..taken(|_| ()) });
}

#[test]
fn a_snapshot_with_damaged_rows_never_reaches_the_state() {
    let mut follower = replica(1, 3);
    let snapshot = |change: &dyn Fn(&mut Snapshot)| {
        let mut message = taken(|s| s.index = LogIndex(30));
        if let Some(snapshot) = message.snapshot.as_mut().and_then(Arc::get_mut) {
            snapshot.conf.voters.push(ReplicaId(4));
            change(snapshot);
        }
        Input::Message { certified: ReplicaId(2), message: Box::new(message) }
    };
    for damage in [
        (|s: &mut Snapshot| s.digest[0] ^= 1) as fn(&mut Snapshot),
        |s| s.data = s.data.slice(..s.data.len() - 1),
        |s| {
            s.data = Bytes::from_static(&[0, 0, 0, 1, 7]);
            s.digest = *blake3::hash(&s.data).as_bytes();
        },
    ] {
        let effects = follower.input(snapshot(&damage));
        assert!(matches!(effects.refused, Some(Refusal::Malformed { .. })), "{:?}", effects.refused);
        assert_eq!(follower.status().applied, LogIndex(1));
    }
    let effects = follower.input(snapshot(&|_| ()));
    assert_eq!((effects.refused, follower.status().applied), (None, LogIndex(30)));
}

/// What the gate is for: without it the same messages end the process.
#[test]
fn the_library_alone_would_panic() {
    let beyond = Message { commit: LogIndex(9), ..head(MessageKind::Heartbeat) };
    let early = head(MessageKind::RequestVoteResponse);
    for message in [beyond, early] {
        let mut us = replica(1, 3);
        // A candidate that has just taken an entry which isn't on its disk yet.
        let entries = vec![entry(2, 1)];
        let first = Message {
            index: LogIndex(1),
            log_term: Term(1),
            term: Term(4),
            entries,
            ..head(MessageKind::Append)
        };
        us.input(Input::Message { certified: ReplicaId(2), message: Box::new(first) });
        let campaign = || {
            if message.kind == MessageKind::RequestVoteResponse {
                us.raw.raft.campaign(b"CampaignElection");
            }
            us.raw.step(message_to_library(&message))
        };
        let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(campaign));
        assert!(stepped.is_err(), "{:?} is harmless: the gate need not look at it", message.kind);
        let mut us = replica(1, 3);
        let effects = us.input(Input::Message { certified: ReplicaId(2), message: Box::new(message) });
        assert!(effects.refused.is_some() || effects.fatal.is_some() || effects.messages.is_empty());
    }
}

fn kinds() -> impl Strategy<Value = MessageKind> {
    prop::sample::select(MessageKind::ALL.to_vec())
}

/// Numbers near those that the replica has, and some that are far away.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..12_u64, 1 => Just(MAX_NUMBER), 1 => any::<u64>()]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (0..3_u64, 0..4_u64, prop::bool::weighted(0.1), prop::collection::vec(any::<u8>(), 0..6));
    prop::collection::vec(one, 0..4).prop_map(|steps| {
        let make = |(at, (gap, term, conf, data)): (usize, (u64, u64, bool, Vec<u8>))| Entry {
            index: LogIndex(at as u64 + gap / 2),
            term: Term(1 + term),
            kind: if conf { EntryKind::ConfChange } else { EntryKind::Normal },
            data: if data.len() > 3 { Bytes::from(data) } else { Bytes::new() },
            context: Bytes::new(),
        };
        steps.into_iter().enumerate().map(make).collect()
    })
}

prop_compose! {
    fn message()(
        kind in kinds(), from in 0..6_u64, to in prop::bool::weighted(0.95), term in number(), log_term in number(),
        index in number(), commit in number(), commit_term in number(), entries in entries(), straight in any::<bool>(),
        snapshot in prop::option::of((number(), number(), 0..4_u64)), reject in any::<bool>(), hint in number(),
        context in prop_oneof![Just(Vec::new()), Just(FORCED.to_vec()), Just(1_u64.to_be_bytes().to_vec())],
    ) -> Message {
        let mut message =
            Message::head(CLUSTER, kind, ReplicaId(from), ReplicaId(if to { 1 } else { 2 }), Term(term));
        (message.log_term, message.index, message.commit) = (Term(log_term), LogIndex(index), LogIndex(commit));
        (message.commit_term, message.reject, message.reject_hint) = (Term(commit_term), reject, LogIndex(hint));
        message.context = Bytes::from(context);
        message.checkpoint = reject.then_some(Checkpoint { index: LogIndex(8), hash: [9; 32] });
        if kind == MessageKind::Append {
            message.entries = entries;
            if straight {
                // Mostly what passes the gate: there the library must hold.
                let terms = log_term.max(1)..;
                message.log_term = Term(if index == 0 { 0 } else { log_term.max(1) });
                for ((at, entry), term) in (1_u64..).zip(&mut message.entries).zip(terms) {
                    entry.index = LogIndex(index.saturating_add(at));
                    entry.term = Term(term.min(message.term.0).max(1));
                }
            }
        }
        if kind == MessageKind::Snapshot {
            message.snapshot = snapshot.map(|(index, term, learners)| {
                let learners = (2..2 + learners).map(ReplicaId).collect();
                let conf = Conf { voters: vec![ReplicaId(1), ReplicaId(6)], learners };
                Arc::new(Snapshot { index: LogIndex(index), term: Term(term), conf, ..seed().snapshot })
            });
        }
        message
    }
}

#[derive(Clone, Debug)]
enum Move {
    Message(Box<Message>),
    Ticks(usize),
    Persist,
    Propose,
    Read,
    Transfer,
    Pause,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => message().prop_map(|message| Move::Message(Box::new(message))),
        3 => (1..25_usize).prop_map(Move::Ticks),
        4 => Just(Move::Persist),
        1 => Just(Move::Propose),
        1 => Just(Move::Read),
        1 => Just(Move::Transfer),
        1 => Just(Move::Pause),
    ];
    prop::collection::vec(one, 1..60)
}

/// A replica among hostile ones, with a disk that is slower than the network. Whether anything passed the gate.
fn play(voters: u64, moves: Vec<Move>) -> usize {
    let mut us = replica(1, voters);
    let (mut written, mut passed) = (0, 0);
    for (at, step) in (10_u64..).zip(moves) {
        let inputs = match step {
            Move::Message(message) => vec![Input::Message { certified: message.from, message }],
            Move::Ticks(count) => vec![Input::Tick; count],
            Move::Persist => vec![Input::Persisted(written)],
            Move::Propose => vec![Input::Propose { ticket: Ticket(at), command: filler(at) }],
            Move::Read => vec![Input::Read { ticket: Ticket(at) }],
            Move::Transfer => vec![Input::Transfer(ReplicaId(2))],
            Move::Pause => vec![Input::Paused],
        };
        for input in inputs {
            let message = matches!(input, Input::Message { .. });
            let effects = us.input(input);
            written = effects.persist.last().map_or(written, |draft| draft.number);
            passed += usize::from(message && effects.refused.is_none());
            if effects.fatal.is_some() || effects.removed {
                return passed;
            }
        }
    }
    passed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_message_makes_a_replica_panic(voters in 1..4_u64, moves in moves()) {
        play(voters, moves);
    }
}

#[test]
fn chance_messages_do_pass_the_gate() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let passed: usize = (0..200).map(|_| play(3, moves().new_tree(&mut runner).unwrap().current())).sum();
    assert!(passed > 200, "{passed} of thousands: the property would show nothing");
}
