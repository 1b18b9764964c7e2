//! A client's question: which names have to be found out one after the other, and the answer that is made of them.

use std::{net::IpAddr, sync::Arc};

use super::flight::Topic;
use crate::{
    Ask, DomainName, ExtendedError, Moment, Origin, Rcode, RecordType, Source,
    cache::Entry,
    limits::{ASK_MS, MAX_CNAMES},
    message::{Fixed, HEADER, Reply, Section},
    response::Want,
    zone::Head,
};

/// A client's question.
pub(crate) struct Job {
    ask: Box<Ask>,
    /// Which candidate is asked for.
    candidate: usize,
    /// Answers so far: each but the last ends with a CNAME whose target the next one is about.
    parts: Vec<Arc<Entry>>,
    /// Messages that were sent for it.
    pub(crate) messages: u32,
    pub(crate) deadline: Moment,
    /// Whether an upstream was asked.
    was_asked: bool,
}

/// What is to be done for a client.
pub(crate) enum Step {
    /// Find this out.
    Ask(Topic),
    /// The reply can be written.
    Reply,
}

impl Job {
    pub(crate) fn new(ask: Box<Ask>, now: Moment) -> Self {
        Self {
            ask,
            candidate: 0,
            parts: Vec::new(),
            messages: 0,
            deadline: now.after(ASK_MS),
            was_asked: false,
        }
    }

    pub(crate) const fn asker(&self) -> IpAddr {
        self.ask.asker
    }

    /// Flights were begun for it.
    pub(crate) const fn set_asked(&mut self) {
        self.was_asked = true;
    }

    /// What it needs first.
    pub(crate) fn first(&self) -> Step {
        match &self.ask.want {
            Want::Name(name) | Want::Alias { target: name, .. } => Step::Ask(self.topic(name.clone())),
            Want::First { candidates, .. } => match candidates.first() {
                Some(name) => Step::Ask(self.topic(name.clone())),
                None => Step::Reply,
            },
        }
    }

    /// Takes an answer up, and says what it needs next.
    pub(crate) fn take(&mut self, entry: Arc<Entry>, head: &Head) -> Step {
        let is_missing = entry.body().is_missing();
        let end = entry.open_end(head).and_then(DomainName::from_wire);
        self.parts.push(entry);
        if let Some(name) = end.filter(|_| self.parts.len() <= MAX_CNAMES) {
            return Step::Ask(self.topic(name));
        }
        match &self.ask.want {
            Want::First { candidates, .. } if is_missing => {
                self.candidate += 1;
                match candidates.get(self.candidate).cloned() {
                    Some(name) => {
                        self.parts.clear();
                        Step::Ask(self.topic(name))
                    }
                    None => Step::Reply,
                }
            }
            Want::Name(_) | Want::Alias { .. } | Want::First { .. } => Step::Reply,
        }
    }

    fn topic(&self, name: DomainName) -> Topic {
        let query = self.ask.query();
        let (signatures, unchecked) = (query.wants_signatures(), query.is_unchecked());
        Topic { name, kind: self.ask.kind, signatures, unchecked }
    }

    /// Writes the answer into `out`; `None` when it can't hold one. A client whose answers are missing is told of our trouble.
    pub(crate) fn reply(&self, now: Moment, is_whole: bool, out: &mut [u8]) -> Option<(usize, Source)> {
        let query = self.ask.query();
        let mut reply = Reply::begin(out, &query, self.ask.transport())?;
        let last = self.parts.last().filter(|_| is_whole);
        let Some(last) = last else {
            let why = ExtendedError::NO_REACHABLE_AUTHORITY;
            return Some((reply.finish(Rcode::SERVFAIL, Some(why)), Source::Own));
        };
        let mut at = HEADER;
        let mut rcode = last.body().rcode;
        match &self.ask.want {
            Want::Name(_) => {}
            Want::Alias { links, count, target_at, .. } => {
                reply.set_authoritative();
                if !reply.put(Section::Answer, *count, links) {
                    reply.set_truncated();
                }
                at = usize::from(*target_at);
            }
            Want::First { denial, .. } if last.body().is_missing() => {
                reply.set_authoritative();
                reply.put(Section::Authority, 1, denial);
                rcode = Rcode::NXDOMAIN;
                return Some((reply.finish(rcode, None), self.source(now)));
            }
            Want::First { candidates, ttl, .. } => {
                let target = candidates.get(self.candidate).map(DomainName::wire).unwrap_or_default();
                let fixed = Fixed { kind: RecordType::CNAME, ttl: *ttl };
                at = reply.position() + 12;
                if !reply.record(Section::Answer, &[0xc0, 12], fixed, &[target]) {
                    reply.set_truncated();
                }
            }
        }
        for part in &self.parts {
            at = part.write(&mut reply, at, now);
        }
        let why = last.why(now);
        Some((reply.finish(rcode, why), self.source(now)))
    }

    /// Whom its answer comes from.
    pub(crate) fn origin(&self, source: Source, now: Moment) -> Origin {
        let of_last = self.parts.last().map(|part| part.origin(now)).unwrap_or_default();
        match source {
            Source::Cache | Source::Stale => of_last,
            Source::Upstream => Origin { age_ms: None, ..of_last },
            Source::Zone | Source::Reverse | Source::Own => Origin::default(),
        }
    }

    fn source(&self, now: Moment) -> Source {
        if self.parts.last().is_none_or(|part| part.body().rcode == Rcode::SERVFAIL) {
            Source::Own
        } else if self.parts.iter().any(|part| part.is_stale(now)) {
            Source::Stale
        } else if self.was_asked {
            Source::Upstream
        } else {
            Source::Cache
        }
    }
}
