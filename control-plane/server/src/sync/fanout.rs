//! Each revision's delta is encoded once; the same bytes go to every follower, bounded per follower.
//!
//! In: items by revision from the replica task, in order. Out: frames in the queue of each follower.
//! Invariants: a delta is encoded once (test `a_delta_is_encoded_once`); queues are bounded in bytes, a full one cuts
//! its follower (test `a_slow_follower_is_cut_and_others_go_on`).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Notify, watch};
use weft_core::ItemChange;
use weft_model::{Item, ItemKey, NodeName, Revision};
use weft_proto::{
    convert::{delta_frame, in_sync_frame},
    v1,
};

use crate::limits::{FOLLOWER_QUEUE_BYTES, FOLLOWERS_PER_NODE, RING_BYTES, RING_DELTAS};

/// A frame and the revision it brings its receiver to; 0 for frames that bring none (an Ask).
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) revision: Revision,
    pub(crate) bytes: Bytes,
}

/// Why a follower's stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its queue was full.
    Slow,
    /// The state was replaced as a whole: it must begin anew.
    Reset,
    /// Another stream of the same node took its place.
    Replaced,
    /// This replica has no leader: what it knows may be old.
    Leaderless,
    /// Its node was removed.
    Removed,
}

/// What waits for one follower.
#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    cut: Option<Cut>,
}

/// Which of the streams that began here one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(u64);

/// The receiving end of one follower.
#[derive(Debug)]
pub(crate) struct Follower {
    id: u64,
    node: NodeName,
    queue: Mutex<Queue>,
    ready: Notify,
}

impl Follower {
    /// The next frame, or why there will be none.
    pub(crate) async fn next(&self) -> Result<Frame, Cut> {
        loop {
            let notified = self.ready.notified();
            {
                let mut queue = lock(&self.queue);
                if let Some(cut) = queue.cut {
                    return Err(cut);
                }
                if let Some(frame) = queue.frames.pop_front() {
                    queue.bytes -= frame.bytes.len();
                    return Ok(frame);
                }
            }
            notified.await;
        }
    }

    fn push(&self, frame: Frame) {
        let mut queue = lock(&self.queue);
        if queue.cut.is_none() {
            queue.bytes += frame.bytes.len();
            queue.frames.push_back(frame);
            if queue.bytes > FOLLOWER_QUEUE_BYTES {
                queue.cut = Some(Cut::Slow);
                queue.frames = VecDeque::new();
                queue.bytes = 0;
            }
        }
        drop(queue);
        self.ready.notify_one();
    }

    fn cut(&self, why: Cut) {
        let mut queue = lock(&self.queue);
        queue.cut.get_or_insert(why);
        queue.frames = VecDeque::new();
        drop(queue);
        self.ready.notify_one();
    }

    fn is_cut(&self) -> bool {
        lock(&self.queue).cut.is_some()
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Deltas and bookmarks after `base`, ascending.
    ring: VecDeque<Frame>,
    ring_bytes: usize,
    /// Everything after this revision is in the ring.
    base: Revision,
    followers: BTreeMap<u64, Arc<Follower>>,
    next_id: u64,
    /// Deltas encoded since the start.
    encoded: u64,
    cut: u64,
    /// The whole state at one revision, encoded for whoever begins there.
    snapshot: Option<(Revision, Arc<[Bytes]>)>,
}

/// Counters for tests.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Streams that are open.
    pub(crate) followers: usize,
    /// Deltas encoded since the start.
    pub(crate) encoded: u64,
    /// Followers cut because they were slow.
    pub(crate) cut: u64,
}

/// What a follower begins with.
pub(crate) enum Begin {
    /// These frames bring it up to date.
    Resume(Vec<Frame>),
    /// It needs the whole state; the queue holds what comes after its registration.
    Snapshot,
}

/// The fan-out of one replica.
#[derive(Debug)]
pub(crate) struct Fanout {
    inner: Mutex<Inner>,
    revision: watch::Sender<Revision>,
}

impl Fanout {
    /// A fan-out that stands at a revision and has no past.
    pub(crate) fn new(revision: Revision) -> Self {
        let inner = Inner { base: revision, ..Inner::default() };
        Self { inner: Mutex::new(inner), revision: watch::Sender::new(revision) }
    }

    /// The last published revision.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Wakes on each published revision.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// One revision's changes: encoded here, once.
    pub(crate) fn publish(&self, revision: Revision, changes: &[ItemChange]) {
        let upserts: Vec<&Item> = changes
            .iter()
            .filter_map(|change| match change {
                ItemChange::Upsert(item) => Some(item),
                ItemChange::Delete(_) => None,
            })
            .collect();
        let deletes: Vec<&ItemKey> = changes
            .iter()
            .filter_map(|change| match change {
                ItemChange::Delete(key) => Some(key),
                ItemChange::Upsert(_) => None,
            })
            .collect();
        let bytes = encode(&delta_frame(revision, upserts, deletes));
        lock(&self.inner).encoded += 1;
        self.send(Frame { revision, bytes });
    }

    /// The state stands at this revision now: followers learn it even where no item changed, so that a wait for it ends.
    pub(crate) fn advance(&self, revision: Revision) {
        if revision > self.revision() {
            self.send(Frame { revision, bytes: encode(&in_sync_frame(revision)) });
        }
    }

