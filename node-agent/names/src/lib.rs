//! Names of the fabric: what each node's DNS says, without IO.
//!
//! [`open`] gives two values. [`Names`] is the writer of the zone: it folds the View and what touched it. [`Forwarder`] asks the
//! outside and owns the cache. From `Names` come [`Reader`]s, one per thread, which answer without waiting for anybody:
//!
//! ```text
//! thread per core:  reader.respond(&asker, transport, now, query, &mut out) -> Answer{length} | Ask(ask) | Drop
//! forward thread:   forwarder.input(now, Input::Ask { client, ask }, chance, &mut effects)
//!                   effects: Udp | Tcp | Close | Answer { client, message };  deadline() says when to send Input::Tick
//! feed thread:      let touched = view.fold(update)?;  names.fold(&view, &touched);
//!                   let (config, problems) = ForwardConfig::new(fabric, &host_servers);  forwarder.configure(now, config)
//! ```
//!
//! Out of the buffer: at least 1232 octets for UDP, 65,535 for TCP (without the length before a message). Until the first
//! `fold` of a View that has a fabric, names of the cluster can't be known, so everything gets SERVFAIL ("not ready").
//! Time ([`Moment`]) and chance are passed in. Not here: sockets, threads, the View's way, query log, latency.

mod asker;
mod budget;
mod cache;
mod counters;
#[cfg(test)]
mod fixture;
mod forward;
mod hash;
mod limits;
mod message;
mod moment;
mod names;
mod reader;
mod response;
mod search;
mod zone;

pub use asker::Asker;
pub use counters::{COUNTED_TYPES, Counters};
pub use forward::{
    Client, Effect, Exchange, ForwardConfig, ForwardCounters, Forwarder, Input, Problem, Route, UpstreamState,
};
pub use limits::Limits;
pub use message::{
    DomainName, Edns, ExtendedError, NameError, Query, Rcode, RecordType, Reject, Shown, ShownQuestion,
    ShownRecord, Transport, parse, question, show,
};
pub use moment::Moment;
pub use names::{Folded, Names, open};
pub use reader::Reader;
pub use response::{Ask, DropCause, Origin, Realm, Response, Source};
