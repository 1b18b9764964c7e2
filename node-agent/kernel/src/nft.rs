//! The nf_tables socket: transactions in, the ruleset back, notices of other people's commits.
//!
//! In: a `Batch` of weft-nft. Out: the generation that it made, or an error that names the object which the kernel refused.
//! A socket belongs to the network namespace of the thread that opened it and works from any thread. Every wait has a limit.
//! Not here: what the bytes say (weft-nft) and what the rules are for (weft-plan).

mod error;
mod monitor;
mod socket;

use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use weft_nft::{
    Batch, Failure, Generation, Message, Observed, Reply, Request, SetRef, Table, TableFamily, TableRef,
};

pub use error::NftError;
pub use monitor::{NftMonitor, Notice};
use socket::Decoded;

/// How often a transaction is tried anew when others commit at the same time.
const COMMIT_TRIES: u32 = 32;
/// How often a dump is tried anew when somebody commits meanwhile.
const DUMP_TRIES: u32 = 30;
/// Own generations kept for the monitor: more than it can lag behind before its buffer overruns.
const OWN_GENERATIONS: usize = 1024;

/// Generations that this process made: a notice of any other is foreign.
#[derive(Debug, Default)]
struct OwnGenerations {
    /// Those that no monitor has heard of yet.
    unheard: Vec<u32>,
}

impl OwnGenerations {
    fn add(&mut self, generation: u32) {
        if self.unheard.len() == OWN_GENERATIONS {
            self.unheard.remove(0);
        }
        self.unheard.push(generation);
    }

    /// Takes one claim back: another socket of this process may have made the generation.
    fn withdraw(&mut self, generation: u32) {
        if let Some(place) = self.unheard.iter().rposition(|g| *g == generation) {
            self.unheard.remove(place);
        }
    }

    fn take(&mut self, generation: u32) -> bool {
        let before = self.unheard.len();
        self.unheard.retain(|g| *g != generation);
        self.unheard.len() != before
    }
}

/// A socket to nf_tables of one network namespace.
#[derive(Debug)]
pub struct NftSocket {
    raw: Decoded,
    own: Arc<Mutex<OwnGenerations>>,
}

