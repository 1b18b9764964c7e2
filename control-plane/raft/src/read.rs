//! Reads that wait: for a round of heartbeats that proves we lead, then for the index to be applied.

use std::collections::{BTreeMap, VecDeque};

use weft_model::{LogIndex, ReplicaId};

use crate::{ReadReply, Ticket};

/// Waiting reads. One round serves all that came before it began; while it runs, others gather for the next.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    gathering: Vec<Ticket>,
    /// Not confirmed yet, oldest first.
    rounds: VecDeque<Round>,
    next_round: u64,
    /// Since the newest round began.
    ticks: usize,
    overdue: bool,
    applying: BTreeMap<LogIndex, Vec<Ticket>>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    tickets: Vec<Ticket>,
}

impl Reads {
    pub(crate) fn ask(&mut self, ticket: Ticket) {
        self.gathering.push(ticket);
    }

    pub(crate) fn wait(&mut self, index: LogIndex, ticket: Ticket) {
        self.applying.entry(index).or_default().push(ticket);
    }

    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.gathering.retain(|waiting| *waiting != ticket);
        for round in &mut self.rounds {
            round.tickets.retain(|waiting| *waiting != ticket);
        }
        self.applying.retain(|_, tickets| {
            tickets.retain(|waiting| *waiting != ticket);
            !tickets.is_empty()
        });
    }

    /// Begins a round if somebody waits and none runs, or the newest takes too long: its context for the library.
    pub(crate) fn begin(&mut self) -> Option<Vec<u8>> {
        let wanted = if self.rounds.is_empty() { !self.gathering.is_empty() } else { self.overdue };
        if !wanted {
            return None;
        }
        (self.ticks, self.overdue) = (0, false);
        self.next_round += 1;
        let tickets = std::mem::take(&mut self.gathering);
        self.rounds.push_back(Round { number: self.next_round, tickets });
        Some(self.next_round.to_be_bytes().to_vec())
    }

    /// After `patience` ticks without an answer a further round begins: the library may have lost the last one in
    /// silence. Those before it stay, a late answer counts as well as an early one; so there are as many as the
    /// library's check for a quorum lets a leader stay without answers.
    pub(crate) fn tick(&mut self, patience: usize) {
        if !self.rounds.is_empty() {
            self.ticks += 1;
            self.overdue |= self.ticks > patience;
        }
    }

    /// The round of this context is confirmed: its reads, and those of rounds before it, wait for the index. They
    /// were asked before the round began.
    pub(crate) fn confirmed(&mut self, context: &[u8], index: LogIndex) {
        let Ok(number) = context.try_into().map(u64::from_be_bytes) else { return };
        while let Some(round) = self.rounds.pop_front_if(|round| round.number <= number) {
            self.applying.entry(index).or_default().extend(round.tickets);
        }
    }

    /// Everything that the applied index allows.
    pub(crate) fn applied(&mut self, index: LogIndex) -> Vec<(Ticket, ReadReply)> {
        let later = self.applying.split_off(&index.next());
        let ready = std::mem::replace(&mut self.applying, later);
        ready.into_values().flatten().map(|ticket| (ticket, ReadReply::Ready(index))).collect()
    }

    /// We lead no more: whoever has no index yet must ask elsewhere.
    pub(crate) fn abandon(&mut self, leader: Option<ReplicaId>) -> Vec<(Ticket, ReadReply)> {
        let rounds = std::mem::take(&mut self.rounds);
        let gathering = std::mem::take(&mut self.gathering);
        let asked = rounds.into_iter().flat_map(|round| round.tickets);
        asked.chain(gathering).map(|ticket| (ticket, ReadReply::NotLeader(leader))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_serves_all_that_came_before_it() {
        let mut reads = Reads::default();
        reads.ask(Ticket(1));
        reads.ask(Ticket(2));
        let first = reads.begin().unwrap();
        reads.ask(Ticket(3));
        assert_eq!(reads.begin(), None, "one round at a time");
        reads.confirmed(&first, LogIndex(7));
        assert_eq!(reads.applied(LogIndex(6)), []);
        let ready = |n| (Ticket(n), ReadReply::Ready(LogIndex(8)));
        assert_eq!(reads.applied(LogIndex(8)), [ready(1), ready(2)]);
        assert!(reads.begin().is_some(), "the third has a round of its own");
    }

    #[test]
    fn a_round_without_an_answer_is_followed_by_another_and_each_answer_counts() {
        for late in [true, false] {
            let mut reads = Reads::default();
            reads.ask(Ticket(1));
            let first = reads.begin().unwrap();
            reads.ask(Ticket(2));
            (0..2).for_each(|_| reads.tick(2));
            assert_eq!(reads.begin(), None);
            reads.tick(2);
            let second = reads.begin().unwrap();
            assert_eq!(reads.begin(), None, "one more, not one each turn");
            reads.confirmed(if late { &first } else { &second }, LogIndex(3));
            let served = reads.applied(LogIndex(3)).len();
            assert_eq!(served, if late { 1 } else { 2 }, "a round serves what was asked before it");
            reads.confirmed(&second, LogIndex(4));
            assert_eq!(served + reads.applied(LogIndex(4)).len(), 2);
        }
    }

    #[test]
    fn reads_without_an_index_go_with_the_leadership_others_stay() {
        let mut reads = Reads::default();
        reads.ask(Ticket(1));
        let round = reads.begin().unwrap();
        reads.confirmed(&round, LogIndex(9));
        reads.ask(Ticket(2));
        assert_eq!(reads.abandon(None), [(Ticket(2), ReadReply::NotLeader(None))]);
        assert_eq!(reads.applied(LogIndex(9)).len(), 1);
    }
}
