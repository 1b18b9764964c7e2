//! Replicas among themselves: what is answered when, who may lead, who takes part.

use std::sync::Arc;

use weft_model::{Action, LogIndex, ReplicaId};

use crate::{
    Effects, Error, Input, MemberChange, MessageKind, ReadReply, Replica, Restored, StateRole, Ticket,
    fixture::{Group, codec, config, filler, member, replica, restored},
};

fn reads(group: &Group, ticket: u64) -> Vec<ReadReply> {
    let reads = group.seen.iter().flat_map(|(_, effects)| &effects.reads);
    reads.filter(|(other, _)| *other == Ticket(ticket)).map(|(_, reply)| *reply).collect()
}

#[test]
fn a_write_is_answered_once_it_is_applied_and_everybody_applies_it() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.fill(leader, 10..40);
    group.tick(3);
    assert!((10..40).all(|ticket| group.answers(ticket) == ["Applied"]));
    let applied = group.applied();
    assert!(applied.iter().all(|index| *index == applied[0] && index.0 >= 32), "{applied:?}");
    let hashes: Vec<_> = group.replicas.iter().map(|replica| replica.state().meta().hash).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[test]
fn nothing_leaves_before_its_draft_is_durable() {
    let mut follower = replica(2, 3);
    let mut effects = Effects::default();
    for _ in 0..40 {
        effects = follower.input(Input::Tick);
        if !effects.messages.is_empty() {
            break;
        }
    }
    assert!(effects.messages.iter().all(|message| message.kind == MessageKind::RequestPreVote));
    let grant = |kind| {
        let mut message = effects.messages[0].clone();
        (message.kind, message.to, message.from) = (kind, message.from, message.to);
        Input::Message { certified: message.from, message: Box::new(message) }
    };
    let candidate = follower.input(grant(MessageKind::RequestPreVoteResponse));
    assert_eq!(candidate.role.map(|role| role.role), Some(StateRole::Candidate));
    assert_eq!(
        (candidate.persist.len(), candidate.messages.len()),
        (1, 0),
        "the vote for itself comes first"
    );
    let asked = follower.input(Input::Persisted(candidate.persist[0].number));
    assert!(!asked.messages.is_empty());
    assert!(asked.messages.iter().all(|message| message.kind == MessageKind::RequestVote));
}

#[test]
fn a_single_voter_acknowledges_only_what_is_on_its_disk() {
    let mut alone = replica(1, 1);
    let mut drafts = Vec::new();
    for _ in 0..40 {
        drafts.extend(alone.input(Input::Tick).persist);
        if let Some(draft) = drafts.pop() {
            drafts.extend(alone.input(Input::Persisted(draft.number)).persist);
        }
    }
    assert_eq!(alone.status().role.role, StateRole::Leader);
    let proposed = alone.input(Input::Propose { ticket: Ticket(1), command: filler(5) });
    assert_eq!((proposed.persist.len(), proposed.answers.len()), (1, 0));
    let done = alone.input(Input::Persisted(proposed.persist[0].number));
    assert_eq!(done.answers.len(), 1);
}

#[test]
fn a_single_voter_says_nothing_in_a_term_that_it_may_forget() {
    let mut restored = restored(1);
    let snapshot = Arc::make_mut(restored.snapshot.as_mut().unwrap());
    snapshot.conf.learners.push(ReplicaId(2));
    let mut alone = Replica::new(config(1), restored, codec()).unwrap();
    alone.input(Input::Start);
    let mut begun = alone.input(Input::Tick);
    for _ in 0..100 {
        if !begun.persist.is_empty() {
            break;
        }
        begun = alone.input(Input::Tick);
    }
    let [.., draft] = &begun.persist[..] else { panic!("it never campaigned") };
    assert_eq!(alone.status().role.role, StateRole::Leader, "its own vote is enough");
    for _ in 0..10 {
        begun.messages.extend(alone.input(Input::Tick).messages);
    }
    assert_eq!(begun.messages, [], "neither entries nor heartbeats before the term is durable");
    let spoken = alone.input(Input::Persisted(draft.number)).messages;
    assert!(spoken.iter().any(|message| message.kind == MessageKind::Append), "{spoken:?}");
}

