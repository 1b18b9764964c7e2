//! The hot path: one query in, one answer out, without waiting for anybody.
//!
//! In: the bytes of a query, who asks, the time. Out: the answer's bytes, or what has to be asked. Not here: sockets, threads.

use std::{cell::Cell, sync::Arc};

use crate::{
    Ask, Asker, Counters, DropCause, ExtendedError, Limits, Moment, Origin, Query, Rcode, Realm, RecordType,
    Reject, Response, Source, Transport,
    budget::Budgets,
    cache::{Asked, Entry},
    limits::MAX_CNAMES,
    message::{CLASS_IN, DomainName, Fixed, HEADER, Lowered, Reply, Section, bare, parse},
    names::Shared,
    response::Want,
    search::{Way, way},
    zone::{Head, Lookup, Outcome, ReverseName},
};

/// A reader: one per thread.
pub struct Reader {
    shared: Arc<Shared>,
    budgets: Budgets,
    lowered: Lowered,
    turn: u64,
    counters: Counters,
    /// Of the last answer.
    origin: Cell<Origin>,
}

/// How a reply ends.
enum End {
    Told(Rcode, Option<ExtendedError>, Source),
    Ask(Want),
}

const fn told(rcode: Rcode, source: Source) -> End {
    End::Told(rcode, None, source)
}

