//! Silence of nodes, step by step.

use super::*;

const GRACE: u64 = 20;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(number: usize) -> NodeName {
    NodeName::new(format!("n{number}")).unwrap()
}

/// A leader and what it has written down.
struct Leader {
    clocks: Clocks,
    presence: Presence,
    nodes: BTreeMap<NodeName, Known>,
}

impl Leader {
    fn of(count: usize) -> Self {
        let known =
            |number: usize| Known { uid: NodeUid([u8::try_from(number).unwrap(); 16]), silent: false };
        let nodes = (1..=count).map(|number| (name(number), known(number))).collect();
        Self { clocks: Clocks::default(), presence: Presence::default(), nodes }
    }

    fn hear(&mut self, numbers: impl IntoIterator<Item = usize>, at: u64) {
        numbers.into_iter().for_each(|number| self.presence.hear(&name(number), s(at), ReplicaId(1)));
    }

    /// What is written at a second; it counts from then on.
    fn check(&mut self, at: u64, expected: &str) {
        let verdict = self.clocks.look(&self.nodes, |node| self.presence.heard(node), s(at), s(GRACE));
        for (node, _) in &verdict.silent {
            self.nodes.get_mut(node).unwrap().silent = true;
        }
        for node in &verdict.back {
            self.nodes.get_mut(node).unwrap().silent = false;
        }
        let silent = verdict.silent.iter().map(|(node, span)| format!("-{node} for {}", span.as_secs()));
        let back = verdict.back.iter().map(|node| format!("+{node}"));
        let held = verdict.held.iter().map(|node| format!("?{node}"));
        let seen: Vec<String> = silent.chain(back).chain(held).collect();
        assert_eq!(seen.join(" "), expected, "at {at} s");
    }
}

#[test]
fn a_node_is_silent_after_the_grace_and_back_once_it_was_heard_for_a_moment() {
    let mut leader = Leader::of(3);
    leader.check(100, "");
    leader.hear(1..=3, 101);
    leader.check(102, "");
    leader.hear(2..=3, 120);
    leader.check(120, "");
    leader.check(121, "-n1 for 20");
    leader.check(122, "");
    leader.hear(2..=3, 135);
    leader.hear([1], 136);
    leader.check(136, "");
    leader.check(138, "");
    leader.hear(1..=3, 139);
    leader.check(139, "+n1");
    leader.check(140, "");
}

#[test]
fn a_word_that_nothing_follows_brings_no_node_back() {
    let mut leader = Leader::of(2);
    leader.nodes.get_mut(&name(1)).unwrap().silent = true;
    leader.hear(1..=2, 100);
    leader.check(100, "");
    leader.hear([2], 118);
    // Nobody looked for longer than the grace, and nothing was heard meanwhile.
    leader.check(121, "");
    leader.hear(1..=2, 130);
    leader.check(130, "");
    leader.check(132, "");
    leader.check(133, "+n1");
}

#[test]
fn a_new_leader_and_a_new_node_begin_with_their_own_clocks() {
    let mut leader = Leader::of(3);
    leader.hear([1], 10);
    leader.nodes.get_mut(&name(2)).unwrap().silent = true;
    leader.check(1_000, "");
    leader.hear([3], 1_018);
    leader.check(1_019, "");
    leader.check(1_020, "-n1 for 20");
    // The same name in another life has its whole time, whatever was heard of the first one.
    leader.nodes.insert(name(1), Known { uid: NodeUid([9; 16]), silent: false });
    leader.hear([3], 1_025);
    leader.check(1_025, "");
    leader.hear([3], 1_044);
    leader.check(1_044, "");
    leader.check(1_045, "-n1 for 20");
}

#[test]
fn what_a_silent_node_said_before_its_grace_brings_it_not_back() {
    let mut leader = Leader::of(2);
    leader.nodes.get_mut(&name(1)).unwrap().silent = true;
    leader.hear([2], 100);
    leader.hear([1], 79);
    leader.check(100, "");
    leader.hear([1], 90);
    leader.check(100, "");
    leader.check(102, "");
    leader.check(103, "+n1");
}

/// So many of so many nodes fall silent together, their last words spread over a second.
fn check_together(silent: usize, of: usize, believed: bool) {
    let mut leader = Leader::of(of);
    leader.check(100, "");
    for (number, at) in (1..=silent).zip([100, 101].into_iter().cycle()) {
        leader.hear([number], at);
    }
    let (mut written, mut held) = (0, 0);
    for now in 102..140 {
        leader.hear(silent + 1..=of, now);
        let verdict = leader.clocks.look(&leader.nodes, |node| leader.presence.heard(node), s(now), s(GRACE));
        for (node, _) in &verdict.silent {
            leader.nodes.get_mut(node).unwrap().silent = true;
        }
        written += verdict.silent.len();
        held = verdict.held.len();
    }
    let expected = if believed { (silent, 0) } else { (0, silent) };
    assert_eq!((written, held), expected, "{silent} of {of}");
}

#[test]
fn most_nodes_at_once_are_our_own_trouble_and_few_are_believed() {
    check_together(1, 1, false);
    check_together(1, 2, true);
    check_together(2, 2, false);
    check_together(2, 3, true);
    check_together(3, 3, false);
    check_together(3, 4, false);
    check_together(3, 5, false);
    check_together(3, 6, true);
    check_together(5, 10, true);
    check_together(54, 100, true);
    check_together(55, 100, false);
    check_together(100, 100, false);
}

#[test]
fn nodes_that_die_one_after_another_are_all_believed_but_the_last() {
    let mut leader = Leader::of(5);
    leader.check(0, "");
    for dead in 1..5 {
        let last = 100 * dead as u64;
        leader.hear(dead..=5, last);
        leader.hear(dead + 1..=5, last + GRACE);
        leader.check(last + GRACE, &format!("-n{dead} for {GRACE}"));
    }
    leader.check(1_000, "?n5");
}

#[test]
fn who_stood_still_takes_nobody_for_silent() {
    let mut leader = Leader::of(3);
    leader.check(100, "");
    leader.hear(1..=3, 101);
    leader.presence.pardon(s(60));
    leader.clocks.pardon(s(60));
    leader.check(165, "");
    leader.hear([2, 3], 180);
    leader.check(180, "");
    leader.check(181, "-n1 for 20");
}

#[test]
fn what_was_heard_here_is_passed_on_once_and_the_old_forgotten() {
    let (us, other) = (ReplicaId(1), ReplicaId(2));
    let mut presence = Presence::default();
    presence.hear(&name(1), s(10), us);
    presence.hear(&name(2), s(11), other);
    presence.hear(&name(3), s(12), us);
    presence.hear(&name(3), s(9), other);
    let told = |presence: &Presence, after| {
        presence.heard_by(us, after).map(|(node, at)| (node.to_string(), at.as_secs())).collect::<Vec<_>>()
    };
    assert_eq!(told(&presence, None), [("n1".to_owned(), 10), ("n3".to_owned(), 12)]);
    assert_eq!(told(&presence, Some(s(10))), [("n3".to_owned(), 12)]);
    presence.tidy(s(10) + FORGET);
    assert_eq!(presence.heard(&name(1)), None);
    assert_eq!(presence.heard(&name(2)), Some(s(11)));
}