    fn send(&self, frame: Frame) {
        let revision = frame.revision;
        let mut inner = lock(&self.inner);
        inner.snapshot = None;
        inner.ring_bytes += frame.bytes.len();
        inner.ring.push_back(frame.clone());
        while inner.ring_bytes > RING_BYTES || inner.ring.len() > RING_DELTAS {
            let Some(oldest) = inner.ring.pop_front() else { break };
            inner.ring_bytes -= oldest.bytes.len();
            inner.base = oldest.revision;
        }
        for follower in inner.followers.values() {
            follower.push(frame.clone());
        }
        let slow: Vec<u64> = inner.followers.iter().filter(|(_, f)| f.is_cut()).map(|(id, _)| *id).collect();
        for id in slow {
            inner.followers.remove(&id);
            inner.cut += 1;
        }
        drop(inner);
        self.revision.send_replace(revision);
    }

    /// The state was replaced as a whole: nobody can resume from before.
    pub(crate) fn reset(&self, revision: Revision) {
        let mut inner = lock(&self.inner);
        inner.ring.clear();
        inner.ring_bytes = 0;
        inner.snapshot = None;
        inner.base = revision;
        for follower in std::mem::take(&mut inner.followers).into_values() {
            follower.cut(Cut::Reset);
        }
        drop(inner);
        self.revision.send_replace(revision);
    }

    /// A new follower of a node; `resume` is the revision its View stands at, if it may resume at all.
    pub(crate) fn follow(&self, node: &NodeName, resume: Option<Revision>) -> (Arc<Follower>, Begin) {
        let mut inner = lock(&self.inner);
        let of_node: Vec<u64> = inner.followers.values().filter(|f| f.node == *node).map(|f| f.id).collect();
        let surplus = (of_node.len() + 1).saturating_sub(FOLLOWERS_PER_NODE);
        for id in of_node.into_iter().take(surplus) {
            if let Some(oldest) = inner.followers.remove(&id) {
                oldest.cut(Cut::Replaced);
            }
        }
        inner.next_id += 1;
        let id = inner.next_id;
        let follower =
            Arc::new(Follower { id, node: node.clone(), queue: Mutex::default(), ready: Notify::new() });
        inner.followers.insert(id, Arc::clone(&follower));
        let current = inner.ring.back().map_or(inner.base, |frame| frame.revision);
        let begin = match resume {
            Some(from) if from >= inner.base && from <= current => {
                let mut frames: Vec<Frame> =
                    inner.ring.iter().filter(|frame| frame.revision > from).cloned().collect();
                frames.push(Frame { revision: current, bytes: encode(&in_sync_frame(current)) });
                Begin::Resume(frames)
            }
            Some(_) | None => Begin::Snapshot,
        };
        (follower, begin)
    }

    /// The follower's stream has ended.
    pub(crate) fn unfollow(&self, follower: &Follower) {
        lock(&self.inner).followers.remove(&follower.id);
    }

    /// The whole state, if somebody encoded it at the revision that stands now.
    pub(crate) fn snapshot(&self) -> Option<(Arc<[Bytes]>, Revision)> {
        let inner = lock(&self.inner);
        let current = inner.ring.back().map_or(inner.base, |frame| frame.revision);
        let (revision, frames) = inner.snapshot.as_ref()?;
        (*revision == current).then(|| (Arc::clone(frames), *revision))
    }

    /// Keeps an encoded state for the next ones that begin at its revision.
    pub(crate) fn keep_snapshot(&self, revision: Revision, frames: &Arc<[Bytes]>) {
        lock(&self.inner).snapshot = Some((revision, Arc::clone(frames)));
    }

    /// Ends every stream of a removed node.
    pub(crate) fn cut_node(&self, node: &NodeName) {
        let mut inner = lock(&self.inner);
        inner.followers.retain(|_, follower| {
            let theirs = follower.node == *node;
            if theirs {
                follower.cut(Cut::Removed);
            }
            !theirs
        });
    }

    /// Puts a frame for one node alone into the queue of its youngest stream, and says which that is; `None` when it has none here.
    pub(crate) fn send_to(&self, node: &NodeName, message: &v1::WatchResponse) -> Option<StreamId> {
        let inner = lock(&self.inner);
        let follower = youngest(&inner, node)?;
        follower.push(Frame { revision: Revision(0), bytes: encode(message) });
        Some(StreamId(follower.id))
    }

    /// The youngest stream of a node here.
    pub(crate) fn stream_of(&self, node: &NodeName) -> Option<StreamId> {
        youngest(&lock(&self.inner), node).map(|follower| StreamId(follower.id))
    }

    /// Whether a node has a stream here.
    pub(crate) fn follows(&self, node: &NodeName) -> bool {
        lock(&self.inner).followers.values().any(|f| f.node == *node)
    }

    /// Counters.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> Counts {
        let inner = lock(&self.inner);
        Counts { followers: inner.followers.len(), encoded: inner.encoded, cut: inner.cut }
    }
}

fn youngest<'a>(inner: &'a Inner, node: &NodeName) -> Option<&'a Arc<Follower>> {
    inner.followers.values().rev().find(|follower| follower.node == *node)
}

fn encode(message: &v1::WatchResponse) -> Bytes {
    message.encode_to_vec().into()
}

/// A panic while holding the lock leaves plain data behind; going on is right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
mod tests;
