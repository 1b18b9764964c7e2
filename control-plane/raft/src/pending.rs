//! Proposals that wait for their entry. An entry is known by (index, term): nothing else can be there in that term.

use std::collections::BTreeMap;

use weft_model::{LogIndex, ReplicaId, Term};

use crate::{Reply, Ticket};

/// Waiting proposals by the index of their entry.
#[derive(Debug, Default)]
pub(crate) struct Pending(BTreeMap<LogIndex, (Term, Ticket)>);

impl Pending {
    pub(crate) fn insert(&mut self, index: LogIndex, term: Term, ticket: Ticket) {
        self.0.insert(index, (term, ticket));
    }

    pub(crate) fn cancel(&mut self, ticket: Ticket) {
        self.0.retain(|_, (_, waiting)| *waiting != ticket);
    }

    /// The proposal of an applied entry; `Err` when another entry took its place.
    pub(crate) fn take(&mut self, index: LogIndex, term: Term) -> Option<Result<Ticket, Ticket>> {
        let (proposed, ticket) = self.0.remove(&index)?;
        Some(if proposed == term { Ok(ticket) } else { Err(ticket) })
    }

    /// All that can't be followed any more.
    pub(crate) fn abandon(&mut self, leader: Option<ReplicaId>) -> Vec<(Ticket, Reply)> {
        std::mem::take(&mut self.0)
            .into_values()
            .map(|(_, ticket)| (ticket, Reply::Undecided { leader }))
            .collect()
    }
}
