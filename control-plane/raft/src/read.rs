//! Reads that wait: for a round of heartbeats that proves we lead, then for the index to be applied.

use std::collections::BTreeMap;

use weft_model::{LogIndex, ReplicaId};

use crate::{ReadReply, Ticket};

/// Waiting reads. One round serves all that came before it began; while it runs, others gather for the next.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    gathering: Vec<Ticket>,
    round: Option<Round>,
    next_round: u64,
    applying: BTreeMap<LogIndex, Vec<Ticket>>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    tickets: Vec<Ticket>,
    ticks: usize,
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
        if let Some(round) = &mut self.round {
            round.tickets.retain(|waiting| *waiting != ticket);
        }
        self.applying.retain(|_, tickets| {
            tickets.retain(|waiting| *waiting != ticket);
            !tickets.is_empty()
        });
    }

    /// Begins a round if somebody waits and none runs: its context for the library.
    pub(crate) fn begin(&mut self) -> Option<Vec<u8>> {
        if self.round.is_some() || self.gathering.is_empty() {
            return None;
        }
        self.next_round += 1;
        let tickets = std::mem::take(&mut self.gathering);
        self.round = Some(Round { number: self.next_round, tickets, ticks: 0 });
        Some(self.next_round.to_be_bytes().to_vec())
    }

    /// A round that the library lost in silence is begun anew after `patience` ticks, together with newer reads.
    pub(crate) fn tick(&mut self, patience: usize) {
        let Some(round) = &mut self.round else { return };
        round.ticks += 1;
        if round.ticks > patience
            && let Some(round) = self.round.take()
        {
            self.gathering.splice(0..0, round.tickets);
        }
    }

    /// The round of this context is confirmed: its reads wait for the index.
    pub(crate) fn confirmed(&mut self, context: &[u8], index: LogIndex) {
        if self.round.as_ref().is_some_and(|round| round.number.to_be_bytes() == *context)
            && let Some(round) = self.round.take()
        {
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
        let round = self.round.take().map(|round| round.tickets).unwrap_or_default();
        let gathering = std::mem::take(&mut self.gathering);
        round.into_iter().chain(gathering).map(|ticket| (ticket, ReadReply::NotLeader(leader))).collect()
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
    fn a_lost_round_is_asked_again_and_its_late_answer_counts_for_nothing() {
        let mut reads = Reads::default();
        reads.ask(Ticket(1));
        let lost = reads.begin().unwrap();
        (0..3).for_each(|_| reads.tick(2));
        let again = reads.begin().unwrap();
        assert_ne!(lost, again);
        reads.confirmed(&lost, LogIndex(3));
        assert_eq!(reads.applied(LogIndex(3)), []);
        reads.confirmed(&again, LogIndex(4));
        assert_eq!(reads.applied(LogIndex(4)).len(), 1);
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
