//! What a reader makes of a query.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    asker::Asker,
    message::{DomainName, Edns, Query, RecordType, Transport},
};

/// What a reader makes of a query.
#[derive(Debug)]
pub enum Response {
    /// The first `length` octets of the buffer are the answer.
    Answer {
        /// Octets to send.
        length: usize,
        /// Where it came from.
        source: Source,
    },
    /// Somebody else has to be asked: goes to the [`crate::Forwarder`] as [`crate::Input::Ask`].
    Ask(Box<Ask>),
    /// Nothing is sent.
    Drop(DropCause),
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// Shorter than a header.
    Short,
    /// It is an answer itself.
    IsAnswer,
    /// The asker is over its budget.
    Budget,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The cluster's own zone.
    Zone,
    /// The reverse zones of the fabric's ranges.
    Reverse,
    /// The cache.
    Cache,
    /// The cache, though the answer is old: nobody gives a new one.
    Stale,
    /// An upstream, just asked.
    Upstream,
    /// The server itself: what can't be answered, `localhost`, and the like.
    Own,
}

impl Source {
    /// All sources, for metrics.
    pub const ALL: [Self; 6] =
        [Self::Zone, Self::Reverse, Self::Cache, Self::Stale, Self::Upstream, Self::Own];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Zone => "zone",
            Self::Reverse => "reverse",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Upstream => "upstream",
            Self::Own => "own",
        })
    }
}

/// Whom an answer of the outside comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The upstream that gave it, just now or when it was kept; `None`: no upstream did.
    pub upstream: Option<SocketAddr>,
    /// For how long it has been kept, milliseconds; `None`: it doesn't come from the cache.
    pub age_ms: Option<u64>,
}

/// Whose names a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// The cluster's own domain.
    Cluster,
    /// Addresses of the fabric.
    Reverse,
    /// Everybody else's.
    Foreign,
    /// Nobody's: what can't be read, and what is never looked for in a zone.
    None,
}

impl Realm {
    /// All of them, for metrics.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Reverse, Self::Foreign, Self::None];
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "cluster",
            Self::Reverse => "reverse",
            Self::Foreign => "foreign",
            Self::None => "none",
        })
    }
}

/// A question that the outside has to answer, with all that the client's reply needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who asked.
    pub(crate) asker: IpAddr,
    pub(crate) id: u16,
    pub(crate) flags: u16,
    /// Name, type and class as they came.
    pub(crate) question: Box<[u8]>,
    pub(crate) kind: RecordType,
    pub(crate) edns: Option<Edns>,
    pub(crate) transport: Transport,
    pub(crate) want: Want,
}

/// What has to be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The name of the question itself.
    Name(DomainName),
    /// The target of CNAMEs of our own zone, which stand rendered (for the place right behind the question).
    Alias { links: Box<[u8]>, count: u16, target: DomainName, target_at: u16 },
    /// The first of these that exists, behind a CNAME that names it (`search`); SOA of our zone for the final miss.
    First { candidates: Box<[DomainName]>, ttl: u32, denial: Box<[u8]> },
}

impl Ask {
    pub(crate) fn new(asker: &Asker, query: &Query<'_>, transport: Transport, want: Want) -> Box<Self> {
        Box::new(Self {
            asker: asker.address(),
            id: query.id,
            flags: query.flags,
            question: query.question.into(),
            kind: query.kind,
            edns: query.edns,
            transport,
            want,
        })
    }

    /// The query it came from, as far as replies need it.
    pub(crate) fn query(&self) -> Query<'_> {
        let name_end = self.question.len().saturating_sub(4);
        Query {
            id: self.id,
            flags: self.flags,
            question: &self.question,
            name: &self.question[..name_end],
            kind: self.kind,
            class: crate::message::CLASS_IN,
            edns: self.edns,
        }
    }

    /// Who asked.
    pub const fn asker(&self) -> IpAddr {
        self.asker
    }

    /// How the client's query came, and so how the answer goes.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Type asked for.
    pub const fn kind(&self) -> RecordType {
        self.kind
    }
}