#[test]
fn followers_name_the_leader_and_propose_nothing() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.tick(2);
    let follower = (leader + 1) % 3;
    let before = group.applied();
    group.fill(follower, 50..51);
    group.input(follower, Input::Read { ticket: Ticket(51) });
    group.tick(2);
    assert_eq!(group.answers(50), ["NotLeader"]);
    let named = Some(group.replicas[leader].config.id);
    assert_eq!(reads(&group, 51), [ReadReply::NotLeader(named)]);
    assert_eq!(group.applied(), before);
}

#[test]
fn reads_end_while_answers_take_longer_than_heartbeats_or_elections() {
    for delay in [3, 6, 12] {
        let mut group = Group::of(3);
        let leader = group.elect();
        group.tick(3);
        for delay in 1..=delay {
            group.delay = delay;
            group.tick(4);
        }
        assert_eq!(group.replicas[leader].status().role.role, StateRole::Leader, "elections hold");
        for ticket in 70..80 {
            group.input(leader, Input::Read { ticket: Ticket(ticket) });
            group.tick(1);
        }
        group.tick(4 * delay);
        for ticket in 70..80 {
            let ready = matches!(reads(&group, ticket)[..], [ReadReply::Ready(_)]);
            assert!(ready, "read {ticket}, answers after {} ticks", 2 * delay);
        }
    }
}

#[test]
fn a_read_waits_for_a_majority_and_sees_what_was_written() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.fill(leader, 10..12);
    group.input(leader, Input::Read { ticket: Ticket(60) });
    let written = group.applied()[leader];
    assert_eq!(reads(&group, 60), [ReadReply::Ready(written)]);
    group.input(leader, Input::Await { ticket: Ticket(61), index: written.next() });
    assert_eq!(reads(&group, 61), []);
    group.fill(leader, 12..13);
    assert_eq!(reads(&group, 61), [ReadReply::Ready(written.next())]);
    let id = group.replicas[leader].config.id;
    group.deaf = Some(id);
    group.input(leader, Input::Read { ticket: Ticket(62) });
    group.tick(5);
    assert_eq!(reads(&group, 62), [], "nobody confirms that it leads");
    group.tick(30);
    assert_eq!(reads(&group, 62), [ReadReply::NotLeader(None)]);
}

#[test]
fn what_a_cut_off_leader_took_is_undecided_and_then_gone() {
    let mut group = Group::of(3);
    let old = group.elect();
    group.tick(2);
    group.deaf = Some(group.replicas[old].config.id);
    group.fill(old, 70..71);
    group.tick(60);
    assert_eq!(group.answers(70), ["Undecided"]);
    let new =
        (0..3).find(|at| *at != old && group.replicas[*at].status().role.role == StateRole::Leader).unwrap();
    group.fill(new, 71..72);
    group.deaf = None;
    group.tick(10);
    assert_eq!(group.answers(71), ["Applied"]);
    let applied = group.applied();
    assert!(applied.iter().all(|index| *index == applied[0]), "{applied:?}");
}

#[test]
fn a_leader_that_stood_still_steps_down() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.input(leader, Input::Read { ticket: Ticket(80) });
    group.input(leader, Input::Paused);
    assert_eq!(group.replicas[leader].status().role.role, StateRole::Follower);
    let next = group.elect();
    group.fill(next, 81..82);
    assert_eq!(group.answers(81), ["Applied"]);
}

