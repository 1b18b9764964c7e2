//! A table of records in many small shards: a change makes a new shard and swaps it in, a reader never waits.
//!
//! In: [`Change`]s. Out: for a key its record. A record is one run of octets: kind, key, and what its kind makes of the rest.
//! Invariant: a key stands once; shards without records take no memory.
//!
//! What a lookup costs is the memory that it has to wait for, one piece after another. So the records of a shard lie behind each
//! other in one allocation, and where they are stands in the shard itself: three waits, for the cell, the shard and the record.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;

use crate::hash::hash;

/// Shards; a power of two. With 100,000 services of two addresses a shard holds about 18 records, about 2 KiB: a change copies them.
const SHARDS: usize = 16_384;
/// Records whose places stand in the shard itself, which fills one line of the processor's cache. With 10,000 services nearly
/// every shard has fewer.
const INLINE: usize = 4;

/// What a record is about. Two kinds may have equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Key: labels of service and namespace (`service.rs`).
    Service = 1,
    /// Key: label of the namespace. There is one while something stands below it.
    ServiceNamespace = 2,
    /// Key: label of the namespace, for pod records.
    PodNamespace = 3,
    /// Key: labels of the node's name, or of what stands between it and `node.Z` (`node.rs`).
    Node = 4,
    /// Key: octets of an address (`claim.rs`).
    Address = 5,
}

/// One record, as a writer looks at it.
pub(crate) type Record = Arc<[u8]>;

/// Octets in front of the key.
const HEAD: usize = 2;

/// A record under construction: kind and key.
pub(crate) fn begin(kind: Kind, key: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + key.len() + 96);
    record.push(kind as u8);
    record.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    record.extend_from_slice(key);
    record
}

/// The key of a record.
pub(crate) fn key(record: &[u8]) -> &[u8] {
    record.get(HEAD..HEAD + usize::from(record.get(1).copied().unwrap_or_default())).unwrap_or_default()
}

/// What stands behind the key.
pub(crate) fn body(record: &[u8]) -> &[u8] {
    record.get(HEAD + usize::from(record.get(1).copied().unwrap_or_default())..).unwrap_or_default()
}

/// What becomes of one key.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    hash: u64,
    kind: Kind,
    key: Box<[u8]>,
    record: Option<Vec<u8>>,
}

/// Records in no order.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    /// Of the first records; those that aren't there are empty.
    first: [Entry; INLINE],
    more: Box<[Entry]>,
    /// All records, one behind the other.
    records: Box<[u8]>,
}

/// One record: the part of its hash that doesn't choose the shard, and where it ends; it begins where the one before ends.
#[derive(Clone, Copy, Default)]
struct Entry {
    tag: u32,
    end: u32,
}

/// The table.
pub(crate) struct Table {
    seed: u64,
    shards: Box<[ArcSwapOption<Shard>]>,
    octets: AtomicUsize,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwapOption::empty()).collect();
        Self { seed, shards, octets: AtomicUsize::new(0) }
    }

    /// Hands the record of a key to `read`.
    pub(crate) fn with<T>(&self, kind: Kind, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let hash = self.hash(kind, key);
        let shard = self.shards.get(place(hash))?.load();
        shard.as_ref()?.find(hash, kind, key).map(read)
    }

    /// Whether there is a record of that key.
    pub(crate) fn has(&self, kind: Kind, key: &[u8]) -> bool {
        self.with(kind, key, |_| ()).is_some()
    }

    /// The record of a key, for the writer.
    pub(crate) fn get(&self, kind: Kind, key: &[u8]) -> Option<Record> {
        let hash = self.hash(kind, key);
        let shard = self.shards.get(place(hash))?.load();
        shard.as_ref()?.find(hash, kind, key).map(Record::from)
    }

    /// What becomes of one key: this record, or none.
    pub(crate) fn change(&self, kind: Kind, key: &[u8], record: Option<Vec<u8>>) -> Change {
        Change { hash: self.hash(kind, key), kind, key: key.into(), record }
    }

    /// Swaps in what changes. Of several changes of one key the last one counts. Only one thread may do so.
    pub(crate) fn apply(&self, mut changes: Vec<Change>) {
        changes.sort_by_key(|change| place(change.hash));
        for group in changes.chunk_by(|a, b| place(a.hash) == place(b.hash)) {
            let Some(cell) = group.first().and_then(|change| self.shards.get(place(change.hash))) else {
                continue;
            };
            let old = cell.load_full();
            self.swap(cell, old.as_deref(), rebuilt(old.as_deref(), group));
        }
    }

    /// Swaps in a whole new content, shard by shard.
    pub(crate) fn replace(&self, mut changes: Vec<Change>) {
        changes.sort_by_key(|change| place(change.hash));
        let mut groups = changes.chunk_by(|a, b| place(a.hash) == place(b.hash)).peekable();
        for (index, cell) in self.shards.iter().enumerate() {
            let group =
                groups.next_if(|group| group.first().is_some_and(|change| place(change.hash) == index));
            let old = cell.load_full();
            self.swap(cell, old.as_deref(), rebuilt(None, group.unwrap_or_default()));
        }
    }

    fn swap(&self, cell: &ArcSwapOption<Shard>, old: Option<&Shard>, new: Shard) {
        self.octets.fetch_add(new.octets(), Ordering::Relaxed);
        self.octets.fetch_sub(old.map_or(0, Shard::octets), Ordering::Relaxed);
        cell.store((!new.records.is_empty()).then(|| Arc::new(new)));
    }

    /// Octets that the table takes, with what an allocator adds.
    pub(crate) fn octets(&self) -> usize {
        self.octets.load(Ordering::Relaxed) + size_of_val(&*self.shards)
    }

    /// All records, in no order: for tests and for a writer that starts anew.
    #[cfg(test)]
    pub(crate) fn records(&self) -> Vec<Record> {
        let shards = self.shards.iter().filter_map(ArcSwapOption::load_full);
        shards
            .flat_map(|shard| shard.all().map(|(_, record)| Record::from(record)).collect::<Vec<_>>())
            .collect()
    }

    fn hash(&self, kind: Kind, key: &[u8]) -> u64 {
        hash(self.seed ^ kind as u64, key)
    }
}

