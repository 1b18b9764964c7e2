//! The cache of what upstreams said: many small shards that readers look into without waiting, one writer, bounded octets.
//!
//! In: answers of the forwarder. Out: an [`Entry`] for a question. What is over may still be told for an hour when nobody gives
//! a new answer (RFC 8767). Invariant: the octets never exceed the bound after a put; what nobody used since the hand came by
//! goes first (a clock).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use crate::{
    DomainName, ExtendedError, Moment, Origin, Rcode, RecordType,
    hash::hash,
    limits::{STALE_MS, STALE_RECHECK_MS, STALE_TTL},
    message::{Age, Body, Reply, within},
    zone::Head,
};

/// Shards; a power of two.
const SHARDS: usize = 2048;

/// What is asked: answers differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked<'a> {
    /// Lower case, wire form.
    pub(crate) name: &'a [u8],
    pub(crate) kind: RecordType,
    /// Signatures wanted, checking disabled.
    pub(crate) flags: u8,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(name: &'a [u8], kind: RecordType, signatures: bool, unchecked: bool) -> Self {
        Self { name, kind, flags: u8::from(signatures) | (u8::from(unchecked) << 1) }
    }

    fn salt(self) -> u64 {
        (u64::from(self.kind.0) << 8) | u64::from(self.flags)
    }
}

/// A kept answer.
pub(crate) struct Entry {
    name: Box<[u8]>,
    kind: RecordType,
    flags: u8,
    body: Body,
    stored: Moment,
    expires: Moment,
    /// Until when it counts though it is over: somebody was asked in vain a moment ago.
    granted: Moment,
    /// Who said it.
    upstream: Option<SocketAddr>,
    used: AtomicBool,
}

impl Entry {
    /// A new entry.
    pub(crate) fn new(asked: Asked<'_>, body: Body, now: Moment) -> Self {
        let expires = now.after(u64::from(body.ttl) * 1000);
        Self::until(asked, body, now, expires)
    }

    /// An entry that counts until a given time, whatever its records say.
    pub(crate) fn until(asked: Asked<'_>, body: Body, now: Moment, expires: Moment) -> Self {
        let (name, kind, flags) = (asked.name.into(), asked.kind, asked.flags);
        let used = AtomicBool::new(true);
        Self { name, kind, flags, body, stored: now, expires, granted: now, upstream: None, used }
    }

    /// Notes who said it.
    pub(crate) const fn from(mut self, upstream: SocketAddr) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Whom it came from, and how long ago.
    pub(crate) const fn origin(&self, now: Moment) -> Origin {
        Origin { upstream: self.upstream, age_ms: Some(now.since(self.stored)) }
    }

    /// The same answer, told as an old one for a while.
    pub(crate) fn granted(&self, now: Moment) -> Self {
        Self {
            name: self.name.clone(),
            kind: self.kind,
            flags: self.flags,
            body: self.body.clone(),
            stored: self.stored,
            expires: self.expires,
            granted: now.after(STALE_RECHECK_MS),
            upstream: self.upstream,
            used: AtomicBool::new(true),
        }
    }

    pub(crate) const fn body(&self) -> &Body {
        &self.body
    }

    /// The name that somebody else has to be asked about; none when that is one of our own zone, which the outside can't lead to.
    pub(crate) fn open_end(&self, head: &Head) -> Option<&[u8]> {
        let end = &self.body.open_end.as_ref()?.name;
        within(end, head.origin.wire()).is_none().then_some(end)
    }

    /// Whether nothing else has to be asked.
    pub(crate) fn counts(&self, now: Moment) -> bool {
        now < self.expires || now < self.granted
    }

    /// Whether it is over. In the moment in which it comes it isn't, also where it counts for no time at all.
    pub(crate) fn is_stale(&self, now: Moment) -> bool {
        now >= self.expires && now > self.stored
    }

    /// Whether it may be told at all. Failures are never told once they are over.
    pub(crate) fn may_be_told(&self, now: Moment) -> bool {
        !self.is_stale(now) || (now < self.expires.after(STALE_MS) && self.body.rcode != Rcode::SERVFAIL)
    }

    /// Copies it into a reply, in which its name stands at `name_at`. Says where the name of an open end stands.
    pub(crate) fn write(&self, reply: &mut Reply<'_>, name_at: usize, now: Moment) -> usize {
        let age = if self.is_stale(now) {
            Age::Stale(STALE_TTL)
        } else {
            Age::Seconds(u32::try_from(now.since(self.stored) / 1000).unwrap_or(u32::MAX))
        };
        self.body.write(reply, name_at, age)
    }

    /// What there is to say of it beside its records.
    pub(crate) fn why(&self, now: Moment) -> Option<ExtendedError> {
        match self.body.rcode {
            Rcode::SERVFAIL => Some(ExtendedError::NO_REACHABLE_AUTHORITY),
            Rcode::NXDOMAIN if self.is_stale(now) => Some(ExtendedError::STALE_NXDOMAIN),
            _ if self.is_stale(now) => Some(ExtendedError::STALE),
            _ if self.body.is_filtered => Some(ExtendedError::FILTERED),
            _ => None,
        }
    }