impl NftSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { raw: Decoded::open()?, own: Arc::default() })
    }

    /// Another socket, in the calling thread's namespace, whose commits the monitors of this one know as well.
    pub fn beside(&self) -> Result<Self, NftError> {
        Ok(Self { raw: Decoded::open()?, own: Arc::clone(&self.own) })
    }

    /// A monitor that knows this socket's commits. Call it from a thread in the same network namespace.
    pub fn monitor(&self) -> Result<NftMonitor, NftError> {
        NftMonitor::open(Arc::clone(&self.own))
    }

    /// The present generation; its process is the asking one, not the one that made it.
    pub fn generation(&mut self) -> Result<Generation, NftError> {
        let sequence = self.raw.next_sequence(1);
        self.raw.send(&Request::Generation.encode(sequence))?;
        loop {
            for message in self.raw.receive()? {
                match message {
                    Message { sequence: s, reply: Reply::Generation(found), .. } if s == sequence => {
                        return Ok(found);
                    }
                    Message { sequence: s, reply: Reply::Failed(failure), .. } if s == sequence => {
                        return Err(NftError::refused("the generation".to_owned(), failure));
                    }
                    Message { .. } => {}
                }
            }
        }
    }

    /// Carries out a transaction, all or nothing, and returns the number of the generation it made.
    ///
    /// A transaction that somebody else's commit overtook is tried anew, 32 times at most, then `Contended`.
    /// After `Socket` or `Deadline` it is unknown whether the transaction took place: observe.
    pub fn commit(&mut self, batch: &Batch) -> Result<u32, NftError> {
        if batch.is_empty() {
            return Ok(self.generation()?.id);
        }
        for _ in 0..COMMIT_TRIES {
            let before = self.generation()?.id;
            // The kernel counts up by one and leaves out 0 (net/netfilter/nf_tables_api.c, nf_tables_commit).
            let after = before.wrapping_add(1).max(1);
            self.own().add(after);
            match self.try_commit(batch, before) {
                Ok(None) => return Ok(after),
                Ok(Some(failure)) => {
                    self.own().withdraw(after);
                    let whole = failure.object.is_none();
                    if !(whole && is_overtaken(failure.failure.errno)) {
                        return Err(failure.into_error());
                    }
                }
                Err(error) => return Err(error), // unknown outcome: a notice of this generation may still be our own
            }
        }
        Err(NftError::Contended { tries: COMMIT_TRIES })
    }

    /// Reads tables as one consistent picture: the tables, their chains, rules, sets and elements.
    pub fn observe(&mut self, tables: &[Table]) -> Result<Observed, NftError> {
        // Nobody gives up.
        self.observe_unless(tables, &mut || false)?.ok_or(NftError::Unsteady { tries: 0 })
    }

    /// As [`Self::observe`]; asks `given_up` between messages, and returns `None` as soon as it says so. This socket can't be used for
    /// anything else then: its kernel still has the rest to say.
    pub fn observe_unless(
        &mut self,
        tables: &[Table],
        given_up: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Observed>, NftError> {
        for _ in 0..DUMP_TRIES {
            let before = self.generation()?.id;
            let mut observed = Observed::default();
            let steady = match self.observe_once(tables, &mut observed, given_up)? {
                Dump::Whole { steady } => steady,
                Dump::BrokenOff => continue,
                Dump::GivenUp => return Ok(None),
            };
            let after = self.generation()?.id;
            if steady && after == before {
                return Ok(Some(observed));
            }
        }
        Err(NftError::Unsteady { tries: DUMP_TRIES })
    }

    /// Looks at everybody's base chains for IP packets, and at the rules of tables that have a dropping one. Never changes them.
    ///
    /// Not one consistent picture: others may commit meanwhile, and what they had is as good.
    pub fn survey(&mut self) -> Result<Observed, NftError> {
        let mut observed = Observed::default();
        for family in [TableFamily::Ip, TableFamily::Ip6, TableFamily::Inet] {
            self.dump(&Request::Chains(family), &mut observed, &mut || false)?;
        }
        for table in observed.dropping_tables() {
            self.dump(&Request::Rules(table), &mut observed, &mut || false)?;
        }
        Ok(observed)
    }

    /// Reads what rules of tables and elements of sets count; what isn't there counts nothing.
    ///
    /// Not one consistent picture: packets come meanwhile anyway.
    pub fn counts(&mut self, tables: &[TableRef], sets: &[SetRef]) -> Result<Observed, NftError> {
        let rules = tables.iter().cloned().map(Request::Rules);
        let elements = sets.iter().cloned().map(Request::Elements);
        for _ in 0..DUMP_TRIES {
            let mut observed = Observed::default();
            let mut whole = true;
            for request in rules.clone().chain(elements.clone()) {
                // A dump that a commit overtook may show a rule twice.
                let dump = self.dump(&request, &mut observed, &mut || false)?;
                whole &= matches!(dump, Dump::Whole { steady: true });
            }
            if whole {
                return Ok(observed);
            }
        }
        Err(NftError::Unsteady { tries: DUMP_TRIES })
    }

    fn own(&self) -> std::sync::MutexGuard<'_, OwnGenerations> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends once; `Some`: the first failure, and what it was about.
    fn try_commit(&mut self, batch: &Batch, generation: u32) -> Result<Option<FailedObject>, NftError> {
        let first = self.raw.next_sequence(u32::try_from(batch.len()).unwrap_or(u32::MAX).saturating_add(2));
        let bytes = batch.encode(first, Some(generation))?;
        self.raw.send(&bytes)?;
        let last = batch.last_sequence(first);
        let (mut failed, mut acknowledged) = (None, false);
        // The kernel has queued all its answers when sending returns; failures come before the acknowledgement.
        while failed.is_none() && !acknowledged {
            let mut messages = self.raw.receive()?;
            messages.extend(self.raw.drain()?);
            for Message { sequence, reply, .. } in messages {
                let index = sequence.wrapping_sub(first);
                if index > last.wrapping_sub(first) {
                    continue; // an answer to something else
                }
                acknowledged |= sequence == last && reply == Reply::Acknowledged;
                if let (Reply::Failed(failure), None) = (reply, &failed) {
                    let object = batch.object(first, sequence, failure.offset).map(|o| o.to_string());
                    failed = Some(FailedObject { object, failure });
                }
            }
        }
        Ok(failed)
    }

    fn observe_once(
        &mut self,
        tables: &[Table],
        observed: &mut Observed,
        given_up: &mut dyn FnMut() -> bool,
    ) -> Result<Dump, NftError> {
        let mut all_steady = true;
        let mut families: Vec<TableFamily> = tables.iter().map(|t| t.id.family).collect();
        families.sort_unstable();
        families.dedup();
        let general = families.into_iter().flat_map(|f| [Request::Tables(f), Request::Chains(f)]);
        let of_table =
            tables.iter().flat_map(|t| [Request::Rules(t.id.clone()), Request::Sets(t.id.clone())]);
        for request in general.chain(of_table) {
            match self.dump(&request, observed, given_up)? {
                Dump::Whole { steady } => all_steady &= steady,
                other @ (Dump::BrokenOff | Dump::GivenUp) => return Ok(other),
            }
        }
        let known = |set: &SetRef| tables.iter().any(|t| t.id == set.table && t.set(&set.name).is_some());
        let sets: Vec<SetRef> = tables.iter().flat_map(|t| observed.sets(&t.id)).filter(known).collect();
        for set in sets {
            match self.dump(&Request::Elements(set), observed, given_up)? {
                Dump::Whole { steady } => all_steady &= steady,
                other @ (Dump::BrokenOff | Dump::GivenUp) => return Ok(other),
            }
        }
        Ok(Dump::Whole { steady: all_steady })
    }

    fn dump(
        &mut self,
        request: &Request,
        observed: &mut Observed,
        given_up: &mut dyn FnMut() -> bool,
    ) -> Result<Dump, NftError> {
        let sequence = self.raw.next_sequence(1);
        self.raw.send(&request.encode(sequence))?;
        let mut steady = true;
        loop {
            if given_up() {
                return Ok(Dump::GivenUp);
            }
            for message in self.raw.receive()? {
                if message.sequence != sequence {
                    continue;
                }
                steady &= !message.interrupted;
                if message.reply == Reply::Done {
                    return Ok(Dump::Whole { steady });
                }
                let Reply::Failed(failure) = message.reply else {
                    observed.add(message.reply);
                    continue;
                };
                return match failure.errno {
                    errno if is_gone(errno) => Ok(Dump::Whole { steady: true }),
                    errno if is_overtaken(errno) => Ok(Dump::BrokenOff),
                    _ => Err(NftError::refused(request.to_string(), failure)),
                };
            }
        }
    }
}

