//! The hot path: one query in, one answer out, without waiting for anybody.

use std::sync::Arc;

use crate::{
    Asker, Counters, DropCause, ExtendedError, Limits, Moment, Rcode, Reject, Response, Source, Transport,
    message::{Lowered, Reply, bare, parse},
    names::Shared,
};

/// A reader: one per thread.
pub struct Reader {
    shared: Arc<Shared>,
    limits: Limits,
    lowered: Lowered,
    turn: u64,
    counters: Counters,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits, seed: u64) -> Self {
        Self { shared, limits, lowered: Lowered::default(), turn: seed, counters: Counters::default() }
    }

    /// Answers a query from what is known here. The answer stands in `out` and fits into what the client takes; `out` has at
    /// least 1232 octets for UDP and should have 65,535 for TCP. Never waits, never allocates but for [`Response::Ask`].
    pub fn respond(
        &mut self,
        asker: &Asker,
        transport: Transport,
        now: Moment,
        query: &[u8],
        out: &mut [u8],
    ) -> Response {
        let _ = (asker, now, self.limits, self.shared.tables.octets());
        self.turn = self.turn.wrapping_add(1);
        let query = match parse(query) {
            Ok(query) => query,
            Err(Reject::Drop) => return Response::Drop(DropCause::Short),
            Err(Reject::Refuse { rcode }) => {
                return match bare(out, query, rcode) {
                    Some(length) => Response::Answer { length, source: Source::Own },
                    None => Response::Drop(DropCause::Short),
                };
            }
        };
        self.counters.question(query.kind, transport);
        self.lowered.take(query.name);
        let Some(reply) = Reply::begin(out, &query, transport) else {
            return Response::Drop(DropCause::Short);
        };
        let length = reply.finish(Rcode::SERVFAIL, Some(ExtendedError::NOT_READY));
        Response::Answer { length, source: Source::Own }
    }

    /// What it counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}