#[test]
fn a_replica_joins_as_a_learner_by_snapshot_and_is_promoted_when_it_has_caught_up() {
    let mut group = Group::of(1);
    let leader = group.elect();
    group.fill(leader, 10..100);
    let known = vec![ReplicaId(1)];
    let joiner =
        Replica::new(crate::ReplicaConfig { known, ..config(2) }, Restored::default(), codec()).unwrap();
    group.replicas.push(joiner);
    let change = MemberChange::AddLearner(member(2));
    group.input(leader, Input::ProposeMember { ticket: Ticket(200), change: change.clone() });
    assert_eq!(group.answers(200), ["Applied"]);
    assert_eq!(group.replicas[0].status().conf.learners, [ReplicaId(2)]);
    group.input(leader, Input::ProposeMember { ticket: Ticket(201), change });
    assert_eq!(group.answers(201), ["Member"], "it is there already");
    group.tick(5);
    assert!(group.seen.iter().any(|(at, effects)| *at == 1 && effects.items_reset), "it came by a snapshot");
    assert_eq!(group.replicas[1].status().conf.voters, [ReplicaId(1)]);
    group.tick(20);
    let conf = group.replicas[1].status().conf;
    assert_eq!((conf.voters.len(), conf.learners.len()), (2, 0));
    assert_eq!(group.applied()[0], group.applied()[1]);
    assert_eq!(group.replicas[0].state().members().len(), 2);
}

/// A leader with a learner that has joined; its answers come after `delay` ticks from then on.
fn with_learner(delay: usize) -> (Group, usize) {
    let mut group = Group::of(1);
    let leader = group.elect();
    let known = vec![ReplicaId(1)];
    let joiner = Replica::new(crate::ReplicaConfig { known, ..config(2) }, Restored::default(), codec());
    group.replicas.push(joiner.unwrap());
    let change = MemberChange::AddLearner(member(2));
    group.input(leader, Input::ProposeMember { ticket: Ticket(200), change });
    group.delay = delay;
    (group, leader)
}

#[test]
fn a_learner_that_lacks_nothing_votes_after_three_heartbeats_one_that_is_close_only_later() {
    let votes = |group: &Group| group.replicas[0].status().conf.voters.len() == 2;
    let (mut level, leader) = with_learner(0);
    level.tick(5);
    assert!(!votes(&level), "three heartbeats are six ticks");
    level.tick(4);
    assert!(votes(&level));
    assert_eq!(level.replicas[leader].state().members()[&ReplicaId(2)].role, weft_model::MemberRole::Voter);

    let (mut close, leader) = with_learner(1);
    let mut ticks = 0;
    while !votes(&close) {
        assert!(ticks < 60, "it is promoted in the end");
        close.fill(leader, 10 + ticks..11 + ticks);
        close.tick(1);
        ticks += 1;
    }
    assert!(ticks >= 10, "it always lacked an entry, and voted after {ticks} ticks");
}

#[test]
fn removal_keeps_a_live_majority_and_ends_the_removed_one() {
    let mut group = Group::of(3);
    let leader = group.elect();
    group.tick(3);
    let ids: Vec<_> = group.replicas.iter().map(|replica| replica.config.id).collect();
    let (dead, other) = (ids[(leader + 1) % 3], ids[(leader + 2) % 3]);
    group
        .input(leader, Input::ProposeMember { ticket: Ticket(1), change: MemberChange::Remove(ids[leader]) });
    assert_eq!(group.answers(1), ["Member"], "a leader hands over first");
    let leader = group.elect();
    group.tick(3);
    let dead = if ids[leader] == dead { ids[(leader + 1) % 3] } else { dead };
    let other = ids.iter().copied().find(|id| *id != ids[leader] && *id != dead).unwrap_or(other);
    group.deaf = Some(dead);
    group.tick(25);
    group.input(leader, Input::ProposeMember { ticket: Ticket(2), change: MemberChange::Remove(other) });
    assert_eq!(group.answers(2), ["Member"], "one of two would be dead");
    group.deaf = None;
    group.tick(5);
    let leader = group.elect();
    let victim = ids.iter().copied().find(|id| *id != ids[leader]).unwrap();
    group.input(leader, Input::ProposeMember { ticket: Ticket(3), change: MemberChange::Remove(victim) });
    assert_eq!(group.answers(3), ["Applied"]);
    assert_eq!(group.replicas[leader].status().conf.voters.len(), 2);
}