/// What came of reading.
enum Dump {
    /// All was read; steady: nobody committed meanwhile.
    Whole { steady: bool },
    /// The kernel broke it off.
    BrokenOff,
    /// Whoever asked gave up.
    GivenUp,
}

/// A failure and the object it was about; `None`: the transaction as a whole.
struct FailedObject {
    object: Option<String>,
    failure: Failure,
}

impl FailedObject {
    fn into_error(self) -> NftError {
        NftError::refused(self.object.unwrap_or_else(|| "the transaction".to_owned()), self.failure)
    }
}

/// Somebody else was faster, or a signal came in between: the same call can succeed.
fn is_overtaken(errno: i32) -> bool {
    // ERESTART has no name outside of the kernel's own headers.
    const ERESTART: i32 = 85;
    errno == ERESTART || [Errno::EINTR, Errno::EAGAIN].contains(&Errno::from_raw(errno))
}

fn is_gone(errno: i32) -> bool {
    Errno::from_raw(errno) == Errno::ENOENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_generations_are_bounded_and_taken_once() {
        let mut own = OwnGenerations::default();
        (0..2000).for_each(|g| own.add(g));
        assert_eq!(own.unheard.len(), OWN_GENERATIONS);
        assert!(own.take(1999) && !own.take(1999) && !own.take(3));
        own.withdraw(1998);
        assert!(!own.take(1998));
        // Two sockets hope for the same generation; one of them gets it.
        own.add(5000);
        own.add(5000);
        own.withdraw(5000);
        assert!(own.take(5000) && !own.take(5000));
    }
}