const fn refused(why: ExtendedError) -> End {
    End::Told(Rcode::REFUSED, Some(why), Source::Own)
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits, seed: u64) -> Self {
        Self {
            shared,
            budgets: Budgets::new(seed, limits.queries_per_second),
            lowered: Lowered::default(),
            turn: seed,
            counters: Counters::default(),
            origin: Cell::default(),
        }
    }

    /// Answers a query from what is known here. The answer stands in `out` and fits into what the client takes; `out` has at
    /// least 1232 octets for UDP and should have 65,535 for TCP. Never waits, and allocates only for what has to be asked.
    pub fn respond(
        &mut self,
        asker: &Asker,
        transport: Transport,
        now: Moment,
        query: &[u8],
        out: &mut [u8],
    ) -> Response {
        let response = self.response(asker, transport, now, query, out);
        match &response {
            Response::Answer { length, source } => self.counters.answer(&out[..*length], *source),
            Response::Ask(ask) => {
                self.counters.asked += 1;
                self.counters.searched += u64::from(matches!(ask.want, Want::First { .. }));
            }
            Response::Drop(cause) => self.counters.dropped(*cause),
        }
        response
    }

    /// Whom the last answer comes from, if it is one of the outside.
    pub const fn origin(&self) -> Origin {
        self.origin.get()
    }

    /// What it counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn response(
        &mut self,
        asker: &Asker,
        transport: Transport,
        now: Moment,
        bytes: &[u8],
        out: &mut [u8],
    ) -> Response {
        self.origin.set(Origin::default());
        if !self.budgets.admit(asker.address(), now) {
            return Response::Drop(DropCause::Budget);
        }
        let query = match parse(bytes) {
            Ok(query) => query,
            Err(Reject::Drop) if bytes.len() < HEADER => return Response::Drop(DropCause::Short),
            Err(Reject::Drop) => return Response::Drop(DropCause::IsAnswer),
            Err(Reject::Refuse { rcode }) => {
                self.counters.realm(Realm::None);
                let length = bare(out, bytes, rcode);
                return length.map_or(Response::Drop(DropCause::Short), |length| Response::Answer {
                    length,
                    source: Source::Own,
                });
            }
        };
        self.counters.question(query.kind, transport);
        self.turn = self.turn.wrapping_add(1);
        self.lowered.take(query.name);
        let Some(mut reply) = Reply::begin(out, &query, transport) else {
            return Response::Drop(DropCause::Short);
        };
        let (realm, end) = self.end(asker, &query, now, &mut reply);
        self.counters.realm(realm);
        match end {
            End::Told(rcode, why, source) => Response::Answer { length: reply.finish(rcode, why), source },
            End::Ask(want) => Response::Ask(Ask::new(asker, &query, transport, want)),
        }
    }

    fn end(&self, asker: &Asker, query: &Query<'_>, now: Moment, reply: &mut Reply<'_>) -> (Realm, End) {
        if query.class != CLASS_IN || query.kind.is_meta() {
            return (Realm::None, refused(ExtendedError::NOT_SUPPORTED));
        }
        let head = self.shared.tables.head();
        let Some(head) = head.as_ref() else {
            let why = Some(ExtendedError::NOT_READY);
            return (Realm::None, End::Told(Rcode::SERVFAIL, why, Source::Own));
        };
        let lookup = Lookup { tables: &self.shared.tables, head, turn: self.turn, kind: query.kind };
        let name = &self.lowered;
        if let Some(above) = name.above(head.origin.wire(), head.labels) {
            let end = match lookup.answer(name, above, reply) {
                Outcome::Missing => self.missing(asker, query, now, lookup, above, reply),
                outcome @ (Outcome::Done(_) | Outcome::Outside { .. }) => {
                    self.outcome(query, now, head, outcome, reply)
                }
            };
            return (Realm::Cluster, end);
        }
        let reverse =
            ReverseName::read(name).and_then(|reverse| Some((reverse, head.reverse_zone(&reverse)?)));
        if let Some((reverse, zone)) = reverse {
            return (Realm::Reverse, told(lookup.reverse(name, &reverse, zone, reply), Source::Reverse));
        }
        if self.shared.sought.meets(name, query.kind) {
            return (Realm::None, refused(ExtendedError::OTHER));
        }
        if let Some(rcode) = special(name, query.kind, reply) {
            return (Realm::None, told(rcode, Source::Own));
        }
        (Realm::Foreign, self.outside(query, now, head, reply))
    }

    /// A name of our zone that doesn't exist: denied, or found under another search domain.
    fn missing(
        &self,
        asker: &Asker,
        query: &Query<'_>,
        now: Moment,
        lookup: Lookup<'_>,
        above: usize,
        reply: &mut Reply<'_>,
    ) -> End {
        let name = &self.lowered;
        let search = asker.search().filter(|_| query.is_recursive());
        match search.and_then(|search| way(lookup, lookup.head, search, name)) {
            None => told(lookup.missing(name, above, reply), Source::Zone),
            Some(Way::Own(target)) => {
                let outcome = lookup.alias(name, above, target, reply);
                self.outcome(query, now, lookup.head, outcome, reply)
            }
            Some(Way::First(candidates)) => self.first(query, now, lookup, above, candidates, reply),
        }
    }

    /// The first candidate that exists, as far as the cache knows.
    fn first(
        &self,
        query: &Query<'_>,
        now: Moment,
        lookup: Lookup<'_>,
        above: usize,
        candidates: Box<[DomainName]>,
        reply: &mut Reply<'_>,
    ) -> End {
        for candidate in &candidates {
            let Some(parts) = self.parts(candidate.wire(), query, now, lookup.head) else {
                let denial = lookup.denial(&self.lowered, above);
                return End::Ask(Want::First { candidates, ttl: lookup.head.ttl, denial });
            };
            if parts.last().is_some_and(|part| !part.body().is_missing()) {
                let at = reply.position() + 12;
                let fixed = lookup.head.fixed(RecordType::CNAME);
                reply.record(Section::Answer, &[0xc0, 12], fixed, &[candidate.wire()]);
                return self.tell(&parts, now, at, reply);
            }
        }
        told(lookup.missing(&self.lowered, above, reply), Source::Cache)
    }

    fn outcome(
        &self,
        query: &Query<'_>,
        now: Moment,
        head: &Head,
        outcome: Outcome,
        reply: &mut Reply<'_>,
    ) -> End {
        match outcome {
            Outcome::Done(rcode) => told(rcode, Source::Zone),
            Outcome::Missing => told(Rcode::NXDOMAIN, Source::Zone),
            // The alias itself is an answer for those who don't want recursion (RFC 1034 section 4.3.2).
            Outcome::Outside { .. } if !query.is_recursive() => told(Rcode::NOERROR, Source::Zone),
            Outcome::Outside { target, at } => match self.parts(target.wire(), query, now, head) {
                Some(parts) => self.tell(&parts, now, at, reply),
                None => {
                    let (links, count) = reply.answers();
                    let target_at = u16::try_from(at).unwrap_or(u16::MAX);
                    End::Ask(Want::Alias { links: links.into(), count, target, target_at })
                }
            },
        }
    }

    /// All that the cache has to have for an answer about a name: several entries when CNAMEs lead from one server's names to another's.
    fn parts(&self, name: &[u8], query: &Query<'_>, now: Moment, head: &Head) -> Option<Vec<Arc<Entry>>> {
        let mut parts = Vec::with_capacity(1);
        let mut name = Box::from(name);
        loop {
            let entry = self.shared.cache.find(asked(&name, query)).filter(|entry| entry.counts(now))?;
            let end = entry.open_end(head).map(Box::from);
            parts.push(entry);
            match end {
                Some(_) if parts.len() > MAX_CNAMES => return None,
                Some(end) => name = end,
                None => return Some(parts),
            }
        }
    }

    fn outside(&self, query: &Query<'_>, now: Moment, head: &Head, reply: &mut Reply<'_>) -> End {
        if !query.is_recursive() {
            return refused(ExtendedError::NOT_AUTHORITATIVE);
        }
        if query.kind == RecordType::ANY {
            let fixed = Fixed { kind: RecordType::HINFO, ttl: 3600 };
            reply.record(Section::Answer, &[0xc0, 12], fixed, &[b"\x07RFC8482\0"]);
            return told(Rcode::NOERROR, Source::Own);
        }
        let name = self.lowered.wire();
        // The usual case first: one entry, no counting of references.
        let whole = self.shared.cache.with(asked(name, query), |entry| {
            (entry.counts(now) && entry.open_end(head).is_none())
                .then(|| self.tell_one(entry, now, HEADER, reply))
        });
        if let Some(end) = whole.flatten() {
            return end;
        }
        match self.parts(name, query, now, head) {
            Some(parts) => self.tell(&parts, now, HEADER, reply),
            None => End::Ask(Want::Name(DomainName::from_wire(name).unwrap_or_else(DomainName::root))),
        }
    }

    /// Tells what one entry has, for a name that stands at `at` in the reply.
    fn tell_one(&self, entry: &Entry, now: Moment, at: usize, reply: &mut Reply<'_>) -> End {
        entry.write(reply, at, now);
        self.origin.set(entry.origin(now));
        let source = if entry.is_stale(now) { Source::Stale } else { Source::Cache };
        End::Told(entry.body().rcode, entry.why(now), source)
    }

    /// The same of several entries, each about the open end of the one before.
    fn tell(&self, parts: &[Arc<Entry>], now: Moment, at: usize, reply: &mut Reply<'_>) -> End {
        let Some((last, before)) = parts.split_last() else { return told(Rcode::SERVFAIL, Source::Own) };
        let at = before.iter().fold(at, |at, part| part.write(reply, at, now));
        self.tell_one(last, now, at, reply)
    }
}

fn asked<'a>(name: &'a [u8], query: &Query<'_>) -> Asked<'a> {
    Asked::new(name, query.kind, query.wants_signatures(), query.is_unchecked())
}

/// Names that are never asked for outside (RFC 6761 sections 6.3 and 6.4, RFC 7686).
fn special(name: &Lowered, kind: RecordType, reply: &mut Reply<'_>) -> Option<Rcode> {
    let last = name.label(name.count().checked_sub(1)?);
    let fixed = Fixed { kind, ttl: 3600 };
    match last {
        b"localhost" => {
            match kind {
                RecordType::A => reply.record(Section::Answer, &[0xc0, 12], fixed, &[&[127, 0, 0, 1]]),
                RecordType::AAAA => reply.record(
                    Section::Answer,
                    &[0xc0, 12],
                    fixed,
                    &[&std::net::Ipv6Addr::LOCALHOST.octets()],
                ),
                _ => true,
            };
            Some(Rcode::NOERROR)
        }
        b"invalid" | b"onion" => Some(Rcode::NXDOMAIN),
        _ => None,
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