#[test]
fn the_log_stays_short_and_a_late_follower_gets_a_snapshot() {
    let mut group = Group::of(3);
    let leader = group.elect();
    let late = (leader + 1) % 3;
    group.deaf = Some(group.replicas[late].config.id);
    group.fill(leader, 10..200);
    let status = group.replicas[leader].status();
    assert!(status.last.0 - status.first.0 <= 41, "{} to {}", status.first, status.last);
    assert!(group.seen.iter().any(|(at, effects)| *at == leader && effects.compact.is_some()));
    group.deaf = None;
    group.tick(30);
    let applied = group.applied();
    assert_eq!(applied[late], applied[leader]);
    assert!(group.seen.iter().any(|(at, effects)| *at == late && effects.items_reset));
}

#[test]
fn a_disk_that_lost_what_was_acknowledged_makes_no_replica() {
    let whole = restored(3);
    assert!(Replica::new(config(1), whole.clone(), codec()).is_ok());
    let lost = Restored { acknowledged: LogIndex(2), ..whole.clone() };
    assert!(matches!(Replica::new(config(1), lost, codec()), Err(Error::LogLost { .. })));
    let forgot = Restored { acknowledged_term: whole.hard_state.term.next(), ..whole.clone() };
    assert!(matches!(Replica::new(config(1), forgot, codec()), Err(Error::LogLost { .. })));
    let mut foreign = config(1);
    foreign.cluster = weft_model::ClusterId([8; 16]);
    assert!(matches!(Replica::new(foreign, whole, codec()), Err(Error::OtherCluster { .. })));
}

#[test]
fn a_mutation_that_is_too_large_is_refused_at_once() {
    let mut group = Group::of(1);
    let leader = group.elect();
    let mut config = config(1);
    config.seed = 9;
    let mut codec = codec();
    codec.encode_command = |_| bytes::Bytes::from(vec![0; (2 << 20) + 1]);
    let mut huge = Replica::new(config, restored(1), codec).unwrap();
    for _ in 0..40 {
        let drafts = huge.input(Input::Tick).persist;
        drafts.into_iter().for_each(|draft| drop(huge.input(Input::Persisted(draft.number))));
    }
    let action = Action::RevokeToken { id: String::new() };
    let command = Box::new(crate::fixture::command(3, action));
    let effects = huge.input(Input::Propose { ticket: Ticket(1), command });
    assert!(format!("{:?}", effects.answers).contains("larger than 2 MiB"), "{:?}", effects.answers);
    group.fill(leader, 3..4);
    assert_eq!(group.answers(3), ["Applied"], "one of the usual size is taken");
}

#[test]
fn a_refusal_survives_the_rest_of_its_turn() {
    let mut group = Group::of(2);
    let stranger = |id: u64| {
        let kind = MessageKind::RequestVote;
        let term = weft_model::Term(9);
        let message = crate::Message::head(crate::fixture::CLUSTER, kind, ReplicaId(id), ReplicaId(1), term);
        Input::Message { certified: ReplicaId(id), message: Box::new(message) }
    };
    // Replica 3 joins and leaves: its id was given out, and is known to be gone.
    let leader = group.elect();
    group.input(
        leader,
        Input::ProposeMember { ticket: Ticket(1), change: MemberChange::AddLearner(member(3)) },
    );
    group.input(
        leader,
        Input::ProposeMember { ticket: Ticket(2), change: MemberChange::Remove(ReplicaId(3)) },
    );
    assert_eq!(
        (group.answers(1), group.answers(2)),
        (vec!["Applied".to_owned()], vec!["Applied".to_owned()])
    );
    group.tick(2);
    let mut malformed = crate::Message::head(
        crate::fixture::CLUSTER,
        MessageKind::Append,
        ReplicaId(2),
        ReplicaId(1),
        weft_model::Term(9),
    );
    malformed.log_term = weft_model::Term(1);
    let malformed = Input::Message { certified: ReplicaId(2), message: Box::new(malformed) };
    let effects = group.replicas[0].inputs([stranger(3), malformed, Input::Tick]);
    assert!(
        matches!(effects.refused, Some(crate::Refusal::Removed { from: ReplicaId(3) })),
        "{:?}",
        effects.refused
    );
}