    fn octets(&self) -> usize {
        self.body.octets() + self.name.len() + size_of::<Self>() + 4 + size_of::<Arc<Self>>() + 48
    }

    fn is_of(&self, asked: Asked<'_>) -> bool {
        self.kind == asked.kind && self.flags == asked.flags && *self.name == *asked.name
    }
}

#[derive(Clone, Default)]
struct Shard {
    tags: Vec<u32>,
    entries: Vec<Arc<Entry>>,
}

impl Shard {
    fn find(&self, hash: u64, asked: Asked<'_>) -> Option<&Arc<Entry>> {
        let tag = tag(hash);
        let places = self.tags.iter().enumerate().filter(|(_, there)| **there == tag);
        places.filter_map(|(place, _)| self.entries.get(place)).find(|entry| entry.is_of(asked))
    }
}

/// The cache.
pub(crate) struct Cache {
    seed: u64,
    shards: Box<[ArcSwapOption<Shard>]>,
    octets: AtomicUsize,
    count: AtomicUsize,
    hand: AtomicUsize,
}

impl Cache {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed: seed.rotate_left(17),
            shards: (0..SHARDS).map(|_| ArcSwapOption::empty()).collect(),
            octets: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// The entry of a question, whether it still counts or not.
    pub(crate) fn find(&self, asked: Asked<'_>) -> Option<Arc<Entry>> {
        self.with(asked, Arc::clone)
    }

    /// Hands the entry of a question to `read`, and notes that it was used.
    pub(crate) fn with<T>(&self, asked: Asked<'_>, read: impl FnOnce(&Arc<Entry>) -> T) -> Option<T> {
        let hash = self.hash(asked);
        let shard = self.shards.get(place(hash))?.load();
        let entry = shard.as_ref()?.find(hash, asked)?;
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(read(entry))
    }

    /// Keeps an answer in place of an older one, and lets others go until all fit into `most` octets. Only one thread may write.
    pub(crate) fn put(&self, entry: Entry, most: usize, now: Moment) {
        let size = entry.octets();
        if size > most / 8 {
            return;
        }
        let asked = Asked { name: &entry.name, kind: entry.kind, flags: entry.flags };
        let hash = self.hash(asked);
        let Some(cell) = self.shards.get(place(hash)) else { return };
        let mut shard = cell.load_full().as_deref().cloned().unwrap_or_default();
        if let Some(at) = shard.entries.iter().position(|there| there.is_of(asked)) {
            self.take_off(&mut shard, at);
        }
        shard.tags.push(tag(hash));
        shard.entries.push(Arc::new(entry));
        self.octets.fetch_add(size, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        cell.store(Some(Arc::new(shard)));
        self.make_room(most, now);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.shards.iter().for_each(|cell| cell.store(None));
        self.octets.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    /// Forgets what is within a domain.
    pub(crate) fn forget(&self, domain: &DomainName) {
        for cell in &self.shards {
            let Some(old) = cell.load_full() else { continue };
            let mut shard = Shard::clone(&old);
            let is_within = |entry: &Entry| within(&entry.name, domain.wire()).is_some();
            while let Some(at) = shard.entries.iter().position(|entry| is_within(entry)) {
                self.take_off(&mut shard, at);
            }
            if shard.entries.len() < old.entries.len() {
                cell.store((!shard.entries.is_empty()).then(|| Arc::new(shard)));
            }
        }
    }

    /// Octets that it takes.
    pub(crate) fn octets(&self) -> usize {
        self.octets.load(Ordering::Relaxed)
    }

    /// Answers that it keeps.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The hand goes round until all fit: what is useless or wasn't used since it came by goes. Twice round at most.
    fn make_room(&self, most: usize, now: Moment) {
        for _ in 0..2 * SHARDS {
            if self.octets() <= most {
                return;
            }
            let at = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let Some((cell, old)) = self.shards.get(at).and_then(|cell| Some((cell, cell.load_full()?)))
            else {
                continue;
            };
            let mut shard = Shard::clone(&old);
            let is_useless =
                |entry: &Entry| !entry.may_be_told(now) || !entry.used.swap(false, Ordering::Relaxed);
            let mut index = 0;
            while let Some(entry) = shard.entries.get(index) {
                if is_useless(entry) {
                    self.take_off(&mut shard, index);
                } else {
                    index += 1;
                }
            }
            if shard.entries.len() < old.entries.len() {
                cell.store((!shard.entries.is_empty()).then(|| Arc::new(shard)));
            }
        }
    }

    fn take_off(&self, shard: &mut Shard, at: usize) {
        let gone = shard.entries.swap_remove(at);
        shard.tags.swap_remove(at);
        self.octets.fetch_sub(gone.octets(), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    fn hash(&self, asked: Asked<'_>) -> u64 {
        hash(self.seed ^ asked.salt(), asked.name)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "masked to less than SHARDS")]
const fn place(hash: u64) -> usize {
    hash as usize & (SHARDS - 1)
}

const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
