//! Conversations with upstreams: what comes back, and what follows from it.

use super::{Forwarder, Turn};
use crate::{
    Effect, Exchange, Rcode,
    forward::{
        flight::{MOST_STRANGERS, Pending},
        probe::Look,
    },
    message::{Expected, Verdict, read_answer},
};

impl Forwarder {
    /// Something came in a conversation.
    pub(super) fn message(&mut self, exchange: Exchange, bytes: &[u8], turn: &mut Turn<'_>) {
        if self.is_looked_at(exchange) {
            return self.looked(turn);
        }
        let Some(id) = self.exchanges.get(&exchange).copied() else {
            self.counters.strangers += 1;
            return;
        };
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(pending) = flight.pending.iter_mut().find(|pending| pending.exchange == exchange) else {
            return;
        };
        let route = self.config.route(&flight.topic.name);
        let is_filtered = |address| route.is_some_and(|route| self.config.is_filtered(route, address));
        let head = self.shared.tables.head();
        let expected = Expected {
            id: pending.id,
            question: &pending.question,
            name: flight.topic.name.wire(),
            kind: flight.topic.kind,
            dnssec_ok: flight.topic.signatures,
            is_filtered: &is_filtered,
            own: head.as_ref().as_ref().map(|head| head.origin.wire()),
        };
        let verdict = read_answer(bytes, expected);
        if verdict == Verdict::Stranger && !pending.is_tcp {
            self.counters.strangers += 1;
            pending.strangers += 1;
            if pending.strangers < MOST_STRANGERS {
                return;
            }
        }
        let pending = pending.clone();
        self.judged(id, &pending, verdict, turn);
    }

    /// What follows from a message.
    fn judged(&mut self, id: u64, pending: &Pending, verdict: Verdict, turn: &mut Turn<'_>) {
        let server = self.servers.get(pending.server);
        let millis = turn.now.since(pending.sent);
        match verdict {
            Verdict::Answer(body) => {
                server.answered(millis, turn.now);
                if !pending.is_tcp {
                    server.case(true);
                }
                self.land(id, pending.server, body, turn);
            }
            Verdict::CaseLost if !pending.is_tcp => {
                server.case(false);
                self.over(pending.exchange, turn);
                self.send(id, pending.server, true, turn);
            }
            Verdict::Truncated | Verdict::Stranger if !pending.is_tcp => {
                self.over(pending.exchange, turn);
                self.send(id, pending.server, true, turn);
            }
            Verdict::Failed(Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS) if pending.has_edns => {
                server.is_plain = true;
                self.over(pending.exchange, turn);
                self.send(id, pending.server, pending.is_tcp, turn);
            }
            Verdict::Failed(_) => {
                // It lives; it doesn't answer this.
                server.answered(millis, turn.now);
                server.errors += 1;
                self.over(pending.exchange, turn);
                self.try_next(id, turn);
            }
            Verdict::Broken | Verdict::CaseLost | Verdict::Truncated | Verdict::Stranger => {
                self.counters.broken += 1;
                server.failed(turn.now);
                self.over(pending.exchange, turn);
                self.try_next(id, turn);
            }
        }
    }

    /// The upstream of a conversation can't be reached.
    pub(super) fn unreachable(&mut self, exchange: Exchange, turn: &mut Turn<'_>) {
        if self.is_looked_at(exchange) {
            return self.looked(turn);
        }
        let Some(id) = self.exchanges.get(&exchange).copied() else { return };
        let server = self.flights.get(&id).and_then(|flight| {
            flight.pending.iter().find(|pending| pending.exchange == exchange).map(|pending| pending.server)
        });
        if let Some(server) = server {
            self.servers.get(server).failed(turn.now);
        }
        self.over(exchange, turn);
        self.try_next(id, turn);
    }

    fn is_looked_at(&self, exchange: Exchange) -> bool {
        self.look.current.is_some_and(|(current, _)| current == exchange)
    }

    /// The look at one upstream is over; the next one's turn.
    pub(super) fn looked(&mut self, turn: &mut Turn<'_>) {
        if let Some((exchange, server, is_loop)) = self.look.result(&self.shared.sought) {
            self.servers.get(server).is_loop = is_loop;
            turn.effects.push(Effect::Close { exchange });
        } else {
            // A new look begins.
            self.look = Look::begin(self.everybodys(), turn.now);
        }
        self.last_exchange += 1;
        let exchange = Exchange(self.last_exchange);
        let next = self.look.next(&self.shared.sought, exchange, turn.now, turn.chance);
        if let Some((server, message)) = next {
            self.counters.sent_udp += 1;
            self.servers.get(server).asked += 1;
            turn.effects.push(Effect::Udp { exchange, server, message });
        }
    }

    /// A conversation is over.
    fn over(&mut self, exchange: Exchange, turn: &mut Turn<'_>) {
        let flight = self.exchanges.remove(&exchange).and_then(|id| self.flights.get_mut(&id));
        if let Some(flight) = flight {
            flight.pending.retain(|pending| pending.exchange != exchange);
        }
        turn.effects.push(Effect::Close { exchange });
    }
}