/// Index of the shard.
#[expect(clippy::cast_possible_truncation, reason = "masked to less than SHARDS")]
const fn place(hash: u64) -> usize {
    hash as usize & (SHARDS - 1)
}

/// The part of the hash that is compared.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Whether the record is of that key.
fn is_of(record: &[u8], kind: Kind, wanted: &[u8]) -> bool {
    record.first() == Some(&(kind as u8)) && key(record) == wanted
}

/// The shard with the changes; `changes` are those of this shard alone.
fn rebuilt(old: Option<&Shard>, changes: &[Change]) -> Shard {
    let stays = |tag_there: u32, record: &[u8]| {
        !changes.iter().any(|c| tag(c.hash) == tag_there && is_of(record, c.kind, &c.key))
    };
    let kept = old.into_iter().flat_map(Shard::all).filter(|(tag, record)| stays(*tag, record));
    let is_last = |index: usize, change: &Change| {
        !changes[index + 1..]
            .iter()
            .any(|c| c.hash == change.hash && c.kind == change.kind && c.key == change.key)
    };
    let coming = changes.iter().enumerate().filter(|(index, change)| is_last(*index, change));
    let coming = coming.filter_map(|(_, change)| Some((tag(change.hash), change.record.as_deref()?)));
    let (mut entries, mut records) = (Vec::new(), Vec::with_capacity(old.map_or(0, |old| old.records.len())));
    for (tag, record) in kept.chain(coming) {
        records.extend_from_slice(record);
        entries.push(Entry { tag, end: u32::try_from(records.len()).unwrap_or(u32::MAX) });
    }
    let mut first = [Entry { tag: 0, end: 0 }; INLINE];
    let more = entries.split_off(entries.len().min(INLINE));
    first[..entries.len()].copy_from_slice(&entries);
    // Empty ones: they end where the last one ends.
    let end = entries.last().map_or(0, |entry| entry.end);
    first[entries.len()..].fill(Entry { tag: 0, end });
    Shard { first, more: more.into(), records: records.into() }
}

impl Shard {
    fn find(&self, hash: u64, kind: Kind, key: &[u8]) -> Option<&[u8]> {
        let wanted = tag(hash);
        let mut start = 0;
        for entry in self.first.iter().chain(&*self.more) {
            let end = entry.end as usize;
            if entry.tag == wanted
                && let Some(record) = self.records.get(start..end).filter(|record| is_of(record, kind, key))
            {
                return Some(record);
            }
            start = end;
        }
        None
    }

    /// All records with the parts of their hashes.
    fn all(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut start = 0;
        let one = move |entry: &Entry| {
            let record = self.records.get(start..entry.end as usize).unwrap_or_default();
            start = entry.end as usize;
            (entry.tag, record)
        };
        self.first.iter().chain(&*self.more).map(one).filter(|(_, record)| !record.is_empty())
    }

    /// What it and its records take: counted with 16 octets for each allocation and a whole line for the counts of the `Arc`.
    fn octets(&self) -> usize {
        const ALLOCATION: usize = 16;
        const COUNTS: usize = 64;
        if self.records.is_empty() {
            return 0;
        }
        let more = if self.more.is_empty() { 0 } else { size_of_val(&*self.more) + ALLOCATION };
        self.records.len().next_multiple_of(16) + more + size_of::<Self>() + COUNTS + 2 * ALLOCATION
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(key: &[u8], value: u8) -> Vec<u8> {
        let mut record = begin(Kind::Service, key);
        record.push(value);
        record
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_table_is_a_map_however_changes_are_grouped(
            batches in prop::collection::vec(prop::collection::vec((0_u16..2000, any::<Option<u8>>()), 0..200), 0..6),
            whole in any::<bool>(),
        ) {
            let table = Table::new(7);
            let mut model = BTreeMap::new();
            for batch in batches {
                let changes = batch.iter().map(|(key, value)| {
                    let key = key.to_be_bytes();
                    table.change(Kind::Service, &key, value.map(|value| record(&key, value)))
                }).collect();
                if whole {
                    model.clear();
                    table.replace(changes);
                } else {
                    table.apply(changes);
                }
                for (key, value) in batch {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
            }
            prop_assert_eq!(table.records().len(), model.len());
            for key in 0..2000_u16 {
                let found = table.with(Kind::Service, &key.to_be_bytes(), |record| body(record).to_vec());
                prop_assert_eq!(found, model.get(&key).map(|value| vec![*value]));
                prop_assert!(!table.has(Kind::Node, &key.to_be_bytes()), "another kind is another key");
            }
            table.replace(Vec::new());
            prop_assert_eq!(table.octets(), size_of_val(&*table.shards), "what goes is counted off");
        }
    }
}
